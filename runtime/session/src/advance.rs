//! What follows from a state by itself: proposals are recorded, steps finish, the next one starts,
//! limits end a run. Each event is tried on a copy of the session, so that what is decided can
//! always be applied, and a journal cut after any of them is gone on with.

use ringfence_event::{Body, CallId, CallResult, Limit, Outcome, StepId, Timestamp, Usage};

use crate::{
    CallStatus, Decided, Ending, Refused, Run, RunLimits, RunStatus, Session, error::Illegal,
};

/// Events decided so far, and the session as it will be with them.
pub(crate) struct Draft {
    pub(crate) session: Session,
    decided: Vec<Decided>,
    limits: RunLimits,
}

impl Draft {
    pub(crate) fn new(session: &Session, limits: RunLimits) -> Self {
        Self { session: session.clone(), decided: vec![], limits }
    }

    pub(crate) fn record(&mut self, body: Body) -> Result<(), Refused> {
        let cause = self.session.cause(&body);
        // The time is the driver's to say when it records the event; no decision depends on it.
        let done = self.session.transit(Timestamp(0), &body);
        done.map_err(|Illegal(state)| Refused::NotNow { kind: body.kind(), state })?;
        self.decided.push(Decided { body, cause });
        Ok(())
    }

    /// The proposal that is to be recorded next: call, function and arguments.
    pub(crate) fn unrecorded(&self) -> Option<(CallId, String, String)> {
        let step = self.session.run()?.steps().last()?;
        let (call, proposal) = step.unrecorded()?;
        Some((call, proposal.function.clone(), proposal.arguments.clone()))
    }

    /// Everything that follows, until something outside has to happen.
    pub(crate) fn advance(mut self) -> Result<Vec<Decided>, Refused> {
        while let Some(run) = self.session.run() {
            match next(run, &self.limits) {
                Some(body) => self.record(body)?,
                None => break,
            }
        }
        Ok(self.decided)
    }
}

/// What a call that is not to start, or that was started by a host that died, ends with.
pub(crate) fn ended_by(ending: Ending) -> Box<CallResult> {
    let outcome = match ending {
        Ending::Cancelled => Outcome::Cancelled,
        Ending::LimitReached(limit) => Outcome::LimitReached { limit },
    };
    Box::new(CallResult { outcome, denials: vec![], usage: Usage::default() })
}

/// The last event of a run that is ended early.
fn end(run: &Run, ending: Ending) -> Body {
    match ending {
        Ending::Cancelled => Body::RunCancelled { run: run.id() },
        Ending::LimitReached(limit) => Body::RunLimitReached { run: run.id(), limit },
    }
}

/// The one event that follows from the state of a run that has not ended.
fn next(run: &Run, limits: &RunLimits) -> Option<Body> {
    let id = run.id();
    if run.status() == RunStatus::Queued && run.stopping().is_none() {
        return Some(Body::RunStarted { run: id });
    }
    let step = run.steps().last();
    // Every proposal is recorded before anything comes of any of them.
    if let Some((call, proposal)) = step.and_then(crate::Step::unrecorded)
        && run.status() == RunStatus::Running
    {
        let (function, arguments) = (proposal.function.clone(), proposal.arguments.clone());
        return Some(Body::CallProposed { call, function, arguments });
    }
    if let Some(ending) = run.stopping() {
        return next_while_stopping(run, ending);
    }
    if run.status() != RunStatus::Running {
        return None;
    }
    let Some(step) = step else {
        return Some(start_step(run, limits));
    };
    if let Some(message) = step.failure() {
        return Some(Body::RunFailed { run: id, message: message.to_owned() });
    }
    let reply = step.reply()?;
    if step.is_finished() {
        return Some(if reply.calls.is_empty() {
            Body::RunCompleted { run: id }
        } else {
            start_step(run, limits)
        });
    }
    if let Some(limit) = spent_by_calls(run, limits) {
        let open = step.calls().iter().any(|call| call.status().is_open());
        if open {
            return Some(Body::RunStopping { run: id, limit: Some(limit) });
        }
    }
    let unknown = run.unknown();
    if !unknown.is_empty() {
        return Some(Body::RunWaiting { run: id, calls: unknown });
    }
    let done = step.calls().iter().all(|call| !call.status().is_open());
    done.then_some(Body::StepFinished { step: step.id() })
}

/// Calls that have not begun are ended; those that run report by themselves; then the run ends.
fn next_while_stopping(run: &Run, ending: Ending) -> Option<Body> {
    let Some(step) = run.steps().last() else {
        return Some(end(run, ending));
    };
    // A run that waits has no host any more that could report of a call.
    let waits = run.status() == RunStatus::Waiting;
    let not_running = step.calls().iter().find(|call| match call.status() {
        CallStatus::Proposed | CallStatus::Intended => true,
        CallStatus::Started => waits,
        _ => false,
    });
    if let Some(call) = not_running {
        return Some(Body::CallFinished { call: call.id().clone(), result: ended_by(ending) });
    }
    if step.calls().iter().any(|call| call.status().is_open()) {
        return None;
    }
    Some(if step.reply().is_some() && !step.is_finished() {
        Body::StepFinished { step: step.id() }
    } else {
        end(run, ending)
    })
}

fn start_step(run: &Run, limits: &RunLimits) -> Body {
    let step = run.steps().last().map_or(1, |step| step.id().step.saturating_add(1));
    let limit = if step > limits.steps {
        Some(Limit::Steps)
    } else if run.tokens().total() >= limits.tokens {
        Some(Limit::Tokens)
    } else if run.calls().next().is_some() && run.fuel_spent() >= limits.fuel {
        Some(Limit::Fuel)
    } else {
        None
    };
    match limit {
        Some(limit) => Body::RunLimitReached { run: run.id(), limit },
        None => Body::StepStarted { step: StepId { run: run.id(), step } },
    }
}

/// The limit that keeps the calls of the current step from going on.
fn spent_by_calls(run: &Run, limits: &RunLimits) -> Option<Limit> {
    if run.calls().count() > limits.calls as usize {
        return Some(Limit::Calls);
    }
    // No step can follow, so nobody would read what the calls return.
    if run.tokens().total() >= limits.tokens {
        return Some(Limit::Tokens);
    }
    let (spent, reserved) = (run.fuel_spent(), run.fuel_reserved());
    // Tries that were lost with a host count in full, so a call that is to run again may not fit.
    let over = spent.saturating_add(reserved) > limits.fuel;
    (over || spent >= limits.fuel).then_some(Limit::Fuel)
}
