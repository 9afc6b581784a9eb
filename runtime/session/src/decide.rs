//! Commands in, events out.

use ringfence_event::{
    ApprovalScope, Body, CallId, CallResult, Compaction, Digest, Failure, FailureKind, Hold,
    IdempotencyKey, Intent, Limit, ModelFailure, ModelFailureClass, ModelReply, Outcome, RunId,
    StepId, TenantId, Timestamp, TokenUsage, Usage, UserId, Wait,
};

use crate::{
    Busy, Call, CallStatus, Command, Decided, Definition, Inquiry, Refused, RunStatus, Session,
    advance::{Draft, ended_by},
    budget,
    call::{is_passing, retry_after_ms},
    retry,
};

/// How often a run is gone on with in one step after its host died, before it is taken to be the
/// cause. Twice can be bad luck.
const RESUMED_MAX: u32 = 3;

/// How many inputs wait for their turn: whoever says more has not read an answer for long.
const QUEUED_MAX: usize = 64;

/// How many questions one call may ask: more is a tool that goes in circles.
const QUESTIONS_MAX: u32 = 16;

/// Names what a person was shown: an answer to something else that the same call was held by before
/// is stale.
#[must_use]
pub fn hold_id(hold: &Hold) -> Digest {
    let json = serde_json::to_vec(&hold.binding).expect("plain data with string keys is JSON");
    Digest::of(&json)
}

/// Names what a tool asked a person: an answer to what the same call asked before is stale, also when the
/// words are the same.
#[must_use]
pub fn question_id(inquiry: &Inquiry) -> Digest {
    let asked = (inquiry.place, &inquiry.question, inquiry.state);
    let json = serde_json::to_vec(&asked).expect("plain data with string keys is JSON");
    Digest::of(&json)
}

impl Session {
    /// The events that a command leads to at this time, with all that follows from them. To be made
    /// durable together and then applied, in this order and with this time.
    ///
    /// # Errors
    /// When the command changes nothing, and why.
    pub fn decide(
        &self,
        definition: &Definition,
        at: Timestamp,
        command: Command,
    ) -> Result<Vec<Decided>, Refused> {
        self.draft(definition, at, command).map(|(decided, _)| decided)
    }

    /// As [`decide`](Self::decide), and takes in what was decided, as one [`apply`](Self::apply) after
    /// the other would. `owner`: on whose behalf the events are recorded.
    ///
    /// # Errors
    /// When the command changes nothing, and why; then nothing is taken in.
    pub fn act(
        &mut self,
        (tenant, user): (&TenantId, &UserId),
        definition: &Definition,
        at: Timestamp,
        command: Command,
    ) -> Result<Vec<Decided>, Refused> {
        let (decided, session) = self.draft(definition, at, command)?;
        *self = session;
        if !decided.is_empty() {
            self.own(tenant, user);
        }
        Ok(decided)
    }

