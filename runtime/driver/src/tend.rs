//! A service looks after what is unfinished for as long as it runs: what it finds when it starts, retries
//! and expiries whose time comes, runs that a person has answered while nobody drove them, and runs whose
//! driver gave up.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use ringfence_event::{SessionId, TenantId};
use ringfence_sandbox::Cancel;
use ringfence_store::OpenSession;
use tokio::{sync::Notify, task::JoinSet};

use crate::{Caller, Resumed, Runtime, admit::Phase, run::is_unfinished};

/// How often it is looked what has come due, also by what other processes said.
const LOOK: Duration = Duration::from_secs(1);
/// How often all of the store is looked through, for what nobody told of: a process that died.
const SWEEP: Duration = Duration::from_secs(60);
/// After how long a session that could not be gone on with is tried again: twice as long each time.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MOST: Duration = Duration::from_secs(300);
/// How many sessions that are due are read at a time.
const DUE: u32 = 256;

/// The sessions that are driven here, and those that somebody has let go.
#[derive(Default)]
pub(crate) struct Tended {
    driven: Mutex<HashMap<SessionId, u32>>,
    freed: Mutex<Vec<(TenantId, SessionId)>>,
    notify: Notify,
    /// Whether anybody looks after them: else nobody keeps a list.
    is_on: AtomicBool,
}

impl Tended {
    /// A session is driven here until what this gives back is dropped.
    pub(crate) fn drive<'a>(&'a self, caller: &'a Caller, session: &SessionId) -> Driving<'a> {
        *lock(&self.driven).entry(session.clone()).or_default() += 1;
        Driving { tended: self, caller, session: session.clone() }
    }

    /// Something was said to a session that nobody drives.
    pub(crate) fn free(&self, tenant: &TenantId, session: &SessionId) {
        if self.is_on.load(Relaxed) {
            lock(&self.freed).push((tenant.clone(), session.clone()));
            self.notify.notify_one();
        }
    }

    /// Whether somebody drives a session here, or waits until it is driven no longer.
    pub(crate) fn is_driven(&self, session: &SessionId) -> bool {
        lock(&self.driven).contains_key(session)
    }
}

/// A session that is driven here.
pub(crate) struct Driving<'a> {
    tended: &'a Tended,
    caller: &'a Caller,
    session: SessionId,
}

impl Drop for Driving<'_> {
    fn drop(&mut self) {
        let mut driven = lock(&self.tended.driven);
        let Some(count) = driven.get_mut(&self.session) else { return };
        *count -= 1;
        if *count == 0 {
            driven.remove(&self.session);
            drop(driven);
            self.tended.free(&self.caller.tenant, &self.session);
        }
    }
}

/// What waits to be gone on with, and what is to wait longer.
#[derive(Default)]
struct Round {
    known: HashSet<SessionId>,
    waiting: Vec<OpenSession>,
    /// How often a session could not be gone on with, and when it is tried again.
    tries: HashMap<SessionId, (u32, Instant)>,
}

impl Round {
    fn put_off(&mut self, session: &SessionId) {
        let (times, at) = self.tries.entry(session.clone()).or_insert((0, Instant::now()));
        let pause = AGAIN.saturating_mul(1 << (*times).min(16)).min(AGAIN_MOST);
        (*times, *at) = (*times + 1, Instant::now() + pause);
    }

    fn may_try(&self, session: &SessionId) -> bool {
        self.tries.get(session).is_none_or(|(_, at)| *at <= Instant::now())
    }
}

