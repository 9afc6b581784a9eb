//! What follows from a state by itself: proposals are recorded, steps finish, the next one starts,
//! limits end a run. Each event is tried on a copy of the session, so that what is decided can
//! always be applied, and a journal cut after any of them is gone on with.

use ringfence_event::{
    Body, BudgetLevel, CallId, CallResult, Compaction, Digest, Limit, ModelFailure,
    ModelFailureClass, OnExpiry, Outcome, Spent, StepId, Timestamp, Usage, Wait,
};

use crate::{
    Call, CallStatus, Decided, Definition, Ending, Refused, Run, RunStatus, Session, Step, budget,
    error::Illegal, retry,
};

/// So many steps in a row in which a model proposes nothing but what is no call of a function it has:
/// it has lost its way.
const UNUSABLE_STEPS_MAX: usize = 5;

/// Events decided so far, and the session as it will be with them.
pub(crate) struct Draft<'d> {
    pub(crate) session: Session,
    definition: &'d Definition,
    at: Timestamp,
    decided: Vec<Decided>,
}

impl<'d> Draft<'d> {
    pub(crate) fn new(session: &Session, definition: &'d Definition, at: Timestamp) -> Self {
        Self { session: session.clone(), definition, at, decided: vec![] }
    }

    pub(crate) fn record(&mut self, body: Body) -> Result<(), Refused> {
        let cause = self.session.cause(&body);
        let done = self.session.transit(self.at, &body);
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

    /// Only what was decided.
    pub(crate) fn done(self) -> (Vec<Decided>, Session) {
        (self.decided, self.session)
    }

    /// Everything that follows, until something outside has to happen.
    pub(crate) fn advance(mut self) -> Result<(Vec<Decided>, Session), Refused> {
        while let Some(body) = self.next() {
            self.record(body)?;
        }
        Ok((self.decided, self.session))
    }

    /// The one event that follows from the state.
    fn next(&self) -> Option<Body> {
        let run = self.session.run()?;
        if run.stopping().is_none()
            && run.status() != RunStatus::Queued
            && let Some((limit, spent)) = budget::to_warn(&self.session, self.definition)
        {
            return Some(Body::BudgetWarned { limit, spent });
        }
        self.next_of(run)
    }

    fn next_of(&self, run: &Run) -> Option<Body> {
        let id = run.id();
        if run.is_too_late(self.at) && run.stopping().is_none() {
            return Some(Body::RunLimitReached { run: id, limit: Limit::Time, spent: None });
        }
        if run.status() == RunStatus::Queued && run.stopping().is_none() {
            return Some(Body::RunStarted { run: id });
        }
        let step = run.steps().last();
        // Every proposal is recorded before anything comes of any of them.
        if let Some((call, proposal)) = step.and_then(|step| step.unrecorded())
            && run.status() == RunStatus::Running
        {
            let (function, arguments) = (proposal.function.clone(), proposal.arguments.clone());
            return Some(Body::CallProposed { call, function, arguments });
        }
        if let Some(ending) = run.stopping() {
            return next_while_stopping(run, ending);
        }
        if let Some(expired) = self.expired(run) {
            return Some(expired);
        }
        match run.status() {
            RunStatus::Waiting(on) => {
                return run.is_actionable(on, self.at).then_some(Body::RunResumed { run: id });
            }
            RunStatus::Running => {}
            _ => return None,
        }
        let Some(step) = step else { return Some(self.start_step(run)) };
        let next = step.failure().map(|failure| self.after_failure(run, step, failure));
        // What was spent on a summary or on a try that failed may have been the rest.
        if (next.is_some() || step.is_asking() && step.asked().is_none())
            && !matches!(next, Some(Body::RunFailed { .. }))
            && let Some((limit, spent)) = self.exhausted(&[Limit::Tokens, Limit::Money])
        {
            return Some(Body::RunLimitReached { run: id, limit, spent: Some(spent) });
        }
        if let Some((limit, spent)) = step.failure().and_then(|failure| self.too_short(failure)) {
            return Some(Body::RunLimitReached { run: id, limit, spent: Some(spent) });
        }
        if next.is_some() {
            return next;
        }
        if step.is_asking() && run.retry_at().is_some_and(|at| at > self.at) {
            return Some(Body::RunWaiting { run: id, on: Wait::Retry, calls: vec![] });
        }
        let reply = step.reply()?;
        if step.is_finished() {
            return Some(if reply.calls.is_empty() {
                Body::RunCompleted { run: id }
            } else if is_lost(run) {
                Body::RunFailed { run: id, message: lost() }
            } else {
                self.start_step(run)
            });
        }
        if let Some((limit, spent)) = self.spent_by_calls(run)
            && step.calls().iter().any(|call| call.status().is_open())
        {
            return Some(Body::RunStopping { run: id, limit: Some(limit), spent });
        }
        self.wait(run).or_else(|| {
            let done = step.calls().iter().all(|call| !call.status().is_open());
            done.then_some(Body::StepFinished { step: step.id() })
        })
    }

    /// Nothing goes on, and something is waited for.
    fn wait(&self, run: &Run) -> Option<Body> {
        let calls = run.current();
        let goes_on = |call: &Call| call.status().is_active() || call.is_to_check(self.at);
        if calls.iter().any(goes_on) {
            return None;
        }
        let on = run.waits_for()?;
        let waits = |call: &&Call| {
            matches!(call.status(), CallStatus::Waiting(_) | CallStatus::OutcomeUnknown)
        };
        let waiting = calls.iter().filter(waits);
        let calls = waiting.map(|call| call.id().clone()).collect();
        Some(Body::RunWaiting { run: run.id(), on, calls })
    }

    /// A call that was held for longer than its rule lets a person think.
    fn expired(&self, run: &Run) -> Option<Body> {
        let late = |call: &&Call| {
            call.hold().and_then(|hold| hold.expires).is_some_and(|expires| expires <= self.at)
        };
        let call = run.current().iter().find(late)?;
        let (id, hold) = (call.id().clone(), call.hold()?);
        let reason = Some("nobody answered in time".to_owned());
        Some(match hold.on_expiry {
            OnExpiry::Decline => Body::CallDeclined { call: id, by: None, reason },
            OnExpiry::Approve => {
                Body::CallApproved { call: id, by: None, scope: Default::default(), reason }
            }
        })
    }

    /// The model did not reply: it is asked again, or another one is, or that is the end.
    fn after_failure(&self, run: &Run, step: &Step, failure: &ModelFailure) -> Body {
        let (id, model) = (run.id(), &self.definition.model.name);
        let (retries, waited_ms) = step.retries();
        let attempt = retries.saturating_add(2);
        let failed = step.failures().last().map(|(model, _)| model);
        let fallback = self.definition.fallback.as_ref();
        let changes =
            failed == Some(model) && fallback.is_some_and(|fallback| fallback.applies(model, step));
        if changes {
            // The other model has not failed: there is nothing to wait for.
            return Body::RunRetryScheduled { run: id, step: step.id(), attempt, at: self.at };
        }
        // Each model is tried as often as the rule says.
        let tries = step.failures().iter().filter(|(model, _)| Some(model) == failed).count();
        let of_model = u32::try_from(tries.saturating_sub(1)).unwrap_or(u32::MAX);
        let who = format!("{}\n{}", self.session.id(), step.id());
        let at = retry::next(
            &self.definition.retry.model,
            (of_model, waited_ms),
            self.at,
            failure.retry_after_ms,
            &who,
        );
        match at.filter(|_| failure.class.is_passing()) {
            Some(at) => Body::RunRetryScheduled { run: id, step: step.id(), attempt, at },
            None => match self.session.compaction_due(self.definition).zip(step.request_digest()) {
                // Without a summary the run goes on all the same.
                Some((through, request)) => Body::ConversationCompacted {
                    run: id,
                    compaction: Box::new(self.left_out(through, request, failure)),
                },
                None => Body::RunFailed { run: id, message: failure.message.clone() },
            },
        }
    }

    fn left_out(&self, through: StepId, request: Digest, failure: &ModelFailure) -> Compaction {
        let choice = self.session.model_choice(self.definition);
        Compaction {
            through,
            summary: None,
            failure: Some(failure.clone()),
            model: choice.name.clone(),
            request,
            // Told with the failure.
            tokens: Default::default(),
            cost: None,
        }
    }

    /// The first of these limits of which run or session have nothing left.
    fn exhausted(&self, limits: &[Limit]) -> Option<(Limit, Spent)> {
        limits.iter().find_map(|limit| {
            budget::exhausted(&self.session, self.definition, *limit).map(|spent| (*limit, spent))
        })
    }

    /// A reply was longer than the rest of a budget lets it be.
    fn too_short(&self, failure: &ModelFailure) -> Option<(Limit, Spent)> {
        let too_long = failure.class == ModelFailureClass::TooLong;
        let limit = self.session.cut_short_by(self.definition).filter(|_| too_long)?;
        let least = budget::least_left(&self.session, self.definition, limit)?;
        // More than is left, nobody knows by how much.
        let asked = if least.spent < least.of { least.of - least.spent + 1 } else { 0 };
        Some((limit, Spent { asked, ..least }))
    }

    fn start_step(&self, run: &Run) -> Body {
        let step = run.steps().last().map_or(1, |step| step.id().step.saturating_add(1));
        let limits = &self.definition.limits;
        let exhausted = |limit| budget::exhausted(&self.session, self.definition, limit);
        let first = run.steps().is_empty();
        let steps = Spent {
            level: BudgetLevel::Run,
            spent: u64::from(step - 1),
            asked: 0,
            of: u64::from(limits.steps),
            reopens: None,
        };
        let spent = if step > limits.steps {
            Some((Limit::Steps, steps))
        } else {
            // A run that has not begun may answer without any call.
            let counted = [Limit::Tokens, Limit::Money, Limit::Calls, Limit::Fuel];
            counted.into_iter().take(if first { 2 } else { 4 }).find_map(|limit| {
                // That all calls are made is no harm before another one is proposed.
                let late = limit == Limit::Calls;
                exhausted(limit)
                    .filter(|spent| !late || spent.spent > spent.of)
                    .map(|spent| (limit, if late { budget::with_refused(spent) } else { spent }))
            })
        };
        match spent {
            Some((limit, spent)) => {
                Body::RunLimitReached { run: run.id(), limit, spent: Some(spent) }
            }
            None => Body::StepStarted { step: StepId { run: run.id(), step } },
        }
    }

    /// The limit that keeps the calls of the current step from going on.
    fn spent_by_calls(&self, run: &Run) -> Option<(Limit, Option<Spent>)> {
        let spent = |level, limit| budget::spent(&self.session, self.definition, level, limit);
        let levels = [BudgetLevel::Session, BudgetLevel::Run];
        // A proposal more than there may be is the one that does not fit.
        let calls = levels.into_iter().filter_map(|level| spent(level, Limit::Calls));
        if let Some(calls) = calls.into_iter().find(|calls| calls.spent > calls.of) {
            return Some((Limit::Calls, Some(budget::with_refused(calls))));
        }
        // No step can follow, so nobody would read what the calls return.
        if let Some((limit, spent)) = self.exhausted(&[Limit::Tokens, Limit::Money]) {
            return Some((limit, Some(spent)));
        }
        let reserved = run.fuel_reserved();
        levels.into_iter().filter_map(|level| spent(level, Limit::Fuel)).find_map(|fuel| {
            // Tries that were lost with a host count in full, so a call that is to run again may not
            // fit.
            let wanted = fuel.spent.saturating_add(reserved);
            let over = wanted > fuel.of || fuel.spent >= fuel.of;
            over.then_some((Limit::Fuel, Some(Spent { asked: reserved, ..fuel })))
        })
    }
}

/// What a call that is not to start, or that was started by a host that died, ends with.
pub(crate) fn ended_by(ending: Ending) -> Box<CallResult> {
    let outcome = match ending {
        Ending::Cancelled => Outcome::Cancelled,
        Ending::LimitReached(limit, _) => Outcome::LimitReached { limit },
    };
    Box::new(CallResult { outcome, denials: vec![], usage: Usage::default() })
}

/// The last event of a run that is ended early.
fn end(run: &Run, ending: Ending) -> Body {
    match ending {
        Ending::Cancelled => Body::RunCancelled { run: run.id() },
        Ending::LimitReached(limit, spent) => Body::RunLimitReached { run: run.id(), limit, spent },
    }
}

/// Whether the model proposes nothing that it could.
fn is_lost(run: &Run) -> bool {
    let last = run.steps().iter().rev().take(UNUSABLE_STEPS_MAX);
    let is_unusable =
        |step: &Step| !step.calls().is_empty() && step.calls().iter().all(Call::is_unusable);
    last.filter(|step| is_unusable(step)).count() == UNUSABLE_STEPS_MAX
}

fn lost() -> String {
    format!(
        "the model proposed nothing that could be started in {UNUSABLE_STEPS_MAX} steps in a row"
    )
}

/// Calls that have not begun are ended; those that run report by themselves, as does a question to a
/// model; then the run ends.
fn next_while_stopping(run: &Run, ending: Ending) -> Option<Body> {
    let Some(step) = run.steps().last() else {
        return Some(end(run, ending));
    };
    if step.asked().is_some() {
        return None;
    }
    let not_running = step.calls().iter().find(|call| {
        matches!(
            call.status(),
            CallStatus::Proposed | CallStatus::Waiting(_) | CallStatus::Intended
        )
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
