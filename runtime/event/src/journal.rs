//! The events: everything that can happen, as one closed enumeration, and the envelope they are
//! stored and shown in. Session state is a fold of these and of nothing else.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    AgentName, ApprovalScope, CallId, CallLimits, CallResult, Content, Denial, Digest, Effect,
    Failure, FunctionName, Hold, IdempotencyKey, InvalidName, KeyId, KeyScope, Level, Limit,
    ModelFailure, ModelName, ModelReply, Money, PlanItem, Question, RequestParts, RunId, Scope,
    SessionId, Spent, StepId, TenantId, TokenUsage, ToolName, Usage, UserId, Wait,
};

/// The version of the event format that this code writes. A store of a newer format is refused.
pub const FORMAT: u32 = 1;

/// Milliseconds since 1970-01-01T00:00:00Z.
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
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// As RFC 3339 writes it, in UTC: `2026-11-23T11:44:22.000Z`.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let (seconds, millis) = (self.0 / 1000, self.0 % 1000);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        // Years that begin in March have the leap day at their end; 400 of them are an era of 146,097
        // days, and 1970-01-01 is day 719,468 from the start of the first.
        let days = days + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (year, month) = match month {
            0..10 => (era * 400 + year, month + 3),
            _ => (era * 400 + year + 1, month - 9),
        };
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

/// The ordered list an event belongs to: one a session, one a tenant. Written `session/ID` and
/// `tenant/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub enum Stream {
    /// What happened in one session.
    Session(SessionId),
    /// What happened to a tenant outside any session.
    Tenant(TenantId),
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(id) => write!(f, "session/{id}"),
            Self::Tenant(id) => write!(f, "tenant/{id}"),
        }
    }
}

impl FromStr for Stream {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text.split_once('/') {
            Some(("session", id)) => Ok(Self::Session(id.parse()?)),
            Some(("tenant", id)) => Ok(Self::Tenant(id.parse()?)),
            _ => Err(InvalidName {
                what: "stream",
                given: text.chars().take(80).collect(),
                rule: "session/ID or tenant/NAME",
            }),
        }
    }
}

