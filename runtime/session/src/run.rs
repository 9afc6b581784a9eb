//! One run: one input driven to a final answer.

use std::{fmt, sync::Arc};

use ringfence_event::{CallId, Limit, RunId, StepId, Timestamp, TokenUsage, Usage};

use crate::{Call, CallStatus, RunLimits, Step, error::Illegal};

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunStatus {
    /// Its input is recorded, its clock does not run yet.
    Queued,
    /// Under way.
    Running,
    /// Waits for a person to reconcile the calls whose outcome is unknown.
    Waiting,
    /// Reached its final answer.
    Completed,
    /// Could not go on.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
    /// Spent one of its limits.
    LimitReached(Limit),
}

impl RunStatus {
    /// The word, as it is written in events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::LimitReached(_) => "limit-reached",
        }
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Running | Self::Waiting)
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LimitReached(limit) => write!(f, "limit-reached{{{limit}}}"),
            Self::Waiting => f.write_str("waiting{reconcile}"),
            other => f.write_str(other.as_str()),
        }
    }
}

/// Why a run is ended before its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Somebody cancelled it.
    Cancelled,
    /// It spent a limit.
    LimitReached(Limit),
}

/// One run, as the journal tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    id: RunId,
    input: Arc<str>,
    status: RunStatus,
    stopping: Option<Ending>,
    failure: Option<String>,
    steps: Vec<Step>,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    /// Since when nothing goes on, while a person is waited for.
    paused: Option<Timestamp>,
    /// How long nothing went on, in milliseconds.
    paused_ms: u64,
    /// How often the host died in the current step.
    pub(crate) resumed: u32,
    /// The place of the last event that the run's next one follows from.
    pub(crate) seq: u64,
}