    /// The events that a command leads to, and the session with them.
    fn draft(
        &self,
        definition: &Definition,
        at: Timestamp,
        command: Command,
    ) -> Result<(Vec<Decided>, Self), Refused> {
        if !matches!(command, Command::Create { .. }) {
            let (agent, _) = self.agent().ok_or(Refused::NotCreated)?;
            if *agent != definition.name {
                let (session, given) = (agent.to_string(), definition.name.to_string());
                return Err(Refused::OtherAgent { session, given });
            }
        }
        if self.closed_at().is_some() {
            return match command {
                Command::Close
                | Command::Leave
                | Command::Recover
                | Command::Wake
                | Command::Warned { .. } => Ok((vec![], self.clone())),
                _ => Err(Refused::Closed),
            };
        }
        let mut draft = Draft::new(self, definition, at);
        match command {
            Command::Create { agent, agent_digest } => {
                draft.record(Body::SessionCreated { agent, agent_digest })?;
            }
            Command::Input { text, busy, key, not_after, agent, api_key } => {
                if let Some(known) = key.as_ref().and_then(|key| self.run_of(key)) {
                    return match known.input() == text {
                        true => Ok((vec![], self.clone())),
                        false => Err(Refused::OtherInput { run: known.id() }),
                    };
                }
                let run = self.input(&mut draft, &text, busy)?;
                let agent = agent.filter(|agent| self.source() != Some(*agent));
                draft.record(Body::MessageAdded { run, text, key, not_after, agent, api_key })?;
            }
            Command::ModelRequested { step, request, parts, input } => {
                let choice = self.model_choice(definition);
                let spent = budget::unaffordable(self, definition, choice, input);
                if let Some((limit, spent)) = spent.filter(|_| self.is_to_ask(step)) {
                    self.stop(&mut draft, Some(limit), Some(spent))?;
                } else {
                    let model = choice.name.clone();
                    draft.record(Body::ModelRequested { step, model, request, parts })?;
                }
            }
            Command::ModelReplied { step, reply } => {
                self.replied(&mut draft, definition, step, reply)?;
            }
            Command::Permitted { call, intent } => {
                let intent = self.reserve(definition, &call, intent)?;
                draft.record(Body::CallIntended { call, intent })?;
            }
            Command::Held { call, hold } => self.hold(&mut draft, call, hold)?,
            Command::Denied { call, denials } => {
                draft.record(if self.status_of(&call) == Some(CallStatus::Intended) {
                    let outcome = Outcome::Denied;
                    let result = CallResult { outcome, denials, usage: Usage::default() };
                    Body::CallFinished { call, result: Box::new(result) }
                } else {
                    Body::CallDenied { call, denials }
                })?;
            }
            Command::Invalid { call, failure } => {
                draft.record(Body::CallInvalid { call, failure })?;
            }
            Command::Started { call } => draft.record(Body::CallStarted { call })?,
            Command::Noted { call, note } => draft.record(Body::CallNote { call, note })?,
            Command::Asked { call, question, state, denials, usage } => {
                let asked = self.known(&call).map_or(0, Call::questions);
                draft.record(if asked >= QUESTIONS_MAX {
                    let result = CallResult { outcome: asks_too_often(), denials, usage: *usage };
                    Body::CallFinished { call, result: Box::new(result) }
                } else {
                    Body::InputAsked { call, question, state, denials, usage: *usage }
                })?;
            }
            Command::Finished { call, result, memory, plan } => {
                if let Some((attempt, again)) = self.retries(definition, at, &call, &result) {
                    draft.record(Body::CallRetryScheduled { call, attempt, at: again, result })?;
                    return draft.advance();
                }
                for change in memory {
                    draft.record(Body::MemoryWritten {
                        call: call.clone(),
                        scope: change.scope,
                        key: change.key,
                        bytes: change.bytes,
                    })?;
                }
                if let Some(plan) = plan {
                    draft.record(Body::PlanUpdated { call: call.clone(), plan })?;
                }
                draft.record(Body::CallFinished { call, result })?;
            }
            Command::Cancel { run } => self.cancel(&mut draft, run)?,
            Command::Spent { limit, spent } => {
                self.stop(&mut draft, Some(limit), Some(spent))?;
            }
            Command::Warned { limit, spent } => {
                if self.was_warned(spent.level, limit, spent.reopens) {
                    return Ok((vec![], self.clone()));
                }
                draft.record(Body::BudgetWarned { limit, spent })?;
            }
            Command::Close => {
                self.not_busy()?;
                draft.record(Body::SessionClosed {})?;
            }
            Command::Wake => {
                let Some(run) = self.run() else { return Ok((vec![], self.clone())) };
                if let Some(deadline) = run.deadline(&definition.limits)
                    && deadline <= at
                {
                    let spent = run.time_spent(&definition.limits, deadline, at);
                    self.stop(&mut draft, Some(Limit::Time), Some(spent))?;
                }
            }
            Command::Leave => {
                let run = self.run().filter(|run| run.status() == RunStatus::Running);
                if let Some(run) = run.filter(|run| run.stopping().is_none() && !run.is_left()) {
                    draft.record(Body::RunLeft { run: run.id() })?;
                }
                // What follows from the state is for whoever goes on with it.
                return Ok(draft.done());
            }
            Command::Recover => self.recover(&mut draft)?,
            Command::Approve { call, by, scope, reason, shown } => {
                let hold = self.held(&call, shown, at)?;
                if scope > hold.scope {
                    return Err(Refused::OneCallOnly { call });
                }
                draft.record(Body::CallApproved { call, by: Some(by), scope, reason })?;
            }
            Command::Decline { call, by, reason, shown } => {
                self.held(&call, shown, at)?;
                draft.record(Body::CallDeclined { call, by: Some(by), reason })?;
            }
            Command::Answer { call, by, value, shown } => {
                self.asked(&call, shown)?;
                draft.record(Body::InputAnswered { call, by, value })?;
            }
            Command::Reconcile { call, by, result } => {
                self.waiting(&call, CallStatus::OutcomeUnknown)?;
                draft.record(Body::CallReconciled { call, by, result })?;
            }
        }
        draft.advance()
    }