impl TryFrom<String> for Stream {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Stream> for String {
    fn from(stream: Stream) -> String {
        stream.to_string()
    }
}

/// A fact that happened, in its envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Event {
    /// The format version it was written in.
    pub format: u32,
    /// Whose it is.
    pub tenant: TenantId,
    /// On whose behalf.
    pub user: UserId,
    /// The list it belongs to.
    pub stream: Stream,
    /// Its place in the stream, from 1, without gaps.
    pub seq: u64,
    /// When the host recorded it.
    pub at: Timestamp,
    /// What happened: `kind` and `data` in JSON.
    #[serde(flatten)]
    pub body: Body,
    /// The place in the same stream of the event that led to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<u64>,
    /// The W3C trace context of the request that led to it: a [`TraceContext`](crate::TraceContext) in
    /// print.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// What happened. In JSON `{"kind": "call.finished", "data": {…}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", content = "data", rename_all_fields = "kebab-case")]
#[expect(missing_docs, reason = "the fields are the words of the types they hold")]
pub enum Body {
    /// A session began.
    #[serde(rename = "session.created")]
    SessionCreated { agent: AgentName, agent_digest: Digest },
    /// Somebody is done with a session. Nothing happens in it any more.
    #[serde(rename = "session.closed")]
    SessionClosed {},
    /// Somebody said something to the agent.
    #[serde(rename = "message.added")]
    MessageAdded {
        run: RunId,
        text: String,
        /// What whoever said it calls it: said again under the same key it is the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// When nobody waits for the answer any more: a run that has not begun by then does not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_after: Option<Timestamp>,
        /// The blob of the agent's definition as it is from now on, if it is another than before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<Digest>,
        /// The API key that it came with: when that is revoked, the run ends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        api_key: Option<KeyId>,
    },
    /// A run began; its clock runs.
    #[serde(rename = "run.started")]
    RunStarted { run: RunId },
    /// The host of a run stopped in good order, and left it for another one to go on with.
    #[serde(rename = "run.left")]
    RunLeft { run: RunId },
    /// A run goes on after it waited, or after its host left it or died.
    #[serde(rename = "run.resumed")]
    RunResumed { run: RunId },
    /// A run waits, and nothing of it is under way: for a person who answers about these calls, or for
    /// these calls to be tried again.
    #[serde(rename = "run.waiting")]
    RunWaiting {
        run: RunId,
        #[serde(default)]
        on: Wait,
        calls: Vec<CallId>,
    },
    /// A model is asked again at this time.
    #[serde(rename = "run.retry-scheduled")]
    RunRetryScheduled { run: RunId, step: StepId, attempt: u32, at: Timestamp },
    /// A run is to end early: no call of it starts any more, and those that run are being stopped.
    /// Absent `limit`: somebody cancelled it.
    #[serde(rename = "run.stopping")]
    RunStopping {
        run: RunId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<Limit>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spent: Option<Spent>,
    },
    /// A run reached its final answer, which is the text of its last model reply.
    #[serde(rename = "run.completed")]
    RunCompleted { run: RunId },
    /// A run could not go on.
    #[serde(rename = "run.failed")]
    RunFailed { run: RunId, message: String },
    /// Somebody cancelled a run.
    #[serde(rename = "run.cancelled")]
    RunCancelled { run: RunId },
    /// A run spent one of its limits.
    #[serde(rename = "run.limit-reached")]
    RunLimitReached {
        run: RunId,
        limit: Limit,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spent: Option<Spent>,
    },
    /// A step began.
    #[serde(rename = "step.started")]
    StepStarted { step: StepId },
    /// A step's calls all have their outcome.
    #[serde(rename = "step.finished")]
    StepFinished { step: StepId },
    /// A model was asked.
    #[serde(rename = "model.requested")]
    ModelRequested { step: StepId, model: ModelName, request: Digest, parts: RequestParts },
    /// A model replied.
    #[serde(rename = "model.completed")]
    ModelCompleted {
        step: StepId,
        reply: ModelReply,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost: Option<Money>,
    },
    /// A model did not reply. What the try cost all the same is known only if the vendor said so.
    #[serde(rename = "model.failed")]
    ModelFailed {
        step: StepId,
        #[serde(flatten)]
        failure: ModelFailure,
        #[serde(default)]
        tokens: TokenUsage,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost: Option<Money>,
    },
    /// What was said up to the end of this step stands in the conversation as a summary from now on.
    /// The journal keeps all of it.
    #[serde(rename = "conversation.compacted")]
    ConversationCompacted { run: RunId, compaction: Box<Compaction> },
    /// A model proposed a call; for a direct call, somebody did.
    #[serde(rename = "call.proposed")]
    CallProposed { call: CallId, function: String, arguments: String },
    /// The proposal does not fit its schema, or is no JSON.
    #[serde(rename = "call.invalid")]
    CallInvalid { call: CallId, failure: Failure },
    /// Refused whole.
    #[serde(rename = "call.denied")]
    CallDenied { call: CallId, denials: Vec<Denial> },
    /// It may run once a person says so.
    #[serde(rename = "call.hold")]
    CallHold { call: CallId, hold: Box<Hold> },
    /// A person said yes, or nobody answered in time and the rule says yes then.
    #[serde(rename = "call.approved")]
    CallApproved {
        call: CallId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<UserId>,
        #[serde(default)]
        scope: ApprovalScope,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A person said no, or nobody answered in time.
    #[serde(rename = "call.declined")]
    CallDeclined {
        call: CallId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<UserId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The tool asks a person; the call is made again with the answer. What the tool wants back with it
    /// is a blob, shown to nobody.
    #[serde(rename = "input.asked")]
    InputAsked {
        call: CallId,
        question: Question,
        state: Digest,
        denials: Vec<Denial>,
        usage: Usage,
    },
    /// A person answered; absent: would not.
    #[serde(rename = "input.answered")]
    InputAnswered {
        call: CallId,
        by: UserId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<serde_json::Value>,
    },
    /// The call failed in a way that passes, and is made again at this time.
    #[serde(rename = "call.retry-scheduled")]
    CallRetryScheduled { call: CallId, attempt: u32, at: Timestamp, result: Box<CallResult> },
    /// Policy said yes; this is about to run.
    #[serde(rename = "call.intended")]
    CallIntended { call: CallId, intent: Box<Intent> },
    /// The sandbox has it.
    #[serde(rename = "call.started")]
    CallStarted { call: CallId },
    /// Progress, a log record or early content.
    #[serde(rename = "call.note")]
    CallNote { call: CallId, note: Note },
    /// It ended; its budget is settled with this.
    #[serde(rename = "call.finished")]
    CallFinished { call: CallId, result: Box<CallResult> },
    /// The host died while it ran, and it may not be repeated.
    #[serde(rename = "call.outcome-unknown")]
    CallOutcomeUnknown { call: CallId },
    /// A person said how a call of unknown outcome ended; no result: it did not happen, and is to run.
    #[serde(rename = "call.reconciled")]
    CallReconciled {
        call: CallId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<UserId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<Box<CallResult>>,
    },
    /// Four fifths of a budget are spent. Said once for each budget.
    #[serde(rename = "budget.warned")]
    BudgetWarned { limit: Limit, spent: Spent },
    /// A call of the tool `plan` wrote the session's plan; recorded with its outcome.
    #[serde(rename = "plan.updated")]
    PlanUpdated { call: CallId, plan: Vec<PlanItem> },
    /// A call changed a memory bucket; recorded with its outcome.
    #[serde(rename = "memory.written")]
    MemoryWritten { call: CallId, scope: Scope, key: String, bytes: Option<u64> },
    /// A tool was added to the lock file.
    #[serde(rename = "tool.added")]
    ToolAdded { tool: ToolName, component: Digest, definitions: Digest },
    /// A changed tool was accepted.
    #[serde(rename = "tool.accepted")]
    ToolAccepted { tool: ToolName, component: Digest, definitions: Digest },
    /// A tool was taken out of the lock file.
    #[serde(rename = "tool.removed")]
    ToolRemoved { tool: ToolName },
    /// An operator changed what a tenant may do with a tool.
    #[serde(rename = "grant.changed")]
    GrantChanged { tool: ToolName, lines: Vec<String> },
    /// An operator made an API key. Absent `user`: for the whole tenant.
    #[serde(rename = "key.created")]
    KeyCreated {
        key: KeyId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<UserId>,
        scopes: Vec<KeyScope>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires: Option<Timestamp>,
        /// The key that it takes the place of, and when that ends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<KeyId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaced_until: Option<Timestamp>,
    },
    /// An operator ended an API key: it opens nothing any more, and what was started with it ends.
    #[serde(rename = "key.revoked")]
    KeyRevoked { key: KeyId },
}

/// What is about to run, recorded so that it can be found after a crash, replayed and verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Intent {
    /// The tool.
    pub tool: ToolName,
    /// The function.
    pub function: FunctionName,
    /// Its effect, as it is enforced.
    pub effect: Effect,
    /// The hash of the arguments' text.
    pub arguments: Digest,
    /// The key for every try of this call.
    pub key: IdempotencyKey,
    /// The component's digest.
    pub component: Digest,
    /// The digest of its definitions.
    pub definitions: Digest,
    /// The policy version: a hash of the canonical needs and grants.
    pub policy: Digest,
    /// A hash of the engine's settings.
    pub engine: Digest,
    /// What it may spend.
    pub limits: CallLimits,
    /// Where its random bytes come from.
    pub seed: u64,
    /// When it starts; a `pure` call's clock stands here.
    pub start: Timestamp,
}

/// A part of a conversation that is told in short from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Compaction {
    /// The last step that the summary is of.
    pub through: StepId,
    /// The summary; absent when the model gave none, and then the conversation says only that its
    /// beginning is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Why there is no summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<ModelFailure>,
    /// The model that was asked.
    pub model: ModelName,
    /// The hash of the request.
    pub request: Digest,
    /// What it cost, charged to the run.
    pub tokens: TokenUsage,
    /// In money.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Money>,
}

/// What a call says while it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "note", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Note {
    /// How far it is.
    Progress {
        /// Done, in the tool's own unit.
        done: u64,
        /// Of how many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
        /// What it is doing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// One log record; standard output is `info`, standard error `warn`.
    Log {
        /// How loud.
        level: Level,
        /// One line.
        message: String,
    },
    /// A part of the output, early.
    Content {
        /// The part.
        content: Content,
    },
}

impl Body {
    /// The run that it is about; a session's event without one is about the session.
    #[must_use]
    pub fn run(&self) -> Option<RunId> {
        match self {
            Self::MessageAdded { run, .. }
            | Self::RunStarted { run }
            | Self::RunLeft { run }
            | Self::RunResumed { run }
            | Self::RunWaiting { run, .. }
            | Self::RunRetryScheduled { run, .. }
            | Self::RunStopping { run, .. }
            | Self::RunCompleted { run }
            | Self::RunFailed { run, .. }
            | Self::RunCancelled { run }
            | Self::RunLimitReached { run, .. }
            | Self::ConversationCompacted { run, .. } => Some(*run),
            Self::StepStarted { step }
            | Self::StepFinished { step }
            | Self::ModelRequested { step, .. }
            | Self::ModelCompleted { step, .. }
            | Self::ModelFailed { step, .. } => Some(step.run),
            Self::CallProposed { call, .. }
            | Self::CallInvalid { call, .. }
            | Self::CallDenied { call, .. }
            | Self::CallHold { call, .. }
            | Self::CallApproved { call, .. }
            | Self::CallDeclined { call, .. }
            | Self::InputAsked { call, .. }
            | Self::InputAnswered { call, .. }
            | Self::CallRetryScheduled { call, .. }
            | Self::CallIntended { call, .. }
            | Self::CallStarted { call }
            | Self::CallNote { call, .. }
            | Self::CallFinished { call, .. }
            | Self::CallOutcomeUnknown { call }
            | Self::CallReconciled { call, .. }
            | Self::PlanUpdated { call, .. }
            | Self::MemoryWritten { call, .. } => call.run(),
            Self::SessionCreated { .. }
            | Self::SessionClosed {}
            | Self::BudgetWarned { .. }
            | Self::ToolAdded { .. }
            | Self::ToolAccepted { .. }
            | Self::ToolRemoved { .. }
            | Self::GrantChanged { .. }
            | Self::KeyCreated { .. }
            | Self::KeyRevoked { .. } => None,
        }
    }

