//! `wasi:sockets`: linked, and shut in this version. An attempt is a denial, and no socket of the
//! operating system is ever made for one.

use wasmtime::{Result, component::Resource};
use wasmtime_wasi::{
    p2::{
        DynPollable, SocketError, TcpSocket, UdpSocket,
        bindings::sockets::{
            ip_name_lookup::{Host, HostResolveAddressStream, ResolveAddressStream},
            network::{self, ErrorCode, IpAddress, IpAddressFamily, Network},
            tcp_create_socket, udp_create_socket,
        },
    },
    sockets::WasiSocketsView,
};

use crate::state::State;

impl State {
    fn shut_socket(&self, address: &str) -> SocketError {
        if let Some(opened) = &self.opened {
            opened.deny_socket(address);
        }
        ErrorCode::AccessDenied.into()
    }
}

impl tcp_create_socket::Host for State {
    fn create_tcp_socket(
        &mut self,
        _: IpAddressFamily,
    ) -> Result<Resource<TcpSocket>, SocketError> {
        Err(self.shut_socket("any address by TCP"))
    }
}

impl udp_create_socket::Host for State {
    async fn create_udp_socket(
        &mut self,
        _: IpAddressFamily,
    ) -> Result<Resource<UdpSocket>, SocketError> {
        Err(self.shut_socket("any address by UDP"))
    }
}

/// Of `network`, only what the name lookup needs: its errors, as upstream words them.
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

impl Host for State {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> Result<Resource<ResolveAddressStream>, SocketError> {
        self.table.get(&network)?;
        Err(self.shut_socket(&name))
    }
}

/// No stream is ever made, so none can be asked.
impl HostResolveAddressStream for State {
    fn resolve_next_address(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> Result<Option<IpAddress>, SocketError> {
        self.table.get(&stream)?;
        Ok(None)
    }

    fn subscribe(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> Result<Resource<DynPollable>> {
        wasmtime_wasi::p2::subscribe(&mut self.table, stream)
    }

    fn drop(&mut self, stream: Resource<ResolveAddressStream>) -> Result<()> {
        self.table.delete(stream)?;
        Ok(())
    }
}
