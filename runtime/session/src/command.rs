//! What a session is told: by people, and by the driver about the effects it carried out.

use ringfence_event::{
    AgentName, Body, CallId, CallResult, Denial, Digest, Failure, Intent, ModelReply, Note,
    RequestParts, Scope, StepId,
};

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
    /// Somebody says something; starts a run.
    Input {
        /// What.
        text: String,
    },
    /// The model is about to be asked. To be recorded before it is.
    ModelRequested {
        /// For which step.
        step: StepId,
        /// [`ModelRequest::digest`](ringfence_event::ModelRequest::digest).
        request: Digest,
        /// [`ModelRequest::parts`](ringfence_event::ModelRequest::parts).
        parts: RequestParts,
    },
    /// The model replied, or did not; then a message says why.
    ModelReplied {
        /// For which step.
        step: StepId,
        /// What came.
        reply: Result<ModelReply, String>,
    },
    /// Answers [`Effect::Check`](crate::Effect::Check): policy says yes.
    Permitted {
        /// Which call.
        call: CallId,
        /// What is about to run. Its fuel is cut to what the run has left; run with the limits of
        /// [`Effect::Run`](crate::Effect::Run)'s intent, not with these.
        intent: Box<Intent>,
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
    /// A call ended, by itself or because it was stopped.
    Finished {
        /// Which call.
        call: CallId,
        /// How, and at what price.
        result: Box<CallResult>,
        /// What it changed in memory; committed together with this.
        memory: Vec<MemoryChange>,
    },
    /// Somebody wants the run to end. Said again, it changes nothing.
    Cancel,
    /// Somebody is done with the session. Said again, it changes nothing; nothing more is taken
    /// from then on.
    Close,
    /// The time of [`Session::deadline`](crate::Session::deadline) has come.
    TimeUp,
    /// The host was started again, or another took the session over: to be said once after a fold,
    /// before anything else. Calls that were under way run again where their effect allows it.
    Recover,
    /// A person says how a call of unknown outcome ended.
    Reconcile {
        /// Which call.
        call: CallId,
        /// How: succeeded or failed.
        result: Box<CallResult>,
    },
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
