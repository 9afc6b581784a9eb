//! An agent runtime whose every tool is a sandboxed WebAssembly component: the library that people
//! embed. It carries out what the session machine asks for: models are asked, calls are decided,
//! recorded, run in the sandbox and settled.
//!
//! ```no_run
#![doc = include_str!("../examples/embed.rs")]
//! ```

#![forbid(unsafe_code)]

mod agent;
mod buckets;
mod budget;
mod call;
mod clock;
mod config;
mod definition;
mod drive;
mod entropy;
mod error;
mod explain;
mod export;
mod exported;
mod import;
mod inbox;
mod journal;
mod manage;
mod plan;
mod reconcile;
mod redact;
mod resume;
mod revoke;
mod root;
mod run;
mod runtime;
mod session;
mod spending;
mod tool;

pub use agent::Agent;
pub use call::{DirectCall, ToolRef};
pub use clock::Clock;
pub use config::Config;
pub use error::Error;
pub use export::Exported;
pub use manage::{Added, Granted, Inspected};
pub use reconcile::Reconciliation;
pub use resume::{AT_ONCE, Resumed};
pub use run::{Input, RunEnded};
pub use runtime::{Caller, Runtime};
pub use session::{Said, Waiting};
pub use tool::Installed;

pub use ringfence_catalog::{Difference, Entry, Function};
/// The plain data that everything is said in.
pub use ringfence_event as event;
/// Needs and grants.
pub use ringfence_policy as policy;
pub use ringfence_sandbox::{Cancel, Import, ImportClass, Sink};
/// Sessions as their journal tells them.
pub use ringfence_session::{
    Approval, Busy, Call, CallStatus, Ending, Inquiry, Refused, Run, RunStatus, Session, Totals,
    hold_id,
};
pub use ringfence_store::{OpenSession, Resolved, SessionSummary};
/// Where secrets are read.
pub use ringfence_vault as vault;
