//! What a session is told: by people, and by the driver about the effects it carried out.

use ringfence_event::{
    AgentName, ApprovalScope, Body, CallId, CallResult, Denial, Digest, Failure, Hold, Intent,
    KeyId, Limit, ModelFailure, ModelReply, Note, PlanItem, Question, RequestParts, RunId, Scope,
    Spent, StepId, Timestamp, TokenUsage, Usage, UserId,
};

/// What is done with an input while a run is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Busy {
    /// It is refused.
    #[default]
    Reject,
    /// It waits until the runs before it have ended.
    Queue,
    /// The runs before it are cancelled, those that wait too. What was said to them stays in the
    /// conversation.
    Interrupt,
}

/// Everything that a session can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Begin: the first command of a session.
    Create {
        /// Whose session it is.
        agent: AgentName,
        /// The digest of that agent's definition.
        agent_digest: Digest,
    },
    /// Somebody says something; starts a run, or queues one.
    Input {
        /// What.
        text: String,
        /// If a run is under way.
        busy: Busy,
        /// What whoever says it calls it: said again under the same key it changes nothing.
        key: Option<String>,
        /// When nobody waits for the answer any more: a run that has not begun by then does not.
        not_after: Option<Timestamp>,
        /// The blob of the agent's definition with which it is to run.
        agent: Option<Digest>,
        /// The API key that it came with.
        api_key: Option<KeyId>,
    },
    /// The model is about to be asked. To be recorded before it is.
    ModelRequested {
        /// For which step.
        step: StepId,
        /// Of the whole request: the first of [`ModelRequest::digests`](ringfence_event::ModelRequest::digests).
        request: Digest,
        /// Of its parts: the second of them.
        parts: RequestParts,
        /// Roughly how many tokens it has. If what the run has left is not enough for it and a reply, the
        /// run ends, and it is not to be sent.
        input: u64,
    },
    /// The model replied, or did not. Also while the run is being ended: then with what the question that
    /// was called off has used, as far as anybody knows.
    ModelReplied {
        /// For which step.
        step: StepId,
        /// What came; or why nothing did, and what that cost as far as the vendor said.
        reply: Result<ModelReply, (ModelFailure, TokenUsage)>,
    },
    /// Answers [`Effect::Check`](crate::Effect::Check): policy says yes.
    Permitted {
        /// Which call.
        call: CallId,
        /// What is about to run. Its fuel is cut to what the run has left; run with the limits of
        /// [`Effect::Run`](crate::Effect::Run)'s intent, not with these.
        intent: Box<Intent>,
    },
    /// Answers a check: a person must say yes. A yes for this function in this session that was
    /// given before is taken.
    Held {
        /// Which call.
        call: CallId,
        /// What holds it, and what the yes will be for.
        hold: Box<Hold>,
    },
    /// Answers a check: refused whole. Also for a call that is intended and that policy, asked
    /// again after a restart, refuses now.
    Denied {
        /// Which call.
        call: CallId,
        /// Why.
        denials: Vec<Denial>,
    },
    /// Answers a check: the arguments do not fit.
    Invalid {
        /// Which call.
        call: CallId,
        /// Why.
        failure: Failure,
    },
    /// Answers [`Effect::Run`](crate::Effect::Run). A call may begin only once this was accepted.
    Started {
        /// Which call.
        call: CallId,
    },
    /// A running call said something.
    Noted {
        /// Which call.
        call: CallId,
        /// What.
        note: Note,
    },
    /// The tool asks a person in the middle of a call.
    Asked {
        /// Which call.
        call: CallId,
        /// What it asks.
        question: Question,
        /// The blob it wants back.
        state: Digest,
        /// What this try was refused.
        denials: Vec<Denial>,
        /// What this try cost.
        usage: Box<Usage>,
    },
    /// A call ended, by itself or because it was stopped. If it failed in a way that passes and its
    /// effect allows it, it is scheduled again: [`Session::retries`](crate::Session::retries).
    Finished {
        /// Which call.
        call: CallId,
        /// How, and at what price.
        result: Box<CallResult>,
        /// What it changed in memory; committed together with this.
        memory: Vec<MemoryChange>,
        /// The plan it wrote.
        plan: Option<Vec<PlanItem>>,
    },
    /// Somebody wants a run to end. Said again, it changes nothing.
    Cancel {
        /// Which; absent: the one under way.
        run: Option<RunId>,
    },
    /// A budget that is counted above the session is spent: the run ends.
    Spent {
        /// What is counted.
        limit: Limit,
        /// How much of how much.
        spent: Spent,
    },
    /// Four fifths of a budget above the session are spent. Said again, it changes nothing.
    Warned {
        /// What is counted.
        limit: Limit,
        /// How much of how much.
        spent: Spent,
    },
    /// Somebody is done with the session. Said again, it changes nothing; nothing more is taken
    /// from then on.
    Close,
    /// The time of [`Session::wake_at`](crate::Session::wake_at) has come.
    Wake,
    /// The host stops in good order, and another one is to go on with the session: the last that it says.
    Leave,
    /// The host was started again, or another took the session over: to be said once after a fold,
    /// before anything else. Calls that were under way run again where their effect allows it.
    Recover,
    /// A person lets a call run that is held.
    Approve {
        /// Which call.
        call: CallId,
        /// Who says so.
        by: UserId,
        /// How far it goes.
        scope: ApprovalScope,
        /// Why; the model reads it.
        reason: Option<String>,
        /// What the person was shown: [`hold_id`](crate::hold_id) of the hold.
        shown: Option<Digest>,
    },
    /// A person does not let a call run that is held.
    Decline {
        /// Which call.
        call: CallId,
        /// Who says so.
        by: UserId,
        /// Why; the model reads it.
        reason: Option<String>,
        /// What the person was shown.
        shown: Option<Digest>,
    },
    /// A person answers what a tool asks. The value fits the question's schema; nothing: the person
    /// would not.
    Answer {
        /// Which call.
        call: CallId,
        /// Who answers.
        by: UserId,
        /// The answer.
        value: Option<serde_json::Value>,
        /// What the person was asked: [`question_id`](crate::question_id) of the inquiry.
        shown: Option<Digest>,
    },
    /// A person says how a call of unknown outcome ended.
    Reconcile {
        /// Which call.
        call: CallId,
        /// Who says so.
        by: Option<UserId>,
        /// How: succeeded or failed; nothing: it did not happen, and is to run.
        result: Option<Box<CallResult>>,
    },
}

