//! The host's way to the network: names and connections, behind one trait, so that a test can be
//! the network. Which of both a call may have is not decided here.

mod address;
mod system;

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use ringfence_event::TenantId;
use tokio::net::TcpStream;

pub use address::is_public;
pub use system::SystemNetwork;

use crate::memory::BoxFuture;

/// What resolves names and makes the connections of HTTP requests.
pub trait Network: Send + Sync {
    /// All addresses of a name, public or not: whoever asks judges them. The name is absolute: no
    /// search domain is put behind it. Called for names that a permit opens, and for no other; `tenant`
    /// is whose call asks, so that one cannot use up what all need. Dropping the future must be enough
    /// to stop waiting.
    ///
    /// # Errors
    /// Whatever the resolver says; nobody shows it to a guest.
    fn resolve<'a>(
        &'a self,
        tenant: &'a TenantId,
        name: &'a str,
    ) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;

    /// A connection to exactly this address, which was judged. No name, no proxy.
    ///
    /// # Errors
    /// Nobody answers there.
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>>;
}
