//! The pieces of replies while they come, for whoever watches: said once, kept nowhere. What counts is the
//! reply that is recorded.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ringfence_event::{SessionId, StepId, TenantId};
use ringfence_model::Deltas;
use tokio::sync::broadcast;

use crate::{Caller, Runtime};

/// How many pieces wait for whoever reads slowly. Behind that the oldest are lost to them.
const KEPT: usize = 1024;

/// A piece of a reply.
#[derive(Clone, Debug)]
pub struct Delta {
    /// Whose.
    pub tenant: TenantId,
    /// In which session.
    pub session: SessionId,
    /// The step whose reply it is of.
    pub step: StepId,
    /// The piece. A reply that fails later, or is another when it is asked for again, takes it back.
    pub text: String,
}

/// Where pieces are said: each session has a place of its own for as long as somebody listens there, so that what
/// is said in one pushes nothing out of another.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Places>>);

type Name = (TenantId, SessionId);
type Places = HashMap<Name, broadcast::Sender<Arc<Delta>>>;

impl Told {
    /// The pieces of one reply.
    pub(crate) fn of(&self, caller: &Caller, session: &SessionId, step: StepId) -> Speaking {
        let name = (caller.tenant.clone(), session.clone());
        Speaking { told: self.clone(), name, step }
    }

    fn listen(&self, name: Name) -> Listening {
        let mut places = self.places();
        let new = || broadcast::Sender::new(KEPT);
        let receiver = places.entry(name.clone()).or_insert_with(new).subscribe();
        drop(places);
        Listening { told: self.clone(), name, receiver }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One reply under way.
pub(crate) struct Speaking {
    told: Told,
    name: Name,
    step: StepId,
}

impl Deltas for Speaking {
    fn text(&self, part: &str) {
        let Some(listening) = self.told.places().get(&self.name).cloned() else { return };
        let (tenant, session) = self.name.clone();
        let delta = Delta { tenant, session, step: self.step, text: part.to_owned() };
        // Whoever listened may have gone away meanwhile.
        let _ = listening.send(Arc::new(delta));
    }
}

/// Somebody who hears the pieces of a session's replies.
pub struct Listening {
    told: Told,
    name: Name,
    receiver: broadcast::Receiver<Arc<Delta>>,
}

impl Listening {
    /// The next piece, once there is one.
    ///
    /// # Errors
    /// When pieces came faster than they were heard, and some are lost.
    pub async fn recv(&mut self) -> Result<Arc<Delta>, broadcast::error::RecvError> {
        self.receiver.recv().await
    }

    /// The next piece, if there is one.
    ///
    /// # Errors
    /// When there is none, or some are lost.
    pub fn try_recv(&mut self) -> Result<Arc<Delta>, broadcast::error::TryRecvError> {
        self.receiver.try_recv()
    }
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut places = self.told.places();
        // The last one is this one, which is there still.
        if places.get(&self.name).is_some_and(|place| place.receiver_count() <= 1) {
            places.remove(&self.name);
        }
    }
}

impl Runtime {
    /// The pieces of all replies in a session of the caller's tenant that this process asks for, from now on.
    /// Nothing before what it follows from is durable.
    #[must_use]
    pub fn deltas(&self, caller: &Caller, session: &SessionId) -> Listening {
        self.0.deltas.listen((caller.tenant.clone(), session.clone()))
    }
}

#[cfg(test)]
mod tests {
    use ringfence_event::RunId;

    use super::*;

    #[test]
    fn what_is_said_in_one_session_pushes_nothing_out_of_another() {
        let told = Told::default();
        let session = |n: u8| SessionId::from_random([n; 16]);
        let caller = Caller::local();
        let step = StepId { run: RunId(1), step: 1 };
        let name = |n| (caller.tenant.clone(), session(n));
        let (mut quiet, mut loud) = (told.listen(name(1)), told.listen(name(2)));
        told.of(&caller, &session(1), step).text("quiet");
        let speaking = told.of(&caller, &session(2), step);
        (0..=KEPT).for_each(|_| speaking.text("loud"));
        assert_eq!(quiet.try_recv().unwrap().text, "quiet");
        assert!(quiet.try_recv().is_err(), "and nothing of others");
        let lagged = broadcast::error::TryRecvError::Lagged(1);
        assert_eq!(loud.try_recv().unwrap_err(), lagged, "its own are lost to it");
        // Nothing is kept for whoever has gone.
        let beside = told.listen(name(2));
        drop((quiet, loud));
        assert_eq!(told.places().len(), 1);
        drop(beside);
        assert!(told.places().is_empty());
    }
}
