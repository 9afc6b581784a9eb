//! Grants that are taken back while the runtime is open, whole or by what the operator's file says now:
//! what runs by them is ended, and nothing begins by them any more.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use ringfence_event::{Denial, DenialCode, FunctionName, TenantId, ToolName, UserId};
use ringfence_policy::{CallRequest, Decision, ToolPolicy};
use ringfence_sandbox::Cancel;

use crate::{Installed, Runtime, call::refused, runtime::Inner};

impl Runtime {
    /// Takes back what a tenant is given of a tool, for as long as this runtime is open: a runtime that is
    /// opened anew goes by the operator's file again. Says how many calls that ends.
    ///
    /// Calls that run end as [`Cancelled`](ringfence_event::Outcome::Cancelled), whether guest code runs or
    /// the host is waited for, with what they used recorded; one that was decided and has not begun does
    /// not begin. When this returns no other call begins: it is denied as `not-granted`, and the denial
    /// says that the grant was revoked and names the operator's file, also after a
    /// [reload](Self::reload) of that. Runs go on, and their models are told. Answers that people gave to such calls are void.
    ///
    /// What a call has done by then stays done, and other processes on the same store are not told.
    pub fn revoke(&self, tenant: &TenantId, tool: &ToolName) -> usize {
        let running = self.0.calls.revoke(tenant, tool);
        self.0.forget_policies(tenant, tool);
        running.iter().for_each(Cancel::cancel);
        tracing::info!(%tenant, %tool, calls = running.len(), "a grant is taken back");
        running.len()
    }
}

/// Whose tool.
type Grant = (TenantId, ToolName);

/// The calls that run, and the grants by which none begins.
pub(crate) struct Calls<B = Basis>(Mutex<State<B>>);

struct State<B> {
    running: HashMap<u64, Begun<B>>,
    next: u64,
    revoked: HashSet<Grant>,
    /// The runtime ends: nothing goes on.
    ends: bool,
}

/// A call that runs.
struct Begun<B> {
    grant: Grant,
    by: Arc<B>,
    cancel: Cancel,
    /// Whether what it runs by was taken away.
    taken: Arc<AtomicBool>,
}

/// What a call runs by.
pub(crate) struct Basis {
    pub(crate) tenant: TenantId,
    pub(crate) installed: Arc<Installed>,
    pub(crate) function: FunctionName,
    pub(crate) policy: ToolPolicy,
}

impl<B> Default for Calls<B> {
    fn default() -> Self {
        let (running, revoked) = (HashMap::new(), HashSet::new());
        Self(Mutex::new(State { running, next: 0, revoked, ends: false }))
    }
}

impl<B> Calls<B> {
    /// A call begins; `None` if its grant was taken back after it was decided. One lock is held for both
    /// questions, so that a call is either refused here or found by whoever revokes.
    pub(crate) fn begin(
        &self,
        tenant: &TenantId,
        tool: &ToolName,
        by: B,
        cancel: &Cancel,
    ) -> Option<Running<'_, B>> {
        let grant = (tenant.clone(), tool.clone());
        // Whoever made the call may have others under the same request.
        let (cancel, taken) = (cancel.child(), Arc::<AtomicBool>::default());
        let mut state = self.state();
        if state.revoked.contains(&grant) {
            return None;
        }
        if state.ends {
            cancel.cancel();
        }
        let id = state.next;
        state.next += 1;
        state.running.insert(
            id,
            Begun { grant, by: Arc::new(by), cancel: cancel.clone(), taken: taken.clone() },
        );
        Some(Running { calls: self, id, cancel, taken })
    }

    /// Ends the calls of which `is_taken` says that what they run by was taken away, and says how many.
    pub(crate) fn end(&self, mut is_taken: impl FnMut(&B) -> bool) -> usize {
        let of = |begun: &Begun<B>| (begun.by.clone(), begun.cancel.clone(), begun.taken.clone());
        // Asked without the lock: whoever says so may want to know what is revoked.
        let mut running: Vec<_> = self.state().running.values().map(of).collect();
        running.retain(|(by, ..)| is_taken(by));
        for (_, cancel, taken) in &running {
            taken.store(true, Relaxed);
            cancel.cancel();
        }
        running.len()
    }

    /// Ends all of them, and those that begin from now on: the runtime ends.
    pub(crate) fn end_all(&self) {
        let mut state = self.state();
        state.ends = true;
        let running: Vec<_> = state.running.values().map(|begun| begun.cancel.clone()).collect();
        drop(state);
        running.iter().for_each(Cancel::cancel);
    }

    /// Whether a grant was taken back.
    pub(crate) fn is_revoked(&self, tenant: &TenantId, tool: &ToolName) -> bool {
        self.state().revoked.contains(&(tenant.clone(), tool.clone()))
    }

    fn revoke(&self, tenant: &TenantId, tool: &ToolName) -> Vec<Cancel> {
        let grant = (tenant.clone(), tool.clone());
        let mut state = self.state();
        let running = state.running.values().filter(|begun| begun.grant == grant);
        let running = running.map(|begun| begun.cancel.clone()).collect();
        state.revoked.insert(grant);
        running
    }

    fn state(&self) -> MutexGuard<'_, State<B>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that runs; forgotten when this is dropped, however it ends.
