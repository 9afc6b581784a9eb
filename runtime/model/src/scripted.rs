//! A model that replies from a script: for tests, demonstrations, and anything that must be the
//! same each time. A pure function of the request.

use std::future;

use ringfence_event::{
    Message, ModelFailureClass, ModelReply, ModelRequest, ProposedCall, Shared, TokenUsage,
    estimated_tokens,
};
use serde_json::Value;

use crate::{
    Completion, Deltas, Model, ModelError, ScriptError, TokenLimits,
    script::{self, Arguments, Reply, Turn},
};

/// Stands for the text of the last result, in a reply's text and in every text of its arguments.
const LAST: &str = "{{last}}";

/// How much of the last result takes the place of [`LAST`]: a page of a report, not a download.
const LAST_BYTES_MAX: usize = 16 << 10;

/// How much of each message an error shows.
const SHOWN_CHARS_MAX: usize = 200;

/// A model that replies from a script.
///
/// ```toml
/// [[turn]]
/// when = { contains = "notes", step = 1 }  # every key must hold
/// reply = { text = "Let me look.", calls = [
///     { function = "files_read", arguments = { path = "/workspace/notes.md" } },
/// ] }
///
/// [[turn]]
/// when = { outcome = "denied" }            # an outcome word
/// reply = { text = "I may not: {{last}}" }
///
/// [[turn]]
/// when = { contains = "later" }            # a failure instead of a reply
/// reply = { fail = { class = "rate-limited", retry-after = "2s" } }
///
/// [[turn]]                                 # no `when`: always
/// reply = { text = "They say: {{last}}" }
/// ```
///
/// The first turn that fits is taken, as often as it fits. `contains` looks at the messages behind
/// the last reply, what the user said and what calls returned; `outcome` at the results among
/// them; `step` is the number of replies in the conversation, and one. `{{last}}` stands for the
/// text of the last result of the conversation, cut to 16 KiB, nothing if there is none; in
/// arguments it becomes part of a JSON string. `arguments` that are a text are passed on as they
/// stand, to play a model that writes no JSON. `fail` plays a failure: its `class`, a word of
/// [`ModelFailureClass`], and if you like the `message` and how long to wait, `retry-after`.
///
/// Tokens are not counted as a real model would: a quarter of the bytes of the request as JSON and
/// of the reply, rounded up. A reply longer than `output-tokens` of request or model is an error.
#[derive(Clone, Debug)]
pub struct ScriptedModel {
    turns: Vec<Turn>,
    limits: TokenLimits,
}

impl ScriptedModel {
    /// Reads a script. `file` is what errors call it.
    ///
    /// # Errors
    /// When it is no script, with the place.
    pub fn parse(text: &str, file: &str) -> Result<Self, ScriptError> {
        Ok(Self { turns: script::read(text, file)?, limits: TokenLimits::default() })
    }

    /// The same with limits, as [`ModelConfig::limits`](crate::ModelConfig::limits) says.
    #[must_use]
    pub fn with_limits(self, limits: TokenLimits) -> Self {
        Self { limits, ..self }
    }

    fn reply(&self, request: &ModelRequest) -> Result<ModelReply, ModelError> {
        self.limits.admit(request)?;
        let view = View::of(&request.messages);
        let turn = self.turns.iter().find(|turn| view.fits(turn));
        let (text, calls) = match &turn.ok_or_else(|| view.unmatched())?.reply {
            Reply::Says { text, calls } => (text, calls),
            Reply::Fails(failure) => return Err(failure.clone().into()),
        };
        let calls: Vec<ProposedCall> = (1..)
            .zip(calls)
            .map(|(place, call): (usize, _)| ProposedCall {
                id: format!("call-{}-{place}", view.step),
                function: call.function.clone(),
                arguments: match &call.arguments {
                    Arguments::Json(value) => view.fill_value(value).to_string(),
                    Arguments::Raw(text) => view.fill(text),
                },
            })
            .collect();
        let text = view.fill(text);
        let of_calls = calls.iter().map(|call| call.function.len() + call.arguments.len());
        let output = estimated_tokens(text.len() + of_calls.sum::<usize>());
        let input = estimated_tokens(request.bytes());
        let tokens = TokenUsage { input, cached: 0, output };
        if let Some(allowed) = self.limits.output_of(request)
            && output > allowed
        {
            let message = format!("the reply takes {output} tokens, {allowed} are allowed");
            return Err(ModelError {
                tokens: TokenUsage { output: allowed, ..tokens },
                ..ModelError::new(ModelFailureClass::TooLong, message)
            });
        }
        Ok(ModelReply { text, calls, tokens })
    }
}

impl Model for ScriptedModel {
    fn complete<'a>(&'a self, request: &'a ModelRequest, deltas: &'a dyn Deltas) -> Completion<'a> {
        let reply = self.reply(request);
        if let Ok(reply) = &reply
            && !reply.text.is_empty()
        {
            deltas.text(&reply.text);
        }
        Box::pin(future::ready(reply))
    }
}

/// A conversation as a script looks at it.
struct View<'a> {
    /// Replies so far, and one.
    step: usize,
    /// What came after the last reply.
    news: &'a [Shared<Message>],
    /// The text of the last result.
    last: &'a str,
}

impl<'a> View<'a> {
    fn of(messages: &'a [Shared<Message>]) -> Self {
        let is_reply = |message: &Shared<Message>| matches!(**message, Message::Assistant { .. });
        let start = messages.iter().rposition(is_reply).map_or(0, |reply| reply + 1);
        let last = messages.iter().rev().find_map(|message| match &**message {
            Message::Result { text, .. } => Some(text.as_str()),
            _ => None,
        });
        Self {
            step: messages.iter().filter(|message| is_reply(message)).count() + 1,
            news: &messages[start..],
            last: last.map_or("", |text| &text[..text.floor_char_boundary(LAST_BYTES_MAX)]),
        }
    }

    fn fits(&self, turn: &Turn) -> bool {
        let when = &turn.when;
        let contains = |part: &String| {
            self.news.iter().any(|message| match &**message {
                Message::User { text } | Message::Result { text, .. } => text.contains(part),
                Message::Assistant { .. } => false,
            })
        };
        let outcome = |word: &str| {
            self.news.iter().any(
                |message| matches!(&**message, Message::Result { outcome, .. } if outcome == word),
            )
        };
        when.step.is_none_or(|step| step == self.step)
            && when.contains.as_ref().is_none_or(contains)
            && when.outcome.is_none_or(|word| outcome(word.as_str()))
    }

    fn unmatched(&self) -> ModelError {
        let mut message = format!("no turn of the script fits step {}", self.step);
        for news in self.news {
            let (who, text) = match &**news {
                Message::User { text } => ("the user said".to_owned(), text),
                Message::Result { function, outcome, text, .. } => {
                    (format!("{function} {outcome}"), text)
                }
                Message::Assistant { text, .. } => ("the model said".to_owned(), text),
            };
            let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
            message.push_str(&format!("; {who}: {}", ringfence_event::neutralise_line(&shown)));
        }
        ModelError::new(ModelFailureClass::NoTurn, message)
    }

    fn fill(&self, text: &str) -> String {
        text.replace(LAST, self.last)
    }

    fn fill_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.fill(text).into(),
            Value::Array(values) => values.iter().map(|value| self.fill_value(value)).collect(),
            Value::Object(entries) => {
                entries.iter().map(|(key, value)| (key.clone(), self.fill_value(value))).collect()
            }
            other => other.clone(),
        }
    }
}
