//! The session machine: commands in, events recorded, effects asked for. It does no I/O, reads no
//! clock and knows no async runtime; its state is a fold of events and of nothing else, so a
//! restart is a fold of the journal and a fork is a fold of a prefix.
//!
//! ```
//! use ringfence_event::{Body, Digest, Event, FORMAT, SessionId, Stream, TenantId, Timestamp, UserId};
//! use ringfence_session::{Command, Definition, Effect, RunLimits, Session};
//!
//! let definition = Definition {
//!     name: "coder".parse()?,
//!     digest: Digest::of(b"agent.toml"),
//!     instructions: "Be brief.".into(),
//!     functions: vec![],
//!     model: "main".parse()?,
//!     parameters: Default::default(),
//!     limits: RunLimits::DEFAULT,
//! };
//! let id = SessionId::from_random([7; 16]);
//! let mut session = Session::new(id.clone());
//!
//! // The driver's part: what is decided is made durable, then applied.
//! for command in [
//!     Command::Create { agent: definition.name.clone(), agent_digest: definition.digest },
//!     Command::Input { text: "hello".into() },
//! ] {
//!     for decided in session.decide(&definition, command)? {
//!         session.apply(&Event {
//!             format: FORMAT,
//!             tenant: TenantId::local(),
//!             user: UserId::local(),
//!             stream: Stream::Session(id.clone()),
//!             seq: session.seq() + 1,
//!             at: Timestamp(0),
//!             body: decided.body,
//!             cause: decided.cause,
//!             trace: None,
//!         })?;
//!     }
//! }
//! assert!(matches!(session.pending(&definition)[..], [Effect::AskModel { .. }]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod advance;
mod call;
mod command;
mod decide;
mod definition;
mod effect;
mod error;
mod fold;
mod history;
mod render;
mod run;
mod step;

pub use call::{Call, CallStatus};
pub use command::{Command, Decided, MemoryChange};
pub use definition::{Definition, RunLimits};
pub use effect::Effect;
pub use error::{Corrupt, Refused};
pub use fold::Session;
pub use render::result_text;
pub use run::{Ending, Run, RunStatus};
pub use step::Step;
