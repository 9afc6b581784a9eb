//! One run: one input driven to a final answer.

use std::{fmt, sync::Arc};

use ringfence_event::{
    BudgetLevel, CallId, KeyId, Limit, Money, RunId, Spent, StepId, Timestamp, TokenUsage, Usage,
    Wait,
};

use crate::{Call, CallStatus, RunLimits, Step, error::Illegal};

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunStatus {
    /// Its input is recorded, its clock does not run yet.
    Queued,
    /// Under way.
    Running,
    /// Nothing of it is under way until a person answers, or until something is tried again.
    Waiting(Wait),
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
            Self::Waiting(_) => "waiting",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::LimitReached(_) => "limit-reached",
        }
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Running | Self::Waiting(_))
    }

    /// Whether it waits for a person.
    #[must_use]
    pub fn is_waiting_for_somebody(self) -> bool {
        matches!(self, Self::Waiting(Wait::Approval | Wait::Input | Wait::Reconcile))
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LimitReached(limit) => write!(f, "limit-reached{{{limit}}}"),
            Self::Waiting(wait) => write!(f, "waiting{{{}}}", wait.as_str()),
            other => f.write_str(other.as_str()),
        }
    }
}

/// Why a run is ended before its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Somebody cancelled it.
    Cancelled,
    /// It spent a limit: which, and by how much if that is known.
    LimitReached(Limit, Option<Spent>),
}

/// What is counted over several steps or runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Calls proposed, refused ones included.
    pub calls: u64,
    /// Tokens read and written by models.
    pub tokens: TokenUsage,
    /// What they cost.
    pub cost: Money,
    /// Units of fuel, those of tries included whose outcome nobody knows.
    pub fuel: u64,
}

impl Totals {
    /// How much of a limit that is counted over calls and steps, in the limit's own unit.
    #[must_use]
    pub fn counted(&self, limit: Limit) -> u64 {
        match limit {
            Limit::Calls => self.calls,
            Limit::Tokens => self.tokens.total(),
            Limit::Money => self.cost.nanos(),
            Limit::Fuel => self.fuel,
            _ => 0,
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.tokens.add(other.tokens);
        self.cost = self.cost.plus(other.cost);
        self.fuel = self.fuel.saturating_add(other.fuel);
    }

    fn of(step: &Step) -> Self {
        Self {
            calls: step.calls().len() as u64,
            tokens: step.tokens(),
            cost: step.cost(),
            fuel: step.calls().iter().fold(0, |sum, call| sum.saturating_add(call.fuel_spent())),
        }
    }
}

/// One run, as the journal tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    id: RunId,
    input: Arc<str>,
    key: Option<Arc<str>>,
    not_after: Option<Timestamp>,
    pub(crate) api_key: Option<KeyId>,
    status: RunStatus,
    stopping: Option<Ending>,
    failure: Option<String>,
    /// Behind `Arc`, so that a decision can be tried on a copy of the run.
    steps: Vec<Arc<Step>>,
    /// Of all steps but the last.
    past: Totals,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    /// Since when nothing goes on.
    paused: Option<Timestamp>,
    /// How long nothing went on, in milliseconds.
    paused_ms: u64,
    /// When the model is asked again.
    retry_at: Option<Timestamp>,
    /// The budgets of which it was said that four fifths are spent.
    warned: Vec<(BudgetLevel, Limit)>,
    /// Nobody has gone on with it since a host left it in good order, or since somebody answered what it
    /// waited for: whoever takes it over then has met no death.
    left: bool,
    /// How often the host died in the current step.
    pub(crate) resumed: u32,
    /// The place of the last event that the run's next one follows from.
    pub(crate) seq: u64,
}

