//! The state of a session, and how each event changes it. Nothing else does.

use std::{borrow::Borrow, collections::BTreeMap, sync::Arc};

use ringfence_event::{
    AgentName, ApprovalScope, Body, BudgetLevel, CallId, Compaction, Digest, Event, FORMAT, Intent,
    Limit, Outcome, PlanItem, RunId, SessionId, StepId, Stream, TenantId, Timestamp, ToolName,
    UserId,
};

use crate::{Approval, Call, Corrupt, Definition, Run, RunStatus, Step, Totals, error::Illegal};

/// The build of a tool that a session has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The component's digest.
    pub component: Digest,
    /// The digest of its definitions.
    pub definitions: Digest,
}

impl Pin {
    fn of(intent: &Intent) -> Self {
        Self { component: intent.component, definitions: intent.definitions }
    }
}

/// A session, folded from its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    id: SessionId,
    owner: Option<(TenantId, UserId)>,
    agent: Option<(AgentName, Digest)>,
    source: Option<Digest>,
    /// Behind `Arc`, so that a decision can be tried on a copy of the session.
    runs: Vec<Arc<Run>>,
    /// How many of them, from the first on, have ended.
    ended: usize,
    /// What those spent.
    past: Totals,
    closed_at: Option<Timestamp>,
    plan: Arc<[PlanItem]>,
    /// The beginning of the conversation in short, if it is told so.
    compaction: Option<Arc<Compaction>>,
    /// What people said yes to for the whole session, the last yes of each function.
    standing: Vec<Arc<Approval>>,
    /// The build of each tool that was used first: the session stays with it.
    pins: BTreeMap<ToolName, Pin>,
    /// The budgets of the session and above of which it was said that four fifths are spent.
    warned: Vec<(BudgetLevel, Limit, Option<Timestamp>)>,
    seq: u64,
    at: Timestamp,
}

impl Session {
    /// A session to which nothing happened yet.
    #[must_use]
    pub fn new(id: SessionId) -> Self {
        Self {
            id,
            owner: None,
            agent: None,
            source: None,
            runs: vec![],
            ended: 0,
            past: Totals::default(),
            closed_at: None,
            plan: Arc::new([]),
            compaction: None,
            standing: vec![],
            pins: BTreeMap::new(),
            warned: vec![],
            seq: 0,
            at: Timestamp(0),
        }
    }

    /// The session that these events tell of, from the first on.
    ///
    /// # Errors
    /// When they cannot be the events of this session.
    pub fn fold<E: Borrow<Event>>(
        id: SessionId,
        events: impl IntoIterator<Item = E>,
    ) -> Result<Self, Corrupt> {
        let mut session = Self::new(id);
        events.into_iter().try_for_each(|event| session.apply(event.borrow()))?;
        Ok(session)
    }

    /// Adds the next event.
    ///
    /// # Errors
    /// When it is not the next event of this session. The session is of no use afterwards.
    pub fn apply(&mut self, event: &Event) -> Result<(), Corrupt> {
        let seq = event.seq;
        if event.stream != Stream::Session(self.id.clone()) {
            let (expected, found) = (self.id.clone(), event.stream.clone());
            return Err(Corrupt::OtherStream { seq, expected, found });
        }
        if event.format > FORMAT {
            return Err(Corrupt::NewerFormat { seq, found: event.format });
        }
        if seq != self.seq + 1 {
            return Err(Corrupt::WrongSeq { expected: self.seq + 1, found: seq });
        }
        let owner = self.own(&event.tenant, &event.user);
        if (&owner.0, &owner.1) != (&event.tenant, &event.user) {
            return Err(Corrupt::OtherOwner { seq });
        }
        self.transit(event.at, &event.body).map_err(|Illegal(state)| Corrupt::Illegal {
            seq,
            kind: event.body.kind(),
            state,
        })
    }

