//! The program as people and scripts meet it: what it prints, what it exits with, what it leaves.
//! Each test has a folder and a home of its own; guests are built by `cargo xtask guests`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod answer;
mod call;
mod config;
mod explain;
mod grant;
mod network;
mod observe;
mod probe;
mod redact;
mod root;
mod run;
mod second;
mod secret;
mod session;
mod state;
mod support;
mod tool;
mod transfer;
mod usage;
