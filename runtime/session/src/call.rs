//! One call of a step: from proposed to its one end.

use std::{fmt, sync::Arc};

use ringfence_event::{CallId, CallResult, Denial, Intent, Limit, Outcome, Usage};

use crate::error::Illegal;

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallStatus {
    /// The model proposed it.
    Proposed,
    /// Its arguments do not fit.
    Invalid,
    /// Refused whole.
    Denied,
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
        matches!(self, Self::Proposed | Self::Intended | Self::Started)
    }

    fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Succeeded { .. } => Self::Succeeded,
            Outcome::Failed { .. } => Self::Failed,
            Outcome::Invalid { .. } => Self::Invalid,
            Outcome::Denied => Self::Denied,
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
            other => f.write_str(other.as_str()),
        }
    }
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
    /// Fuel of tries that a dying host took with it. Nobody knows what they spent, so all that
    /// they had reserved counts.
    fuel_lost: u64,
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
            fuel_lost: 0,
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

    /// What was about to run, once policy said yes.
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

    /// What it cost, as far as anybody knows.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.result().map(|result| result.usage).unwrap_or_default()
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

    fn fuel_of_intent(&self) -> u64 {
        self.intent.as_ref().map_or(0, |intent| intent.limits.fuel)
    }

    pub(crate) fn illegal(&self) -> Illegal {
        Illegal(format!("call {} is {}", self.id, self.status))
    }

    /// Refused before it had an intent: invalid or denied.
    pub(crate) fn refuse(&mut self, outcome: Outcome, denials: &[Denial]) -> Result<(), Illegal> {
        self.expect(self.status == CallStatus::Proposed)?;
        self.end(CallResult { outcome, denials: denials.to_vec(), usage: Usage::default() });
        Ok(())
    }

    pub(crate) fn intend(&mut self, intent: &Intent) -> Result<(), Illegal> {
        self.expect(self.status == CallStatus::Proposed)?;
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

    pub(crate) fn finish(&mut self, result: &CallResult) -> Result<(), Illegal> {
        let without_starting = matches!(
            result.outcome,
            Outcome::Cancelled | Outcome::LimitReached { .. } | Outcome::HostError { .. }
        );
        self.expect(match self.status {
            CallStatus::Proposed => without_starting,
            CallStatus::Intended => without_starting || result.outcome == Outcome::Denied,
            CallStatus::Started => result.outcome != Outcome::OutcomeUnknown,
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

    pub(crate) fn reconcile(&mut self, result: &CallResult) -> Result<(), Illegal> {
        self.expect(
            self.status == CallStatus::OutcomeUnknown
                && matches!(result.outcome, Outcome::Succeeded { .. } | Outcome::Failed { .. }),
        )?;
        self.end(result.clone());
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
