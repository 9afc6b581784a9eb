//! How much there is to do, and whether what is done can be kept: for readiness and metrics. Told from
//! what is counted anyway; nothing waits for it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ringfence_event::TenantId;
use ringfence_store::{Failing, Store};

use crate::{
    PlaceLoad, Refusal, Runtime,
    admit::{Phase, Tenant},
    runtime::Inner,
};

/// How often a store that keeps nothing is tried anew.
const PROBE: Duration = Duration::from_secs(1);

/// How a runtime stands.
#[derive(Clone, Debug)]
pub struct Load {
    /// The things that all tenants share.
    pub places: Vec<SharedLoad>,
    /// The tenants that anything was asked for, in the order of their names.
    pub tenants: Vec<TenantLoad>,
    /// Whether what happens is kept.
    pub store: StoreHealth,
    /// Whether the runtime takes no new work any more.
    pub draining: bool,
}

/// How a thing stands that all tenants share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedLoad {
    /// `calls`, `runs`, `compiles`, or `model.NAME`.
    pub place: String,
    /// How much runs at one time at most.
    pub slots: u32,
    /// How it stands with all tenants together.
    pub load: PlaceLoad,
}

/// How it stands with one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantLoad {
    /// Which.
    pub tenant: TenantId,
    /// How much of its direct calls and runs is under way or waits.
    pub inside: u32,
    /// How much was refused for its rate, since the runtime was opened.
    pub over_rate: u64,
    /// The places where it has something, or was refused something.
    pub places: Vec<(String, PlaceLoad)>,
}

/// Whether what happens is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreHealth {
    /// It is.
    Good,
    /// It is not, at present: work is refused until it is.
    Failing(Failing),
    /// The store cannot be opened.
    NotOpen(String),
}

impl StoreHealth {
    /// Whether what happens is kept.
    #[must_use]
    pub fn is_good(&self) -> bool {
        *self == Self::Good
    }
}

impl Runtime {
    /// How much there is to do, tenant by tenant and place by place, and whether the store keeps it. Cheap:
    /// to be asked by every look at readiness and metrics. Where the store keeps nothing it is tried anew
    /// meanwhile, once a second at most, so that whoever asks again learns when it does.
    #[must_use]
    pub fn load(&self) -> Load {
        let inner = &self.0;
        let (mut shared, mut places) = (vec![], vec![]);
        inner.admit.each_place(|name, place| {
            let (slots, load) = place.load();
            shared.push(SharedLoad { place: name.to_owned(), slots, load });
            places.push((name.to_owned(), place.clone()));
        });
        let of_tenant = |tenant: Arc<Tenant>| {
            let at = places.iter().map(|(name, place)| (name.clone(), place.load_of(&tenant)));
            TenantLoad {
                places: at.filter(|(_, load)| *load != PlaceLoad::default()).collect(),
                tenant: tenant.id().clone(),
                inside: tenant.inside(),
                over_rate: tenant.over_rate(),
            }
        };
        Load {
            places: shared,
            tenants: inner.admit.tenants().into_iter().map(of_tenant).collect(),
            store: inner.store_health(),
            draining: inner.admit.phase() > Phase::Open,
        }
    }
}

impl Inner {
    fn store_health(&self) -> StoreHealth {
        match self.store() {
            Err(error) => StoreHealth::NotOpen(error.to_string()),
            Ok(store) => match self.failing(store) {
                None => StoreHealth::Good,
                Some(failing) => StoreHealth::Failing(failing),
            },
        }
    }

    /// Refuses work that could not be kept.
    pub(crate) fn check_store(&self) -> Result<(), Refusal> {
        let Some(store) = self.opened_store() else { return Ok(()) };
        match self.failing(store) {
            None => Ok(()),
            Some(failing) => Err(Refusal::Store {
                message: failing.message,
                retry_after_ms: u64::try_from(PROBE.as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }

    /// Why nothing is kept at present; then it is tried meanwhile whether that is so still.
    fn failing(&self, store: &Arc<Store>) -> Option<Failing> {
        let failing = store.failing()?;
        if self.probe.is_due()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let store = store.clone();
            // What comes of it is told by the store itself.
            runtime.spawn(async move { store.probe().await });
        }
        Some(failing)
    }
}

/// When the store was tried last.
#[derive(Debug, Default)]
pub(crate) struct Probe(Mutex<Option<Instant>>);

impl Probe {
    fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < PROBE) {
            return false;
        }
        *last = Some(Instant::now());
        true
    }
}
