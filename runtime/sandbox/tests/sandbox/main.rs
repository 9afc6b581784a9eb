//! Calls of real components, which `cargo xtask guests` builds from source. `probe` tries whatever a
//! test tells it; each refusal has beside it the same act where it is granted, which works.

#![expect(
    clippy::unwrap_used,
    clippy::type_complexity,
    reason = "a test that finds nothing is to fail, and cases are data"
)]

mod ambient;
mod call;
mod end;
mod file;
mod http;
mod limit;
mod load;
mod memory;
mod outside;
mod read_only;
mod shut;
mod stop;
mod support;
mod usage;
mod web;
