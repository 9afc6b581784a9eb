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
        Ok(tools::Outcome::NeedsInput(question)) => failed(format!(
            "the tool asks a person: {}; this version of Ringfence cannot put questions to anybody",
            event::neutralise(&question.message)
        )),
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
