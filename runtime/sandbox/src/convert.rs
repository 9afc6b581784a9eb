//! Between the contract's types and the runtime's.

use ringfence_event as event;
use ringfence_event::{Content, Failure, FailureKind, Outcome};

use crate::{
    bindings::{exports::ringfence::tool::tools, ringfence::tool::types},
    tool::Definition,
};

/// What a tool returns of a call.
pub(crate) type Returned = Result<tools::Outcome, tools::Failure>;

pub(crate) fn level(level: types::Level) -> event::Level {
    match level {
        types::Level::Trace => event::Level::Trace,
        types::Level::Debug => event::Level::Debug,
        types::Level::Info => event::Level::Info,
        types::Level::Warn => event::Level::Warn,
        types::Level::Error => event::Level::Error,
    }
}

pub(crate) fn content(content: types::Content) -> Content {
    let media = |media: types::Media| event::Media { mime: media.mime, data: media.data };
    match content {
        types::Content::Text(text) => Content::Text { text },
        types::Content::Image(image) => Content::Image(media(image)),
        types::Content::Audio(audio) => Content::Audio(media(audio)),
        types::Content::File(file) => Content::File(media(file)),
        types::Content::Link(link) => {
            Content::Link(event::Link { uri: link.uri, name: link.name, mime: link.mime })
        }
    }
}

pub(crate) fn definition(definition: tools::Definition) -> Definition {
    Definition {
        name: definition.name,
        title: definition.title,
        description: definition.description,
        input_schema: definition.input_schema,
        output_schema: definition.output_schema,
        effect: match definition.effect {
            types::Effect::Pure => event::Effect::Pure,
            types::Effect::Read => event::Effect::Read,
            types::Effect::Idempotent => event::Effect::Idempotent,
            types::Effect::Unsafe => event::Effect::Unsafe,
        },
    }
}

/// The guest's own end of a call, with what it emitted before; what is wrong with the tool itself
/// is a failure that says so.
pub(crate) fn outcome(returned: Returned, emitted: Vec<Content>) -> Outcome {
    match returned {
        Ok(tools::Outcome::Done(done)) => {
            let mut parts = emitted;
            parts.extend(done.content.into_iter().map(content));
            let structured = done.structured.map(|json| parse(&json)).transpose();
            match structured {
                Ok(structured) => {
                    Outcome::Succeeded { output: event::Output { content: parts, structured } }
                }
                Err(error) => failed(format!("the tool's structured output is unusable: {error}")),
            }
        }
        Ok(tools::Outcome::NeedsInput(question)) => match asked(question) {
            Ok(question) => Outcome::NeedsInput { question },
            Err(error) => failed(format!("the tool's question is unusable: {error}")),
        },
        Err(failure) => Outcome::Failed {
            failure: Failure {
                kind: match failure.kind {
                    types::FailureKind::InvalidInput => FailureKind::InvalidInput,
                    types::FailureKind::Unavailable => FailureKind::Unavailable,
                    types::FailureKind::Failed => FailureKind::Failed,
                },
                message: failure.message,
                path: failure.path,
                retry_after_ms: failure.retry_after_ms,
            },
        },
    }
}

/// The most that a tool gets back with an answer. The contract's number.
const STATE_BYTES_MAX: usize = 64 << 10;

/// The state of a question, if that is what a tool returned.
pub(crate) fn state(returned: &Returned) -> Option<Vec<u8>> {
    match returned {
        Ok(tools::Outcome::NeedsInput(question)) => Some(question.state.clone()),
        _ => None,
    }
}

fn asked(question: types::Question) -> Result<event::Question, String> {
    if question.message.trim().is_empty() {
        return Err("it says nothing".to_owned());
    }
    if question.state.len() > STATE_BYTES_MAX {
        return Err(format!("its state is longer than {} KiB", STATE_BYTES_MAX >> 10));
    }
    let schema = parse(&question.schema)?;
    if !schema.is_object() {
        return Err("its schema is no JSON object".to_owned());
    }
    Ok(event::Question { message: event::neutralise(&question.message).into_owned(), schema })
}

/// The deepest value that is taken: the journal wraps it a few times more, and must be able to read
/// it again.
const DEPTH: usize = 64;

fn parse(json: &str) -> Result<serde_json::Value, String> {
    fn depth(value: &serde_json::Value) -> usize {
        match value {
            serde_json::Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
            serde_json::Value::Object(items) => 1 + items.values().map(depth).max().unwrap_or(0),
            _ => 0,
        }
    }
    let value = serde_json::from_str(json).map_err(|error| error.to_string())?;
    match depth(&value) > DEPTH {
        true => Err(format!("it is nested more than {DEPTH} deep")),
        false => Ok(value),
    }
}

