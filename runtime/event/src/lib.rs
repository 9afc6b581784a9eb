//! Plain data that every part of Ringfence speaks: ids, effects, limits, usage, denials, outcomes,
//! the conversation, and the events of the journal. No behaviour beyond parsing, printing and
//! adding up; this crate depends on nothing of Ringfence.
//!
//! ```
//! use ringfence_event::{Limit, Outcome};
//!
//! let outcome = Outcome::LimitReached { limit: Limit::Fuel };
//! assert_eq!(
//!     serde_json::to_string(&outcome).unwrap(),
//!     r#"{"outcome":"limit-reached","limit":"fuel"}"#,
//! );
//! assert_eq!(outcome.exit_code(), 4);
//! ```

#![forbid(unsafe_code)]

/// Amounts as people read them.
pub mod amount;
mod conversation;
mod denial;
mod digest;
mod effect;
mod id;
mod journal;
mod limit;
mod money;
mod outcome;
mod rule;
mod secret;
mod text;
mod usage;
mod wait;

pub use conversation::{
    FunctionSpec, Message, ModelReply, ModelRequest, Parameters, ProposedCall, RequestParts,
    TokenUsage, estimated_tokens,
};
pub use denial::{Asked, Denial, DenialCode, FileOwner, Remedy};
pub use digest::{Digest, Hasher, InvalidDigest};
pub use effect::{Access, Effect, Scope};
pub use id::{
    AgentName, CallId, FunctionName, IdempotencyKey, InvalidName, ModelName, RootName, RunId,
    SecretName, SessionId, StepId, TenantId, ToolName, UserId,
};
pub use journal::{Body, Compaction, Event, FORMAT, Intent, Note, Stream, Timestamp};
pub use limit::{CallLimits, Limit};
pub use money::{InvalidMoney, Money, Price};
pub use outcome::{CallResult, Content, Failure, FailureKind, Level, Link, Media, Outcome, Output};
pub use rule::{CompactionRule, FallbackRule, RetryRule, RetryRules, SessionLimits};
pub use secret::{SecretFault, SecretPlace};
pub use text::{is_hidden, neutralise, neutralise_line};
pub use usage::Usage;
pub use wait::{
    ApprovalScope, Binding, BudgetLevel, Hold, ModelFailure, ModelFailureClass, OnExpiry, PlanItem,
    PlanStatus, Question, Spent, Wait,
};
