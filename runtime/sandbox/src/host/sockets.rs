//! `wasi:sockets`: upstream's sockets, behind the capability's gate. Each act is asked for, charged and
//! denied here, before upstream hears of it; upstream's own check of addresses asks the same gate again.

mod lookup;
mod tcp;
mod udp;

use std::{net::SocketAddr, sync::Arc};

use ringfence_capability::{
    LimitReached,
    sockets::{self, Protocol, Sockets},
};
use wasmtime::{Result, component::Resource};
use wasmtime_wasi::{
    WasiCtxBuilder,
    p2::{
        Network, SocketError,
        bindings::sockets::network::{self, ErrorCode},
    },
    sockets::{SocketAddrUse, WasiSocketsView},
};

#[expect(
    unreachable_pub,
    reason = "the generated bindings re-export it, and take nothing less"
)]
pub use lookup::Lookup;

use crate::state::State;

/// Lets a call's sockets be made, and its addresses be checked by its gate.
pub(crate) fn allow(wasi: &mut WasiCtxBuilder, gate: Option<Arc<Sockets>>) {
    let open = gate.is_some();
    wasi.allow_tcp(open).allow_udp(open).allow_ip_name_lookup(false);
    wasi.socket_addr_check(move |address, used| {
        let opens = gate.as_ref().is_some_and(|gate| opens(gate, address, used));
        Box::pin(std::future::ready(opens))
    });
}

fn opens(gate: &Sockets, address: SocketAddr, used: SocketAddrUse) -> bool {
    match used {
        SocketAddrUse::TcpConnect => gate.opens(Protocol::Tcp, address),
        // Also who may answer: what a stranger sends to the port is dropped before anybody reads it.
        SocketAddrUse::UdpSend | SocketAddrUse::UdpReceive => gate.opens(Protocol::Udp, address),
        SocketAddrUse::TcpBind | SocketAddrUse::UdpBind => Sockets::is_nowhere(address),
        SocketAddrUse::TcpListen | SocketAddrUse::TcpAccept => false,
    }
}

/// What a guest sees of a refusal; a limit is a trap.
fn refused(error: sockets::SocketError) -> SocketError {
    match error {
        sockets::SocketError::Denied => ErrorCode::AccessDenied.into(),
        sockets::SocketError::Limit(limit) => limited(limit),
        sockets::SocketError::Name => ErrorCode::NameUnresolvable.into(),
    }
}

fn limited(limit: LimitReached) -> SocketError {
    SocketError::trap(limit)
}

impl State {
    /// The gate of the call's sockets; there is none while a component says what it offers.
    fn gate(&self) -> Result<&Arc<Sockets>, SocketError> {
        let gate = self.opened.as_ref().map(|opened| &opened.sockets);
        gate.ok_or_else(|| ErrorCode::AccessDenied.into())
    }
}

/// Of `network`, what the others need: its errors, as upstream words them.
impl network::Host for State {
    fn convert_error_code(&mut self, error: SocketError) -> Result<ErrorCode> {
        network::Host::convert_error_code(&mut self.sockets(), error)
    }

    fn network_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> Result<Option<ErrorCode>> {
        network::Host::network_error_code(&mut self.sockets(), error)
    }
}

impl network::HostNetwork for State {
    fn drop(&mut self, network: Resource<Network>) -> Result<()> {
        network::HostNetwork::drop(&mut self.sockets(), network)
    }
}