    fn not_busy(&self) -> Result<(), Refused> {
        self.run().map_or(Ok(()), |run| Err(Refused::Busy { run: run.id() }))
    }

    fn known(&self, id: &CallId) -> Option<&Call> {
        self.run()?.current().iter().find(|call| call.id() == id)
    }

    fn status_of(&self, id: &CallId) -> Option<CallStatus> {
        self.known(id).map(Call::status)
    }

    /// A call in the state that an answer is for. Of one that ended long ago too it can be said how it
    /// stands.
    fn waiting(&self, id: &CallId, wanted: CallStatus) -> Result<(), Refused> {
        let known = self.runs().iter().flat_map(|run| run.calls()).find(|call| call.id() == id);
        match known.map(Call::status) {
            None => Err(Refused::NoSuchCall { call: id.clone() }),
            Some(status) if status == wanted => Ok(()),
            Some(status) => Err(Refused::NotWaiting { call: id.clone(), status, wanted }),
        }
    }

    /// What holds a call, if it is what the person was shown and it is not too late.
    fn held(&self, id: &CallId, shown: Option<Digest>, at: Timestamp) -> Result<&Hold, Refused> {
        self.waiting(id, CallStatus::Waiting(Wait::Approval))?;
        let hold = self.known(id).and_then(Call::hold);
        let hold = hold.ok_or_else(|| Refused::NoSuchCall { call: id.clone() })?;
        if shown.is_some_and(|shown| shown != hold_id(hold)) {
            return Err(Refused::StaleAnswer { call: id.clone() });
        }
        if hold.expires.is_some_and(|expires| expires <= at) {
            return Err(Refused::Expired { call: id.clone() });
        }
        Ok(hold)
    }

    /// That a call asks, and asks what the person was shown.
    fn asked(&self, id: &CallId, shown: Option<Digest>) -> Result<(), Refused> {
        self.waiting(id, CallStatus::Waiting(Wait::Input))?;
        let asks = self.known(id).and_then(Call::inquiry).map(|inquiry| question_id(inquiry));
        match shown {
            Some(shown) if asks != Some(shown) => Err(Refused::StaleAnswer { call: id.clone() }),
            _ => Ok(()),
        }
    }

    /// Makes way for an input; the run that it is for.
    fn input(&self, draft: &mut Draft<'_>, text: &str, busy: Busy) -> Result<RunId, Refused> {
        if text.trim().is_empty() {
            return Err(Refused::EmptyInput);
        }
        match busy {
            Busy::Reject => self.not_busy()?,
            Busy::Queue if self.queued().count() >= QUEUED_MAX => {
                return Err(Refused::QueueFull { most: QUEUED_MAX });
            }
            Busy::Queue => {}
            Busy::Interrupt => {
                let queued: Vec<RunId> = self.queued().map(crate::Run::id).collect();
                for run in queued {
                    draft.record(Body::RunCancelled { run })?;
                }
                if self.run().is_some() {
                    self.stop(draft, None, None)?;
                }
            }
        }
        let last = self.runs().last().map_or(0, |run| run.id().0);
        Ok(RunId(last.saturating_add(1)))
    }

