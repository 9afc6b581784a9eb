//! Tenants that may begin nothing while a sink that they must have takes nothing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ringfence_event::TenantId;

use crate::source::Source;

/// Something that takes nothing now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Whose; `None` for the exporter of spans.
    pub tenant: Option<TenantId>,
    /// Which sink.
    pub sink: String,
    /// Whether its tenant begins nothing new meanwhile.
    pub required: bool,
    /// Why, for the operator: it may name the host's files and servers.
    pub why: String,
}

/// Says at any time what takes nothing.
#[derive(Clone)]
pub struct Failures(pub(crate) Arc<Gate>);

impl Failures {
    /// Sinks that take nothing now, and the exporter of spans if it does not.
    #[must_use]
    pub fn now(&self) -> Vec<Failing> {
        self.0.failing()
    }
}

impl std::fmt::Debug for Failures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.now()).finish()
    }
}

/// Which sinks of which tenants take nothing, and why.
pub(crate) struct Gate {
    source: Arc<dyn Source>,
    failing: Mutex<BTreeMap<Name, (bool, String)>>,
}

/// A tenant and a sink of its.
type Name = (Option<TenantId>, String);

impl Gate {
    pub(crate) fn new(source: Arc<dyn Source>) -> Self {
        Self { source, failing: Mutex::default() }
    }

    pub(crate) fn failing(&self) -> Vec<Failing> {
        let all = self.lock().clone().into_iter();
        all.map(|((tenant, sink), (required, why))| Failing { tenant, sink, required, why })
            .collect()
    }

    /// A sink takes nothing for this reason.
    pub(crate) fn fails(&self, tenant: Option<&TenantId>, sink: &str, required: bool, why: &str) {
        let mut failing = self.lock();
        failing.insert((tenant.cloned(), sink.to_owned()), (required, why.to_owned()));
        self.suspend(&failing, tenant.filter(|_| required));
    }

    /// A sink takes what it is given.
    pub(crate) fn works(&self, tenant: Option<&TenantId>, sink: &str) {
        let mut failing = self.lock();
        if let Some((required, _)) = failing.remove(&(tenant.cloned(), sink.to_owned())) {
            self.suspend(&failing, tenant.filter(|_| required));
        }
    }

    /// Told under the lock, so that the last word is the last.
    fn suspend(&self, failing: &BTreeMap<Name, (bool, String)>, tenant: Option<&TenantId>) {
        let Some(tenant) = tenant else { return };
        let mut required = failing
            .iter()
            .filter(|((of, _), (required, _))| *required && of.as_ref() == Some(tenant));
        // Where it lies is the operator's business.
        let why = required.next().map(|((_, sink), _)| {
            format!("its sink `{sink}` must take what happens, and does not")
        });
        self.source.suspend(tenant, why);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Name, (bool, String)>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
