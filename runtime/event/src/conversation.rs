//! What a model is asked and what it replies, as plain data that no vendor's format leaks into.

use serde::{Deserialize, Serialize};

use crate::{Digest, ModelName};

/// Everything a model is sent for one step. Rebuilt from the journal byte for byte, never stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ModelRequest {
    /// Which model.
    pub model: ModelName,
    /// The agent's instructions.
    pub instructions: String,
    /// The functions it may call, in the order of their names.
    pub functions: Vec<FunctionSpec>,
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// How it is to reply.
    pub parameters: Parameters,
}

impl ModelRequest {
    /// The hashes of its parts, of their canonical JSON.
    #[must_use]
    pub fn parts(&self) -> RequestParts {
        RequestParts {
            instructions: digest(&self.instructions),
            functions: digest(&self.functions),
            messages: digest(&self.messages),
            parameters: digest(&self.parameters),
        }
    }

    /// The hash of the whole request.
    #[must_use]
    pub fn digest(&self) -> Digest {
        digest(self)
    }
}

/// Serde writes the fields of a struct in order and these types hold no map with an order of its
/// own, so the text, and with it the hash, is the same in every process.
fn digest(value: &impl Serialize) -> Digest {
    let json = serde_json::to_vec(value).expect("plain data with string keys is always JSON");
    Digest::of(&json)
}

/// The hashes of a request's parts, so that a reader sees which one changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RequestParts {
    /// Of the instructions.
    pub instructions: Digest,
    /// Of the functions.
    pub functions: Digest,
    /// Of the messages.
    pub messages: Digest,
    /// Of the parameters.
    pub parameters: Digest,
}

/// A function as a model sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FunctionSpec {
    /// `TOOL_FUNCTION`.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON Schema of its arguments.
    pub input_schema: serde_json::Value,
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "kebab-case")]
pub enum Message {
    /// From the user.
    User {
        /// The text.
        text: String,
    },
    /// From the model.
    Assistant {
        /// The text, empty where it only calls.
        text: String,
        /// The calls it proposes.
        calls: Vec<ProposedCall>,
    },
    /// What came of one proposed call. Exactly one for each.
    Result {
        /// [`ProposedCall::id`].
        id: String,
        /// [`ProposedCall::function`].
        function: String,
        /// The outcome word of [`Outcome::as_str`](crate::Outcome::as_str).
        outcome: String,
        /// What the model reads of it, the host's denials included.
        text: String,
    },
}

/// A call as a model proposes it: nothing of it is checked yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProposedCall {
    /// The model's id for it, unique in the conversation.
    pub id: String,
    /// The function's name as the model said it.
    pub function: String,
    /// The arguments as the model wrote them; JSON if it did well.
    pub arguments: String,
}

/// How a model is to reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Parameters {
    /// The most tokens of one reply; absent: the model's own limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
}

/// What a model replies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ModelReply {
    /// The text, empty where it only calls.
    pub text: String,
    /// The calls it proposes; none: the text is the final answer.
    pub calls: Vec<ProposedCall>,
    /// What the reply cost.
    pub tokens: TokenUsage,
}

/// Tokens, as the model counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TokenUsage {
    /// Read.
    pub input: u64,
    /// Those of `input` that came from the vendor's cache.
    #[serde(default, skip_serializing_if = "is_none")]
    pub cached: u64,
    /// Written.
    pub output: u64,
}

impl TokenUsage {
    /// Both together.
    #[must_use]
    pub fn total(self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// Adds another reply's tokens.
    pub fn add(&mut self, other: Self) {
        self.input = self.input.saturating_add(other.input);
        self.cached = self.cached.saturating_add(other.cached);
        self.output = self.output.saturating_add(other.output);
    }
}

/// Bytes that a token is taken to have where nobody counts, as English text and code have on the whole.
const TOKEN_BYTES: usize = 4;

/// What a text of so many bytes comes to where nobody counts its tokens, rounded up: no two models count
/// alike.
#[must_use]
pub fn estimated_tokens(bytes: usize) -> u64 {
    bytes.div_ceil(TOKEN_BYTES) as u64
}

fn is_none(count: &u64) -> bool {
    *count == 0
}
