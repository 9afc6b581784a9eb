//! Tells whoever waits for events that something was stored, by this process or another; and looks at
//! the keys in the same breath.

use std::{sync::atomic::AtomicBool, sync::atomic::Ordering, time::Duration};

use ringfence::event::{KeyId, TenantId};
use tokio::sync::watch;

use crate::state::State;

/// How often the store is asked whether anything changed. It costs microseconds, and is how long an
/// event takes at most from being durable to being told.
const LOOK: Duration = Duration::from_millis(20);

/// With how many of these looks the keys are looked at: a revoked one has a second, and what runs by it
/// needs some of that to end.
const KEYS_EVERY: u32 = 10;

/// The number of changes seen so far; and whether the store answers.
#[derive(Debug)]
pub(crate) struct Tide {
    changes: watch::Sender<u64>,
    answers: AtomicBool,
}

impl Default for Tide {
    fn default() -> Self {
        Self { changes: watch::Sender::new(0), answers: AtomicBool::new(true) }
    }
}

impl Tide {
    /// To be asked for before looking at the store: what is stored after that is told.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether the store could be read when it was last looked at.
    pub(crate) fn store_answers(&self) -> bool {
        self.answers.load(Ordering::Relaxed)
    }
}

/// Looks until it is dropped.
pub(crate) async fn look(state: State) {
    let mut beat = tokio::time::interval(LOOK);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut seen = None;
    for look in 0_u32.. {
        beat.tick().await;
        let version = state.runtime.data_version();
        state.tide.answers.store(version.is_ok(), Ordering::Relaxed);
        let Ok(version) = version else { continue };
        if seen.replace(version) != Some(version) {
            state.tide.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
        }
        if look % KEYS_EVERY == 0 {
            // A store that cannot be read: the keys are not gone by for longer than is safe, and
            // readiness says so.
            let _ = state.keys.refresh(&state.runtime);
            let now = state.runtime.now();
            state.works.end_unless(|key| state.keys.is_valid(key, now));
            for (tenant, key) in state.keys.take_revoked() {
                tokio::spawn(end_runs(state.clone(), tenant, key));
            }
        }
    }
}

/// Ends the runs that were begun with a key, whoever goes on with them: as often as it takes.
async fn end_runs(state: State, tenant: TenantId, key: KeyId) {
    if let Err(error) = state.runtime.end_runs_of(&tenant, &key).await {
        state.log.failed(&format!("ending the runs of key {key}"), &error.to_string());
        state.keys.revoked_still(tenant, key);
    }
}
