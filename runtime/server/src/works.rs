//! What is under way: runs, calls and event streams, each with the key that it was started with. A key
//! that ends takes them with it, and a service that is about to end waits for them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ringfence::{
    Cancel,
    event::{KeyId, TenantId},
};

/// What kind of work it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A run of a session: the journal has all of it, so another process can go on.
    Run,
    /// A direct call: nobody could go on with it.
    Call,
    /// A stream of events.
    Stream,
}

/// All work under way. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Works(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    under_way: HashMap<u64, Entry>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    kind: Kind,
    /// With which it ends; nothing for what somebody else began.
    key: Option<KeyId>,
    tenant: TenantId,
    cancel: Cancel,
}

/// One piece of work; over when this is dropped.
#[derive(Debug)]
pub(crate) struct Work {
    works: Works,
    id: u64,
    /// What ends it: its key's end, the service's, or whoever wants that.
    pub(crate) cancel: Cancel,
}

impl Works {
    /// A piece of work begins.
    pub(crate) fn begin(&self, kind: Kind, key: Option<&KeyId>, tenant: &TenantId) -> Work {
        let cancel = Cancel::new();
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        let (key, tenant) = (key.cloned(), tenant.clone());
        state.under_way.insert(id, Entry { kind, key, tenant, cancel: cancel.clone() });
        Work { works: self.clone(), id, cancel }
    }

    /// How much of a kind is under way, in all and of one tenant.
    pub(crate) fn count(&self, kind: Kind, tenant: &TenantId) -> (usize, usize) {
        let state = self.state();
        let of_kind = state.under_way.values().filter(|entry| entry.kind == kind);
        of_kind
            .fold((0, 0), |(all, own), entry| (all + 1, own + usize::from(entry.tenant == *tenant)))
    }

    /// Ends what was started with a key that is not valid.
    pub(crate) fn end_unless(&self, is_valid: impl Fn(&KeyId) -> bool) {
        let state = self.state();
        let mut known: HashMap<&KeyId, bool> = HashMap::new();
        for entry in state.under_way.values() {
            let Some(key) = &entry.key else { continue };
            if !*known.entry(key).or_insert_with(|| is_valid(key)) {
                entry.cancel.cancel();
            }
        }
    }

    /// Ends all work of a kind.
    pub(crate) fn end_all(&self, kind: Kind) {
        let state = self.state();
        let of_kind = state.under_way.values().filter(|entry| entry.kind == kind);
        of_kind.for_each(|entry| entry.cancel.cancel());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    /// What it is for stands in the journal now, with its key: from there it is ended, and what it does for
    /// others beside that goes on.
    pub(crate) fn is_recorded(&self) {
        if let Some(entry) = self.works.state().under_way.get_mut(&self.id) {
            entry.key = None;
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.works.state().under_way.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_ends_with_its_key_and_with_its_kind() {
        let works = Works::default();
        let key = |n: u8| KeyId::from_random([n; 16]);
        let tenant: TenantId = "acme".parse().unwrap();
        let one = works.begin(Kind::Run, Some(&key(1)), &tenant);
        let two = works.begin(Kind::Call, Some(&key(2)), &TenantId::local());
        works.end_unless(|id| *id == key(2));
        assert_eq!((one.cancel.is_requested(), two.cancel.is_requested()), (true, false));
        // What is in the journal is ended there, and what nobody's key began is not ended with any.
        let (three, four) =
            (works.begin(Kind::Run, Some(&key(1)), &tenant), works.begin(Kind::Run, None, &tenant));
        three.is_recorded();
        works.end_unless(|_| false);
        assert!(!three.cancel.is_requested() && !four.cancel.is_requested());
        drop((three, four));
        assert_eq!(works.count(Kind::Run, &tenant), (1, 1));
        assert_eq!(works.count(Kind::Call, &tenant), (1, 0));
        drop(one);
        assert_eq!(works.count(Kind::Run, &tenant), (0, 0));
        works.end_all(Kind::Run);
        assert_eq!(works.count(Kind::Call, &TenantId::local()), (1, 1));
        works.end_all(Kind::Call);
        assert!(two.cancel.is_requested());
    }
}
