//! UDP: a peer is asked for wherever it is named, once for all datagrams or with each.

use ringfence_capability::{cost, sockets::Protocol};
use wasmtime::{Result, component::Resource};
use wasmtime_wasi::{
    p2::{
        DynPollable, Network, SocketError, UdpSocket,
        bindings::sockets::{
            network::{IpAddressFamily, IpSocketAddress},
            udp::{
                Host, HostIncomingDatagramStream, HostOutgoingDatagramStream, HostUdpSocket,
                IncomingDatagram, IncomingDatagramStream, OutgoingDatagram, OutgoingDatagramStream,
            },
            udp_create_socket,
        },
    },
    sockets::WasiSocketsView,
};

use super::{limited, refused};
use crate::state::State;

type SocketResult<T> = Result<T, SocketError>;

impl udp_create_socket::Host for State {
    async fn create_udp_socket(
        &mut self,
        family: IpAddressFamily,
    ) -> SocketResult<Resource<UdpSocket>> {
        self.gate()?.create(Protocol::Udp).map_err(refused)?;
        udp_create_socket::Host::create_udp_socket(&mut self.sockets(), family).await
    }
}

/// Methods in which nothing leaves and nothing is decided.
macro_rules! upstream {
    ($($method:ident($($name:ident: $type:ty),*) -> $result:ty;)*) => {
        $(fn $method(&mut self, socket: Resource<UdpSocket>, $($name: $type),*) -> $result {
            HostUdpSocket::$method(&mut self.sockets(), socket, $($name),*)
        })*
    };
}

impl Host for State {}

impl HostUdpSocket for State {
    async fn start_bind(
        &mut self,
        socket: Resource<UdpSocket>,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        self.gate()?.bind(Protocol::Udp, address.into()).map_err(refused)?;
        HostUdpSocket::start_bind(&mut self.sockets(), socket, network, address).await
    }

    async fn stream(
        &mut self,
        socket: Resource<UdpSocket>,
        peer: Option<IpSocketAddress>,
    ) -> SocketResult<(Resource<IncomingDatagramStream>, Resource<OutgoingDatagramStream>)> {
        if let Some(peer) = peer {
            self.gate()?.send_to(peer.into()).map_err(refused)?;
        }
        HostUdpSocket::stream(&mut self.sockets(), socket, peer).await
    }

    upstream! {
        finish_bind() -> SocketResult<()>;
        local_address() -> SocketResult<IpSocketAddress>;
        remote_address() -> SocketResult<IpSocketAddress>;
        address_family() -> Result<IpAddressFamily>;
        unicast_hop_limit() -> SocketResult<u8>;
        set_unicast_hop_limit(value: u8) -> SocketResult<()>;
        receive_buffer_size() -> SocketResult<u64>;
        set_receive_buffer_size(value: u64) -> SocketResult<()>;
        send_buffer_size() -> SocketResult<u64>;
        set_send_buffer_size(value: u64) -> SocketResult<()>;
        subscribe() -> Result<Resource<DynPollable>>;
        drop() -> Result<()>;
    }
}

impl HostIncomingDatagramStream for State {
    fn receive(
        &mut self,
        stream: Resource<IncomingDatagramStream>,
        most: u64,
    ) -> SocketResult<Vec<IncomingDatagram>> {
        self.meter.charge(cost::SOCKET_CALL).map_err(limited)?;
        let received = HostIncomingDatagramStream::receive(&mut self.sockets(), stream, most)?;
        self.meter.charge(received.len() as u64 * cost::SOCKET_CALL).map_err(limited)?;
        let bytes = received.iter().map(|datagram| datagram.data.len() as u64).sum();
        self.meter.receive(bytes).map_err(limited)?;
        Ok(received)
    }

    fn subscribe(
        &mut self,
        stream: Resource<IncomingDatagramStream>,
    ) -> Result<Resource<DynPollable>> {
        HostIncomingDatagramStream::subscribe(&mut self.sockets(), stream)
    }

    fn drop(&mut self, stream: Resource<IncomingDatagramStream>) -> Result<()> {
        HostIncomingDatagramStream::drop(&mut self.sockets(), stream)
    }
}

impl HostOutgoingDatagramStream for State {
    fn check_send(&mut self, stream: Resource<OutgoingDatagramStream>) -> SocketResult<u64> {
        HostOutgoingDatagramStream::check_send(&mut self.sockets(), stream)
    }

    /// All of them are asked for before the first goes, so that a denial means that none went.
    fn send(
        &mut self,
        stream: Resource<OutgoingDatagramStream>,
        datagrams: Vec<OutgoingDatagram>,
    ) -> SocketResult<u64> {
        for datagram in &datagrams {
            match datagram.remote_address {
                Some(peer) => self.gate()?.send_to(peer.into()).map_err(refused)?,
                // The one peer of the stream was asked for when the stream was made.
                None => self.meter.charge(cost::SOCKET_CALL).map_err(limited)?,
            }
        }
        let bytes = datagrams.iter().map(|datagram| datagram.data.len() as u64).sum();
        self.meter.send(bytes).map_err(limited)?;
        HostOutgoingDatagramStream::send(&mut self.sockets(), stream, datagrams)
    }

    fn subscribe(
        &mut self,
        stream: Resource<OutgoingDatagramStream>,
    ) -> Result<Resource<DynPollable>> {
        HostOutgoingDatagramStream::subscribe(&mut self.sockets(), stream)
    }

    async fn drop(&mut self, stream: Resource<OutgoingDatagramStream>) -> Result<()> {
        HostOutgoingDatagramStream::drop(&mut self.sockets(), stream).await
    }
}
