//! TCP: connecting where the gate says so, with streams whose bytes are counted. Nobody listens.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use ringfence_capability::{LimitReached, Meter, cost, sockets::Protocol};
use wasmtime::{Result, component::Resource};
use wasmtime_wasi::{
    p2::{
        DynInputStream, DynOutputStream, DynPollable, InputStream, Network, OutputStream, Pollable,
        SocketError, StreamError, StreamResult, TcpSocket,
        bindings::sockets::{
            network::{IpAddressFamily, IpSocketAddress},
            tcp::{Host, HostTcpSocket, ShutdownType},
            tcp_create_socket,
        },
    },
    sockets::WasiSocketsView,
};

use super::refused;
use crate::state::State;

type SocketResult<T> = Result<T, SocketError>;

impl tcp_create_socket::Host for State {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<TcpSocket>> {
        self.gate()?.create(Protocol::Tcp).map_err(refused)?;
        tcp_create_socket::Host::create_tcp_socket(&mut self.sockets(), family)
    }
}

/// Methods in which nothing leaves and nothing is decided.
macro_rules! upstream {
    ($($method:ident($($name:ident: $type:ty),*) -> $result:ty;)*) => {
        $(fn $method(&mut self, socket: Resource<TcpSocket>, $($name: $type),*) -> $result {
            HostTcpSocket::$method(&mut self.sockets(), socket, $($name),*)
        })*
    };
}

impl Host for State {}

impl HostTcpSocket for State {
    async fn start_bind(
        &mut self,
        socket: Resource<TcpSocket>,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        self.gate()?.bind(Protocol::Tcp, address.into()).map_err(refused)?;
        HostTcpSocket::start_bind(&mut self.sockets(), socket, network, address).await
    }

    fn start_connect(
        &mut self,
        socket: Resource<TcpSocket>,
        network: Resource<Network>,
        address: IpSocketAddress,
    ) -> SocketResult<()> {
        self.gate()?.connect(address.into()).map_err(refused)?;
        HostTcpSocket::start_connect(&mut self.sockets(), socket, network, address)
    }

    fn finish_connect(
        &mut self,
        socket: Resource<TcpSocket>,
    ) -> SocketResult<(Resource<DynInputStream>, Resource<DynOutputStream>)> {
        let parent = Resource::<TcpSocket>::new_borrow(socket.rep());
        let (input, output) = HostTcpSocket::finish_connect(&mut self.sockets(), socket)?;
        let (meter, inner) = (self.meter.clone(), self.table.delete(input)?);
        let input: DynInputStream = Box::new(Received { inner, meter });
        let (meter, inner) = (self.meter.clone(), self.table.delete(output)?);
        let output: DynOutputStream = Box::new(Sent { inner, meter });
        Ok((self.table.push_child(input, &parent)?, self.table.push_child(output, &parent)?))
    }

    async fn start_listen(&mut self, socket: Resource<TcpSocket>) -> SocketResult<()> {
        let at = HostTcpSocket::local_address(&mut self.sockets(), socket);
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        Err(refused(self.gate()?.listen(at.map_or(nowhere, SocketAddr::from))))
    }

    upstream! {
        finish_bind() -> SocketResult<()>;
        finish_listen() -> SocketResult<()>;
        accept() -> SocketResult<(Resource<TcpSocket>, Resource<DynInputStream>, Resource<DynOutputStream>)>;
        local_address() -> SocketResult<IpSocketAddress>;
        remote_address() -> SocketResult<IpSocketAddress>;
        is_listening() -> Result<bool>;
        address_family() -> Result<IpAddressFamily>;
        set_listen_backlog_size(value: u64) -> SocketResult<()>;
        keep_alive_enabled() -> SocketResult<bool>;
        set_keep_alive_enabled(value: bool) -> SocketResult<()>;
        keep_alive_idle_time() -> SocketResult<u64>;
        set_keep_alive_idle_time(value: u64) -> SocketResult<()>;
        keep_alive_interval() -> SocketResult<u64>;
        set_keep_alive_interval(value: u64) -> SocketResult<()>;
        keep_alive_count() -> SocketResult<u32>;
        set_keep_alive_count(value: u32) -> SocketResult<()>;
        hop_limit() -> SocketResult<u8>;
        set_hop_limit(value: u8) -> SocketResult<()>;
        receive_buffer_size() -> SocketResult<u64>;
        set_receive_buffer_size(value: u64) -> SocketResult<()>;
        send_buffer_size() -> SocketResult<u64>;
        set_send_buffer_size(value: u64) -> SocketResult<()>;
        subscribe() -> Result<Resource<DynPollable>>;
        shutdown(how: ShutdownType) -> SocketResult<()>;
        drop() -> Result<()>;
    }
}

/// What comes over a connection, counted as it is read.
struct Received {
    inner: DynInputStream,
    meter: Arc<Meter>,
}

/// What goes over it, counted before it goes.
struct Sent {
    inner: DynOutputStream,
    meter: Arc<Meter>,
}

fn limited(limit: LimitReached) -> StreamError {
    StreamError::Trap(limit.into())
}

#[wasmtime_wasi::async_trait]
impl Pollable for Received {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

#[wasmtime_wasi::async_trait]
impl InputStream for Received {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.meter.charge(cost::SOCKET_CALL).map_err(limited)?;
        let bytes = self.inner.read(size)?;
        self.meter.receive(bytes.len() as u64).map_err(limited)?;
        Ok(bytes)
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Sent {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Sent {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.meter.charge(cost::SOCKET_CALL).map_err(limited)?;
        self.meter.send(bytes.len() as u64).map_err(limited)?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.inner.check_write()
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}
