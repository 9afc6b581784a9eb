//! Everything that is unfinished, gone on with: what a program does that was started again.

use ringfence_event::{SessionId, Timestamp};
use ringfence_sandbox::Cancel;
use ringfence_session::Refused;
use ringfence_store::OpenSession;
use tokio::task::JoinSet;

use crate::{Caller, Error, Refusal, RunEnded, Runtime, journal};

/// How many sessions are gone on with at one time if nothing else is said: they wait for models more
/// than they compute.
pub const AT_ONCE: usize = 8;

/// What came of a session that was unfinished.
#[derive(Debug)]
pub enum Resumed {
    /// Its run has ended, or waits for a person.
    Ended(Box<RunEnded>),
    /// Another process drives it, or was faster and has ended it.
    Elsewhere,
    /// It was left as it is: the host stops, or whoever wanted it to go on wants that no longer.
    Left,
    /// It could not be gone on with.
    Failed(Error),
}

impl Runtime {
    /// Goes on with every unfinished session of all tenants, [`unfinished`](Self::unfinished), with up to
    /// `at_once` of them at one time, in turns of their tenants: one that has many left does not keep those
    /// of the others waiting. One that fails does not stop the others. `tell` is given each
    /// when nothing of it goes on any more. Cancelling ends those that are under way as cancelled, and
    /// begins no other.
    ///
    /// # Errors
    /// When the store fails to say which they are.
    pub async fn resume_all(
        &self,
        at_once: usize,
        cancel: &Cancel,
        tell: &mut (dyn FnMut(&OpenSession, Resumed) + Send),
    ) -> Result<(), Error> {
        let mut waiting = self.0.admit.in_turns(self.unfinished()?).into_iter();
        let mut going = JoinSet::new();
        loop {
            while going.len() < at_once.max(1)
                && !cancel.is_requested()
                && let Some(open) = waiting.next()
            {
                let (runtime, cancel) = (self.clone(), cancel.clone());
                going.spawn(async move {
                    let resumed = runtime.resume_open(&open, &cancel).await;
                    (open, resumed)
                });
            }
            match going.join_next().await {
                None => return Ok(()),
                Some(Ok((open, resumed))) => tell(&open, resumed),
                // Nobody aborts them: it is the host's own fault, and not to be hidden.
                Some(Err(error)) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => continue,
                },
            }
        }
    }

    pub(crate) async fn resume_open(&self, open: &OpenSession, cancel: &Cancel) -> Resumed {
        let caller = Caller { tenant: open.tenant.clone(), user: open.user.clone() };
        let going = async {
            let entry = self.0.admit.enter_again(&open.tenant)?;
            let _slot = tokio::select! {
                biased;
                () = cancel.requested() => return Err(Refusal::Cancelled.into()),
                slot = entry.run_again() => slot?,
            };
            self.go_on(&caller, &open.session, cancel, &mut || {}, &mut |_| {}).await
        };
        match going.await {
            Ok(ended) => Resumed::Ended(Box::new(ended)),
            Err(Error::Driven { .. } | Error::Refused(Refused::NoRun)) => Resumed::Elsewhere,
            Err(Error::NotTaken(_) | Error::Left { .. }) => Resumed::Left,
            Err(error) => Resumed::Failed(error),
        }
    }

    /// Of the caller's unfinished sessions that nobody drives, the one used last.
    ///
    /// # Errors
    /// [`Error::NothingUnfinished`] when there is none.
    pub fn newest_unfinished(&self, caller: &Caller) -> Result<SessionId, Error> {
        let store = self.0.store()?;
        let mut newest: Option<(Timestamp, SessionId)> = None;
        for open in self.unfinished()? {
            if (&open.tenant, &open.user) != (&caller.tenant, &caller.user)
                || self.is_driven(caller, &open.session)?
            {
                continue;
            }
            let at = store.session(&open.tenant, &open.session)?.last_at;
            newest = newest.max(Some((at, open.session)));
        }
        newest.map(|(_, id)| id).ok_or(Error::NothingUnfinished)
    }

    /// Whether a process drives a session at this moment.
    ///
    /// # Errors
    /// When there is no such session, or the home folder cannot be written.
    pub fn is_driven(&self, caller: &Caller, id: &SessionId) -> Result<bool, Error> {
        crate::session::own(self.0.store()?, caller, id)?;
        Ok(journal::drive(&self.0.config.home, id)?.is_none())
    }
}
