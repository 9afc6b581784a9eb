//! An agent runtime whose every tool is a sandboxed WebAssembly component: the library that people
//! embed. It carries out what the session machine asks for: models are asked, calls are decided,
//! recorded, run in the sandbox and settled.
//!
//! ```no_run
#![doc = include_str!("../examples/embed.rs")]
//! ```

#![forbid(unsafe_code)]

mod admit;
mod agent;
mod buckets;
mod budget;
mod call;
mod clock;
mod coalesce;
mod config;
mod definition;
mod delta;
mod drain;
mod drive;
mod entropy;
mod error;
mod explain;
mod export;
mod exported;
mod feed;
mod import;
mod inbox;
mod journal;
mod key;
mod load;
mod manage;
mod plan;
mod question;
mod reconcile;
mod redact;
mod reload;
mod resume;
mod revoke;
mod root;
mod run;
mod runtime;
mod say;
mod serve;
mod session;
mod spending;
mod telemetry;
mod tend;
mod tool;
mod turn;

pub use admit::{PlaceLoad, Refusal};
pub use agent::Agent;
pub use call::{DirectCall, ToolRef};
pub use clock::Clock;
pub use config::{Config, file_schema};
pub use delta::{Delta, Listening};
pub use drain::Drained;
pub use error::Error;
pub use export::Exported;
pub use key::{KeySecret, NewKey};
pub use load::{Load, SharedLoad, StoreHealth, TenantLoad};
pub use manage::{Added, Granted, Inspected};
pub use reconcile::Reconciliation;
pub use reload::Reloaded;
pub use resume::{AT_ONCE, Resumed};
pub use run::{Input, RunEnded};
pub use runtime::{Caller, Runtime};
pub use say::Saying;
pub use serve::Request;
pub use session::{Said, Waiting, shown};
pub use telemetry::{LogLevel, Otlp, Telemetry};
pub use tool::Installed;

pub use ringfence_catalog::{Difference, Entry, Function};
/// The plain data that everything is said in.
pub use ringfence_event as event;
/// Models as an operator has set them up.
pub use ringfence_model as model;
/// Needs and grants.
pub use ringfence_policy as policy;
pub use ringfence_sandbox::{Cancel, Import, ImportClass, Sink};
/// Sessions as their journal tells them.
pub use ringfence_session::{
    Approval, Busy, Call, CallStatus, Ending, Inquiry, Refused, Run, RunStatus, Session, Step,
    Totals,
};
pub use ringfence_store::{
    Claimed, Failing, FailingKind, Follower, OpenSession, RequestAnswer, Resolved, SessionSummary,
};
/// Where secrets are read.
pub use ringfence_vault as vault;
