//! Names: resolved by the host's own resolver, once a call, and only where a granted socket has them.

use std::{
    net::IpAddr,
    task::{Context, Poll, Waker},
    vec,
};

use ringfence_capability::{
    memory::BoxFuture,
    sockets::SocketError::{self, Denied, Limit, Name},
};
use wasmtime::{Result, component::Resource};
use wasmtime_wasi::p2::{
    DynPollable, Network, Pollable,
    bindings::sockets::network::{ErrorCode, IpAddress},
    subscribe,
};

use crate::{
    bindings::wasi::sockets::ip_name_lookup::{Host, HostResolveAddressStream},
    state::State,
};

/// The addresses of a name, as they come. Nobody waits for a name whose `Lookup` was dropped.
#[expect(unreachable_pub, reason = "as above: the bindings want it")]
pub struct Lookup(Stage);

enum Stage {
    Waiting(BoxFuture<'static, Result<Vec<IpAddr>, SocketError>>),
    Done(Result<vec::IntoIter<IpAddr>, SocketError>),
}

impl Lookup {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Stage::Waiting(future) = &mut self.0 {
            match future.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(found) => self.0 = Stage::Done(found.map(Vec::into_iter)),
            }
        }
        Poll::Ready(())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Lookup {
    async fn ready(&mut self) {
        std::future::poll_fn(|context| self.poll(context)).await;
    }
}

type Answer<T> = std::result::Result<T, ErrorCode>;

/// What the guest sees of an error; a limit is a trap.
fn error<T>(error: SocketError) -> Result<Answer<T>> {
    match error {
        Denied => Ok(Err(ErrorCode::AccessDenied)),
        Name => Ok(Err(ErrorCode::NameUnresolvable)),
        Limit(limit) => Err(limit.into()),
    }
}

impl Host for State {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> Result<Answer<Resource<Lookup>>> {
        self.table.get(&network)?;
        let Some(opened) = &self.opened else { return Ok(Err(ErrorCode::AccessDenied)) };
        match opened.sockets.look_up(&name) {
            Ok(waiting) => Ok(Ok(self.table.push(Lookup(Stage::Waiting(waiting)))?)),
            Err(refused) => error(refused),
        }
    }
}

impl HostResolveAddressStream for State {
    fn resolve_next_address(
        &mut self,
        lookup: Resource<Lookup>,
    ) -> Result<Answer<Option<IpAddress>>> {
        let lookup = self.table.get_mut(&lookup)?;
        // Whoever wants to be woken subscribes.
        let _ = lookup.poll(&mut Context::from_waker(Waker::noop()));
        match &mut lookup.0 {
            Stage::Waiting(_) => Ok(Err(ErrorCode::WouldBlock)),
            Stage::Done(Ok(addresses)) => Ok(Ok(addresses.next().map(IpAddress::from))),
            Stage::Done(Err(refused)) => error(*refused),
        }
    }

    fn subscribe(&mut self, lookup: Resource<Lookup>) -> Result<Resource<DynPollable>> {
        subscribe(&mut self.table, lookup)
    }

    fn drop(&mut self, lookup: Resource<Lookup>) -> Result<()> {
        self.table.delete(lookup)?;
        Ok(())
    }
}