    /// Whose it is: theirs, if it was nobody's.
    pub(crate) fn own(&mut self, tenant: &TenantId, user: &UserId) -> &(TenantId, UserId) {
        self.owner.get_or_insert_with(|| (tenant.clone(), user.clone()))
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// Whose it is, and the digest of the agent's definition when it was created.
    #[must_use]
    pub fn agent(&self) -> Option<(&AgentName, Digest)> {
        self.agent.as_ref().map(|(name, digest)| (name, *digest))
    }

    /// The blob of the agent's definition as it was used last.
    #[must_use]
    pub fn source(&self) -> Option<Digest> {
        self.source
    }

    /// The run of the input that was said under this key.
    #[must_use]
    pub fn run_of(&self, key: &str) -> Option<&Run> {
        self.runs.iter().map(Arc::as_ref).find(|run| run.key() == Some(key))
    }

    /// When somebody closed it, which was the last that happened in it.
    #[must_use]
    pub fn closed_at(&self) -> Option<Timestamp> {
        self.closed_at
    }

    /// The place of its last event; 0 when there is none.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Its runs, oldest first.
    #[must_use]
    pub fn runs(&self) -> &[Arc<Run>] {
        &self.runs
    }

    /// The run that is under way, or is the next to be: the first that has not ended.
    #[must_use]
    pub fn run(&self) -> Option<&Run> {
        self.runs.get(self.ended).map(Arc::as_ref)
    }

    /// The runs that wait for their turn behind that one.
    pub fn queued(&self) -> impl Iterator<Item = &Run> {
        let behind = self.runs.get(self.ended + 1..).unwrap_or_default();
        behind.iter().map(Arc::as_ref).filter(|run| run.status().is_open())
    }

    /// What all its runs spent, as far as anybody knows.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = self.past;
        if let Some(run) = self.run() {
            totals.add(&run.totals());
        }
        totals
    }

    /// The plan that the agent keeps with the tool `plan`.
    #[must_use]
    pub fn plan(&self) -> &[PlanItem] {
        &self.plan
    }

    /// The part of the conversation that is told in short.
    #[must_use]
    pub fn compaction(&self) -> Option<&Compaction> {
        self.compaction.as_deref()
    }

    /// The build of a tool that the session has used, and stays with.
    #[must_use]
    pub fn pin(&self, tool: &ToolName) -> Option<Pin> {
        self.pins.get(tool).copied()
    }

    /// The tool of a call that has an intent, of the run that is under way.
    #[must_use]
    pub fn tool_of(&self, call: &CallId) -> Option<&ToolName> {
        let call = self.run()?.current().iter().find(|known| known.id() == call)?;
        call.intent().map(|intent| &intent.tool)
    }

    /// When its last event was recorded.
    #[must_use]
    pub fn last_at(&self) -> Timestamp {
        self.at
    }

    /// When to say [`Command::Wake`](crate::Command::Wake). `told`: up to when it was said already; what
    /// was due by then, and is not begun yet, hides nothing that is due later.
    #[must_use]
    pub fn wake_at(&self, definition: &Definition, told: Option<Timestamp>) -> Option<Timestamp> {
        let run = self.run()?;
        let timers = run.deadline(&definition.limits).into_iter().chain(run.timers());
        timers.filter(|at| told.is_none_or(|told| *at > told)).min()
    }

    /// The yes for all calls like this one, if somebody gave it.
    pub(crate) fn standing(&self, hold: &ringfence_event::Hold) -> Option<&Arc<Approval>> {
        let same = |yes: &&Arc<Approval>| yes.hold.binding.is_same_function(&hold.binding);
        self.standing.iter().find(same)
    }

    pub(crate) fn was_warned(
        &self,
        level: BudgetLevel,
        limit: Limit,
        reopens: Option<Timestamp>,
    ) -> bool {
        self.warned.contains(&(level, limit, reopens))
    }

