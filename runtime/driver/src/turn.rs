//! The calls of one session that wait for their turn among the calls of all tenants. A call has its turn
//! before it is said to have started: one that only waited when the host died did not happen.

use std::{collections::HashMap, sync::Arc};

use ringfence_event::CallId;
use ringfence_session::Effect;
use tokio::task::AbortHandle;

use crate::admit::{Admission, Slot, Tenant};

/// Where the calls stand that are to start.
pub(crate) struct Turns {
    admit: Arc<Admission>,
    tenant: Arc<Tenant>,
    calls: HashMap<CallId, Turn>,
}

enum Turn {
    /// It waits in this task.
    Waits(AbortHandle),
    /// It may start.
    Came(Slot),
}

impl Turns {
    pub(crate) fn new(admit: Arc<Admission>, tenant: Arc<Tenant>) -> Self {
        Self { admit, tenant, calls: HashMap::new() }
    }

    pub(crate) fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }

    /// The slot of a call that may come to hold so many bytes, or else, unless it waits already, what it
    /// is to wait for.
    pub(crate) fn take(
        &mut self,
        call: &CallId,
        bytes: u64,
    ) -> (Option<Slot>, Option<impl Future<Output = Option<Slot>> + Send + use<>>) {
        match self.calls.remove(call) {
            Some(Turn::Came(slot)) => return (Some(slot), None),
            Some(waits @ Turn::Waits(_)) => {
                self.calls.insert(call.clone(), waits);
                return (None, None);
            }
            None => {}
        }
        if let Some(slot) = self.admit.call_now(&self.tenant, bytes) {
            return (Some(slot), None);
        }
        let (admit, tenant) = (self.admit.clone(), self.tenant.clone());
        (None, Some(async move { admit.call(&tenant, bytes).await }))
    }

    /// A call waits in this task.
    pub(crate) fn waits(&mut self, call: &CallId, task: AbortHandle) {
        self.calls.insert(call.clone(), Turn::Waits(task));
    }

    /// A call's turn has come. If nobody waits for that any more, it is the next one's.
    pub(crate) fn came(&mut self, call: &CallId, slot: Option<Slot>) {
        if let (Some(turn), Some(slot)) = (self.calls.get_mut(call), slot) {
            *turn = Turn::Came(slot);
        }
    }

    /// What is not to start any more leaves its place to others; says what that is.
    pub(crate) fn keep(&mut self, effects: &[Effect]) -> Vec<CallId> {
        let mut left = vec![];
        if self.calls.is_empty() {
            return left;
        }
        let starts = |call: &CallId| {
            let mut starting = effects.iter();
            starting.any(|effect| matches!(effect, Effect::Run { call: to, .. } if to == call))
        };
        self.calls.retain(|call, turn| {
            let stays = starts(call);
            if !stays {
                left.push(call.clone());
                if let Turn::Waits(task) = turn {
                    task.abort();
                }
            }
            stays
        });
        left
    }
}