fn failed(message: String) -> Outcome {
    let failure = Failure { kind: FailureKind::Failed, message, path: None, retry_after_ms: None };
    Outcome::Failed { failure }
}

/// What a returned value counts against the output limit.
pub(crate) fn output_bytes(returned: &Returned) -> u64 {
    let of_content = |content: &types::Content| match content {
        types::Content::Text(text) => text.len(),
        types::Content::Image(media)
        | types::Content::Audio(media)
        | types::Content::File(media) => media.mime.len() + media.data.len(),
        types::Content::Link(link) => {
            link.uri.len()
                + link.name.as_ref().map_or(0, String::len)
                + link.mime.as_ref().map_or(0, String::len)
        }
    };
    let bytes = match returned {
        Ok(tools::Outcome::Done(done)) => {
            done.content.iter().map(of_content).sum::<usize>()
                + done.structured.as_ref().map_or(0, String::len)
        }
        Ok(tools::Outcome::NeedsInput(question)) => {
            question.message.len() + question.schema.len() + question.state.len()
        }
        Err(failure) => failure.message.len() + failure.path.as_ref().map_or(0, String::len),
    };
    bytes as u64
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;

    fn words() -> impl Strategy<Value = String> {
        prop_oneof![".{0,40}", "[\\PC\\n\\r\u{0}]{0,40}"]
    }

    fn media() -> impl Strategy<Value = types::Media> {
        (words(), vec(any::<u8>(), 0..40)).prop_map(|(mime, data)| types::Media { mime, data })
    }

    fn part() -> impl Strategy<Value = types::Content> {
        prop_oneof![
            words().prop_map(types::Content::Text),
            media().prop_map(types::Content::Image),
            media().prop_map(types::Content::Audio),
            media().prop_map(types::Content::File),
            (words(), option::of(words()), option::of(words())).prop_map(|(uri, name, mime)| {
                types::Content::Link(types::Link { uri, name, mime })
            }),
        ]
    }

    /// What a tool may say is JSON: anything, also in more levels than are taken.
    fn structured() -> impl Strategy<Value = String> {
        let nested = (0_usize..200, "[0-9]{1,3}")
            .prop_map(|(deep, inner)| format!("{}{inner}{}", "[".repeat(deep), "]".repeat(deep)));
        prop_oneof![
            words(),
            nested,
            Just("{\"a\":1e400}".to_owned()),
            Just("\"\\ud800\"".to_owned())
        ]
    }

    fn returned() -> impl Strategy<Value = Returned> {
        let done =
            (vec(part(), 0..4), option::of(structured())).prop_map(|(content, structured)| {
                Ok(tools::Outcome::Done(types::Output { content, structured }))
            });
        let asks =
            (words(), words(), vec(any::<u8>(), 0..20)).prop_map(|(message, schema, state)| {
                Ok(tools::Outcome::NeedsInput(types::Question { message, schema, state }))
            });
        let kind = prop_oneof![
            Just(types::FailureKind::InvalidInput),
            Just(types::FailureKind::Unavailable),
            Just(types::FailureKind::Failed),
        ];
        let fails = (kind, words(), option::of(words()), option::of(any::<u64>())).prop_map(
            |(kind, message, path, retry_after_ms)| {
                Err(tools::Failure { kind, message, path, retry_after_ms })
            },
        );
        prop_oneof![done, asks, fails]
    }

    proptest! {
        /// Whatever a tool returns becomes an outcome that the journal gives back as it was, and
        /// none of its bytes goes uncounted.
        #[test]
        fn whatever_a_tool_returns_can_be_recorded(returned in returned()) {
            let counted = output_bytes(&returned);
            let texts: u64 = match &returned {
                Ok(tools::Outcome::Done(done)) => done.content.iter().map(|part| match part {
                    types::Content::Text(text) => text.len() as u64,
                    types::Content::Image(m) | types::Content::Audio(m) | types::Content::File(m) => {
                        (m.mime.len() + m.data.len()) as u64
                    }
                    types::Content::Link(link) => link.uri.len() as u64,
                }).sum(),
                Ok(tools::Outcome::NeedsInput(question)) => question.state.len() as u64,
                Err(failure) => failure.message.len() as u64,
            };
            prop_assert!(counted >= texts);
            let outcome = outcome(returned, vec![]);
            let text = serde_json::to_string(&outcome).unwrap();
            prop_assert_eq!(serde_json::from_str::<Outcome>(&text).unwrap(), outcome);
        }
    }
}
