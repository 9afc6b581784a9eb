//! The session machine: commands in, events recorded, effects asked for. It does no I/O, reads no
//! clock and knows no async runtime; its state is a fold of events and of nothing else, so a
//! restart is a fold of the journal and a fork is a fold of a prefix. Every command is decided in every
//! situation: [`lifecycle`] has the table.
//!
//! ```
//! use ringfence_event::{Body, Digest, Event, FORMAT, SessionId, Stream, TenantId, Timestamp, UserId};
//! use ringfence_session::{Busy, Command, Definition, Effect, Session};
//!
//! let mut definition =
//!     Definition::of("coder".parse()?, Digest::of(b"agent.toml"), "main".parse()?);
//! definition.instructions = "Be brief.".into();
//! let id = SessionId::from_random([7; 16]);
//! let mut session = Session::new(id.clone());
//!
//! // The driver's part: what is decided is made durable, then applied.
//! for command in [
//!     Command::Create { agent: definition.name.clone(), agent_digest: definition.digest },
//!     Command::Input { text: "hello".into(), busy: Busy::Reject, key: None, not_after: None, agent: None, api_key: None },
//! ] {
//!     for decided in session.decide(&definition, Timestamp(0), command)? {
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
//! assert!(matches!(session.pending(&definition, Timestamp(0))[..], [Effect::AskModel { .. }]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

#[doc = include_str!("../LIFECYCLE.md")]
pub mod lifecycle {}

mod advance;
mod budget;
mod call;
mod command;
mod compact;
mod decide;
mod definition;
mod effect;
mod error;
mod fold;
mod history;
mod render;
mod retry;
mod run;
mod step;

pub use call::{Approval, Call, CallStatus, Inquiry};
pub use command::{Busy, Command, Decided, MemoryChange};
pub use decide::{called_off, hold_id, question_id};
pub use definition::{Definition, Fallback, ModelChoice, RunLimits};
pub use effect::{Answer, Effect};
pub use error::{Corrupt, Refused};
pub use fold::{Pin, Session};
pub use render::result_text;
pub use run::{Ending, Run, RunStatus, Totals};
pub use step::Step;
