//! What a permit opens: files, HTTP, sockets, memory, configuration, clock and random bytes, and the
//! meter that counts what the host does for a call. Turns a [`Permit`](ringfence_policy::Permit) into
//! handles and holds every request of a guest against it. Knows nothing of WebAssembly.

#![forbid(unsafe_code)]

mod ambient;
pub mod config;
pub mod cost;
mod denials;
pub mod fs;
pub mod http;
pub mod memory;
mod meter;
pub mod network;
mod open;
mod secrets;
pub mod sockets;

pub use ambient::{Clock, Random};
pub use denials::DenialLog;
pub use meter::{LimitReached, Meter};
pub use open::{Host, OpenError, Opened};