    /// Every kind, as it is written.
    pub const KINDS: &'static [&'static str] = &[
        "session.created",
        "session.closed",
        "message.added",
        "run.started",
        "run.left",
        "run.resumed",
        "run.waiting",
        "run.retry-scheduled",
        "run.stopping",
        "run.completed",
        "run.failed",
        "run.cancelled",
        "run.limit-reached",
        "step.started",
        "step.finished",
        "model.requested",
        "model.completed",
        "model.failed",
        "conversation.compacted",
        "call.proposed",
        "call.invalid",
        "call.denied",
        "call.hold",
        "call.approved",
        "call.declined",
        "input.asked",
        "input.answered",
        "call.retry-scheduled",
        "call.intended",
        "call.started",
        "call.note",
        "call.finished",
        "call.outcome-unknown",
        "call.reconciled",
        "budget.warned",
        "plan.updated",
        "memory.written",
        "tool.added",
        "tool.accepted",
        "tool.removed",
        "grant.changed",
        "key.created",
        "key.revoked",
    ];

    /// The kind, as it is written.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SessionCreated { .. } => "session.created",
            Self::SessionClosed {} => "session.closed",
            Self::MessageAdded { .. } => "message.added",
            Self::RunStarted { .. } => "run.started",
            Self::RunLeft { .. } => "run.left",
            Self::RunResumed { .. } => "run.resumed",
            Self::RunWaiting { .. } => "run.waiting",
            Self::RunRetryScheduled { .. } => "run.retry-scheduled",
            Self::RunStopping { .. } => "run.stopping",
            Self::RunCompleted { .. } => "run.completed",
            Self::RunFailed { .. } => "run.failed",
            Self::RunCancelled { .. } => "run.cancelled",
            Self::RunLimitReached { .. } => "run.limit-reached",
            Self::StepStarted { .. } => "step.started",
            Self::StepFinished { .. } => "step.finished",
            Self::ModelRequested { .. } => "model.requested",
            Self::ModelCompleted { .. } => "model.completed",
            Self::ModelFailed { .. } => "model.failed",
            Self::ConversationCompacted { .. } => "conversation.compacted",
            Self::CallProposed { .. } => "call.proposed",
            Self::CallInvalid { .. } => "call.invalid",
            Self::CallDenied { .. } => "call.denied",
            Self::CallHold { .. } => "call.hold",
            Self::CallApproved { .. } => "call.approved",
            Self::CallDeclined { .. } => "call.declined",
            Self::InputAsked { .. } => "input.asked",
            Self::InputAnswered { .. } => "input.answered",
            Self::CallRetryScheduled { .. } => "call.retry-scheduled",
            Self::CallIntended { .. } => "call.intended",
            Self::CallStarted { .. } => "call.started",
            Self::CallNote { .. } => "call.note",
            Self::CallFinished { .. } => "call.finished",
            Self::CallOutcomeUnknown { .. } => "call.outcome-unknown",
            Self::CallReconciled { .. } => "call.reconciled",
            Self::BudgetWarned { .. } => "budget.warned",
            Self::PlanUpdated { .. } => "plan.updated",
            Self::MemoryWritten { .. } => "memory.written",
            Self::ToolAdded { .. } => "tool.added",
            Self::ToolAccepted { .. } => "tool.accepted",
            Self::ToolRemoved { .. } => "tool.removed",
            Self::GrantChanged { .. } => "grant.changed",
            Self::KeyCreated { .. } => "key.created",
            Self::KeyRevoked { .. } => "key.revoked",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_dates() {
        for (ms, shown) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_200_007, "2024-03-01T00:00:00.007Z"),
            (253_402_300_799_000, "9999-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(Timestamp(ms).rfc3339(), shown);
        }
    }

    #[test]
    fn an_event_survives_json_and_says_its_kind() {
        let event = Event {
            format: FORMAT,
            tenant: TenantId::local(),
            user: UserId::local(),
            stream: Stream::Session(SessionId::from_random([9; 16])),
            seq: 7,
            at: Timestamp(1_700_000_000_000),
            body: Body::RunLimitReached { run: RunId(1), limit: Limit::Steps, spent: None },
            cause: Some(6),
            trace: None,
        };
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(
            json,
            r#"{"format":1,"tenant":"local","user":"local","stream":"session/09090909090909090909090909090909","seq":7,"at":1700000000000,"kind":"run.limit-reached","data":{"run":1,"limit":"steps"},"cause":6}"#
        );
        assert!(json.contains(event.body.kind()));
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
    }
}