impl Run {
    pub(crate) fn queued(
        id: RunId,
        input: &str,
        key: Option<&str>,
        not_after: Option<Timestamp>,
    ) -> Self {
        Self {
            id,
            input: input.into(),
            key: key.map(Into::into),
            not_after,
            api_key: None,
            status: RunStatus::Queued,
            stopping: None,
            failure: None,
            steps: vec![],
            past: Totals::default(),
            started: None,
            ended: None,
            paused: None,
            paused_ms: 0,
            retry_at: None,
            warned: vec![],
            left: false,
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

    /// The API key that it came with.
    #[must_use]
    pub fn api_key(&self) -> Option<&KeyId> {
        self.api_key.as_ref()
    }

    /// What whoever said it calls it.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Whether nobody waits for it any more, and it has not begun.
    pub(crate) fn is_too_late(&self, now: Timestamp) -> bool {
        self.status == RunStatus::Queued && self.not_after.is_some_and(|last| last <= now)
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
    pub fn steps(&self) -> &[Arc<Step>] {
        &self.steps
    }

    /// All calls of all steps, in the order of proposal.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.steps.iter().flat_map(|step| step.calls())
    }

    /// The calls of the current step: earlier ones have all ended.
    pub(crate) fn current(&self) -> &[Call] {
        self.steps.last().map_or(&[], |step| step.calls())
    }

    /// The final answer, once the run is completed.
    #[must_use]
    pub fn answer(&self) -> Option<&str> {
        let reply = self.steps.last()?.reply()?;
        (self.status == RunStatus::Completed).then_some(&reply.text)
    }

    /// What it spent so far, as far as anybody knows.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = self.past;
        if let Some(step) = self.steps.last() {
            totals.add(&Totals::of(step));
        }
        totals
    }

    /// Tokens over all its steps.
    #[must_use]
    pub fn tokens(&self) -> TokenUsage {
        self.totals().tokens
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

    /// How long it was under way until this time, in milliseconds: what it waited for people and for
    /// other tries is not counted.
    #[must_use]
    pub fn active_ms(&self, now: Timestamp) -> u64 {
        let until = [self.ended, self.paused].into_iter().flatten().min().unwrap_or(now);
        let since = self.started.map_or(0, |started| until.0.saturating_sub(started.0));
        since.saturating_sub(self.paused_ms)
    }

    /// When its time is up; nothing while it waits or once it is ended or ending.
    pub(crate) fn deadline(&self, limits: &RunLimits) -> Option<Timestamp> {
        if self.status != RunStatus::Running || self.stopping.is_some() {
            return None;
        }
        let granted = limits.time_ms.saturating_add(self.paused_ms);
        self.started.map(|at| Timestamp(at.0.saturating_add(granted)))
    }

    /// How much of its time a run has taken that is past its deadline; what it waited does not count.
    pub(crate) fn time_spent(
        &self,
        limits: &RunLimits,
        deadline: Timestamp,
        at: Timestamp,
    ) -> Spent {
        let late = at.0.saturating_sub(deadline.0);
        let (spent, of) = (limits.time_ms.saturating_add(late), limits.time_ms);
        Spent { level: BudgetLevel::Run, spent, asked: 0, of, reopens: None }
    }

    /// When something of it is to be looked at again although nobody says anything.
    pub(crate) fn timers(&self) -> impl Iterator<Item = Timestamp> {
        let is_open = self.stopping.is_none();
        let model = self.retry_at.filter(|_| self.status == RunStatus::Waiting(Wait::Retry));
        let of_call = |call: &Call| call.retry_at().or(call.hold().and_then(|hold| hold.expires));
        let timers = self.current().iter().filter_map(of_call).chain(model);
        timers.filter(move |_| is_open)
    }

    /// What calls of it wait for: what a person must do comes first.
    pub(crate) fn waits_for(&self) -> Option<Wait> {
        let wait = |call: &Call| match call.status() {
            CallStatus::Waiting(wait) => Some(wait),
            CallStatus::OutcomeUnknown => Some(Wait::Reconcile),
            _ => None,
        };
        self.current().iter().filter_map(wait).min()
    }

    /// Whether a run that waits has something to do again, if only to wait for something else.
    pub(crate) fn is_actionable(&self, on: Wait, now: Timestamp) -> bool {
        match self.retry_at {
            Some(at) => at <= now,
            None => {
                self.waits_for() != Some(on)
                    || self.current().iter().any(|call| call.is_to_check(now))
            }
        }
    }

    pub(crate) fn fuel_reserved(&self) -> u64 {
        self.current().iter().fold(0, |sum, call| sum.saturating_add(call.fuel_reserved()))
    }

    pub(crate) fn was_warned(&self, level: BudgetLevel, limit: Limit) -> bool {
        self.warned.contains(&(level, limit))
    }

    pub(crate) fn warn(&mut self, level: BudgetLevel, limit: Limit) -> Result<(), Illegal> {
        self.expect(self.status.is_open() && !self.was_warned(level, limit))?;
        self.warned.push((level, limit));
        Ok(())
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

    pub(crate) fn leave(&mut self) -> Result<(), Illegal> {
        let runs = self.status == RunStatus::Running && self.stopping.is_none();
        self.expect(runs && !self.left)?;
        self.left = true;
        Ok(())
    }

    /// A host has begun something of it.
    pub(crate) fn go_on(&mut self) {
        self.left = false;
    }

    /// Whether nothing of it was begun since a host left it, or somebody answered.
    pub(crate) fn is_left(&self) -> bool {
        self.left
    }

    /// `since`: when the last event before this one was recorded.
    pub(crate) fn resume(&mut self, since: Timestamp, at: Timestamp) -> Result<(), Illegal> {
        let waits = matches!(self.status, RunStatus::Waiting(_));
        self.expect((waits || self.status == RunStatus::Running) && self.stopping.is_none())?;
        if let Some(step) = self.step_last_mut() {
            step.resume()?;
        }
        if waits {
            self.left = true;
        } else if !std::mem::take(&mut self.left) {
            self.resumed += 1;
        }
        self.unpause(since, at);
        self.status = RunStatus::Running;
        if waits {
            self.retry_at = None;
        }
        Ok(())
    }

    fn unpause(&mut self, since: Timestamp, at: Timestamp) {
        let since = self.paused.take().unwrap_or(since);
        self.paused_ms = self.paused_ms.saturating_add(at.0.saturating_sub(since.0));
    }

    pub(crate) fn wait(
        &mut self,
        on: Wait,
        calls: &[CallId],
        at: Timestamp,
    ) -> Result<(), Illegal> {
        let known = calls.iter().all(|id| self.current().iter().any(|call| call.id() == id));
        let idle = !self.current().iter().any(|call| call.status().is_active());
        let runs = self.status == RunStatus::Running && self.stopping.is_none();
        let told = !calls.is_empty() || (on == Wait::Retry && self.retry_at.is_some());
        self.expect(runs && idle && known && told)?;
        self.status = RunStatus::Waiting(on);
        self.paused = Some(at);
        Ok(())
    }

    /// The model is asked again at this time.
    pub(crate) fn schedule(
        &mut self,
        step: StepId,
        attempt: u32,
        since: Timestamp,
        at: Timestamp,
    ) -> Result<(), Illegal> {
        self.expect(self.status == RunStatus::Running && self.stopping.is_none())?;
        self.step_mut(step)?.schedule(attempt, since, at)?;
        self.retry_at = Some(at);
        Ok(())
    }

    /// The model is asked now, whatever was scheduled.
    pub(crate) fn ask(&mut self) {
        self.retry_at = None;
    }

    /// When the model is asked again, while that is waited for.
    #[must_use]
    pub fn retry_at(&self) -> Option<Timestamp> {
        self.retry_at
    }

    pub(crate) fn stop(
        &mut self,
        limit: Option<Limit>,
        spent: Option<Spent>,
    ) -> Result<(), Illegal> {
        self.expect(self.status.is_open() && self.stopping.is_none())?;
        self.stopping =
            Some(limit.map_or(Ending::Cancelled, |limit| Ending::LimitReached(limit, spent)));
        Ok(())
    }

    pub(crate) fn end(&mut self, status: RunStatus, at: Timestamp) -> Result<(), Illegal> {
        let answered = self.steps.last().is_some_and(|step| {
            step.is_finished() && step.reply().is_some_and(|reply| reply.calls.is_empty())
        });
        let all_ended = self.current().iter().all(|call| !call.status().is_open())
            && self.steps.last().is_none_or(|step| step.unrecorded().is_none());
        let told = match status {
            RunStatus::Completed => answered && self.stopping.is_none(),
            RunStatus::Failed => self.stopping.is_none(),
            RunStatus::Cancelled => self.stopping.is_none_or(|ending| ending == Ending::Cancelled),
            RunStatus::LimitReached(limit) => self.stopping.is_none_or(
                |ending| matches!(ending, Ending::LimitReached(stopped, _) if stopped == limit),
            ),
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
        self.past = self.totals();
        self.steps.push(Arc::new(Step::started(id)));
        Ok(())
    }

    pub(crate) fn finish_step(&mut self, id: StepId) -> Result<(), Illegal> {
        self.step_mut(id)?.finish()
    }

    /// The current step, which must be this one.
    pub(crate) fn step_mut(&mut self, id: StepId) -> Result<&mut Step, Illegal> {
        let illegal = self.illegal();
        match self.step_last_mut() {
            Some(step) if step.id() == id => Ok(step),
            Some(step) => Err(Illegal(format!("the current step is {}", step.id()))),
            None => Err(illegal),
        }
    }

    /// A call of the current step.
    pub(crate) fn call_mut(&mut self, id: &CallId) -> Result<&mut Call, Illegal> {
        let absent = Illegal(format!("run {} has no call {id} in its current step", self.id));
        let step = self.step_last_mut().filter(|step| !step.is_finished());
        step.and_then(|step| step.calls.iter_mut().find(|call| call.id() == id)).ok_or(absent)
    }

    pub(crate) fn step_last_mut(&mut self) -> Option<&mut Step> {
        self.steps.last_mut().map(Arc::make_mut)
    }
}
