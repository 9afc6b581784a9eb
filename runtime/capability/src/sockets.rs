//! The gate of a call's sockets: which names are resolved, which addresses are reached, and what that
//! costs. Knows no WASI types and holds no socket: the sandbox asks before each act.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ringfence_event::Denial;
pub use ringfence_policy::Protocol;
use ringfence_policy::{Permit, SocketPass, SocketTarget};
use tokio::sync::OnceCell;
use url::Host;

use crate::{
    DenialLog, Meter, cost,
    memory::BoxFuture,
    meter::LimitReached,
    network::{Network, is_public},
};

/// Why a socket or a name is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SocketError {
    /// The permit does not open it; the denial is recorded.
    #[error("denied")]
    Denied,
    /// A limit was met.
    #[error(transparent)]
    Limit(#[from] LimitReached),
    /// The name does not resolve.
    #[error("the name does not resolve")]
    Name,
}

/// The sockets of one call.
pub struct Sockets {
    permit: Arc<Permit>,
    network: Arc<dyn Network>,
    meter: Arc<Meter>,
    denials: Arc<DenialLog>,
    /// What names led to. Each is resolved once, so what is connected to is what was judged.
    names: Mutex<HashMap<String, Answer>>,
    /// Where datagrams went.
    peers: Mutex<HashSet<SocketAddr>>,
}

/// The public addresses of a name, once it was resolved.
type Answer = Arc<OnceCell<Vec<IpAddr>>>;

impl Sockets {
    pub(crate) fn new(
        permit: Arc<Permit>,
        network: Arc<dyn Network>,
        meter: Arc<Meter>,
        denials: Arc<DenialLog>,
    ) -> Self {
        let (names, peers) = (Mutex::default(), Mutex::default());
        Self { permit, network, meter, denials, names, peers }
    }

    /// Whether a socket may be made at all: something must be open for it.
    pub fn create(&self, protocol: Protocol) -> Result<(), SocketError> {
        self.meter.charge(cost::SOCKET_CALL)?;
        if self.permit.sockets().iter().any(|pass| pass.protocol == protocol) {
            return Ok(());
        }
        self.deny(self.permit.deny_sockets(protocol))
    }

