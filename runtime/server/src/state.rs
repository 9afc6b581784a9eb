//! What all requests share.

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, OnceLock},
};

use ringfence::Runtime;
use ringfence_observe::{Failures, Metrics};
use tokio::sync::watch;

use crate::{
    config::ServiceConfig, keys::Keys, once::Worker, reading::Reading, room::Room, seal::Seal,
    tide::Tide, works::Works,
};

/// What the service says of itself, for an operator: hears lines that clients are not told.
pub trait Log: Send + Sync {
    /// A request failed in a way that is not the client's.
    fn failed(&self, what: &str, why: &str);
}

/// Shared by all requests. Cheap to clone.
#[derive(Clone)]
pub(crate) struct State(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) runtime: Runtime,
    pub(crate) config: ServiceConfig,
    pub(crate) keys: Keys,
    pub(crate) works: Works,
    pub(crate) tide: Tide,
    pub(crate) seal: Seal,
    pub(crate) worker: Worker,
    pub(crate) log: Arc<dyn Log>,
    /// What happened, for whoever reads it at `/metrics`.
    pub(crate) metrics: Option<Metrics>,
    /// Where the store is read.
    pub(crate) reading: Reading,
    /// What of it arrives nowhere.
    pub(crate) failures: OnceLock<Failures>,
    /// Places of requests that are being answered.
    pub(crate) room: Room,
    /// Whether the service is about to end.
    pub(crate) draining: watch::Sender<bool>,
    /// Whether all work is over, and no connection is taken any more.
    pub(crate) closing: watch::Sender<bool>,
    /// The OpenAPI document.
    pub(crate) document: Vec<u8>,
}

impl State {
    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }
}

impl Deref for State {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}
