//! One call of a step: from proposed to its one end.

use std::{fmt, sync::Arc};

use ringfence_event::{
    ApprovalScope, CallId, CallResult, Denial, Digest, Failure, FailureKind, Hold, Intent, Limit,
    Outcome, Question, Timestamp, Usage, UserId, Wait,
};

use crate::error::Illegal;

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallStatus {
    /// The model proposed it, and it is to be decided; or it is to be decided once more, because a
    /// person approved it, answered it or said that it did not happen.
    Proposed,
    /// Its arguments do not fit.
    Invalid,
    /// Refused whole.
    Denied,
    /// It waits: for a person's yes, for an answer to what its tool asks, or to be tried again.
    Waiting(Wait),
    /// A person said no, or nobody answered in time.
    Declined,
    /// Policy said yes; it is about to run.
    Intended,
    /// The sandbox has it.
    Started,
    /// The tool did its work.
    Succeeded,
    /// The tool says that it could not.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// The guest trapped.
    Trapped,
    /// The host broke.
    HostError,
    /// A limit stopped it, or kept it from starting.
    LimitReached(Limit),
    /// The host died while it ran, and it may not be repeated.
    OutcomeUnknown,
}

impl CallStatus {
    /// The word, as it is written in events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::Waiting(_) => "waiting",
            Self::Declined => "declined",
            Self::Intended => "intended",
            Self::Started => "started",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Trapped => "trapped",
            Self::HostError => "host-error",
            Self::LimitReached(_) => "limit-reached",
            Self::OutcomeUnknown => "outcome-unknown",
        }
    }

    /// Whether it has reserved fuel and a place among the concurrent calls.
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(self, Self::Intended | Self::Started)
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Proposed | Self::Waiting(_) | Self::Intended | Self::Started)
    }

    fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Succeeded { .. } => Self::Succeeded,
            Outcome::Failed { .. } => Self::Failed,
            Outcome::Invalid { .. } => Self::Invalid,
            Outcome::Denied => Self::Denied,
            Outcome::Declined { .. } => Self::Declined,
            Outcome::NeedsInput { .. } => Self::Waiting(Wait::Input),
            Outcome::LimitReached { limit } => Self::LimitReached(*limit),
            Outcome::Trapped { .. } => Self::Trapped,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::HostError { .. } => Self::HostError,
            Outcome::OutcomeUnknown => Self::OutcomeUnknown,
        }
    }
}

impl fmt::Display for CallStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LimitReached(limit) => write!(f, "limit-reached{{{limit}}}"),
            Self::Waiting(wait) => write!(f, "waiting{{{}}}", wait.as_str()),
            other => f.write_str(other.as_str()),
        }
    }
}

/// A person's yes to a call, or the rule's when nobody answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// What it was held by, and what the yes is for.
    pub hold: Arc<Hold>,
    /// Who said it; absent: nobody did in time.
    pub by: Option<UserId>,
    /// How far it goes.
    pub scope: ApprovalScope,
    /// Why, in the person's words.
    pub reason: Option<Arc<str>>,
}

/// What a tool asked in the middle of a call, and what was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inquiry {
    /// Which of the call's questions it is, from 1.
    pub place: u32,
    /// What it asks.
    pub question: Question,
    /// The blob that the tool gets back with the answer.
    pub state: Digest,
    /// The answer once there is one; inside it nothing, where the person would not.
    pub answer: Option<Option<serde_json::Value>>,
}

/// One call, as the journal tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    id: CallId,
    pub(crate) function: Arc<str>,
    pub(crate) arguments: Arc<str>,
    status: CallStatus,
    intent: Option<Arc<Intent>>,
    result: Option<Arc<CallResult>>,
    /// What tries cost after which the call went on: they asked something, or are made again.
    earlier: Usage,
    /// Fuel of tries that a dying host took with it. Nobody knows what they spent, so all that
    /// they had reserved counts.
    fuel_lost: u64,
    hold: Option<Arc<Hold>>,
    approval: Option<Arc<Approval>>,
    inquiry: Option<Arc<Inquiry>>,
    /// How many questions its tool asked.
    questions: u32,
    /// How often it was scheduled again, for how long together, and when it is its time.
    pub(crate) retries: u32,
    pub(crate) waited_ms: u64,
    retry_at: Option<Timestamp>,
    /// The place of the last event about it.
    pub(crate) seq: u64,
}