pub(crate) struct Running<'a, B> {
    calls: &'a Calls<B>,
    id: u64,
    cancel: Cancel,
    taken: Arc<AtomicBool>,
}

impl<B> Running<'_, B> {
    /// Whether what it runs by was taken away by the operator's file as it is now.
    pub(crate) fn is_taken(&self) -> bool {
        self.taken.load(Relaxed)
    }

    /// What ends this call: when it is revoked, and when whoever made it wants that.
    pub(crate) fn cancel(&self) -> &Cancel {
        &self.cancel
    }
}

impl<B> Drop for Running<'_, B> {
    fn drop(&mut self) {
        self.calls.state().running.remove(&self.id);
    }
}

/// Why a call is refused whose grant was taken back, or by `is_taken` is another one now; nothing if
/// neither is so.
pub(crate) fn denials(
    inner: &Inner,
    installed: &Installed,
    (tenant, user): (&TenantId, &UserId),
    function: &FunctionName,
    is_taken: bool,
) -> Vec<Denial> {
    let tool = &installed.manifest.name;
    if !is_taken && !inner.calls.is_revoked(tenant, tool) {
        return vec![];
    }
    match inner.policy(tenant, installed).decide(&CallRequest::new(user, function, "{}")) {
        Decision::Denial(denial) => vec![denial],
        // A part of it was taken.
        Decision::Permit(_) | Decision::Hold(..) => {
            vec![refused(DenialCode::ChangedSince, tool, function)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(tenant: &str, tool: &str) -> Grant {
        (tenant.parse().expect("a name"), tool.parse().expect("a name"))
    }

    /// One call of two under one request is ended, by its tenant and its tool; what is over is forgotten.
    #[test]
    fn those_are_ended_that_run_by_the_grant() {
        let (calls, cancel) = (Calls::default(), Cancel::new());
        let grants = [named("a", "files"), named("a", "mail"), named("b", "files")];
        let begin = |(tenant, tool): &Grant| calls.begin(tenant, tool, (), &cancel);
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

    /// Those are ended of which it is said that what they run by was taken, and they know that; whoever
    /// says so may ask what is revoked meanwhile.
    #[test]
    fn those_are_ended_whose_basis_is_taken() {
        let (calls, cancel) = (Calls::default(), Cancel::new());
        let grant = named("a", "files");
        let running = [1, 2, 3].map(|by| calls.begin(&grant.0, &grant.1, by, &cancel));
        let ended = calls.end(|by| *by == 2 && !calls.is_revoked(&grant.0, &grant.1));
        assert_eq!(ended, 1);
        let of = |running: &Option<Running<'_, i32>>| {
            let running = running.as_ref().expect("nothing is revoked");
            (running.cancel().is_requested(), running.is_taken())
        };
        assert_eq!(running.each_ref().map(of), [(false, false), (true, true), (false, false)]);
        // At the end of the runtime all of them end, and what begins then ends at once.
        calls.end_all();
        let late = [calls.begin(&grant.0, &grant.1, 4, &cancel)];
        let mut all = running.iter().chain(&late).map(of);
        assert!(all.all(|(ended, _)| ended));
        assert!(!cancel.is_requested(), "whoever made them may have others");
    }

    /// A call that panics is forgotten too.
    #[test]
    fn a_call_that_panics_is_forgotten() {
        let calls = Calls::default();
        let panics = std::panic::AssertUnwindSafe(|| {
            let (tenant, tool) = named("a", "files");
            let _running = calls.begin(&tenant, &tool, (), &Cancel::new());
            panic!("as it was told");
        });
        std::panic::catch_unwind(panics).expect_err("as it was told");
        assert!(calls.state().running.is_empty());
    }
}
