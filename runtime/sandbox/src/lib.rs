//! Inspects, compiles and runs components. The only crate that knows wasmtime.
//!
//! A [`Tool`] is a component that was checked and compiled once. [`Tool::run`] makes one call of it
//! in a fresh instance, inside what an [`Opened`](ringfence_capability::Opened) permit holds, on
//! its budget, until it ends or is cancelled.

// One place is excepted, with its reason: compiled code that was authenticated is loaded.
#![deny(unsafe_code)]

mod bindings;
mod cache;
mod cancel;
mod convert;
mod engine;
mod error;
mod host;
mod imports;
mod limiter;
mod pulse;
mod room;
mod run;
mod state;
mod tool;

pub use cancel::Cancel;
pub use engine::{Engine, EngineConfig};
pub use error::{Error, Refusal};
pub use imports::{Import, ImportClass};
pub use run::{Answer, Call, Ended, Sink};
pub use tool::{Definition, Origin, Tool};
