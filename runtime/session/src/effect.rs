//! What a session wants done. Level-triggered: the list is what should be under way now, and the
//! driver starts what is not.

use std::sync::Arc;

use ringfence_event::{CallId, Digest, Intent, ModelRequest, Money, StepId, Timestamp};

use crate::{Approval, Call, CallStatus, Definition, Fallback, RunStatus, Session, Step, budget};

/// Everything that a session can ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Record [`Command::ModelRequested`](crate::Command::ModelRequested), ask the model that the
    /// request names, and report [`Command::ModelReplied`](crate::Command::ModelReplied).
    AskModel {
        /// For which step.
        step: StepId,
        /// What to ask.
        request: Box<ModelRequest>,
    },
    /// Decide the call: answer permitted, held, denied or invalid. An answer that is refused because
    /// fuel is reserved elsewhere is asked for again later.
    Check {
        /// Which call.
        call: CallId,
        /// What the model said.
        function: Arc<str>,
        /// What the model wrote.
        arguments: Arc<str>,
        /// What run and session have unreserved; more than 0. The call may get no more.
        fuel_left: u64,
        /// The yes of a person, if there is one: for what it binds.
        approval: Option<Arc<Approval>>,
        /// What the run has cost so far.
        spent: Money,
    },
    /// Report [`Command::Started`](crate::Command::Started), run the call, and report
    /// [`Command::Finished`](crate::Command::Finished) or [`Command::Asked`](crate::Command::Asked).
    /// Pending until it is started and not after, so that nothing can start it twice.
    Run {
        /// Which call.
        call: CallId,
        /// What to run, with which limits.
        intent: Arc<Intent>,
        /// The arguments.
        arguments: Arc<str>,
        /// The yes of a person, if there is one.
        approval: Option<Arc<Approval>>,
        /// What a person answered to the tool's question.
        answer: Option<Answer>,
    },
    /// Cancel the running call, which then reports finished.
    Stop {
        /// Which call.
        call: CallId,
    },
    /// Call off the question to the model, and report
    /// [`Command::ModelReplied`](crate::Command::ModelReplied) with what it has used.
    CallOff {
        /// For which step it was.
        step: StepId,
    },
}

/// What a person answered, on its way back into the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The answer; nothing: the person would not.
    pub value: Option<serde_json::Value>,
    /// The blob that the tool wants back.
    pub state: Digest,
}

impl Session {
    /// Everything that should be under way at this time. Nothing while the run waits.
    #[must_use]
    pub fn pending(&self, definition: &Definition, now: Timestamp) -> Vec<Effect> {
        let Some(run) = self.run().filter(|run| run.status() == RunStatus::Running) else {
            return vec![];
        };
        let Some(step) = run.steps().last() else { return vec![] };
        if run.stopping().is_some() {
            let running = step.calls().iter().filter(|call| call.status() == CallStatus::Started);
            let stop = running.map(|call| Effect::Stop { call: call.id().clone() });
            let question = step.asked().map(|_| Effect::CallOff { step: step.id() });
            return stop.chain(question).collect();
        }
        if step.is_asking() {
            let request = Box::new(self.request(definition));
            return vec![Effect::AskModel { step: step.id(), request }];
        }
        let fuel_left = budget::fuel_left(self, definition);
        let active = step.calls().iter().filter(|call| call.status().is_active()).count();
        let cap = definition.limits.concurrent_calls.max(1) as usize;
        let mut checks = if fuel_left == 0 { 0 } else { cap.saturating_sub(active) };
        let spent = run.totals().cost;
        let mut effects = vec![];
        for call in step.calls() {
            if call.is_to_check(now) && checks > 0 {
                // An intent is made only when the call can start at once: after a crash an
                // unsafe call that has one counts as begun.
                checks -= 1;
                effects.push(Effect::Check {
                    call: call.id().clone(),
                    function: call.function.clone(),
                    arguments: call.arguments.clone(),
                    fuel_left,
                    approval: call.approval().cloned(),
                    spent,
                });
            }
            if let (CallStatus::Intended, Some(intent)) = (call.status(), call.intent()) {
                effects.push(Effect::Run {
                    call: call.id().clone(),
                    intent: intent.clone(),
                    arguments: call.arguments.clone(),
                    approval: call.approval().cloned(),
                    answer: answer_of(call),
                });
            }
        }
        effects
    }

    /// Whether the model is to be asked for this step, and was not yet.
    pub(crate) fn is_to_ask(&self, step: StepId) -> bool {
        let last = self.run().and_then(|run| run.steps().last());
        self.is_asking(step) && last.is_some_and(|last| last.asked().is_none())
    }

    /// Whether the model is to be asked for this step, or is being asked.
    #[must_use]
    pub fn is_asking(&self, step: StepId) -> bool {
        let running =
            self.run().filter(|run| run.status() == RunStatus::Running && run.stopping().is_none());
        running
            .and_then(|run| run.steps().last())
            .is_some_and(|last| last.id() == step && last.is_asking())
    }
}

fn answer_of(call: &Call) -> Option<Answer> {
    let inquiry = call.inquiry()?;
    Some(Answer { value: inquiry.answer.clone()?, state: inquiry.state })
}

impl Fallback {
    /// Whether the first model has failed in this step as the rule says.
    pub(crate) fn applies(&self, first: &ringfence_event::ModelName, step: &Step) -> bool {
        let of_first = step.failures().iter().filter(|(model, _)| model == first);
        let counted = of_first.filter(|(_, class)| self.on.contains(class));
        let hopeless = counted.clone().any(|(_, class)| !class.is_passing());
        hopeless || counted.count() >= self.after.max(1) as usize
    }
}
