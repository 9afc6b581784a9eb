//! A conversation that grew long is told in short: the model writes a summary of its beginning, the
//! last steps stay as they are, and a call stays with its result. The journal keeps everything.

use ringfence_event::{Message, ModelRequest, Shared, StepId, estimated_tokens};

use crate::{Definition, RunStatus, Session, Step, history::Part};

/// What the model is told to do, behind the part of the conversation that it is to sum up.
const ASK: &str = "[host] The conversation grows too long to be sent whole. Sum up all of the above \
    for yourself: what the user wants, what was found out and decided, what was done with which \
    results, names and values that are still needed, and what is left to do. What you do not write \
    down is not seen again. Reply with the summary only.";

/// Begins the summary in the conversation. The line is the host's: no tool can write it.
const SUMMARY: &str = "[host] Summary of the conversation so far:\n";

/// Stands in its place when the model gave none.
const LEFT_OUT: &str = "[host] The beginning of the conversation is left out: it grew too long.";

impl Session {
    /// The part of the conversation that is to be told in short before the model is asked again:
    /// its last step. `None`: none is.
    pub(crate) fn compaction_due(&self, definition: &Definition) -> Option<StepId> {
        let rule = definition.compaction.as_ref()?;
        let run = self.run().filter(|run| run.status() == RunStatus::Running)?;
        let asking = |step: &Step| step.is_asking() || step.failure().is_some();
        if !run.steps().last().is_some_and(|step| asking(step)) {
            return None;
        }
        let done = self.compaction().map(|compaction| compaction.through);
        let behind = |step: &&Step| done.is_none_or(|done| step.id() > done);
        let finished: Vec<StepId> = self
            .runs()
            .iter()
            .flat_map(|run| run.steps())
            .map(AsRef::as_ref)
            .filter(|step: &&Step| step.is_finished())
            .filter(behind)
            .map(Step::id)
            .collect();
        let through = *finished.get(finished.len().checked_sub(rule.keep as usize + 1)?)?;
        (estimate(&self.messages()) > rule.above).then_some(through)
    }

    /// What the model is asked for a summary.
    pub(crate) fn summary_request(&self, definition: &Definition, through: StepId) -> ModelRequest {
        let mut messages = self.messages_of(Part::Through(through));
        messages.push(Shared::new(Message::User { text: ASK.to_owned() }));
        let choice = self.model_choice(definition);
        let request = ModelRequest {
            model: choice.name.clone(),
            instructions: definition.instructions.clone(),
            functions: vec![].into(),
            messages,
            parameters: choice.parameters,
        };
        self.within_budget(definition, choice, request)
    }

    /// What stands in the place of what was told in short.
    pub(crate) fn summary(&self) -> Option<(StepId, Message)> {
        let compaction = self.compaction()?;
        let text = match &compaction.summary {
            Some(summary) => format!("{SUMMARY}{summary}"),
            None => LEFT_OUT.to_owned(),
        };
        Some((compaction.through, Message::User { text }))
    }
}

/// How many tokens a conversation has, roughly.
pub(crate) fn estimate(messages: &[Shared<Message>]) -> u64 {
    let bytes = |message: &Shared<Message>| match &**message {
        Message::User { text } => text.len(),
        Message::Assistant { text, calls } => {
            let of_calls = calls.iter().map(|call| call.function.len() + call.arguments.len());
            text.len() + of_calls.sum::<usize>()
        }
        Message::Result { function, text, .. } => function.len() + text.len(),
    };
    estimated_tokens(messages.iter().map(bytes).sum())
}
