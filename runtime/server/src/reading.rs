//! Reading: what is asked of the store may take long (a session is as long as its journal), so it is done
//! beside the threads that answer, as much at one time as there are places, and half of them for one tenant.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    thread::available_parallelism,
};

use ringfence::event::TenantId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::Problem;

/// How much is read at one time on each processor: half of it waits for the disk.
const PER_PROCESSOR: usize = 2;
/// The fewest: two tenants read beside each other on whatever machine.
const LEAST: usize = 4;

/// The places to read in.
#[derive(Debug)]
pub(crate) struct Reading {
    shared: Arc<Semaphore>,
    per_tenant: usize,
    tenants: Mutex<HashMap<TenantId, Arc<Semaphore>>>,
}

impl Default for Reading {
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self::new((processors * PER_PROCESSOR).max(LEAST))
    }
}

impl Reading {
    fn new(places: usize) -> Self {
        let per_tenant = (places / 2).max(1);
        Self { shared: Arc::new(Semaphore::new(places)), per_tenant, tenants: Mutex::default() }
    }

    /// Does `read` on a thread of its own when it is a tenant's turn. Who goes away while it waits reads
    /// nothing.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        tenant: &TenantId,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let places = self.place(tenant).await?;
        let reading = tokio::task::spawn_blocking(move || {
            // Who wanted it may go away meanwhile: its places are taken for as long as it reads.
            let _held = places;
            read()
        });
        reading.await.map_err(|error| Problem::internal(error.to_string()))
    }

    /// A tenant's own place first: what waits for that keeps nobody else waiting.
    async fn place(&self, tenant: &TenantId) -> Result<[OwnedSemaphorePermit; 2], Problem> {
        let own = {
            let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Semaphore::new(self.per_tenant));
            tenants.entry(tenant.clone()).or_insert_with(new).clone()
        };
        // They are never closed.
        let closed = |_| Problem::internal("nothing is read any more");
        let own = own.acquire_owned().await.map_err(closed)?;
        let shared = self.shared.clone().acquire_owned().await.map_err(closed)?;
        Ok([own, shared])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// On one thread: had it read there, nothing else would go on.
    #[tokio::test]
    async fn who_reads_for_long_keeps_neither_the_thread_nor_another_tenant() {
        let reading = Arc::new(Reading::new(2));
        let [acme, other]: [TenantId; 2] = ["acme", "other"].map(|name| name.parse().unwrap());
        let (release, held) = mpsc::channel::<()>();
        let (say, said) = tokio::sync::oneshot::channel();
        let long = {
            let (reading, acme) = (reading.clone(), acme.clone());
            tokio::spawn(async move {
                let read = move || {
                    let _ = say.send(());
                    held.recv()
                };
                reading.read(&acme, read).await
            })
        };
        said.await.unwrap();
        // The tenant's next one waits behind its first.
        let next = {
            let (reading, acme) = (reading.clone(), acme.clone());
            tokio::spawn(async move { reading.read(&acme, || 1).await })
        };
        assert_eq!(reading.read(&other, || 2).await.unwrap(), 2);
        assert_eq!(reading.read(&other, || 3).await.unwrap(), 3);
        assert!(!next.is_finished());
        release.send(()).unwrap();
        long.await.unwrap().unwrap().unwrap();
        assert_eq!(next.await.unwrap().unwrap(), 1);
    }

    #[tokio::test]
    async fn a_read_that_panics_is_the_hosts_failure_and_gives_its_place_back() {
        let reading = Reading::new(2);
        let tenant = TenantId::local();
        let problem = reading.read(&tenant, || panic!("damaged")).await.unwrap_err();
        assert!(problem.internal.is_some());
        assert_eq!(reading.read(&tenant, || 1).await.unwrap(), 1);
    }
}
