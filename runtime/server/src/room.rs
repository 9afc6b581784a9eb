//! Room for requests: how many are answered at one time, and how many of one tenant's. Who only waits, for a run
//! or for a slot, takes nothing of what all tenants share: the library says how much of that there is.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ringfence::event::TenantId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The room of all tenants.
#[derive(Debug)]
pub(crate) struct Room {
    shared: Arc<Semaphore>,
    tenants: Arc<Tenants>,
    per_tenant: usize,
}

/// How many requests of each tenant are under way.
type Tenants = Mutex<HashMap<TenantId, usize>>;

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// The tenant has as many as it may.
    OfTenant,
    /// All have as many as there are.
    OfService,
}

/// A request's place; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    shared: Mutex<Option<OwnedSemaphorePermit>>,
    tenants: Arc<Tenants>,
    tenant: TenantId,
}

impl Room {
    pub(crate) fn new(requests: usize, per_tenant: usize) -> Self {
        Self { shared: Arc::new(Semaphore::new(requests)), tenants: Arc::default(), per_tenant }
    }

    /// A place for a request, if there is one.
    pub(crate) fn take(&self, tenant: &TenantId) -> Result<Place, NoPlace> {
        let mut tenants = lock(&self.tenants);
        let count = tenants.get(tenant).copied().unwrap_or_default();
        if count >= self.per_tenant {
            return Err(NoPlace::OfTenant);
        }
        let permit = self.shared.clone().try_acquire_owned();
        let permit = permit.map_err(|_| NoPlace::OfService)?;
        tenants.insert(tenant.clone(), count + 1);
        Ok(Place {
            shared: Mutex::new(Some(permit)),
            tenants: self.tenants.clone(),
            tenant: tenant.clone(),
        })
    }
}

impl Place {
    /// The request only waits from now on: it counts among its tenant's, and no longer among those of all.
    pub(crate) fn only_waits(&self) {
        drop(lock(&self.shared).take());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut tenants = lock(&self.tenants);
        if let Some(count) = tenants.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                tenants.remove(&self.tenant);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_its_share_and_who_waits_leaves_room_for_others() {
        let room = Room::new(3, 2);
        let [acme, other]: [TenantId; 2] = ["acme", "other"].map(|name| name.parse().unwrap());
        let (one, two) = (room.take(&acme).unwrap(), room.take(&acme).unwrap());
        assert_eq!(room.take(&acme).err(), Some(NoPlace::OfTenant));
        let three = room.take(&other).unwrap();
        assert_eq!(room.take(&other).err(), Some(NoPlace::OfService));
        two.only_waits();
        two.only_waits();
        let four = room.take(&other).unwrap();
        assert_eq!(room.take(&acme).err(), Some(NoPlace::OfTenant), "it counts among its own");
        drop(one);
        let five = room.take(&acme).unwrap();
        drop((two, three, four, five));
        assert!(lock(&room.tenants).is_empty(), "nobody is kept in mind for nothing");
        assert_eq!(room.shared.available_permits(), 3);
    }
}