    /// The place of the event that one with this body would follow from.
    pub(crate) fn cause(&self, body: &Body) -> Option<u64> {
        let run = self.run();
        let step = run.and_then(|run| run.steps().last());
        let step_seq = || step.map(|step| step.seq);
        let seq = match body {
            Body::StepFinished { .. }
            | Body::ModelRequested { .. }
            | Body::ModelCompleted { .. }
            | Body::ModelFailed { .. }
            | Body::ConversationCompacted { .. }
            | Body::RunRetryScheduled { .. }
            | Body::CallProposed { .. } => step_seq(),
            // Whatever else is under way, it begins with what somebody said.
            Body::MessageAdded { .. } => None,
            Body::CallFinished { call, .. } if run.is_some_and(|run| run.stopping().is_some()) => {
                // A call that runs on ends by itself or is stopped; one that does not is ended.
                let running = step
                    .and_then(|step| step.calls().iter().find(|known| known.id() == call))
                    .filter(|known| known.status() == crate::CallStatus::Started);
                running.map(|known| known.seq).or(run.map(|run| run.seq))
            }
            Body::CallInvalid { call, .. }
            | Body::CallDenied { call, .. }
            | Body::CallHold { call, .. }
            | Body::CallApproved { call, .. }
            | Body::CallDeclined { call, .. }
            | Body::InputAsked { call, .. }
            | Body::InputAnswered { call, .. }
            | Body::CallRetryScheduled { call, .. }
            | Body::CallIntended { call, .. }
            | Body::CallStarted { call }
            | Body::CallNote { call, .. }
            | Body::CallFinished { call, .. }
            | Body::CallOutcomeUnknown { call }
            | Body::CallReconciled { call, .. }
            | Body::PlanUpdated { call, .. }
            | Body::MemoryWritten { call, .. } => step
                .and_then(|step| step.calls().iter().find(|known| known.id() == call))
                .map(|known| known.seq),
            Body::RunFailed { .. } | Body::RunWaiting { .. } => step_seq(),
            _ => run.map(|run| run.seq),
        };
        seq.filter(|seq| *seq > 0)
    }

    /// Whether somebody who drives the session began something with this.
    fn begins(body: &Body) -> bool {
        matches!(
            body,
            Body::StepStarted { .. } | Body::ModelRequested { .. } | Body::CallIntended { .. }
        )
    }

