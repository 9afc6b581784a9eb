//! What clients see of sessions, runs, steps and calls: a selection of what the journal tells, in its
//! words.

use ringfence::{
    Call, Run, Session, SessionSummary, Totals, Waiting,
    event::{
        AgentName, ApprovalScope, CallId, CallResult, Digest, Hold, Limit, ModelFailure,
        ModelReply, Money, PlanItem, Question, SessionId, Spent, Timestamp, TokenUsage, UserId,
        Wait,
    },
};
use schemars::JsonSchema;
use serde::Serialize;

/// A session in a list.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SessionView {
    pub(crate) id: SessionId,
    pub(crate) user: UserId,
    pub(crate) agent: AgentName,
    /// When it was made.
    created: Timestamp,
    /// When something happened in it last.
    last: Timestamp,
    /// Of its run that goes on or waits, or of its last one; `closed` for a closed session, absent
    /// before the first run.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    /// What its run waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits: Option<Wait>,
    /// The beginning of its first input.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
}

impl From<SessionSummary> for SessionView {
    fn from(summary: SessionSummary) -> Self {
        let SessionSummary { id, user, agent, created_at, last_at, status, waits, title, .. } =
            summary;
        Self { id, user, agent, created: created_at, last: last_at, status, waits, title }
    }
}

/// A session with its runs.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SessionDetail {
    #[serde(flatten)]
    pub(crate) session: SessionView,
    /// The place of its last event.
    pub(crate) seq: u64,
    /// Its runs, the first one first.
    pub(crate) runs: Vec<RunView>,
    /// The agent's plan.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    plan: Vec<PlanItem>,
}

impl SessionDetail {
    pub(crate) fn of(summary: SessionSummary, session: &Session) -> Self {
        Self {
            session: summary.into(),
            seq: session.seq(),
            runs: session.runs().iter().map(|run| RunView::of(session, run)).collect(),
            plan: session.plan().to_vec(),
        }
    }
}

/// What was spent.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct TotalsView {
    /// Calls proposed, refused ones included.
    calls: u64,
    /// Tokens read and written by models.
    tokens: TokenUsage,
    /// What they cost.
    cost: Money,
    /// Units of fuel.
    fuel: u64,
}

impl From<Totals> for TotalsView {
    fn from(Totals { calls, tokens, cost, fuel }: Totals) -> Self {
        Self { calls, tokens, cost, fuel }
    }
}

/// A run.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct RunView {
    pub(crate) session: SessionId,
    /// Its number in the session, from 1.
    pub(crate) run: u32,
    /// `queued`, `running`, `waiting`, `completed`, `failed`, `cancelled` or `limit-reached`.
    pub(crate) status: &'static str,
    /// What it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits: Option<Wait>,
    /// The limit that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<Limit>,
    /// What was said to the agent.
    input: String,
    /// What whoever said it calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// The final answer of one that completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
    /// Why one failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<Timestamp>,
    /// How many steps it took so far.
    steps: usize,
    /// How many things its calls were refused, whole or in part.
    denials: usize,
    totals: TotalsView,
}

impl RunView {
    pub(crate) fn of(session: &Session, run: &Run) -> Self {
        let status = run.status();
        let results = run.calls().filter_map(|call| call.result());
        Self {
            session: session.id().clone(),
            run: run.id().0,
            status: status.as_str(),
            waits: match status {
                ringfence::RunStatus::Waiting(wait) => Some(wait),
                _ => None,
            },
            limit: match status {
                ringfence::RunStatus::LimitReached(limit) => Some(limit),
                _ => None,
            },
            input: run.input().to_owned(),
            key: run.key().map(str::to_owned),
            answer: run.answer().map(str::to_owned),
            failure: run.failure().map(str::to_owned),
            started: run.started_at(),
            ended: run.ended_at(),
            steps: run.steps().len(),
            denials: results.map(|result| result.denials.len()).sum(),
            totals: run.totals().into(),
        }
    }
}