    /// What a name leads to. Admitted here, before anybody is asked; the future asks, unless the call
    /// did before. An address that is spelled out is itself, whoever may connect to it.
    pub fn look_up(
        self: &Arc<Self>,
        name: &str,
    ) -> Result<BoxFuture<'static, Result<Vec<IpAddr>, SocketError>>, SocketError> {
        self.meter.charge(cost::NAME_LOOKUP)?;
        let known = match SocketTarget::read_host(name) {
            Some(Host::Ipv4(address)) => return Ok(ready(vec![address.into()])),
            Some(Host::Ipv6(address)) => return Ok(ready(vec![address.into()])),
            Some(Host::Domain(known)) => known,
            None => return self.deny(self.permit.deny_name(name)),
        };
        let passes = self.permit.sockets().iter();
        let (mut granted, mut by_name, mut open) = (Vec::new(), false, false);
        for pass in passes.filter(|pass| pass.to.name() == Some(known.as_str())) {
            open = true;
            by_name |= pass.address.is_none();
            granted.extend(pass.address);
        }
        if !open {
            return self.deny(self.permit.deny_name(name));
        }
        granted.dedup();
        if !by_name {
            return Ok(ready(granted));
        }
        let sockets = self.clone();
        Ok(Box::pin(async move {
            let mut found = granted;
            found.extend(sockets.resolve(&known).await?);
            found.dedup();
            if found.is_empty() {
                return sockets.deny(sockets.permit.deny_name_address(&known));
            }
            Ok(found)
        }))
    }

    /// Whether a stream may be opened to an address. Counts as a request, also if it may not.
    pub fn connect(&self, to: SocketAddr) -> Result<(), SocketError> {
        self.meter.request()?;
        self.reach(Protocol::Tcp, to)
    }

    /// Whether datagrams may go to an address, by its being named once for all of them or with each.
    /// The first that a call sends there counts as a request.
    pub fn send_to(&self, to: SocketAddr) -> Result<(), SocketError> {
        self.meter.charge(cost::SOCKET_CALL)?;
        if !lock(&self.peers).contains(&to) {
            self.meter.request()?;
        }
        self.reach(Protocol::Udp, to)?;
        lock(&self.peers).insert(to);
        Ok(())
    }

    /// Whether a socket may be bound: to a port of the system's choice on no address in particular,
    /// which is what it would have without asking, and to nothing that others could know of.
    pub fn bind(&self, protocol: Protocol, to: SocketAddr) -> Result<(), SocketError> {
        self.meter.charge(cost::SOCKET_CALL)?;
        if Self::is_nowhere(to) { Ok(()) } else { self.deny(self.permit.deny_bind(protocol, to)) }
    }

    /// The refusal of a socket that listens.
    pub fn listen(&self, at: SocketAddr) -> SocketError {
        self.denials.record(self.permit.deny_bind(Protocol::Tcp, at));
        SocketError::Denied
    }

    /// Whether an address may be reached, without a word about it: for whoever asks a second time.
    #[must_use]
    pub fn opens(&self, protocol: Protocol, to: SocketAddr) -> bool {
        let address = to.ip().to_canonical();
        let fits = |pass: &&SocketPass| pass.protocol == protocol && pass.to.port() == to.port();
        self.permit.sockets().iter().filter(fits).any(|pass| match (pass.address, pass.to.name()) {
            (Some(granted), _) => granted == address,
            (None, Some(name)) => self.answer(name).get().is_some_and(|all| all.contains(&address)),
            (None, None) => false,
        })
    }

    /// Whether an address is that of a socket which nobody bound yet.
    #[must_use]
    pub fn is_nowhere(address: SocketAddr) -> bool {
        address.ip().is_unspecified() && address.port() == 0
    }

    fn reach(&self, protocol: Protocol, to: SocketAddr) -> Result<(), SocketError> {
        if self.opens(protocol, to) {
            return Ok(());
        }
        let name = self.name_of(to.ip().to_canonical());
        self.deny(self.permit.deny_socket(protocol, to, name.as_deref()))
    }

    /// The name by which the guest came to an address.
    fn name_of(&self, address: IpAddr) -> Option<String> {
        let names = lock(&self.names);
        let led = |answer: &Answer| answer.get().is_some_and(|all| all.contains(&address));
        if let Some((name, _)) = names.iter().find(|(_, answer)| led(answer)) {
            return Some(name.clone());
        }
        let mut passes = self.permit.sockets().iter();
        let pass = passes.find(|pass| pass.address == Some(address))?;
        pass.to.name().map(str::to_owned)
    }

    fn answer(&self, name: &str) -> Answer {
        lock(&self.names).entry(name.to_owned()).or_default().clone()
    }

    /// The public addresses of a name that is open.
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, SocketError> {
        let answer = self.answer(name);
        let resolved = answer.get_or_try_init(|| async {
            let found = self.network.resolve(self.permit.tenant(), name).await;
            let found = found.ok().filter(|found| !found.is_empty()).ok_or(SocketError::Name)?;
            let found = found.into_iter().map(|address| address.to_canonical());
            Ok(found.filter(|address| is_public(*address)).collect())
        });
        resolved.await.cloned()
    }

    fn deny<T>(&self, denial: Denial) -> Result<T, SocketError> {
        self.denials.record(denial);
        Err(SocketError::Denied)
    }
}

fn ready(addresses: Vec<IpAddr>) -> BoxFuture<'static, Result<Vec<IpAddr>, SocketError>> {
    Box::pin(std::future::ready(Ok(addresses)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
