//! What a run waits for, and what people answer: approvals, questions of tools, retries.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Digest, FunctionName, Remedy, Timestamp, ToolName, UserId};

/// What a run waits for.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Wait {
    /// A person is to say whether a call may run.
    Approval,
    /// A person is to answer what a tool asks.
    Input,
    /// A person is to say how a call of unknown outcome ended.
    #[default]
    Reconcile,
    /// A point in time at which something is tried again.
    Retry,
}

impl Wait {
    /// The word, as it is written in events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Input => "input",
            Self::Reconcile => "reconcile",
            Self::Retry => "retry",
        }
    }
}

/// What an approval is for: it is void as soon as one of these is another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Binding {
    /// On whose behalf the call is made.
    pub user: UserId,
    /// The tool.
    pub tool: ToolName,
    /// The function.
    pub function: FunctionName,
    /// The component's digest.
    pub component: Digest,
    /// The digest of its definitions.
    pub definitions: Digest,
    /// The policy version: a hash of the canonical needs and grants, the tenant's rules included.
    pub policy: Digest,
    /// The hash of the agent's own rules.
    pub rules: Digest,
    /// The hash of the arguments' text.
    pub arguments: Digest,
}

impl Binding {
    /// Whether an answer that is for a whole session, given to one of these, holds for the other:
    /// all but the arguments is the same.
    #[must_use]
    pub fn is_same_function(&self, other: &Self) -> bool {
        *self == Self { arguments: self.arguments, ..other.clone() }
    }
}

/// How a call is decided if nobody answers in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnExpiry {
    /// As if a person had said no.
    #[default]
    Decline,
    /// As if a person had said yes to this one call.
    Approve,
}

/// A call that is held until a person says yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Hold {
    /// The lines that hold it.
    pub rules: Vec<Remedy>,
    /// What the answer will be for.
    pub binding: Binding,
    /// When it is too late to answer; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// What happens then.
    #[serde(default)]
    pub on_expiry: OnExpiry,
    /// The widest answer that the rules allow.
    #[serde(default)]
    pub scope: ApprovalScope,
}

/// How far a person's yes goes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ApprovalScope {
    /// This one call.
    #[default]
    Call,
    /// This function, for the rest of this session, until its component, definitions or rules are
    /// others.
    Session,
}

/// What a tool asks a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Question {
    /// The question, in a sentence or two, hidden characters written out.
    pub message: String,
    /// JSON Schema 2020-12 of the answer: a flat object of primitive properties.
    pub schema: serde_json::Value,
}

/// One line of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PlanItem {
    /// What is to be done.
    pub title: String,
    /// How far it is.
    pub status: PlanStatus,
}

/// How far a line of a plan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PlanStatus {
    /// Not begun.
    Pending,
    /// Under way.
    InProgress,
    /// Done.
    Done,
}

/// Why a model did not reply. The message is shown to people and recorded: it holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[error("{message}")]
pub struct ModelFailure {
    /// The class, by which it is decided what happens next.
    #[serde(default)]
    pub class: ModelFailureClass,
    /// What happened, in words.
    pub message: String,
    /// How long the vendor asks to wait, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// Classes of failures of models.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ModelFailureClass {
    /// Too many requests: status 429, or a quota that opens again.
    RateLimited,
    /// It cannot be reached, or fails by itself: no connection, 5xx, overloaded, no answer in time.
    Unavailable,
    /// The reply broke off in the middle.
    Cut,
    /// It replied with what is no reply: nothing at all, or what cannot be read.
    Unusable,
    /// The reply is longer than the request allows, or the request is longer than the model takes.
    TooLong,
    /// The model or its vendor refused the request: wrong key, unknown model, bad request.
    #[default]
    Refused,
    /// No turn of the script fits.
    NoTurn,
    /// The host failed while it asked.
    Host,
    /// The run was ended while the model was asked, and the question was called off.
    Cancelled,
}

impl ModelFailureClass {
    /// The word, as it is written in events and in `agent.toml`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate-limited",
            Self::Unavailable => "unavailable",
            Self::Cut => "cut",
            Self::Unusable => "unusable",
            Self::TooLong => "too-long",
            Self::Refused => "refused",
            Self::NoTurn => "no-turn",
            Self::Host => "host",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the same request can succeed later.
    #[must_use]
    pub fn is_passing(self) -> bool {
        matches!(self, Self::RateLimited | Self::Unavailable | Self::Cut | Self::Unusable)
    }
}

/// A level at which something is counted. Each is inside the one before it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum BudgetLevel {
    /// All of a tenant's work within a window of time.
    Tenant,
    /// A session.
    Session,
    /// One run.
    Run,
    /// One call.
    Call,
}

/// How much of a limit is spent. In the limit's own unit: calls, tokens, units of fuel,
/// milliseconds, billionths of a dollar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Spent {
    /// Where it is counted.
    pub level: BudgetLevel,
    /// What is spent, with what others have reserved.
    pub spent: u64,
    /// What was asked for besides, and did not fit any more.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub asked: u64,
    /// Of how much.
    pub of: u64,
    /// When it can be spent again, if it is counted by windows of time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reopens: Option<Timestamp>,
}

fn is_nothing(amount: &u64) -> bool {
    *amount == 0
}
