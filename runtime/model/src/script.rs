//! The file of a script: TOML, read strictly.

use ringfence_event::{ModelFailure, ModelFailureClass};
use ringfence_policy::Millis;
use serde::Deserialize;
use toml::Spanned;

/// A script that cannot be used, with the place in its file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct ScriptError {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    turn: Vec<FileTurn>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileTurn {
    #[serde(default)]
    when: When,
    reply: Spanned<FileReply>,
}

/// When a turn fits. Every key that is there must hold; none: it always fits.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct When {
    /// Part of a text that came after the last reply.
    pub(crate) contains: Option<String>,
    /// The outcome of a call that came after the last reply.
    pub(crate) outcome: Option<OutcomeWord>,
    /// How many replies the conversation has, and one.
    pub(crate) step: Option<usize>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OutcomeWord {
    Succeeded,
    Failed,
    Invalid,
    Denied,
    LimitReached,
    Trapped,
    Cancelled,
    HostError,
    OutcomeUnknown,
}

impl OutcomeWord {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::LimitReached => "limit-reached",
            Self::Trapped => "trapped",
            Self::Cancelled => "cancelled",
            Self::HostError => "host-error",
            Self::OutcomeUnknown => "outcome-unknown",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileReply {
    #[serde(default)]
    text: String,
    #[serde(default)]
    calls: Vec<FileCall>,
    fail: Option<FileFailure>,
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a table such as `{ class = \"rate-limited\", retry-after = \"2s\" }`"
)]
struct FileFailure {
    class: ModelFailureClass,
    message: Option<String>,
    retry_after: Option<Millis>,
}

impl From<FileFailure> for ModelFailure {
    fn from(FileFailure { class, message, retry_after }: FileFailure) -> Self {
        let message =
            message.unwrap_or_else(|| format!("the script says that it is {}", class.as_str()));
        Self { class, message, retry_after_ms: retry_after.map(|wait| wait.0) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileCall {
    function: String,
    arguments: Option<Spanned<toml::Value>>,
}

/// One turn of a checked script.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) when: When,
    pub(crate) reply: Reply,
}

/// What a turn does.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Replies.
    Says { text: String, calls: Vec<Call> },
    /// Fails.
    Fails(ModelFailure),
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) function: String,
    pub(crate) arguments: Arguments,
}

#[derive(Clone, Debug)]
pub(crate) enum Arguments {
    /// To be written as JSON.
    Json(serde_json::Value),
    /// To be passed on as it stands, for a model that writes no JSON.
    Raw(String),
}

/// Reads the turns of a script, in the order of the file.
pub(crate) fn read(text: &str, file: &str) -> Result<Vec<Turn>, ScriptError> {
    let at = |offset: usize, message: &str| {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        ScriptError {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.to_owned(),
        }
    };
    let parsed: File = toml::from_str(text)
        .map_err(|error| at(error.span().map_or(0, |span| span.start), &worded(error.message())))?;
    let mut turns = vec![];
    for FileTurn { when, reply } in parsed.turn {
        let start = reply.span().start;
        let FileReply { text, calls, fail } = reply.into_inner();
        if let Some(failure) = fail {
            if !text.is_empty() || !calls.is_empty() {
                return Err(at(start, "a reply that is to `fail` has no `text` and no `calls`"));
            }
            turns.push(Turn { when, reply: Reply::Fails(failure.into()) });
            continue;
        }
        if text.is_empty() && calls.is_empty() {
            return Err(at(
                start,
                "a reply needs `text`, `calls` or both, or a `fail`, such as `reply = { text = \
                 \"Done.\" }`",
            ));
        }
        let mut checked = vec![];
        for FileCall { function, arguments } in calls {
            let arguments = match arguments {
                None => Arguments::Json(serde_json::json!({})),
                Some(value) => {
                    let start = value.span().start;
                    match value.into_inner() {
                        toml::Value::String(raw) => Arguments::Raw(raw),
                        table @ toml::Value::Table(_) => {
                            Arguments::Json(json(table).map_err(|message| at(start, message))?)
                        }
                        _ => {
                            return Err(at(
                                start,
                                "`arguments` is a table, such as `{ path = \"a.txt\" }`, or a text \
                                 passed on as it stands",
                            ));
                        }
                    }
                }
            };
            checked.push(Call { function, arguments });
        }
        turns.push(Turn { when, reply: Reply::Says { text, calls: checked } });
    }
    Ok(turns)
}

/// Says in our words what serde says in its own, and what to write instead.
fn worded(message: &str) -> String {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let listed = |names: &[&str]| {
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    let (what, known) = match &quoted[..] {
        [key] if message.starts_with("missing field") => {
            (format!("the key `{key}` is missing"), String::new())
        }
        [key, known @ ..] if message.starts_with("unknown field") => {
            (format!("unknown key `{key}`"), format!("; known keys here: {}", listed(known)))
        }
        [word, known @ ..] if message.starts_with("unknown variant") => {
            (format!("unknown word `{word}`"), format!("; it may be: {}", listed(known)))
        }
        _ => (message.replace("expected a sequence", "expected a list"), String::new()),
    };
    format!("{what}{known}; a turn is such as {EXAMPLE}")
}

/// A turn that says all there is.
const EXAMPLE: &str = "`[[turn]]` with `when = { step = 1, contains = \"hello\", outcome = \
     \"succeeded\" }` and `reply = { text = \"Done.\", calls = [{ function = \"files_read\", \
     arguments = { path = \"a.txt\" } }] }`";

fn json(value: toml::Value) -> Result<serde_json::Value, &'static str> {
    Ok(match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => serde_json::Number::from_f64(number)
            .ok_or("`inf` and `nan` cannot be written in JSON")?
            .into(),
        toml::Value::Boolean(is) => is.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(values) => {
            values.into_iter().map(json).collect::<Result<Vec<_>, _>>()?.into()
        }
        toml::Value::Table(table) => {
            let entries = table.into_iter().map(|(key, value)| Ok::<_, &str>((key, json(value)?)));
            entries.collect::<Result<serde_json::Map<_, _>, _>>()?.into()
        }
    })
}
