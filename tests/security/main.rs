//! Each promise of isolation meets a guest, a client or a fault that tries to break it, and each
//! refusal has beside it the same act where it is granted, which works. `CASES.md` has one sentence a
//! case; `probe`, which `cargo xtask guests` builds from source, tries whatever a test tells it.

#![forbid(unsafe_code)]
#![expect(
    clippy::unwrap_used,
    clippy::type_complexity,
    reason = "a test that finds nothing is to fail, and cases are data"
)]

mod compute;
mod file;
mod host_call;
mod memory;
mod network;
mod raw;
mod secret;
mod supply;
mod tenant;
