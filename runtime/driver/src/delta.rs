//! The pieces of replies while they come, for whoever watches: said once, kept nowhere. What counts is the
//! reply that is recorded.

use std::sync::Arc;

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

/// Where pieces are said.
pub(crate) struct Told(broadcast::Sender<Arc<Delta>>);

impl Default for Told {
    fn default() -> Self {
        Self(broadcast::Sender::new(KEPT))
    }
}

impl Told {
    /// The pieces of one reply.
    pub(crate) fn of(&self, caller: &Caller, session: &SessionId, step: StepId) -> Speaking {
        let (tenant, session) = (caller.tenant.clone(), session.clone());
        Speaking { told: self.0.clone(), tenant, session, step }
    }
}

/// One reply under way.
pub(crate) struct Speaking {
    told: broadcast::Sender<Arc<Delta>>,
    tenant: TenantId,
    session: SessionId,
    step: StepId,
}

impl Deltas for Speaking {
    fn text(&self, part: &str) {
        if self.told.receiver_count() == 0 {
            return;
        }
        let (tenant, session) = (self.tenant.clone(), self.session.clone());
        let delta = Delta { tenant, session, step: self.step, text: part.to_owned() };
        // Whoever listened may have gone away meanwhile.
        let _ = self.told.send(Arc::new(delta));
    }
}

impl Runtime {
    /// The pieces of all replies that this process asks for, from now on. Nothing before what it follows
    /// from is durable.
    #[must_use]
    pub fn deltas(&self) -> broadcast::Receiver<Arc<Delta>> {
        self.0.deltas.0.subscribe()
    }
}