    /// Adds one event that stands at the next place.
    pub(crate) fn transit(&mut self, at: Timestamp, body: &Body) -> Result<(), Illegal> {
        let seq = self.seq + 1;
        if self.closed_at.is_some() {
            return Err(Illegal("the session is closed".into()));
        }
        match body {
            Body::SessionCreated { agent, agent_digest } => {
                if self.agent.is_some() {
                    return Err(Illegal("the session was created before".into()));
                }
                self.agent = Some((agent.clone(), *agent_digest));
            }
            Body::SessionClosed {} => {
                self.between_runs()?;
                self.closed_at = Some(at);
            }
            Body::MessageAdded { run, text, key, not_after, agent, api_key } => {
                let run = self.queue(*run, text, key.as_deref(), *not_after)?;
                run.api_key.clone_from(api_key);
                run.seq = seq;
                self.source = agent.or(self.source);
            }
            Body::RunStarted { run } => {
                let run = self.under_way(*run)?;
                run.start(at)?;
                run.seq = seq;
            }
            Body::RunLeft { run } => {
                let run = self.under_way(*run)?;
                run.leave()?;
                run.seq = seq;
            }
            Body::RunResumed { run } => {
                let since = self.at;
                let run = self.under_way(*run)?;
                run.resume(since, at)?;
                run.seq = seq;
                if let Some(step) = run.step_last_mut() {
                    step.seq = seq;
                }
            }
            Body::RunWaiting { run, on, calls } => {
                let run = self.under_way(*run)?;
                run.wait(*on, calls, at)?;
                run.seq = seq;
            }
            Body::RunRetryScheduled { run, step, attempt, at: retry } => {
                let run = self.under_way(*run)?;
                run.schedule(*step, *attempt, at, *retry)?;
                run.step_mut(*step)?.seq = seq;
                run.seq = seq;
            }
            Body::RunStopping { run, limit, spent } => {
                let run = self.under_way(*run)?;
                run.stop(*limit, *spent)?;
                run.seq = seq;
            }
            Body::RunCompleted { run } => {
                self.end(*run, |run| run.end(RunStatus::Completed, at))?;
            }
            Body::RunFailed { run, message } => self.end(*run, |run| run.fail(message, at))?,
            Body::RunCancelled { run } => {
                self.end(*run, |run| run.end(RunStatus::Cancelled, at))?;
            }
            Body::RunLimitReached { run, limit, .. } => {
                self.end(*run, |run| run.end(RunStatus::LimitReached(*limit), at))?;
            }
            Body::BudgetWarned { limit, spent } => {
                if self.agent.is_none() {
                    return Err(Illegal("the session was not created".into()));
                }
                if spent.level == BudgetLevel::Run {
                    self.open_run()?.warn(spent.level, *limit)?;
                } else {
                    self.warned.push((spent.level, *limit, spent.reopens));
                }
            }
            Body::StepStarted { step } => {
                let run = self.under_way(step.run)?;
                run.start_step(*step)?;
                run.step_mut(*step)?.seq = seq;
            }
            Body::StepFinished { step } => {
                let run = self.under_way(step.run)?;
                run.finish_step(*step)?;
                run.step_mut(*step)?.seq = seq;
                run.seq = seq;
            }
            Body::ModelRequested { step, model, request, .. } => {
                self.going_on()?;
                self.step(*step, seq, |step| step.request(model, *request))?;
                self.open_run()?.ask();
            }
            Body::ModelCompleted { step, reply, cost } => {
                self.step(*step, seq, |step| step.complete(reply, *cost))?;
            }
            Body::ModelFailed { step, failure, tokens, cost } => {
                self.step(*step, seq, |step| step.fail(failure, *tokens, *cost))?;
            }
            Body::ConversationCompacted { run, compaction } => {
                let last = self.compaction.as_ref().map(|compaction| compaction.through);
                let run = self.under_way(*run)?;
                let step = run.steps().last().map(|step| step.id());
                let step = step.ok_or_else(|| Illegal("no step has begun".into()))?;
                if compaction.through >= step || last.is_some_and(|last| compaction.through <= last)
                {
                    return Err(Illegal(format!("what is told in short ends before step {step}")));
                }
                let (tokens, cost) = (compaction.tokens, compaction.cost);
                self.step(step, seq, |step| step.compacted(tokens, cost))?;
                self.compaction = Some(Arc::new(compaction.as_ref().clone()));
            }
            Body::CallProposed { call, function, arguments } => {
                let run = self.running()?;
                let step = run.step_last_mut();
                let step = step.ok_or_else(|| Illegal("no step has begun".into()))?;
                step.propose(call, function, arguments)?.seq = seq;
            }
            Body::CallInvalid { call, failure } => {
                let outcome = Outcome::Invalid { failure: failure.clone() };
                self.ended(call, seq, |call| call.refuse(outcome, &[]))?;
            }
            Body::CallDenied { call, denials } => {
                self.ended(call, seq, |call| call.refuse(Outcome::Denied, denials))?;
            }
            Body::CallHold { call, hold } => {
                self.going_on()?;
                self.moved(call, seq, |call| call.hold_for(hold))?;
            }
            Body::CallApproved { call, by, scope, reason } => {
                let approval = self.moved(call, seq, |call| {
                    call.approve(by.as_ref(), *scope, reason.as_deref())
                })?;
                if *scope == ApprovalScope::Session {
                    let other = |yes: &Arc<Approval>| {
                        !yes.hold.binding.is_same_function(&approval.hold.binding)
                    };
                    self.standing.retain(other);
                    self.standing.push(approval);
                }
            }
            Body::CallDeclined { call, by, reason } => {
                self.ended(call, seq, |call| call.decline(by.as_ref(), reason.as_deref()))?;
            }
            Body::InputAsked { call, question, state, usage, .. } => {
                self.moved(call, seq, |call| call.ask(question, *state, usage))?;
            }
            Body::InputAnswered { call, value, .. } => {
                self.moved(call, seq, |call| call.answer(value.as_ref()))?;
            }
            Body::CallRetryScheduled { call, attempt, at: retry, result } => {
                self.moved(call, seq, |call| call.schedule(*attempt, at, *retry, result))?;
            }
            Body::CallIntended { call, intent } => {
                self.going_on()?;
                self.moved(call, seq, |call| call.intend(intent))?;
                self.pins.entry(intent.tool.clone()).or_insert_with(|| Pin::of(intent));
            }
            Body::CallStarted { call } => {
                self.going_on()?;
                self.moved(call, seq, Call::start)?;
            }
            Body::CallNote { call, .. } | Body::MemoryWritten { call, .. } => {
                self.call(call, |call| call.note())?;
            }
            Body::PlanUpdated { call, plan } => {
                self.call(call, |call| call.note())?;
                self.plan = plan.as_slice().into();
            }
            Body::CallFinished { call, result } => {
                self.ended(call, seq, |call| call.finish(result))?;
            }
            Body::CallOutcomeUnknown { call } => self.ended(call, seq, Call::lose)?,
            Body::CallReconciled { call, result, .. } => {
                self.ended(call, seq, |call| call.reconcile(result.as_deref()))?;
            }
            Body::ToolAdded { .. }
            | Body::ToolAccepted { .. }
            | Body::ToolRemoved { .. }
            | Body::GrantChanged { .. }
            | Body::KeyCreated { .. }
            | Body::KeyRevoked { .. } => {
                return Err(Illegal("it is no event of a session in this version".into()));
            }
        }
        if Self::begins(body) {
            self.open_run()?.go_on();
        }
        self.seq = seq;
        self.at = at;
        Ok(())
    }