    /// A reply, or the summary that was asked for before it.
    fn replied(
        &self,
        draft: &mut Draft<'_>,
        definition: &Definition,
        step: StepId,
        reply: Result<ModelReply, (ModelFailure, TokenUsage)>,
    ) -> Result<(), Refused> {
        let last = self.run().and_then(|run| run.steps().last());
        let asked = last.and_then(|step| step.asked());
        let choice = self.model_choice(definition);
        let price = choice.price.filter(|_| asked == Some(&choice.name));
        let due = self.compaction_due(definition);
        let unusable = |what: &str| ModelFailure {
            class: ModelFailureClass::Unusable,
            message: format!("the model replied {what}"),
            retry_after_ms: None,
        };
        let reply = match reply {
            Ok(reply) if reply.text.trim().is_empty() && reply.calls.is_empty() => {
                Err((unusable("nothing at all"), reply.tokens))
            }
            Ok(reply) if due.is_some() && !reply.calls.is_empty() => {
                Err((unusable("with calls where a summary was asked for"), reply.tokens))
            }
            reply => reply,
        };
        let cost = |tokens| price.map(|price| price.of(tokens));
        draft.record(match (reply, due) {
            (Err((failure, tokens)), _) => {
                let cost = cost(tokens).filter(|cost| cost.nanos() > 0);
                Body::ModelFailed { step, failure, tokens, cost }
            }
            (Ok(reply), None) => {
                let cost = cost(reply.tokens);
                Body::ModelCompleted { step, reply, cost }
            }
            (Ok(reply), Some(through)) => {
                let request = last.and_then(|step| step.request_digest());
                let request = request.ok_or_else(|| not_asked(step))?;
                Body::ConversationCompacted {
                    run: step.run,
                    compaction: Box::new(Compaction {
                        through,
                        summary: Some(reply.text),
                        failure: None,
                        model: choice.name.clone(),
                        request,
                        tokens: reply.tokens,
                        cost: cost(reply.tokens),
                    }),
                }
            }
        })
    }

    fn hold(&self, draft: &mut Draft<'_>, call: CallId, hold: Box<Hold>) -> Result<(), Refused> {
        let standing = self.standing(&hold).filter(|_| hold.scope == ApprovalScope::Session);
        let standing =
            standing.map(|yes| (yes.by.clone(), yes.reason.as_deref().map(str::to_owned)));
        draft.record(Body::CallHold { call: call.clone(), hold })?;
        match standing {
            None => Ok(()),
            Some((by, reason)) => {
                let scope = ApprovalScope::Session;
                draft.record(Body::CallApproved { call, by, scope, reason })
            }
        }
    }

    /// The intent, for this call and with no more fuel than the run has unreserved.
    fn reserve(
        &self,
        definition: &Definition,
        id: &CallId,
        mut intent: Box<Intent>,
    ) -> Result<Box<Intent>, Refused> {
        let Some(call) = self.known(id) else { return Ok(intent) };
        let arguments = Digest::of(call.arguments().as_bytes());
        if intent.arguments != arguments {
            return Err(Refused::OtherIntent { what: "arguments' hash" });
        }
        if intent.key != IdempotencyKey::derive(self.id(), id, &arguments) {
            return Err(Refused::OtherIntent { what: "idempotency key" });
        }
        if let Some(pin) = self.pin(&intent.tool)
            && (pin.component, pin.definitions) != (intent.component, intent.definitions)
        {
            return Err(Refused::OtherIntent { what: "component" });
        }
        let left = budget::fuel_left(self, definition);
        if left == 0 {
            return Err(Refused::FuelReserved);
        }
        intent.limits.fuel = intent.limits.fuel.min(left);
        Ok(intent)
    }

    /// Whether a call that ended so is made again: as which try, and when. Its effect allows it, the
    /// failure is one that passes, and the rule has tries and time left. What it wrote to memory is
    /// to be dropped then.
    #[must_use]
    pub fn retries(
        &self,
        definition: &Definition,
        at: Timestamp,
        call: &CallId,
        result: &CallResult,
    ) -> Option<(u32, Timestamp)> {
        let run = self.run().filter(|run| run.stopping().is_none())?;
        let known = self.known(call)?;
        // A `pure` call that ran out of time would again.
        let timed_out = matches!(result.outcome, Outcome::LimitReached { .. });
        let effect = known.intent().map(|intent| intent.effect)?;
        if !is_passing(&result.outcome)
            || !effect.may_repeat()
            || (timed_out && effect == ringfence_event::Effect::Pure)
        {
            return None;
        }
        let who = format!("{}\n{call}", self.id());
        let done = (known.retries, known.waited_ms);
        let asked = retry_after_ms(&result.outcome);
        let again = retry::next(&definition.retry.call, done, at, asked, &who)?;
        let fits = run.deadline(&definition.limits).is_none_or(|deadline| at < deadline);
        fits.then_some((known.retries.saturating_add(2), again))
    }

