//! What can be wrong with a journal, and why a command is not taken.

use ringfence_event::{CallId, RunId, SessionId, Stream};

use crate::CallStatus;

/// A journal that cannot be a session's. Nothing of it is used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// An event of another list.
    #[error("event {seq} belongs to {found}, not to session/{expected}")]
    OtherStream {
        /// Its place.
        seq: u64,
        /// The session.
        expected: SessionId,
        /// The list it names.
        found: Stream,
    },
    /// An event of another tenant or user than the first one's.
    #[error("event {seq} belongs to another tenant or user than those before it")]
    OtherOwner {
        /// Its place.
        seq: u64,
    },
    /// A gap, or an event twice.
    #[error("event {found} stands where {expected} belongs")]
    WrongSeq {
        /// The place.
        expected: u64,
        /// What stands there.
        found: u64,
    },
    /// Written by a later version.
    #[error("event {seq} is of format {found}, this version reads up to {newest}", newest = ringfence_event::FORMAT)]
    NewerFormat {
        /// Its place.
        seq: u64,
        /// Its format.
        found: u32,
    },
    /// An event that cannot happen in this state.
    #[error("event {seq} is {kind}, which cannot happen: {state}")]
    Illegal {
        /// Its place.
        seq: u64,
        /// What it says happened.
        kind: &'static str,
        /// The state it met.
        state: String,
    },
}

/// Why a command changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The session was not created.
    #[error("the session was not created")]
    NotCreated,
    /// The session is another agent's.
    #[error("the session belongs to agent {session}, not to {given}")]
    OtherAgent {
        /// Its agent.
        session: String,
        /// The agent of the definition.
        given: String,
    },
    /// The session was closed.
    #[error("the session is closed")]
    Closed,
    /// A run is under way: a session takes one input at a time, and is not closed in a run's middle.
    #[error(
        "run {run} is under way: let it end, cancel it, or say whether this is to wait for it (queue) \
         or to take its place (interrupt)"
    )]
    Busy {
        /// Which.
        run: RunId,
    },
    /// Another input was said under the same key.
    #[error("run {run} was begun with another input under the same key")]
    OtherInput {
        /// The run of that input.
        run: RunId,
    },
    /// So many inputs wait for their turn already.
    #[error("{most} inputs wait for their turn: let some of them end first")]
    QueueFull {
        /// How many may wait.
        most: usize,
    },
    /// There is no such call in the session.
    #[error("there is no call {call}")]
    NoSuchCall {
        /// Which.
        call: CallId,
    },
    /// An answer to a call that does not wait for it, or does not any more.
    #[error("call {call} is {status}, not {wanted}: there is nothing to answer")]
    NotWaiting {
        /// Which.
        call: CallId,
        /// Where it stands.
        status: CallStatus,
        /// What the answer would be for.
        wanted: CallStatus,
    },
    /// The person was shown something else than what the call waits for now.
    #[error("call {call} waits for another answer than the one that was shown: look at it again")]
    StaleAnswer {
        /// Which.
        call: CallId,
    },
    /// It is too late to answer.
    #[error("the time to answer call {call} is over")]
    Expired {
        /// Which.
        call: CallId,
    },
    /// The rules do not let a person say yes to more than the one call.
    #[error("call {call} can be approved by itself only, not for the session: its rule says so")]
    OneCallOnly {
        /// Which.
        call: CallId,
    },
    /// There is nothing to cancel.
    #[error("no run is under way")]
    NoRun,
    /// An input that says nothing.
    #[error("the input is empty")]
    EmptyInput,
    /// The intent is not for this call.
    #[error("the intent's {what} is not the call's")]
    OtherIntent {
        /// What differs.
        what: &'static str,
    },
    /// Calls that run have reserved all fuel; the check is pending again when one ends.
    #[error("all fuel of the run is reserved by calls that run")]
    FuelReserved,
    /// It came too late or too early: an answer to something that is not asked any more, mostly.
    #[error("{kind} cannot happen now: {state}")]
    NotNow {
        /// The event that would have been recorded.
        kind: &'static str,
        /// The state it met.
        state: String,
    },
}

impl Refused {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotCreated => "not-created",
            Self::OtherAgent { .. } => "other-agent",
            Self::Closed => "closed",
            Self::Busy { .. } => "busy",
            Self::OtherInput { .. } => "other-input",
            Self::QueueFull { .. } => "queue-full",
            Self::NoSuchCall { .. } => "no-such-call",
            Self::NotWaiting { wanted: CallStatus::OutcomeUnknown, .. } => "not-unknown",
            Self::NotWaiting { .. } => "not-waiting",
            Self::StaleAnswer { .. } => "stale-answer",
            Self::Expired { .. } => "expired",
            Self::OneCallOnly { .. } => "one-call-only",
            Self::NoRun => "no-run",
            Self::EmptyInput => "empty-input",
            Self::OtherIntent { .. } => "other-intent",
            Self::FuelReserved => "fuel-reserved",
            Self::NotNow { .. } => "not-now",
        }
    }
}

/// A transition that the state does not allow; says what the state is.
#[derive(Debug)]
pub(crate) struct Illegal(pub(crate) String);