    /// Whether it was created and no run of it is open.
    fn between_runs(&self) -> Result<(), Illegal> {
        if self.agent.is_none() {
            return Err(Illegal("the session was not created".into()));
        }
        self.run().map_or(Ok(()), |run| Err(run.illegal()))
    }

    fn queue(
        &mut self,
        id: RunId,
        text: &str,
        key: Option<&str>,
        not_after: Option<Timestamp>,
    ) -> Result<&mut Run, Illegal> {
        if self.agent.is_none() {
            return Err(Illegal("the session was not created".into()));
        }
        let next = self.runs.last().map_or(1, |run| run.id().0 + 1);
        if id.0 != next {
            return Err(Illegal(format!("the next run is r{next}")));
        }
        self.runs.push(Arc::new(Run::queued(id, text, key, not_after)));
        let run = self.runs.last_mut().map(Arc::make_mut);
        run.ok_or_else(|| Illegal("no run is under way".into()))
    }

    /// The run that is under way, which must be this one.
    fn under_way(&mut self, id: RunId) -> Result<&mut Run, Illegal> {
        let run = self.open_run()?;
        if run.id() == id { Ok(run) } else { Err(run.illegal()) }
    }

    fn open_run(&mut self) -> Result<&mut Run, Illegal> {
        let run = self.runs.get_mut(self.ended).map(Arc::make_mut);
        run.ok_or_else(|| Illegal("no run is under way".into()))
    }

    /// The end of a run, of one that waits for its turn too.
    fn end(
        &mut self,
        id: RunId,
        end: impl FnOnce(&mut Run) -> Result<(), Illegal>,
    ) -> Result<(), Illegal> {
        let open = self.runs.iter_mut().skip(self.ended).find(|run| run.id() == id);
        let run = open.map(Arc::make_mut);
        end(run.ok_or_else(|| Illegal(format!("run {id} is not open")))?)?;
        while let Some(run) = self.runs.get(self.ended).filter(|run| !run.status().is_open()) {
            self.past.add(&run.totals());
            self.ended += 1;
        }
        Ok(())
    }

    /// The run that has not ended, which must not wait for a person.
    fn running(&mut self) -> Result<&mut Run, Illegal> {
        let run = self.open_run()?;
        if run.status() == RunStatus::Running { Ok(run) } else { Err(run.illegal()) }
    }

    /// Nothing begins in a run that waits or is being stopped.
    fn going_on(&mut self) -> Result<(), Illegal> {
        let run = self.running()?;
        if run.stopping().is_some() { Err(run.illegal()) } else { Ok(()) }
    }

    fn step(
        &mut self,
        id: StepId,
        seq: u64,
        change: impl FnOnce(&mut Step) -> Result<(), Illegal>,
    ) -> Result<(), Illegal> {
        // What a question came to is told of a run that is being stopped, too.
        self.running()?;
        let step = self.under_way(id.run)?.step_mut(id)?;
        change(step)?;
        step.seq = seq;
        Ok(())
    }

    fn call(
        &mut self,
        id: &CallId,
        change: impl FnOnce(&mut Call) -> Result<(), Illegal>,
    ) -> Result<(), Illegal> {
        change(self.open_run()?.call_mut(id)?)
    }

    /// A change of a call after which it goes on.
    fn moved<T>(
        &mut self,
        id: &CallId,
        seq: u64,
        change: impl FnOnce(&mut Call) -> Result<T, Illegal>,
    ) -> Result<T, Illegal> {
        let call = self.open_run()?.call_mut(id)?;
        let changed = change(call)?;
        call.seq = seq;
        Ok(changed)
    }

    /// A change that may have been the last that the step waited for.
    fn ended(
        &mut self,
        id: &CallId,
        seq: u64,
        change: impl FnOnce(&mut Call) -> Result<(), Illegal>,
    ) -> Result<(), Illegal> {
        self.moved(id, seq, change)?;
        if let Some(step) = self.open_run()?.step_last_mut() {
            step.seq = seq;
        }
        Ok(())
    }
}
