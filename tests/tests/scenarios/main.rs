//! Whole runs through the library: real components, real files, real sockets on loopback; only the
//! model's decisions are scripted. Guests are built by `cargo xtask guests`.

mod admission;
mod cancel;
mod demo;
mod durability;
mod forbidden;
mod given_back;
mod limits;
mod loopback;
mod lost;
mod memory;
mod observe;
mod recovery;
mod reload;
mod spending;
mod supply;
mod tend;
mod transfer;
mod waiting;
mod world;
