//! The state of a session, and how each event changes it. Nothing else does.

use std::{borrow::Borrow, sync::Arc};

use ringfence_event::{
    AgentName, Body, CallId, Digest, Event, FORMAT, Outcome, RunId, SessionId, StepId, Stream,
    TenantId, Timestamp, UserId,
};

use crate::{Call, Corrupt, Definition, Run, RunStatus, Step, error::Illegal};

/// A session, folded from its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    id: SessionId,
    owner: Option<(TenantId, UserId)>,
    agent: Option<(AgentName, Digest)>,
    /// Behind `Arc`, so that a decision can be tried on a copy of the session.
    runs: Vec<Arc<Run>>,
    closed_at: Option<Timestamp>,
    seq: u64,
    at: Timestamp,
}

impl Session {
    /// A session to which nothing happened yet.
    #[must_use]
    pub fn new(id: SessionId) -> Self {
        let (runs, at) = (vec![], Timestamp(0));
        Self { id, owner: None, agent: None, runs, closed_at: None, seq: 0, at }
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
        let owner = self.owner.get_or_insert_with(|| (event.tenant.clone(), event.user.clone()));
        if (&owner.0, &owner.1) != (&event.tenant, &event.user) {
            return Err(Corrupt::OtherOwner { seq });
        }
        self.transit(event.at, &event.body).map_err(|Illegal(state)| Corrupt::Illegal {
            seq,
            kind: event.body.kind(),
            state,
        })
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

    /// The run that has not ended. There is one at most.
    #[must_use]
    pub fn run(&self) -> Option<&Run> {
        self.runs.last().map(Arc::as_ref).filter(|run| run.status().is_open())
    }

    /// When to say [`Command::TimeUp`](crate::Command::TimeUp).
    #[must_use]
    pub fn deadline(&self, definition: &Definition) -> Option<Timestamp> {
        self.run()?.deadline(&definition.limits)
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
            | Body::CallProposed { .. } => step_seq(),
            Body::CallFinished { call, .. } if run.is_some_and(|run| run.stopping().is_some()) => {
                // A call that runs on ends by itself or is stopped; one that does not is ended.
                let running = step
                    .and_then(|step| step.calls().iter().find(|known| known.id() == call))
                    .filter(|known| known.status() == crate::CallStatus::Started);
                running.map(|known| known.seq).or(run.map(|run| run.seq))
            }
            Body::CallInvalid { call, .. }
            | Body::CallDenied { call, .. }
            | Body::CallIntended { call, .. }
            | Body::CallStarted { call }
            | Body::CallNote { call, .. }
            | Body::CallFinished { call, .. }
            | Body::CallOutcomeUnknown { call }
            | Body::CallReconciled { call, .. }
            | Body::MemoryWritten { call, .. } => step
                .and_then(|step| step.calls().iter().find(|known| known.id() == call))
                .map(|known| known.seq),
            Body::RunFailed { .. } | Body::RunWaiting { .. } => step_seq(),
            _ => run.map(|run| run.seq),
        };
        seq.filter(|seq| *seq > 0)
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
            Body::MessageAdded { run, text } => self.queue(*run, text)?.seq = seq,
            Body::RunStarted { run } => {
                let run = self.open(*run)?;
                run.start(at)?;
                run.seq = seq;
            }
            Body::RunResumed { run } => {
                let since = self.at;
                let run = self.open(*run)?;
                run.resume(since, at)?;
                run.seq = seq;
                if let Some(step) = run.step_last_mut() {
                    step.seq = seq;
                }
            }
            Body::RunWaiting { run, calls } => {
                let run = self.open(*run)?;
                run.wait(calls, at)?;
                run.seq = seq;
            }
            Body::RunStopping { run, limit } => {
                let run = self.open(*run)?;
                run.stop(*limit)?;
                run.seq = seq;
            }
            Body::RunCompleted { run } => self.open(*run)?.end(RunStatus::Completed, at)?,
            Body::RunFailed { run, message } => self.open(*run)?.fail(message, at)?,
            Body::RunCancelled { run } => self.open(*run)?.end(RunStatus::Cancelled, at)?,
            Body::RunLimitReached { run, limit } => {
                self.open(*run)?.end(RunStatus::LimitReached(*limit), at)?;
            }
            Body::StepStarted { step } => {
                let run = self.open(step.run)?;
                run.start_step(*step)?;
                run.step_mut(*step)?.seq = seq;
            }
            Body::StepFinished { step } => {
                let run = self.open(step.run)?;
                run.finish_step(*step)?;
                run.step_mut(*step)?.seq = seq;
                run.seq = seq;
            }
            Body::ModelRequested { step, .. } => self.step(*step, seq, Step::request)?,
            Body::ModelCompleted { step, reply } => {
                self.step(*step, seq, |step| step.complete(reply))?;
            }
            Body::ModelFailed { step, message } => {
                self.step(*step, seq, |step| step.fail(message))?;
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
            Body::CallIntended { call, intent } => {
                self.going_on()?;
                self.call(call, |call| {
                    call.intend(intent)?;
                    call.seq = seq;
                    Ok(())
                })?;
            }
            Body::CallStarted { call } => {
                self.going_on()?;
                self.call(call, |call| {
                    call.start()?;
                    call.seq = seq;
                    Ok(())
                })?;
            }
            Body::CallNote { call, .. } | Body::MemoryWritten { call, .. } => {
                self.call(call, |call| call.note())?;
            }
            Body::CallFinished { call, result } => {
                self.ended(call, seq, |call| call.finish(result))?;
            }
            Body::CallOutcomeUnknown { call } => self.ended(call, seq, Call::lose)?,
            Body::CallReconciled { call, result } => {
                self.ended(call, seq, |call| call.reconcile(result))?;
            }
            Body::RunQueued { .. }
            | Body::ToolAdded { .. }
            | Body::ToolAccepted { .. }
            | Body::ToolRemoved { .. }
            | Body::GrantChanged { .. } => {
                return Err(Illegal("it is no event of a session in this version".into()));
            }
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

    fn queue(&mut self, id: RunId, text: &str) -> Result<&mut Run, Illegal> {
        self.between_runs()?;
        let next = self.runs.last().map_or(1, |run| run.id().0 + 1);
        if id.0 != next {
            return Err(Illegal(format!("the next run is r{next}")));
        }
        self.runs.push(Arc::new(Run::queued(id, text)));
        self.open(id)
    }

    /// The run that has not ended, which must be this one.
    fn open(&mut self, id: RunId) -> Result<&mut Run, Illegal> {
        let run = self.open_run()?;
        if run.id() == id { Ok(run) } else { Err(run.illegal()) }
    }

    fn open_run(&mut self) -> Result<&mut Run, Illegal> {
        if self.run().is_none() {
            return Err(Illegal("no run is under way".into()));
        }
        let run = self.runs.last_mut().map(Arc::make_mut);
        run.ok_or_else(|| Illegal("no run is under way".into()))
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
        self.going_on()?;
        let step = self.open(id.run)?.step_mut(id)?;
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

    /// A change that may have been the last that the step waited for.
    fn ended(
        &mut self,
        id: &CallId,
        seq: u64,
        change: impl FnOnce(&mut Call) -> Result<(), Illegal>,
    ) -> Result<(), Illegal> {
        self.call(id, |call| {
            change(call)?;
            call.seq = seq;
            Ok(())
        })?;
        if let Some(step) = self.open_run()?.step_last_mut() {
            step.seq = seq;
        }
        Ok(())
    }
}