    fn cancel(&self, draft: &mut Draft<'_>, run: Option<RunId>) -> Result<(), Refused> {
        let under_way = self.run().ok_or(Refused::NoRun)?.id();
        match run {
            Some(run) if run != under_way => {
                if !self.queued().any(|queued| queued.id() == run) {
                    return Err(Refused::NoRun);
                }
                draft.record(Body::RunCancelled { run })
            }
            _ => self.stop(draft, None, None),
        }
    }

    /// Ends the run early: cancelled, or by this limit.
    fn stop(
        &self,
        draft: &mut Draft<'_>,
        limit: Option<Limit>,
        spent: Option<ringfence_event::Spent>,
    ) -> Result<(), Refused> {
        let run = self.run().ok_or(Refused::NoRun)?;
        if run.stopping().is_some() {
            return Ok(());
        }
        draft.record(Body::RunStopping { run: run.id(), limit, spent })
    }

    fn recover(&self, draft: &mut Draft<'_>) -> Result<(), Refused> {
        let Some(run) = self.run() else { return Ok(()) };
        if run.status() != RunStatus::Running {
            return Ok(());
        }
        let id = run.id();
        let hopeless = run.resumed >= RESUMED_MAX && !run.is_left() && run.stopping().is_none();
        if run.stopping().is_some()
            && let Some(step) = run.steps().last().filter(|step| step.asked().is_some())
        {
            // Nobody is left who could say what it has used.
            let failure = called_off();
            let (step, tokens) = (step.id(), TokenUsage::default());
            draft.record(Body::ModelFailed { step, failure, tokens, cost: None })?;
        }
        for call in run.current().iter().filter(|call| call.status().is_active()) {
            if !call.may_repeat() {
                draft.record(Body::CallOutcomeUnknown { call: call.id().clone() })?;
            } else if let Some(ending) = run.stopping() {
                // It would be stopped at once.
                let (call, result) = (call.id().clone(), ended_by(ending));
                draft.record(Body::CallFinished { call, result })?;
            }
        }
        if hopeless {
            return self.give_up(draft);
        }
        if run.stopping().is_none() {
            draft.record(Body::RunResumed { run: id })?;
        }
        Ok(())
    }

    /// The host died too often in this step: it is not tried again.
    fn give_up(&self, draft: &mut Draft<'_>) -> Result<(), Refused> {
        let Some(run) = self.run() else { return Ok(()) };
        let message = format!("the host died {} times in this step", run.resumed + 1);
        while let Some((call, function, arguments)) = draft.unrecorded() {
            draft.record(Body::CallProposed { call, function, arguments })?;
        }
        let open = draft.session.run().into_iter().flat_map(super::run::Run::current);
        let open: Vec<CallId> =
            open.filter(|call| call.status().is_open()).map(|call| call.id().clone()).collect();
        for call in open {
            let outcome = Outcome::HostError { message: message.clone() };
            let result = CallResult { outcome, denials: vec![], usage: Usage::default() };
            draft.record(Body::CallFinished { call, result: Box::new(result) })?;
        }
        let step = draft.session.run().and_then(|run| run.steps().last());
        if let Some(step) = step.filter(|step| step.reply().is_some() && !step.is_finished()) {
            let step = step.id();
            draft.record(Body::StepFinished { step })?;
        }
        draft.record(Body::RunFailed { run: run.id(), message })
    }
}

/// What becomes of a question to a model when the run is ended meanwhile.
#[must_use]
pub fn called_off() -> ModelFailure {
    ModelFailure {
        class: ModelFailureClass::Cancelled,
        message: "the run was ended while the model was asked".to_owned(),
        retry_after_ms: None,
    }
}

fn not_asked(step: StepId) -> Refused {
    let state = format!("step {step} does not wait for the model");
    Refused::NotNow { kind: "conversation.compacted", state }
}

fn asks_too_often() -> Outcome {
    Outcome::Failed {
        failure: Failure {
            kind: FailureKind::Failed,
            message: format!("the tool asked more than {QUESTIONS_MAX} questions in one call"),
            path: None,
            retry_after_ms: None,
        },
    }
}
