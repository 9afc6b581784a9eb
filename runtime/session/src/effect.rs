//! What a session wants done. Level-triggered: the list is what should be under way now, and the
//! driver starts what is not.

use std::sync::Arc;

use ringfence_event::{CallId, Intent, ModelRequest, StepId};

use crate::{CallStatus, Definition, RunStatus, Session};

/// Everything that a session can ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Record [`Command::ModelRequested`](crate::Command::ModelRequested), ask, and report
    /// [`Command::ModelReplied`](crate::Command::ModelReplied). Drop the question when it is
    /// pending no more.
    AskModel {
        /// For which step.
        step: StepId,
        /// What to ask.
        request: Box<ModelRequest>,
    },
    /// Decide the call: answer permitted, denied or invalid. An answer that is refused because fuel
    /// is reserved elsewhere is asked for again later.
    Check {
        /// Which call.
        call: CallId,
        /// What the model said.
        function: Arc<str>,
        /// What the model wrote.
        arguments: Arc<str>,
        /// What the run has unreserved; more than 0. The call may get no more.
        fuel_left: u64,
    },
    /// Report [`Command::Started`](crate::Command::Started), run the call, and report
    /// [`Command::Finished`](crate::Command::Finished). Pending until it is started and not after,
    /// so that nothing can start it twice.
    Run {
        /// Which call.
        call: CallId,
        /// What to run, with which limits.
        intent: Arc<Intent>,
        /// The arguments.
        arguments: Arc<str>,
    },
    /// Cancel the running call, which then reports finished.
    Stop {
        /// Which call.
        call: CallId,
    },
}

impl Session {
    /// Everything that should be under way now. Nothing while the run waits for a person.
    #[must_use]
    pub fn pending(&self, definition: &Definition) -> Vec<Effect> {
        let Some(run) = self.run().filter(|run| run.status() == RunStatus::Running) else {
            return vec![];
        };
        let Some(step) = run.steps().last() else { return vec![] };
        if run.stopping().is_some() {
            let running = step.calls().iter().filter(|call| call.status() == CallStatus::Started);
            return running.map(|call| Effect::Stop { call: call.id().clone() }).collect();
        }
        if step.is_asking() {
            let request = Box::new(self.request(definition));
            return vec![Effect::AskModel { step: step.id(), request }];
        }
        let fuel_left = run.fuel_left(&definition.limits);
        let active = step.calls().iter().filter(|call| call.status().is_active()).count();
        let cap = definition.limits.concurrent_calls.max(1) as usize;
        let mut checks = if fuel_left == 0 { 0 } else { cap.saturating_sub(active) };
        let mut effects = vec![];
        for call in step.calls() {
            match (call.status(), call.intent()) {
                (CallStatus::Proposed, _) if checks > 0 => {
                    // An intent is made only when the call can start at once: after a crash an
                    // unsafe call that has one counts as begun.
                    checks -= 1;
                    effects.push(Effect::Check {
                        call: call.id().clone(),
                        function: call.function.clone(),
                        arguments: call.arguments.clone(),
                        fuel_left,
                    });
                }
                (CallStatus::Intended, Some(intent)) => effects.push(Effect::Run {
                    call: call.id().clone(),
                    intent: intent.clone(),
                    arguments: call.arguments.clone(),
                }),
                _ => {}
            }
        }
        effects
    }
}
