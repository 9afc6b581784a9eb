//! Calls of real components, which `cargo xtask guests` builds from source: what a call sees, how it
//! ends, what it costs. Who tries to break out is in `tests/security`.

#![expect(clippy::unwrap_used, reason = "a test that finds nothing is to fail")]

mod ambient;
mod call;
mod config;
mod end;
mod load;
mod memory;
mod stop;
mod usage;