impl Runtime {
    /// Goes on with whatever is unfinished until somebody cancels or the runtime is
    /// [drained](Self::drain): at first with all that [`resume_all`](Self::resume_all) finds, then with each
    /// run whose retry or expiry comes due, that a person has answered while nobody drove it, or whose
    /// driver gave up because what it did could not be kept. Up to `at_once` of them at one time, in turns
    /// of their tenants; they wait for slots beside all other runs. One that cannot be gone on with is
    /// tried again later, and later each time. `tell` is given each when nothing of it goes on any more.
    ///
    /// For a service: once, beside everything else. Cancelling ends what it has under way as cancelled.
    pub async fn tend(
        &self,
        at_once: usize,
        cancel: &Cancel,
        tell: &mut (dyn FnMut(&OpenSession, Resumed) + Send),
    ) {
        let (inner, tended) = (&self.0, &self.0.tended);
        tended.is_on.store(true, Relaxed);
        let mut ending = inner.admit.ending();
        let mut round = Round::default();
        let mut going = JoinSet::new();
        let mut sweep_at = Instant::now();
        while !cancel.is_requested() && inner.admit.phase() == Phase::Open {
            let sweeps = Instant::now() >= sweep_at;
            // A store that cannot say so now is asked again.
            let found = self.look(sweeps).unwrap_or_default();
            if sweeps {
                sweep_at = Instant::now() + SWEEP;
            }
            let mut is_longer = false;
            for open in found {
                let is_new = !tended.is_driven(&open.session) && round.may_try(&open.session);
                if is_new && round.known.insert(open.session.clone()) {
                    round.waiting.push(open);
                    is_longer = true;
                }
            }
            if is_longer {
                round.waiting = inner.admit.in_turns(std::mem::take(&mut round.waiting));
            }
            let free = at_once.max(1).saturating_sub(going.len()).min(round.waiting.len());
            for open in round.waiting.drain(..free) {
                let (runtime, cancel) = (self.clone(), cancel.clone());
                going.spawn(async move {
                    let resumed = runtime.resume_open(&open, &cancel).await;
                    (open, resumed)
                });
            }
            let wake = inner.store().ok().and_then(|store| store.next_wake().ok().flatten());
            let wake = wake.filter(|wake| *wake > inner.config.clock.now());
            tokio::select! {
                () = cancel.requested() => {}
                _ = ending.beyond(Phase::Open) => {}
                Some(joined) = going.join_next(), if !going.is_empty() => {
                    over(joined, &mut round, tell);
                }
                () = tended.notify.notified() => {}
                () = async { inner.config.clock.until(wake.unwrap_or_default()).await }, if wake.is_some() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        while let Some(joined) = going.join_next().await {
            over(joined, &mut round, tell);
        }
        tended.is_on.store(false, Relaxed);
        lock(&tended.freed).clear();
    }

    /// What is unfinished, as far as there was word of it.
    fn look(&self, sweeps: bool) -> Result<Vec<OpenSession>, crate::Error> {
        let inner = &self.0;
        let (store, now) = (inner.store()?, inner.config.clock.now());
        let freed = std::mem::take(&mut *lock(&inner.tended.freed));
        if sweeps {
            return self.unfinished();
        }
        let mut found = store.due(now, DUE)?;
        for (tenant, session) in freed {
            let summary = match store.session(&tenant, &session) {
                Ok(summary) => summary,
                Err(ringfence_store::Error::NoSuchSession) => continue,
                Err(error) => {
                    inner.tended.free(&tenant, &session);
                    return Err(error.into());
                }
            };
            let open = OpenSession {
                tenant,
                session,
                user: summary.user,
                agent: summary.agent,
                waits: summary.waits,
                wake: summary.wake,
                status: summary.status,
            };
            let is_open = matches!(open.status.as_deref(), Some("running" | "waiting" | "queued"));
            if is_open && is_unfinished(store, &open, now)? {
                found.push(open);
            }
        }
        Ok(found)
    }
}

/// What came of a session.
fn over(
    joined: Result<(OpenSession, Resumed), tokio::task::JoinError>,
    round: &mut Round,
    tell: &mut (dyn FnMut(&OpenSession, Resumed) + Send),
) {
    let (open, resumed) = match joined {
        Ok(joined) => joined,
        // Nobody aborts them: it is the host's own fault, and not to be hidden.
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => return,
        },
    };
    round.known.remove(&open.session);
    match &resumed {
        Resumed::Ended(_) => {
            round.tries.remove(&open.session);
        }
        Resumed::Elsewhere | Resumed::Left | Resumed::Failed(_) => round.put_off(&open.session),
    }
    tell(&open, resumed);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
