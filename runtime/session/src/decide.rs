//! Commands in, events out.

use ringfence_event::{
    Body, CallId, CallResult, Digest, IdempotencyKey, Intent, Limit, Outcome, RunId, Usage,
};

use crate::{
    CallStatus, Command, Decided, Definition, Refused, RunStatus, Session,
    advance::{Draft, ended_by},
};

/// How often a run is gone on with in one step after its host died, before it is taken to be the
/// cause. Twice can be bad luck.
const RESUMED_MAX: u32 = 3;

impl Session {
    /// The events that a command leads to, with all that follows from them. To be made durable
    /// together and then applied, in this order.
    ///
    /// # Errors
    /// When the command changes nothing, and why.
    pub fn decide(
        &self,
        definition: &Definition,
        command: Command,
    ) -> Result<Vec<Decided>, Refused> {
        if !matches!(command, Command::Create { .. }) {
            let (agent, _) = self.agent().ok_or(Refused::NotCreated)?;
            if *agent != definition.name {
                let (session, given) = (agent.to_string(), definition.name.to_string());
                return Err(Refused::OtherAgent { session, given });
            }
        }
        if self.closed_at().is_some() {
            return match command {
                Command::Close | Command::Recover | Command::TimeUp => Ok(vec![]),
                _ => Err(Refused::Closed),
            };
        }
        let mut draft = Draft::new(self, definition.limits);
        match command {
            Command::Create { agent, agent_digest } => {
                draft.record(Body::SessionCreated { agent, agent_digest })?;
            }
            Command::Input { text } => {
                self.not_busy()?;
                if text.trim().is_empty() {
                    return Err(Refused::EmptyInput);
                }
                let last = self.runs().last().map_or(0, |run| run.id().0);
                draft.record(Body::MessageAdded { run: RunId(last.saturating_add(1)), text })?;
            }
            Command::ModelRequested { step, request, parts } => {
                let model = definition.model.clone();
                draft.record(Body::ModelRequested { step, model, request, parts })?;
            }
            Command::ModelReplied { step, reply } => draft.record(match reply {
                Ok(reply) => Body::ModelCompleted { step, reply },
                Err(message) => Body::ModelFailed { step, message },
            })?,
            Command::Permitted { call, intent } => {
                let intent = self.reserve(definition, &call, intent)?;
                draft.record(Body::CallIntended { call, intent })?;
            }
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
            Command::Finished { call, result, memory } => {
                for change in memory {
                    draft.record(Body::MemoryWritten {
                        call: call.clone(),
                        scope: change.scope,
                        key: change.key,
                        bytes: change.bytes,
                    })?;
                }
                draft.record(Body::CallFinished { call, result })?;
            }
            Command::Cancel => self.stop(&mut draft, None)?,
            Command::Close => {
                self.not_busy()?;
                draft.record(Body::SessionClosed {})?;
            }
            Command::TimeUp => {
                if self.run().is_none_or(|run| run.status() == RunStatus::Waiting) {
                    return Ok(vec![]);
                }
                self.stop(&mut draft, Some(Limit::Time))?;
            }
            Command::Recover => self.recover(&mut draft)?,
            Command::Reconcile { call, result } => {
                draft.record(Body::CallReconciled { call, result })?;
                if let Some(run) = draft.session.run()
                    && run.unknown().is_empty()
                {
                    let run = run.id();
                    draft.record(Body::RunResumed { run })?;
                }
            }
        }
        draft.advance()
    }

    fn not_busy(&self) -> Result<(), Refused> {
        self.run().map_or(Ok(()), |run| Err(Refused::Busy { run: run.id() }))
    }

    fn status_of(&self, id: &CallId) -> Option<CallStatus> {
        self.run()?.calls().find(|call| call.id() == id).map(crate::Call::status)
    }

    /// The intent, for this call and with no more fuel than the run has unreserved.
    fn reserve(
        &self,
        definition: &Definition,
        id: &CallId,
        mut intent: Box<Intent>,
    ) -> Result<Box<Intent>, Refused> {
        let Some(run) = self.run() else { return Ok(intent) };
        let Some(call) = run.calls().find(|call| call.id() == id) else { return Ok(intent) };
        let arguments = Digest::of(call.arguments().as_bytes());
        if intent.arguments != arguments {
            return Err(Refused::OtherIntent { what: "arguments' hash" });
        }
        if intent.key != IdempotencyKey::derive(self.id(), id, &arguments) {
            return Err(Refused::OtherIntent { what: "idempotency key" });
        }
        let left = run.fuel_left(&definition.limits);
        if left == 0 {
            return Err(Refused::FuelReserved);
        }
        intent.limits.fuel = intent.limits.fuel.min(left);
        Ok(intent)
    }

    /// Ends the run early: cancelled, or by this limit.
    fn stop(&self, draft: &mut Draft, limit: Option<Limit>) -> Result<(), Refused> {
        let run = self.run().ok_or(Refused::NoRun)?;
        if run.stopping().is_some() {
            return Ok(());
        }
        draft.record(Body::RunStopping { run: run.id(), limit })
    }

    fn recover(&self, draft: &mut Draft) -> Result<(), Refused> {
        let Some(run) = self.run() else { return Ok(()) };
        if run.status() == RunStatus::Queued {
            return Ok(());
        }
        let id = run.id();
        let hopeless = run.resumed >= RESUMED_MAX && run.stopping().is_none();
        if run.status() == RunStatus::Running {
            for call in run.calls().filter(|call| call.status().is_active()) {
                if !call.may_repeat() {
                    draft.record(Body::CallOutcomeUnknown { call: call.id().clone() })?;
                } else if let Some(ending) = run.stopping() {
                    // It would be stopped at once.
                    let (call, result) = (call.id().clone(), ended_by(ending));
                    draft.record(Body::CallFinished { call, result })?;
                }
            }
        }
        if hopeless && run.status() == RunStatus::Running {
            return self.give_up(draft);
        }
        let unknown = draft.session.run().is_some_and(|run| !run.unknown().is_empty());
        if run.stopping().is_none() && !unknown {
            draft.record(Body::RunResumed { run: id })?;
        }
        Ok(())
    }

    /// The host died too often in this step: it is not tried again.
    fn give_up(&self, draft: &mut Draft) -> Result<(), Refused> {
        let Some(run) = self.run() else { return Ok(()) };
        let message = format!("the host died {} times in this step", run.resumed + 1);
        while let Some((call, function, arguments)) = draft.unrecorded() {
            draft.record(Body::CallProposed { call, function, arguments })?;
        }
        let open = draft.session.run().into_iter().flat_map(crate::Run::calls);
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
