//! Errors that point at a file, a line and a column, and the one way every TOML file is read.

use std::{fmt, ops::Range};

use ringfence_event::neutralise_line;
use serde::de::DeserializeOwned;

/// Words that the design has and this version does not: refused by name, so that nobody believes a
/// line works because it was accepted.
const NOT_OFFERED: [&str; 3] = ["models", "preemption", "requests-per-minute"];

/// What is wrong in a file that a person wrote, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file's name; `command line` for flags.
    pub file: String,
    /// The line, from 1; 0 where there is none.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
    source_line: String,
    width: usize,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl ConfigError {
    /// An error at no place in particular, such as a bad flag.
    #[must_use]
    pub fn new(file: &str, message: impl AsRef<str>) -> Self {
        Self {
            file: neutralise_line(file).into_owned(),
            line: 0,
            column: 0,
            message: neutralise_line(message.as_ref()).into_owned(),
            help: None,
            source_line: String::new(),
            width: 0,
        }
    }

    /// An error at these bytes of `text`, such as the span of a [`toml::Spanned`].
    #[must_use]
    pub fn at(file: &str, text: &str, span: Range<usize>, message: impl AsRef<str>) -> Self {
        let start = floor(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |index| index + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |index| start + index);
        let end = floor(text, span.end).clamp(start, line_end);
        Self {
            line: line_of(text, start),
            column: text[line_start..start].chars().count() as u32 + 1,
            source_line: text[line_start..line_end].replace('\t', " "),
            width: text[start..end].chars().count().max(1),
            ..Self::new(file, message)
        }
    }

    /// The same with a way to mend it.
    #[must_use]
    pub fn with_help(self, help: impl AsRef<str>) -> Self {
        Self { help: Some(neutralise_line(help.as_ref()).into_owned()), ..self }
    }

    /// The error over several lines, with the offending line of the file and a caret under it.
    #[must_use]
    pub fn render(&self) -> String {
        let mut shown = format!("error: {}\n", self.message);
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        if self.line == 0 {
            shown += &format!(" --> {}\n", self.file);
        } else {
            let source = neutralise_line(&self.source_line);
            // A neutralised line is longer than the file's: a caret would point beside its mark.
            let caret = match source == self.source_line.as_str() {
                true => " ".repeat(self.column as usize - 1) + &"^".repeat(self.width),
                false => String::new(),
            };
            shown += &format!("{margin}--> {}:{number}:{}\n", self.file, self.column);
            shown += &format!("{margin} |\n{number} | {source}\n{margin} | {caret}\n");
        }
        if let Some(help) = &self.help {
            shown += &format!("{margin} = help: {help}\n");
        }
        shown
    }

    fn from_toml(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let (message, help) = translate(error.message());
        let error = Self::at(file, text, error.span().unwrap_or(0..0), message);
        match help {
            Some(help) => error.with_help(help),
            None => error,
        }
    }
}

/// Reads `text` as TOML. `file` is the name that errors carry.
///
/// ```
/// #[derive(Debug, serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Config { access: String }
///
/// let error = ringfence_policy::parse_file::<Config>("tool.toml", "acess = \"read\"").unwrap_err();
/// assert_eq!(error.to_string(), "tool.toml:1:1: unknown key `acess`; did you mean `access`?");
/// ```
///
/// # Errors
/// The first thing in the file that is not as `T` wants it.
pub fn parse_file<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError::from_toml(file, text, &error))
}

/// The line of a byte of `text`, from 1.
#[must_use]
pub fn line_of(text: &str, byte: usize) -> u32 {
    text[..floor(text, byte)].matches('\n').count() as u32 + 1
}

fn floor(text: &str, byte: usize) -> usize {
    (0..=byte.min(text.len())).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0)
}

/// Says in our words what serde says in its own.
fn translate(message: &str) -> (String, Option<String>) {
    if let Some(found) = message.strip_suffix(", expected a sequence") {
        let given = found.strip_prefix("invalid type: string ");
        let given = given.unwrap_or("\"…\"");
        return (format!("{found}, expected a list"), Some(format!("such as `[{given}]`")));
    }
    if let Some(help) = mend(message) {
        return (message.to_owned(), Some(help));
    }
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let Some((first, others)) = quoted.split_first() else { return (message.to_owned(), None) };
    if message.starts_with("unknown field ") {
        if NOT_OFFERED.contains(first) {
            let message = format!("this version of Ringfence does not offer `{first}`");
            return (message, Some("take it out: what it would do does not happen".to_owned()));
        }
        return (format!("unknown key `{first}`"), suggestion(first, others, "known keys here"));
    }
    if message.starts_with("unknown variant ") {
        let help = suggestion(first, others, "it may be");
        return (format!("unknown word `{first}`"), help);
    }
    if message.starts_with("missing field ") {
        return (format!("the key `{first}` is missing"), example(first));
    }
    if message.starts_with("duplicate field ") {
        return (format!("the key `{first}` stands here twice"), None);
    }
    (message.to_owned(), None)
}

/// What to write for a key that must be there.
fn example(key: &str) -> Option<String> {
    let line = match key {
        "tool" => "[tool]` with `name = \"files\"` and `component = \"files.wasm\"",
        "name" => "name = \"coder\"",
        "component" => "component = \"files.wasm\"",
        "access" => "access = \"read\"",
        "path" => "path = \"/srv/data\"",
        "url" => "url = \"https://api.example.com\"",
        "model" => "model = { use = \"main\" }",
        "use" => "use = \"main\"",
        "instructions" => "instructions = { file = \"agent.md\" }",
        "file" => "file = \"agent.md\"",
        "at" => "at = \"/amount\"",
        "matches" => "matches = \"*00\"",
        "above" => "above = \"60k\"",
        "protocol" => "protocol = \"scripted\"",
        "script" => "script = \"script.toml\"",
        _ => return None,
    };
    Some(format!("such as `{line}`"))
}

/// What mends an error that the TOML reader or a type words on its own.
fn mend(message: &str) -> Option<String> {
    if message == "duplicate key" {
        return Some("a key or table stands once in a file: put both into one".to_owned());
    }
    if message == "a function is listed twice" {
        return Some("name each once, such as `[\"read\", \"write\"]`".to_owned());
    }
    None
}

fn suggestion(given: &str, known: &[&str], otherwise: &str) -> Option<String> {
    let close = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min();
    if let Some((_, name)) = close {
        return Some(format!("did you mean `{name}`?"));
    }
    let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    (!known.is_empty()).then(|| format!("{otherwise}: {}", known.join(", ")))
}