impl Call {
    pub(crate) fn proposed(id: CallId, function: &str, arguments: &str) -> Self {
        Self {
            id,
            function: function.into(),
            arguments: arguments.into(),
            status: CallStatus::Proposed,
            intent: None,
            result: None,
            earlier: Usage::default(),
            fuel_lost: 0,
            hold: None,
            approval: None,
            inquiry: None,
            questions: 0,
            retries: 0,
            waited_ms: 0,
            retry_at: None,
            seq: 0,
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &CallId {
        &self.id
    }

    /// The function's name as the model said it.
    #[must_use]
    pub fn function(&self) -> &str {
        &self.function
    }

    /// The arguments as the model wrote them.
    #[must_use]
    pub fn arguments(&self) -> &str {
        &self.arguments
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> CallStatus {
        self.status
    }

    /// What was about to run, once policy said yes; of several tries the last one's.
    #[must_use]
    pub fn intent(&self) -> Option<&Arc<Intent>> {
        self.intent.as_ref()
    }

    /// How it ended, once it did.
    #[must_use]
    pub fn result(&self) -> Option<&CallResult> {
        self.result.as_deref()
    }

    /// Its outcome, once it ended.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.result().map(|result| &result.outcome)
    }

    /// What it asked for and did not get.
    #[must_use]
    pub fn denials(&self) -> &[Denial] {
        self.result().map_or(&[], |result| &result.denials)
    }

    /// What it cost, over all its tries, as far as anybody knows.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let mut usage = self.earlier;
        if let Some(result) = self.result() {
            usage.add(&result.usage);
        }
        usage
    }

    /// What holds it, while it waits for a person's yes.
    #[must_use]
    pub fn hold(&self) -> Option<&Arc<Hold>> {
        self.hold.as_ref().filter(|_| self.status == CallStatus::Waiting(Wait::Approval))
    }

    /// The yes it got, if it needed one.
    #[must_use]
    pub fn approval(&self) -> Option<&Arc<Approval>> {
        self.approval.as_ref()
    }

    /// What its tool asked last, if it asked something.
    #[must_use]
    pub fn inquiry(&self) -> Option<&Arc<Inquiry>> {
        self.inquiry.as_ref()
    }

    /// When it is made again, while it waits for that.
    #[must_use]
    pub fn retry_at(&self) -> Option<Timestamp> {
        self.retry_at.filter(|_| self.status == CallStatus::Waiting(Wait::Retry))
    }

    /// How many questions its tool asked.
    pub(crate) fn questions(&self) -> u32 {
        self.questions
    }

    pub(crate) fn fuel_spent(&self) -> u64 {
        self.fuel_lost.saturating_add(self.usage().fuel_total())
    }

    pub(crate) fn fuel_reserved(&self) -> u64 {
        if self.status.is_active() { self.fuel_of_intent() } else { 0 }
    }

    /// Whether the host may do it again without asking anybody.
    pub(crate) fn may_repeat(&self) -> bool {
        self.intent.as_ref().is_none_or(|intent| intent.effect.may_repeat())
    }

    /// Whether it can be decided now.
    pub(crate) fn is_to_check(&self, now: Timestamp) -> bool {
        self.status == CallStatus::Proposed || self.retry_at().is_some_and(|at| at <= now)
    }

    /// Whether a model that proposes only such calls does not know what it may call.
    pub(crate) fn is_unusable(&self) -> bool {
        use ringfence_event::DenialCode::{NoSuchFunction, NotInAgent};
        let is_unknown = |denial: &Denial| matches!(denial.code, NoSuchFunction | NotInAgent);
        match self.status {
            CallStatus::Invalid => true,
            CallStatus::Denied => self.denials().iter().any(is_unknown),
            _ => false,
        }
    }

    fn fuel_of_intent(&self) -> u64 {
        self.intent.as_ref().map_or(0, |intent| intent.limits.fuel)
    }

    pub(crate) fn illegal(&self) -> Illegal {
        Illegal(format!("call {} is {}", self.id, self.status))
    }

    fn is_decidable(&self) -> bool {
        matches!(self.status, CallStatus::Proposed | CallStatus::Waiting(Wait::Retry))
    }

    /// Refused before it had an intent: invalid or denied.
    pub(crate) fn refuse(&mut self, outcome: Outcome, denials: &[Denial]) -> Result<(), Illegal> {
        self.expect(self.is_decidable())?;
        self.end(CallResult { outcome, denials: denials.to_vec(), usage: Usage::default() });
        Ok(())
    }

    pub(crate) fn hold_for(&mut self, hold: &Hold) -> Result<(), Illegal> {
        self.expect(self.is_decidable())?;
        self.status = CallStatus::Waiting(Wait::Approval);
        self.hold = Some(Arc::new(hold.clone()));
        self.approval = None;
        Ok(())
    }

    pub(crate) fn approve(
        &mut self,
        by: Option<&UserId>,
        scope: ApprovalScope,
        reason: Option<&str>,
    ) -> Result<Arc<Approval>, Illegal> {
        let hold = self.hold().cloned().ok_or_else(|| self.illegal())?;
        let (by, reason) = (by.cloned(), reason.map(Into::into));
        let approval = Arc::new(Approval { hold, by, scope, reason });
        self.approval = Some(approval.clone());
        self.status = CallStatus::Proposed;
        Ok(approval)
    }

    pub(crate) fn decline(
        &mut self,
        by: Option<&UserId>,
        reason: Option<&str>,
    ) -> Result<(), Illegal> {
        self.expect(self.status == CallStatus::Waiting(Wait::Approval))?;
        let outcome = Outcome::Declined { by: by.cloned(), reason: reason.map(str::to_owned) };
        self.end(CallResult { outcome, denials: vec![], usage: Usage::default() });
        Ok(())
    }

    pub(crate) fn intend(&mut self, intent: &Intent) -> Result<(), Illegal> {
        self.expect(self.is_decidable())?;
        self.status = CallStatus::Intended;
        self.intent = Some(Arc::new(intent.clone()));
        Ok(())
    }

    pub(crate) fn start(&mut self) -> Result<(), Illegal> {
        self.expect(self.status == CallStatus::Intended)?;
        self.status = CallStatus::Started;
        Ok(())
    }

    pub(crate) fn note(&self) -> Result<(), Illegal> {
        self.expect(self.status == CallStatus::Started)
    }

    pub(crate) fn ask(
        &mut self,
        question: &Question,
        state: Digest,
        usage: &Usage,
    ) -> Result<(), Illegal> {
        self.expect(self.status == CallStatus::Started)?;
        self.status = CallStatus::Waiting(Wait::Input);
        self.earlier.add(usage);
        self.questions += 1;
        let (place, question) = (self.questions, question.clone());
        self.inquiry = Some(Arc::new(Inquiry { place, question, state, answer: None }));
        Ok(())
    }

    pub(crate) fn answer(&mut self, value: Option<&serde_json::Value>) -> Result<(), Illegal> {
        self.expect(self.status == CallStatus::Waiting(Wait::Input))?;
        if let Some(inquiry) = &mut self.inquiry {
            Arc::make_mut(inquiry).answer = Some(value.cloned());
        }
        self.status = CallStatus::Proposed;
        Ok(())
    }

    pub(crate) fn schedule(
        &mut self,
        attempt: u32,
        since: Timestamp,
        at: Timestamp,
        result: &CallResult,
    ) -> Result<(), Illegal> {
        let next = self.retries.saturating_add(2) == attempt;
        self.expect(self.status == CallStatus::Started && self.may_repeat() && next)?;
        self.status = CallStatus::Waiting(Wait::Retry);
        self.earlier.add(&result.usage);
        self.retries += 1;
        self.waited_ms = self.waited_ms.saturating_add(at.0.saturating_sub(since.0));
        self.retry_at = Some(at);
        Ok(())
    }

    pub(crate) fn finish(&mut self, result: &CallResult) -> Result<(), Illegal> {
        let without_starting = matches!(
            result.outcome,
            Outcome::Cancelled | Outcome::LimitReached { .. } | Outcome::HostError { .. }
        );
        let is_end = !matches!(
            result.outcome,
            Outcome::OutcomeUnknown | Outcome::NeedsInput { .. } | Outcome::Declined { .. }
        );
        self.expect(match self.status {
            CallStatus::Proposed | CallStatus::Waiting(_) => without_starting,
            CallStatus::Intended => without_starting || result.outcome == Outcome::Denied,
            CallStatus::Started => is_end,
            _ => false,
        })?;
        self.end(result.clone());
        Ok(())
    }

    /// Its host died; it runs again.
    pub(crate) fn repeat(&mut self) -> Result<(), Illegal> {
        if self.status == CallStatus::Started {
            self.expect(self.may_repeat())?;
            self.status = CallStatus::Intended;
            self.fuel_lost = self.fuel_lost.saturating_add(self.fuel_of_intent());
        }
        Ok(())
    }

    /// Its host died; it must not run again.
    pub(crate) fn lose(&mut self) -> Result<(), Illegal> {
        self.expect(self.status.is_active() && !self.may_repeat())?;
        self.fuel_lost = self.fuel_lost.saturating_add(self.fuel_of_intent());
        let outcome = Outcome::OutcomeUnknown;
        self.end(CallResult { outcome, denials: vec![], usage: Usage::default() });
        Ok(())
    }

    /// Without a result it did not happen, and is decided once more.
    pub(crate) fn reconcile(&mut self, result: Option<&CallResult>) -> Result<(), Illegal> {
        self.expect(self.status == CallStatus::OutcomeUnknown)?;
        match result {
            Some(result) => {
                self.expect(matches!(
                    result.outcome,
                    Outcome::Succeeded { .. } | Outcome::Failed { .. }
                ))?;
                self.end(result.clone());
            }
            None => {
                self.status = CallStatus::Proposed;
                self.result = None;
            }
        }
        Ok(())
    }

    fn end(&mut self, result: CallResult) {
        self.status = CallStatus::of(&result.outcome);
        self.result = Some(Arc::new(result));
    }

    fn expect(&self, legal: bool) -> Result<(), Illegal> {
        if legal { Ok(()) } else { Err(self.illegal()) }
    }
}

/// Whether a try failed in a way that may pass: the tool says that what it needs does not answer, or
/// the call ran out of time.
pub(crate) fn is_passing(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Failed { failure: Failure { kind: FailureKind::Unavailable, .. } }
            | Outcome::LimitReached { limit: Limit::Time }
    )
}

/// How long the tool asks to wait before the next try.
pub(crate) fn retry_after_ms(outcome: &Outcome) -> Option<u64> {
    match outcome {
        Outcome::Failed { failure } => failure.retry_after_ms,
        _ => None,
    }
}
