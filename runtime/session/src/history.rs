//! The conversation as the model is sent it: rebuilt from the fold each time, stored nowhere.

use std::collections::HashSet;

use ringfence_event::{Message, ModelRequest, Parameters, ProposedCall};

use crate::{Definition, Session, Step, result_text};

impl Session {
    /// What the model is asked next. The same in every process that folded the same events.
    #[must_use]
    pub fn request(&self, definition: &Definition) -> ModelRequest {
        let spent = self.run().map_or(0, |run| run.tokens().total());
        let left = definition.limits.tokens.saturating_sub(spent);
        let own = definition.parameters;
        ModelRequest {
            model: definition.model.clone(),
            instructions: definition.instructions.clone(),
            functions: definition.functions.clone(),
            messages: self.messages(),
            // Only ever lowered: a number where the definition has none could be above what the
            // model takes.
            parameters: Parameters { output_tokens: own.output_tokens.map(|own| own.min(left)) },
        }
    }

    /// The conversation so far. Each call that a model proposed has exactly one result, right
    /// behind the message that proposed it and in the order of proposal.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        let mut messages = vec![];
        let mut ids = CallIds::default();
        for run in self.runs() {
            messages.push(Message::User { text: run.input().to_owned() });
            run.steps().iter().for_each(|step| push_step(&mut messages, &mut ids, step));
        }
        messages
    }
}

fn push_step(messages: &mut Vec<Message>, ids: &mut CallIds, step: &Step) {
    let Some(reply) = step.reply() else { return };
    // Not before each call has its result: a history without them is refused by model vendors.
    if !step.is_finished() || (reply.text.is_empty() && reply.calls.is_empty()) {
        return;
    }
    let mut calls = vec![];
    let mut results = vec![];
    for (proposal, call) in reply.calls.iter().zip(step.calls()) {
        let id = ids.unique(&proposal.id, call.id().as_str());
        let Some(result) = call.result() else { continue };
        results.push(Message::Result {
            id: id.clone(),
            function: proposal.function.clone(),
            outcome: result.outcome.as_str().to_owned(),
            text: result_text(result),
        });
        calls.push(ProposedCall { id, ..proposal.clone() });
    }
    messages.push(Message::Assistant { text: reply.text.clone(), calls });
    messages.extend(results);
}

/// The ids of proposed calls as they are sent back: a model's own, unless it gave none or one that
/// the conversation has already.
#[derive(Default)]
struct CallIds(HashSet<String>);

impl CallIds {
    fn unique(&mut self, proposed: &str, call: &str) -> String {
        if !proposed.is_empty() && self.0.insert(proposed.to_owned()) {
            return proposed.to_owned();
        }
        // Model vendors take letters, digits, `-` and `_`.
        let mut own = call.replace('.', "-");
        while !self.0.insert(own.clone()) {
            own.push('x');
        }
        own
    }
}