/// A step of a run.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct StepView {
    /// Its number in the run, from 1.
    step: u32,
    /// Whether all of its calls have ended.
    finished: bool,
    /// What the model replied.
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<ModelReply>,
    /// Why it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<ModelFailure>,
    tokens: TokenUsage,
    cost: Money,
    calls: Vec<CallView>,
}

impl StepView {
    pub(crate) fn number(&self) -> u32 {
        self.step
    }

    pub(crate) fn of(step: &ringfence::Step) -> Self {
        Self {
            step: step.id().step,
            finished: step.is_finished(),
            reply: step.reply().cloned(),
            failure: step.failure().cloned(),
            tokens: step.tokens(),
            cost: step.cost(),
            calls: step.calls().iter().map(CallView::of).collect(),
        }
    }
}

/// A call of a session.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct CallView {
    call: CallId,
    /// The function's name as the model said it.
    function: String,
    /// The arguments as the model wrote them.
    arguments: String,
    /// Where it stands.
    status: &'static str,
    /// What it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits: Option<Wait>,
    /// How it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<CallResult>,
    /// What holds or held it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hold: Option<Hold>,
    /// Names what it waits for, to be given back with the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    shown: Option<Digest>,
    /// A person's yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<ApprovalView>,
    /// What its tool asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    question: Option<Question>,
    /// When it is made again.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<Timestamp>,
}

/// A person's yes to a call.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ApprovalView {
    /// Who; absent: the rule says so when nobody answers in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<UserId>,
    scope: ApprovalScope,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl CallView {
    /// What says where it stands among the calls of a session: run, step and number.
    pub(crate) fn place(&self) -> Vec<u32> {
        let parts = self.call.as_str().split('.');
        parts.filter_map(|part| part.get(1..)?.parse().ok()).collect()
    }

    pub(crate) fn of(call: &Call) -> Self {
        let status = call.status();
        Self {
            call: call.id().clone(),
            function: call.function().to_owned(),
            arguments: call.arguments().to_owned(),
            status: status.as_str(),
            waits: match status {
                ringfence::CallStatus::Waiting(wait) => Some(wait),
                ringfence::CallStatus::OutcomeUnknown => Some(Wait::Reconcile),
                _ => None,
            },
            result: call.result().cloned(),
            hold: call.hold().map(|hold| hold.as_ref().clone()),
            shown: ringfence::shown(call),
            approval: call.approval().map(|approval| ApprovalView {
                by: approval.by.clone(),
                scope: approval.scope,
                reason: approval.reason.as_deref().map(str::to_owned),
            }),
            question: call.inquiry().map(|inquiry| inquiry.question.clone()),
            retry: call.retry_at(),
        }
    }
}

/// A call that waits for a person.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct WaitingView {
    pub(crate) session: SessionId,
    /// Whose session it is.
    user: UserId,
    pub(crate) call: CallId,
    /// What it waits for.
    wait: Wait,
    /// The function's name as the model said it.
    function: String,
    /// The arguments as the model wrote them.
    arguments: String,
    /// What holds it, if it waits for a yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    hold: Option<Hold>,
    /// Names what it waits for, to be given back with the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    shown: Option<Digest>,
    /// What its tool asks, if it waits for an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    question: Option<Question>,
}

impl WaitingView {
    pub(crate) fn of(user: UserId, waiting: Waiting) -> Self {
        let Waiting { session, call, wait, function, arguments, hold, question, shown } = waiting;
        Self { session, user, call, wait, function, arguments, hold, shown, question }
    }
}

/// How much of a limit is spent.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SpendingView {
    limit: Limit,
    #[serde(flatten)]
    spent: Spent,
}

impl SpendingView {
    pub(crate) fn all(spending: Vec<(Limit, Spent)>) -> Vec<Self> {
        spending.into_iter().map(|(limit, spent)| Self { limit, spent }).collect()
    }
}
