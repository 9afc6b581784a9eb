//! Why the program itself could not do what was asked, on its way to a person or a program.

use anyhow::Error;
use ringfence::policy::ConfigError;
use serde_json::{Value, json};

use crate::{
    exit::Exit,
    screen::{Screen, Tone},
    text::moment,
};

/// Bad usage or input that the program finds itself.
#[derive(Debug)]
pub(crate) struct Usage(String);

impl Usage {
    /// What is wrong and how to mend it.
    pub(crate) fn error(message: impl Into<String>) -> Error {
        Error::new(Self(message.into()))
    }
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Shows an error and says what to exit with.
pub(crate) fn report(error: &Error, screen: &mut Screen) -> Exit {
    let ours = error.downcast_ref::<ringfence::Error>();
    let config = config_of(error);
    let usage = is_usage(error);
    if screen.json {
        screen.out.json(&object(error));
    } else {
        match config {
            Some(config) => screen.err.line(config.render().trim_end()),
            None => {
                let label = screen.err.paint(Tone::Bad, "error");
                screen.err.line(format!("{label}: {}", message(error)));
            }
        }
    }
    match ours {
        // A limit, though nothing was begun.
        Some(ringfence::Error::Spent { .. }) => Exit::Ended(4),
        _ if usage => Exit::Usage,
        _ => Exit::Host,
    }
}

/// The mistake in a file that people write, if that is what it is.
fn config_of(error: &Error) -> Option<&ConfigError> {
    let ours = error.downcast_ref::<ringfence::Error>();
    ours.and_then(ringfence::Error::as_config).or_else(|| error.downcast_ref::<ConfigError>())
}

/// Whether whoever asked can mend it.
fn is_usage(error: &Error) -> bool {
    let ours = error.downcast_ref::<ringfence::Error>();
    config_of(error).is_some()
        || error.is::<Usage>()
        || ours.is_some_and(ringfence::Error::is_usage)
}

/// `{"error": {"code", "message"}}`; for a mistake in a file with its place, for everything else with
/// the library's code, and for what the program finds itself with `usage` or `host`.
pub(crate) fn object(error: &Error) -> Value {
    match config_of(error) {
        Some(config) => json!({ "error": {
            "code": "config",
            "message": config.message,
            "file": config.file,
            "line": config.line,
            "column": config.column,
            "help": config.help,
        }}),
        None => {
            let code = match error.downcast_ref() {
                Some(ours) => ringfence::Error::code(ours),
                _ if is_usage(error) => "usage",
                _ => "host",
            };
            json!({ "error": { "code": code, "message": message(error) } })
        }
    }
}

/// The error and its causes, with what it is waited for; a cause that the error says itself is not said again.
fn message(error: &Error) -> String {
    let mut text = error.to_string();
    if let Some(ringfence::Error::Spent { spent, .. }) = error.downcast_ref()
        && let Some(reopens) = spent.reopens
    {
        text += &format!("; it can be spent again from {} on", moment(reopens));
    }
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    ringfence::event::neutralise(&text).into_owned()
}