impl Run {
    pub(crate) fn queued(id: RunId, input: &str) -> Self {
        Self {
            id,
            input: input.into(),
            status: RunStatus::Queued,
            stopping: None,
            failure: None,
            steps: vec![],
            started: None,
            ended: None,
            paused: None,
            paused_ms: 0,
            resumed: 0,
            seq: 0,
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> RunId {
        self.id
    }

    /// What the user said.
    #[must_use]
    pub fn input(&self) -> &str {
        &self.input
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> RunStatus {
        self.status
    }

    /// Why it is being ended, while calls of it are still being stopped, and afterwards.
    #[must_use]
    pub fn stopping(&self) -> Option<Ending> {
        self.stopping
    }

    /// Why it could not go on.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Its steps so far.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// All calls of all steps, in the order of proposal.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.steps.iter().flat_map(Step::calls)
    }

    /// The final answer, once the run is completed.
    #[must_use]
    pub fn answer(&self) -> Option<&str> {
        let reply = self.steps.last()?.reply()?;
        (self.status == RunStatus::Completed).then_some(&reply.text)
    }

    /// Tokens over all its steps.
    #[must_use]
    pub fn tokens(&self) -> TokenUsage {
        let mut tokens = TokenUsage::default();
        self.steps.iter().filter_map(Step::reply).for_each(|reply| tokens.add(reply.tokens));
        tokens
    }

    /// What its calls cost together, as far as anybody knows.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        self.calls().for_each(|call| usage.add(&call.usage()));
        usage
    }

    /// When its clock started.
    #[must_use]
    pub fn started_at(&self) -> Option<Timestamp> {
        self.started
    }

    /// When it ended.
    #[must_use]
    pub fn ended_at(&self) -> Option<Timestamp> {
        self.ended
    }

    /// When its time is up; nothing while it waits for a person or once it is ended or ending.
    pub(crate) fn deadline(&self, limits: &RunLimits) -> Option<Timestamp> {
        if self.status != RunStatus::Running || self.stopping.is_some() {
            return None;
        }
        let granted = limits.time_ms.saturating_add(self.paused_ms);
        self.started.map(|at| Timestamp(at.0.saturating_add(granted)))
    }

    pub(crate) fn fuel_spent(&self) -> u64 {
        self.calls().fold(0, |sum, call| sum.saturating_add(call.fuel_spent()))
    }

    pub(crate) fn fuel_reserved(&self) -> u64 {
        self.calls().fold(0, |sum, call| sum.saturating_add(call.fuel_reserved()))
    }

    /// What no call has spent or reserved.
    pub(crate) fn fuel_left(&self, limits: &RunLimits) -> u64 {
        limits.fuel.saturating_sub(self.fuel_spent()).saturating_sub(self.fuel_reserved())
    }

    /// Calls that wait to be reconciled.
    pub(crate) fn unknown(&self) -> Vec<CallId> {
        let unknown = self.calls().filter(|call| call.status() == CallStatus::OutcomeUnknown);
        unknown.map(|call| call.id().clone()).collect()
    }

    pub(crate) fn illegal(&self) -> Illegal {
        let ending = if self.stopping.is_some() { " and being stopped" } else { "" };
        Illegal(format!("run {} is {}{ending}", self.id, self.status))
    }

    fn expect(&self, legal: bool) -> Result<(), Illegal> {
        if legal { Ok(()) } else { Err(self.illegal()) }
    }

    pub(crate) fn start(&mut self, at: Timestamp) -> Result<(), Illegal> {
        self.expect(self.status == RunStatus::Queued)?;
        self.status = RunStatus::Running;
        self.started = Some(at);
        Ok(())
    }

    /// `since`: when the last event before this one was recorded.
    pub(crate) fn resume(&mut self, since: Timestamp, at: Timestamp) -> Result<(), Illegal> {
        let waits = self.status == RunStatus::Waiting && self.unknown().is_empty();
        let ready = self.status == RunStatus::Running && self.unknown().is_empty();
        self.expect((waits || ready) && self.stopping.is_none())?;
        if let Some(step) = self.steps.last_mut() {
            step.resume()?;
        }
        if ready {
            self.resumed += 1;
        }
        let since = self.paused.take().unwrap_or(since);
        self.paused_ms = self.paused_ms.saturating_add(at.0.saturating_sub(since.0));
        self.status = RunStatus::Running;
        Ok(())
    }

    pub(crate) fn wait(&mut self, calls: &[CallId], at: Timestamp) -> Result<(), Illegal> {
        let told = !calls.is_empty() && self.unknown() == calls;
        self.expect(self.status == RunStatus::Running && self.stopping.is_none() && told)?;
        self.status = RunStatus::Waiting;
        self.paused = Some(at);
        Ok(())
    }

    pub(crate) fn stop(&mut self, limit: Option<Limit>) -> Result<(), Illegal> {
        self.expect(self.status.is_open() && self.stopping.is_none())?;
        self.stopping = Some(limit.map_or(Ending::Cancelled, Ending::LimitReached));
        Ok(())
    }

    pub(crate) fn end(&mut self, status: RunStatus, at: Timestamp) -> Result<(), Illegal> {
        let answered = self.steps.last().is_some_and(|step| {
            step.is_finished() && step.reply().is_some_and(|reply| reply.calls.is_empty())
        });
        let all_ended = self.calls().all(|call| !call.status().is_open())
            && self.steps.last().is_none_or(|step| step.unrecorded().is_none());
        let told = match status {
            RunStatus::Completed => answered && self.stopping.is_none(),
            RunStatus::Failed => self.stopping.is_none(),
            RunStatus::Cancelled => self.stopping.is_none_or(|ending| ending == Ending::Cancelled),
            RunStatus::LimitReached(limit) => {
                self.stopping.is_none_or(|ending| ending == Ending::LimitReached(limit))
            }
            _ => false,
        };
        self.expect(self.status.is_open() && all_ended && told)?;
        self.status = status;
        self.ended = Some(at);
        Ok(())
    }

    pub(crate) fn fail(&mut self, message: &str, at: Timestamp) -> Result<(), Illegal> {
        self.end(RunStatus::Failed, at)?;
        self.failure = Some(message.to_owned());
        Ok(())
    }

    pub(crate) fn start_step(&mut self, id: StepId) -> Result<(), Illegal> {
        let next = self.steps.last().map_or(1, |step| step.id().step + 1);
        let after_calls = self.steps.last().is_none_or(|step| {
            step.is_finished() && step.reply().is_some_and(|reply| !reply.calls.is_empty())
        });
        self.expect(
            self.status == RunStatus::Running
                && self.stopping.is_none()
                && after_calls
                && id == StepId { run: self.id, step: next },
        )?;
        self.resumed = 0;
        self.steps.push(Step::started(id));
        Ok(())
    }

    pub(crate) fn finish_step(&mut self, id: StepId) -> Result<(), Illegal> {
        self.step_mut(id)?.finish()
    }

    /// The current step, which must be this one.
    pub(crate) fn step_mut(&mut self, id: StepId) -> Result<&mut Step, Illegal> {
        let illegal = self.illegal();
        match self.steps.last_mut() {
            Some(step) if step.id() == id => Ok(step),
            Some(step) => Err(Illegal(format!("the current step is {}", step.id()))),
            None => Err(illegal),
        }
    }

    /// A call of the current step.
    pub(crate) fn call_mut(&mut self, id: &CallId) -> Result<&mut Call, Illegal> {
        let absent = Illegal(format!("run {} has no call {id} in its current step", self.id));
        let step = self.steps.last_mut().filter(|step| !step.is_finished());
        step.and_then(|step| step.calls.iter_mut().find(|call| call.id() == id)).ok_or(absent)
    }

    pub(crate) fn step_last_mut(&mut self) -> Option<&mut Step> {
        self.steps.last_mut()
    }
}
