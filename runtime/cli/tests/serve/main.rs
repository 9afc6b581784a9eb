//! The service from outside: the real program on a free port, asked over real connections.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod auth;
mod call;
mod client;
mod damage;
mod events;
mod input;
mod late;
mod life;
mod once;
mod operate;
mod runs;
mod schema;
mod service;
mod tenants;
