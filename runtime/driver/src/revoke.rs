//! Grants that are taken back while the runtime is open: what runs by them is ended, and nothing begins
//! by them any more.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use ringfence_event::{Denial, FunctionName, TenantId, ToolName, UserId};
use ringfence_policy::{CallRequest, Decision};
use ringfence_sandbox::Cancel;

use crate::{Installed, Runtime, runtime::Inner};

impl Runtime {
    /// Takes back what a tenant is given of a tool, for as long as this runtime is open: a runtime that is
    /// opened anew goes by the operator's file again. Says how many calls that ends.
    ///
    /// Calls that run end as [`Cancelled`](ringfence_event::Outcome::Cancelled), whether guest code runs or
    /// the host is waited for, with what they used recorded; one that was decided and has not begun does
    /// not begin. When this returns no other call begins: it is denied as `not-granted`, and the denial
    /// says that the grant was revoked and names the operator's file. Runs go on, and their models are
    /// told. Answers that people gave to such calls are void.
    ///
    /// What a call has done by then stays done, and other processes on the same store are not told.
    pub fn revoke(&self, tenant: &TenantId, tool: &ToolName) -> usize {
        let running = self.0.calls.revoke(tenant, tool);
        self.0.forget_policies(tenant, tool);
        running.iter().for_each(Cancel::cancel);
        running.len()
    }
}

/// Whose tool.
type Grant = (TenantId, ToolName);

/// The calls that run, and the grants by which none begins.
#[derive(Default)]
pub(crate) struct Calls(Mutex<State>);

#[derive(Default)]
struct State {
    running: HashMap<u64, (Grant, Cancel)>,
    next: u64,
    revoked: HashSet<Grant>,
}

impl Calls {
    /// A call begins; `None` if its grant was taken back after it was decided. One lock is held for both
    /// questions, so that a call is either refused here or found by whoever revokes.
    pub(crate) fn begin(
        &self,
        tenant: &TenantId,
        tool: &ToolName,
        cancel: &Cancel,
    ) -> Option<Running<'_>> {
        let grant = (tenant.clone(), tool.clone());
        let mut state = self.state();
        if state.revoked.contains(&grant) {
            return None;
        }
        let id = state.next;
        state.next += 1;
        // Whoever made the call may have others under the same request.
        let cancel = cancel.child();
        state.running.insert(id, (grant, cancel.clone()));
        Some(Running { calls: self, id, cancel })
    }

    /// Whether a grant was taken back.
    pub(crate) fn is_revoked(&self, tenant: &TenantId, tool: &ToolName) -> bool {
        self.state().revoked.contains(&(tenant.clone(), tool.clone()))
    }

    fn revoke(&self, tenant: &TenantId, tool: &ToolName) -> Vec<Cancel> {
        let grant = (tenant.clone(), tool.clone());
        let mut state = self.state();
        let running = state.running.values().filter(|(of, _)| *of == grant);
        let running = running.map(|(_, cancel)| cancel.clone()).collect();
        state.revoked.insert(grant);
        running
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that runs; forgotten when this is dropped, however it ends.
pub(crate) struct Running<'a> {
    calls: &'a Calls,
    id: u64,
    cancel: Cancel,
}

impl Running<'_> {
    /// What ends this call: when it is revoked, and when whoever made it wants that.
    pub(crate) fn cancel(&self) -> &Cancel {
        &self.cancel
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.calls.state().running.remove(&self.id);
    }
}

/// Why a call is refused whose grant was taken back; nothing if it was not.
pub(crate) fn denials(
    inner: &Inner,
    installed: &Installed,
    (tenant, user): (&TenantId, &UserId),
    function: &FunctionName,
) -> Vec<Denial> {
    if !inner.calls.is_revoked(tenant, &installed.manifest.name) {
        return vec![];
    }
    match inner.policy(tenant, installed).decide(&CallRequest::new(user, function, "{}")) {
        Decision::Denial(denial) => vec![denial],
        Decision::Permit(_) | Decision::Hold(..) => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One call of two under one request is ended, by its tenant and its tool; what is over is forgotten.
    #[test]
    fn those_are_ended_that_run_by_the_grant() {
        let (calls, cancel) = (Calls::default(), Cancel::new());
        let name = |tenant: &str, tool: &str| (tenant.parse().unwrap(), tool.parse().unwrap());
        let grants: [Grant; 3] = [name("a", "files"), name("a", "mail"), name("b", "files")];
        let begin = |(tenant, tool): &Grant| calls.begin(tenant, tool, &cancel);
        let running = grants.each_ref().map(|grant| begin(grant).expect("nothing is revoked"));
        drop(begin(&grants[0]));
        let told = calls.revoke(&grants[0].0, &grants[0].1);
        assert_eq!(told.len(), 1, "and not the one that is over");
        told.iter().for_each(Cancel::cancel);
        let ended = running.each_ref().map(|running| running.cancel().is_requested());
        assert_eq!(ended, [true, false, false]);
        assert_eq!(grants.each_ref().map(|grant| begin(grant).is_some()), [false, true, true]);
        cancel.cancel();
        assert!(running.iter().all(|running| running.cancel().is_requested()));
        drop(running);
        assert!(calls.state().running.is_empty());
    }

    /// A call that panics is forgotten too.
    #[test]
    fn a_call_that_panics_is_forgotten() {
        let calls = Calls::default();
        let panics = std::panic::AssertUnwindSafe(|| {
            let (tenant, tool) = ("a".parse().unwrap(), "files".parse().unwrap());
            let _running = calls.begin(&tenant, &tool, &Cancel::new());
            panic!("as it was told");
        });
        std::panic::catch_unwind(panics).unwrap_err();
        assert!(calls.state().running.is_empty());
    }
}
