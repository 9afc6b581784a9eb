//! How a call ends, and what it returned.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Denial, Limit, Question, Usage, UserId};

/// The one end of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// The tool did its work.
    Succeeded {
        /// What it returned.
        output: Output,
    },
    /// The tool says that it could not.
    Failed {
        /// Why, and what the caller can do.
        failure: Failure,
    },
    /// The arguments do not fit the schema; the sandbox was not started.
    Invalid {
        /// What is wrong, and where.
        failure: Failure,
    },
    /// Refused whole, before anything was started; the denials say why.
    Denied,
    /// A person said no, or nobody answered in time; nothing was started.
    Declined {
        /// Who; absent: nobody did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<UserId>,
        /// Why, in the person's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The tool asks a person before it goes on. In a session the call waits; a direct call ends so.
    NeedsInput {
        /// What it asks.
        question: Question,
    },
    /// A limit stopped it.
    LimitReached {
        /// Which one.
        limit: Limit,
    },
    /// The guest trapped or panicked.
    Trapped {
        /// What the engine says, and the guest's last words on standard error.
        message: String,
    },
    /// Somebody cancelled it.
    Cancelled,
    /// The host broke. What the tool did before stands.
    HostError {
        /// What a person may see of it.
        message: String,
    },
    /// The host died while an `unsafe` call ran; nobody knows how far it came.
    OutcomeUnknown,
}

impl Outcome {
    /// The word, as it is written in events.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Invalid { .. } => "invalid",
            Self::Denied => "denied",
            Self::Declined { .. } => "declined",
            Self::NeedsInput { .. } => "needs-input",
            Self::LimitReached { .. } => "limit-reached",
            Self::Trapped { .. } => "trapped",
            Self::Cancelled => "cancelled",
            Self::HostError { .. } => "host-error",
            Self::OutcomeUnknown => "outcome-unknown",
        }
    }

    /// The exit code of `ringfence call` for this outcome without denials; see
    /// [`CallResult::exit_code`].
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Succeeded { .. } => 0,
            Self::Failed { .. } => 1,
            Self::Invalid { .. } => 2,
            Self::Denied | Self::Declined { .. } => 3,
            Self::LimitReached { .. } => 4,
            Self::Trapped { .. } => 5,
            Self::Cancelled => 6,
            Self::OutcomeUnknown | Self::NeedsInput { .. } => 7,
            Self::HostError { .. } => 8,
        }
    }
}

/// What a caller gets of a call: its end, its denials and its price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CallResult {
    /// How it ended, with what it returned.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What it asked for and did not get.
    pub denials: Vec<Denial>,
    /// What it cost.
    pub usage: Usage,
}

impl CallResult {
    /// The exit code of `ringfence call`: a failure with at least one denial counts as denied.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.outcome {
            Outcome::Failed { .. } if !self.denials.is_empty() => Outcome::Denied.exit_code(),
            ref outcome => outcome.exit_code(),
        }
    }
}

/// What a call returned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Output {
    /// In the order in which to show it; emitted parts first.
    pub content: Vec<Content>,
    /// A JSON value that fits the function's output schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured: Option<serde_json::Value>,
}

impl Output {
    /// One text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { content: vec![Content::Text { text: text.into() }], structured: None }
    }
}

/// One part of an output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Content {
    /// Plain text or Markdown.
    Text {
        /// The text.
        text: String,
    },
    /// A picture.
    Image(Media),
    /// Sound.
    Audio(Media),
    /// Any other file.
    File(Media),
    /// A pointer.
    Link(Link),
}

impl Content {
    /// What it counts against the output limit.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let bytes = match self {
            Self::Text { text } => text.len(),
            Self::Image(media) | Self::Audio(media) | Self::File(media) => {
                media.mime.len() + media.data.len()
            }
            Self::Link(link) => {
                link.uri.len()
                    + link.name.as_ref().map_or(0, String::len)
                    + link.mime.as_ref().map_or(0, String::len)
            }
        };
        bytes as u64
    }
}

/// Bytes with their type; base64 in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Media {
    /// An IANA media type.
    pub mime: String,
    /// The bytes.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    #[schemars(with = "String", extend("contentEncoding" = "base64"))]
    pub data: Vec<u8>,
}

fn to_base64<S: serde::Serializer>(data: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(data))
}

fn from_base64<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}

/// A pointer to something that was not inlined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Link {
    /// An absolute URI, or a path in the guest.
    pub uri: String,
    /// What to show instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// An IANA media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime: Option<String>,
}

/// Why a tool could not do its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Failure {
    /// What the caller can do about it.
    pub kind: FailureKind,
    /// What went wrong and how to mend it.
    pub message: String,
    /// A JSON Pointer to the argument at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How long to wait before the next try, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Failure {
    /// Arguments that do not fit, at a JSON Pointer.
    #[must_use]
    pub fn invalid(message: impl Into<String>, path: Option<String>) -> Self {
        Self {
            kind: FailureKind::InvalidInput,
            message: message.into(),
            path,
            retry_after_ms: None,
        }
    }
}

/// What the caller can do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// Mend the arguments and call again.
    InvalidInput,
    /// Try the same call later.
    Unavailable,
    /// Give up.
    Failed,
}

/// How loud a log record is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// For the author, in the small.
    Trace,
    /// For the author.
    Debug,
    /// What happened.
    Info,
    /// What may go wrong.
    Warn,
    /// What went wrong.
    Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_with_a_denial_exits_as_denied() {
        let failed = Outcome::Failed { failure: Failure::invalid("no", None) };
        let mut result = CallResult { outcome: failed, denials: vec![], usage: Usage::default() };
        assert_eq!(result.exit_code(), 1);
        let asked = crate::Asked::Config { key: "x".into() };
        result.denials.push(Denial::new(crate::DenialCode::NotNeeded, asked, vec![]));
        assert_eq!(result.exit_code(), 3);
        result.outcome = Outcome::Succeeded { output: Output::default() };
        assert_eq!(result.exit_code(), 0);
    }

    #[test]
    fn results_survive_json() {
        let media = Media { mime: "image/png".into(), data: vec![0, 255, 7] };
        let output = Output { content: vec![Content::Image(media)], structured: None };
        let result = CallResult {
            outcome: Outcome::Succeeded { output },
            denials: vec![],
            usage: Usage { fuel: 3, ..Usage::default() },
        };
        let json = serde_json::to_string(&result).unwrap();
        assert!(json.starts_with(
            r#"{"outcome":"succeeded","output":{"content":[{"type":"image","mime":"image/png","data":"AP8H"}]},"denials":[],"usage":{"fuel":3,"host-work":0,"#
        ), "{json}");
        assert_eq!(serde_json::from_str::<CallResult>(&json).unwrap(), result);
    }

    /// The conversation after a restart is the one before it, to the last digit.
    #[test]
    fn numbers_survive_json() {
        for number in [
            0.1 + 0.2,
            1e-7,
            5e-324,
            2.225_073_858_507_201e-308,
            f64::MAX,
            9.007_199_254_740_993e15,
            0.125,
        ] {
            let json = serde_json::to_string(&serde_json::json!(number)).unwrap();
            let read: f64 = serde_json::from_str(&json).unwrap();
            assert_eq!(read.to_bits(), number.to_bits(), "{json}");
        }
        // A spelling from a model, as nobody writes it.
        for text in
            ["51.24817837550540455", "0.30000000000000004", "1.00000000000000011102230246251565"]
        {
            let read: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!(read.as_f64(), text.parse().ok(), "{text}");
        }
    }
}
