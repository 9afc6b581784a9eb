//! The operating system's network. Its resolver can only be waited for by a thread, so the threads
//! that wait are few, and one tenant has only some of them.

use std::{
    collections::HashMap,
    fs, io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::{Arc, Mutex, PoisonError},
};

use ringfence_event::TenantId;
use tokio::{net::TcpStream, sync::Semaphore};

use super::Network;
use crate::memory::BoxFuture;

/// The most names that are being resolved at one time, each by a thread. A resolver that answers does
/// so in milliseconds; one that does not must leave most of the runtime's 512 threads to others.
const LOOKUPS: usize = 32;
/// Those of them that one tenant may have.
const LOOKUPS_OF_TENANT: usize = 8;

/// Names that are no business of DNS.
const HOSTS_FILE: &str = "/etc/hosts";

/// The network of the machine this runs on. Proxy variables, search domains and host aliases of the
/// environment are not looked at.
pub struct SystemNetwork {
    lookups: Arc<Semaphore>,
    of_tenants: Mutex<HashMap<TenantId, Arc<Semaphore>>>,
}

impl Default for SystemNetwork {
    fn default() -> Self {
        Self { lookups: Arc::new(Semaphore::new(LOOKUPS)), of_tenants: Mutex::default() }
    }
}

impl SystemNetwork {
    fn of_tenant(&self, tenant: &TenantId) -> Arc<Semaphore> {
        let mut tenants = self.of_tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let own = tenants.entry(tenant.clone());
        own.or_insert_with(|| Arc::new(Semaphore::new(LOOKUPS_OF_TENANT))).clone()
    }

    /// Runs what waits on a thread, as soon as there is one for this tenant.
    async fn on_a_thread<T: Send + 'static>(
        &self,
        tenant: &TenantId,
        wait: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let own = self.of_tenant(tenant).acquire_owned().await.map_err(io::Error::other)?;
        let any = self.lookups.clone().acquire_owned().await.map_err(io::Error::other)?;
        let waiting = tokio::task::spawn_blocking(move || {
            // Held by the thread, not by whoever waits for it: a thread that hangs on after its call is
            // over still counts.
            let _held = (own, any);
            wait()
        });
        waiting.await.map_err(io::Error::other)?
    }
}

impl Network for SystemNetwork {
    fn resolve<'a>(
        &'a self,
        tenant: &'a TenantId,
        name: &'a str,
    ) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let asked = name.to_owned();
        Box::pin(self.on_a_thread(tenant, move || look_up(&asked)))
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        Box::pin(TcpStream::connect(to))
    }
}

fn look_up(name: &str) -> io::Result<Vec<IpAddr>> {
    // Without the file there is nothing in it.
    let listed = in_hosts(&fs::read_to_string(HOSTS_FILE).unwrap_or_default(), name);
    if !listed.is_empty() {
        return Ok(listed);
    }
    // The dot at its end makes the name absolute for the system's resolver, which then tries neither
    // search domains nor aliases. It also passes by the hosts file, which is why that was read above.
    Ok((format!("{name}."), 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

/// The addresses of a name in the text of a hosts file.
fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let named = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn the_hosts_file_is_read_as_the_system_reads_it() {
        let text = "127.0.0.1 localhost\n# 10.0.0.1 db\n10.0.0.5\tdb DB.example # db2\n::1 localhost\nbad db\n";
        let check = |name: &str, addresses: &[&str]| {
            let found: Vec<String> = in_hosts(text, name).iter().map(IpAddr::to_string).collect();
            assert_eq!(found, addresses, "{name}");
        };
        check("localhost", &["127.0.0.1", "::1"]);
        check("db", &["10.0.0.5"]);
        check("db.example", &["10.0.0.5"]);
        check("db2", &[]);
        check("host", &[]);
    }

    /// H3: a tenant whose names are never answered has used up its own threads; another tenant's name
    /// is resolved meanwhile, and the first one's are again as soon as a thread is free.
    #[tokio::test]
    async fn h3_names_that_are_never_answered_take_few_threads() {
        let network = Arc::new(SystemNetwork::default());
        let [bad, good]: [TenantId; 2] = ["bad".parse().unwrap(), "good".parse().unwrap()];
        let (free, stuck) = mpsc::channel::<()>();
        let stuck = Arc::new(Mutex::new(stuck));
        let mut waits = Vec::new();
        for _ in 0..LOOKUPS_OF_TENANT {
            let stuck = stuck.clone();
            let wait = move || {
                let _: Result<(), _> = stuck.lock().unwrap().recv();
                Ok(())
            };
            let (network, bad) = (network.clone(), bad.clone());
            waits.push(tokio::spawn(async move { network.on_a_thread(&bad, wait).await }));
        }
        while network.of_tenant(&bad).available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        // Nobody waits any more, and the threads still do.
        waits.iter().for_each(tokio::task::JoinHandle::abort);
        for wait in waits {
            assert!(wait.await.unwrap_err().is_cancelled());
        }
        assert_eq!(network.of_tenant(&bad).available_permits(), 0);
        assert_eq!(network.lookups.available_permits(), LOOKUPS - LOOKUPS_OF_TENANT);
        let next = network.resolve(&bad, "localhost");
        let mut next = std::pin::pin!(next);
        let pending = std::future::poll_fn(|context| {
            std::task::Poll::Ready(next.as_mut().poll(context).is_pending())
        });
        assert!(pending.await);
        assert!(!network.resolve(&good, "localhost").await.unwrap().is_empty());
        drop(free);
        assert!(!next.await.unwrap().is_empty());
    }
}
