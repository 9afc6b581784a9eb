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
mod as_text;
mod commit;
mod conversation;
mod denial;
mod digest;
mod effect;
mod id;
mod journal;
mod key;
mod limit;
mod money;
mod nearby;
mod outcome;
mod rule;
mod secret;
mod shared;
mod text;
mod trace;
mod usage;
mod wait;

pub use commit::{Commit, CommitPage, Followed};
pub use conversation::{
    Digester, FunctionSpec, Message, ModelReply, ModelRequest, Parameters, ProposedCall,
    RequestParts, TokenUsage, estimated_tokens,
};
pub use denial::{Asked, Denial, DenialCode, FileOwner, Remedy};
pub use digest::{Digest, Hasher, InvalidDigest};
pub use effect::{Access, Effect, Scope};
pub use id::{
    AgentName, CallId, FunctionName, IdempotencyKey, InvalidName, KeyId, ModelName, RootName,
    RunId, SecretName, SessionId, StepId, TenantId, ToolName, UserId,
};
pub use journal::{Body, Compaction, Event, FORMAT, Intent, Note, Stream, Timestamp};
pub use key::{Key, KeyScope};
pub use limit::{CallLimits, Limit};
pub use money::{InvalidMoney, Money, Price};
pub use nearby::is_nearby;
pub use outcome::{CallResult, Content, Failure, FailureKind, Level, Link, Media, Outcome, Output};
pub use rule::{CompactionRule, FallbackRule, RetryRule, RetryRules, SessionLimits};
pub use secret::{SecretFault, SecretPlace};
pub use shared::Shared;
pub use text::{is_hidden, neutralise, neutralise_line};
pub use trace::{InvalidTrace, SpanId, TraceContext};
pub use usage::Usage;
pub use wait::{
    ApprovalScope, Binding, BudgetLevel, Hold, ModelFailure, ModelFailureClass, OnExpiry, PlanItem,
    PlanStatus, Question, Spent, Wait,
};