impl Command {
    /// The word for it in tables and errors.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Input { busy: Busy::Reject, .. } => "input (reject)",
            Self::Input { busy: Busy::Queue, .. } => "input (queue)",
            Self::Input { busy: Busy::Interrupt, .. } => "input (interrupt)",
            Self::ModelRequested { .. } => "model requested",
            Self::ModelReplied { reply: Ok(_), .. } => "model replied",
            Self::ModelReplied { reply: Err(_), .. } => "model failed",
            Self::Permitted { .. } => "permitted",
            Self::Held { .. } => "held",
            Self::Denied { .. } => "denied",
            Self::Invalid { .. } => "invalid",
            Self::Started { .. } => "started",
            Self::Noted { .. } => "noted",
            Self::Asked { .. } => "asked",
            Self::Finished { .. } => "finished",
            Self::Cancel { .. } => "cancel",
            Self::Spent { .. } => "spent",
            Self::Warned { .. } => "warned",
            Self::Close => "close",
            Self::Wake => "wake",
            Self::Leave => "leave",
            Self::Recover => "recover",
            Self::Approve { .. } => "approve",
            Self::Decline { .. } => "decline",
            Self::Answer { .. } => "answer",
            Self::Reconcile { result: Some(_), .. } => "reconcile (it happened)",
            Self::Reconcile { result: None, .. } => "reconcile (run it)",
        }
    }
}

/// One changed entry of a memory bucket, as it is recorded: never its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryChange {
    /// The bucket.
    pub scope: Scope,
    /// The key.
    pub key: String,
    /// The size of the new value, for a sum as the call saw it; absent: deleted.
    pub bytes: Option<u64>,
}

/// An event that is to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// What happened.
    pub body: Body,
    /// The place of the event that led to it, given that those decided together are recorded one
    /// after the other behind [`Session::seq`](crate::Session::seq).
    pub cause: Option<u64>,
}
