//! A model that replies from a script: for tests, demonstrations, and anything that must be the
//! same each time. A pure function of the request.

use std::future;

use ringfence_event::{
    Message, ModelFailure, ModelFailureClass, ModelReply, ModelRequest, ProposedCall, TokenUsage,
};
use serde_json::Value;

use crate::{
    Completion, Model, ModelError, ScriptError,
    script::{self, Arguments, Turn},
};

/// Stands for the text of the last result, in a reply's text and in every text of its arguments.
const LAST: &str = "{{last}}";

/// How much of the last result takes the place of [`LAST`]: a page of a report, not a download.
const LAST_BYTES_MAX: usize = 16 << 10;

/// How much of each message an error shows.
const SHOWN_CHARS_MAX: usize = 200;

/// Bytes a token is taken to have, as English text has on the whole.
const TOKEN_BYTES: usize = 4;

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
/// [[turn]]                                 # no `when`: always
/// reply = { text = "They say: {{last}}" }
/// ```
///
/// The first turn that fits is taken, as often as it fits. `contains` looks at the messages behind
/// the last reply, what the user said and what calls returned; `outcome` at the results among
/// them; `step` is the number of replies in the conversation, and one. `{{last}}` stands for the
/// text of the last result of the conversation, cut to 16 KiB, nothing if there is none; in
/// arguments it becomes part of a JSON string. `arguments` that are a text are passed on as they
/// stand, to play a model that writes no JSON.
///
/// Tokens are not counted as a real model would: a quarter of the bytes of the request as JSON and
/// of the reply, rounded up. A reply longer than the request's `output-tokens` is an error.
#[derive(Clone, Debug)]
pub struct ScriptedModel {
    turns: Vec<Turn>,
}

impl ScriptedModel {
    /// Reads a script. `file` is what errors call it.
    ///
    /// # Errors
    /// When it is no script, with the place.
    pub fn parse(text: &str, file: &str) -> Result<Self, ScriptError> {
        Ok(Self { turns: script::read(text, file)? })
    }

    fn reply(&self, request: &ModelRequest) -> Result<ModelReply, ModelError> {
        let view = View::of(&request.messages);
        let turn = self.turns.iter().find(|turn| view.fits(turn));
        let turn = turn.ok_or_else(|| view.unmatched())?;
        let calls: Vec<ProposedCall> = (1..)
            .zip(&turn.calls)
            .map(|(place, call): (usize, _)| ProposedCall {
                id: format!("call-{}-{place}", view.step),
                function: call.function.clone(),
                arguments: match &call.arguments {
                    Arguments::Json(value) => view.fill_value(value).to_string(),
                    Arguments::Raw(text) => view.fill(text),
                },
            })
            .collect();
        let text = view.fill(&turn.text);
        let input = serde_json::to_vec(request).map_or(0, |json| json.len());
        let of_calls = calls.iter().map(|call| call.function.len() + call.arguments.len());
        let output = tokens(text.len() + of_calls.sum::<usize>());
        if let Some(allowed) = request.parameters.output_tokens
            && output > allowed
        {
            return Err(failed(
                ModelFailureClass::TooLong,
                format!("the reply takes {output} tokens, the request allows {allowed}"),
            ));
        }
        Ok(ModelReply {
            text,
            calls,
            tokens: TokenUsage { input: tokens(input), cached: 0, output },
        })
    }
}

impl Model for ScriptedModel {
    fn complete<'a>(&'a self, request: &'a ModelRequest) -> Completion<'a> {
        Box::pin(future::ready(self.reply(request)))
    }
}

fn failed(class: ModelFailureClass, message: String) -> ModelError {
    let failure = ModelFailure { class, message, retry_after_ms: None };
    ModelError { failure, tokens: TokenUsage::default() }
}

fn tokens(bytes: usize) -> u64 {
    bytes.div_ceil(TOKEN_BYTES) as u64
}

/// A conversation as a script looks at it.
struct View<'a> {
    /// Replies so far, and one.
    step: usize,
    /// What came after the last reply.
    news: &'a [Message],
    /// The text of the last result.
    last: &'a str,
}

impl<'a> View<'a> {
    fn of(messages: &'a [Message]) -> Self {
        let is_reply = |message: &Message| matches!(message, Message::Assistant { .. });
        let start = messages.iter().rposition(is_reply).map_or(0, |reply| reply + 1);
        let last = messages.iter().rev().find_map(|message| match message {
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
            self.news.iter().any(|message| match message {
                Message::User { text } | Message::Result { text, .. } => text.contains(part),
                Message::Assistant { .. } => false,
            })
        };
        let outcome = |word: &str| {
            self.news.iter().any(
                |message| matches!(message, Message::Result { outcome, .. } if outcome == word),
            )
        };
        when.step.is_none_or(|step| step == self.step)
            && when.contains.as_ref().is_none_or(contains)
            && when.outcome.is_none_or(|word| outcome(word.as_str()))
    }

    fn unmatched(&self) -> ModelError {
        let mut message = format!("no turn of the script fits step {}", self.step);
        for news in self.news {
            let (who, text) = match news {
                Message::User { text } => ("the user said".to_owned(), text),
                Message::Result { function, outcome, text, .. } => {
                    (format!("{function} {outcome}"), text)
                }
                Message::Assistant { text, .. } => ("the model said".to_owned(), text),
            };
            let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
            message.push_str(&format!("; {who}: {}", ringfence_event::neutralise_line(&shown)));
        }
        failed(ModelFailureClass::NoTurn, message)
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
