//! A reply while it comes, the same for every protocol.

use std::collections::{BTreeMap, HashSet};

use ringfence_event::{
    ModelFailure, ModelFailureClass as Class, ModelReply, ProposedCall, TokenUsage,
    estimated_tokens,
};

use super::unusable;

/// What has come of a reply.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) text: String,
    /// In the order in which they began.
    pub(super) calls: Vec<ProposedCall>,
    /// Where the call is that the vendor gives this number.
    open: BTreeMap<u64, usize>,
    /// Why it is about to end, in the vendor's word, where that comes before the end.
    pub(super) stop: Option<String>,
    /// As far as the vendor said.
    pub(super) tokens: Option<TokenUsage>,
    /// How it ended, once it did.
    pub(super) end: Option<End>,
}

/// How a reply ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The model had said all.
    Done,
    /// It was cut off where it became too long.
    TooLong,
    /// The model, or a filter behind it, does not want to; in words, if there are any.
    Refused(String),
}

impl Draft {
    /// Forgets what came, but for what it cost: it is about to be said again, whole.
    pub(super) fn restart(&mut self) {
        *self = Self { tokens: self.tokens, ..Self::default() };
    }

    /// The call of that number, if it has begun.
    pub(super) fn call(&mut self, number: u64) -> Option<&mut ProposedCall> {
        self.open.get(&number).map(|place| &mut self.calls[*place])
    }

    /// Begins a call. What was at that number before is complete.
    pub(super) fn begin(&mut self, number: u64, call: ProposedCall) -> &mut ProposedCall {
        self.open.insert(number, self.calls.len());
        let place = self.calls.len();
        self.calls.push(call);
        &mut self.calls[place]
    }

    /// The reply, or why it is none. `sent` is the size of the request in bytes, `steps` how many
    /// replies the conversation has already.
    pub(super) fn finish(self, sent: usize, steps: usize) -> Result<ModelReply, ModelFailure> {
        let failure =
            |class, message: String| Err(ModelFailure { class, message, retry_after_ms: None });
        match self.end {
            None => return failure(Class::Cut, "the answer broke off in the middle".to_owned()),
            Some(End::TooLong) => {
                let message = "the reply was cut off: it is longer than `output-tokens`, or than \
                               the model has room for";
                return failure(Class::TooLong, message.to_owned());
            }
            Some(End::Refused(why)) if why.is_empty() => {
                return failure(Class::Refused, "the model refused".to_owned());
            }
            Some(End::Refused(why)) => {
                return failure(Class::Refused, format!("the model refused: {why}"));
            }
            Some(End::Done) => {}
        }
        if self.text.trim().is_empty() && self.calls.is_empty() {
            return Err(unusable("the reply is empty"));
        }
        let Self { text, mut calls, tokens, .. } = self;
        let given: HashSet<String> = calls.iter().map(|call| call.id.clone()).collect();
        for (place, call) in (1_usize..).zip(&mut calls) {
            if call.id.is_empty() {
                // The same each time, as all that follows from a reply.
                let id = format!("call-{}-{place}", steps + 1);
                call.id = if given.contains(&id) { format!("{id}-unnamed") } else { id };
            }
            // A function without parameters: some say nothing, some say so.
            if call.arguments.trim().is_empty() {
                call.arguments = "{}".to_owned();
            }
        }
        let of_calls = calls.iter().map(|call| call.function.len() + call.arguments.len());
        let written = text.len() + of_calls.sum::<usize>();
        // A server that does not count is not free: budgets hold there too.
        let tokens = tokens.unwrap_or_else(|| TokenUsage {
            input: estimated_tokens(sent),
            cached: 0,
            output: estimated_tokens(written),
        });
        Ok(ModelReply { text, calls, tokens })
    }
}
