//! What a model is asked and what it replies, as plain data that no vendor's format leaks into.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Digest, Hasher, ModelName, Shared};

/// Everything a model is sent for one step. Rebuilt from the journal byte for byte, never stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ModelRequest {
    /// Which model.
    pub model: ModelName,
    /// The agent's instructions.
    pub instructions: Arc<str>,
    /// The functions it may call, in the order of their names.
    #[schemars(with = "Vec<FunctionSpec>")]
    pub functions: Shared<Vec<FunctionSpec>>,
    /// The conversation so far. Shared with the requests before, of which it goes on.
    #[schemars(with = "Vec<Message>")]
    pub messages: Vec<Shared<Message>>,
    /// How it is to reply.
    pub parameters: Parameters,
}

impl ModelRequest {
    /// Its hash, and those of its parts.
    #[must_use]
    pub fn digests(&self) -> (Digest, RequestParts) {
        Digester::default().of(self)
    }

    /// How many bytes of JSON it is.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let Self { model, instructions, functions, messages, parameters } = self;
        let rest = ModelRequest {
            model: model.clone(),
            instructions: instructions.clone(),
            functions: Shared::new(vec![]),
            messages: vec![],
            parameters: *parameters,
        };
        // What is between the brackets, and between the messages.
        let functions = functions.json_bytes() - "[]".len();
        let each = messages.iter().map(Shared::json_bytes).sum::<usize>();
        json_bytes(&rest) + functions + each + messages.len().saturating_sub(1)
    }
}

/// Hashes the requests of one conversation: of each only what the one before did not have.
#[derive(Debug, Default)]
pub struct Digester {
    instructions: Option<(Arc<str>, Digest)>,
    functions: Option<(Shared<Vec<FunctionSpec>>, Digest)>,
    messages: Vec<Shared<Message>>,
    /// Over the JSON of those messages, as an array that does not end.
    hasher: Hasher,
}

impl Digester {
    /// The hash of a request and those of its parts: of a part that of its canonical JSON, of the request
    /// that of the JSON of its model and its parts' hashes.
    pub fn of(&mut self, request: &ModelRequest) -> (Digest, RequestParts) {
        let parts = RequestParts {
            instructions: same_or(&mut self.instructions, &request.instructions, Arc::ptr_eq),
            functions: same_or(&mut self.functions, &request.functions, Shared::is),
            messages: self.messages(&request.messages),
            parameters: Digest::of(&json(&request.parameters)),
        };
        (Digest::of(&json(&(&request.model, parts))), parts)
    }

    fn messages(&mut self, messages: &[Shared<Message>]) -> Digest {
        // What is shared is told apart by where it lies, without reading it.
        if !messages.starts_with(&self.messages) {
            self.messages.clear();
            self.hasher = Hasher::new();
        }
        for message in &messages[self.messages.len()..] {
            self.hasher.add(if self.messages.is_empty() { b"[" } else { b"," });
            self.hasher.add(&json(message));
            self.messages.push(message.clone());
        }
        let mut whole = self.hasher.clone();
        whole.add(if self.messages.is_empty() { b"[]" } else { b"]" });
        whole.digest()
    }
}

/// The hash of a part, which is hashed only if it is another one than before.
fn same_or<T: Serialize + Clone>(
    known: &mut Option<(T, Digest)>,
    part: &T,
    is_same: impl Fn(&T, &T) -> bool,
) -> Digest {
    match known {
        Some((same, digest)) if is_same(same, part) => *digest,
        _ => known.insert((part.clone(), Digest::of(&json(part)))).1,
    }
}

/// Serde writes the fields of a struct in order and these types hold no map with an order of its
/// own, so the text, and with it the hash, is the same in every process.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data with string keys is always JSON")
}

/// How many bytes of JSON something is.
pub(crate) fn json_bytes(value: &impl Serialize) -> usize {
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).expect("plain data is JSON, and counting never fails");
    count.0
}

/// Counts what is written, and keeps nothing.
struct Count(usize);

impl std::io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The hashes of a request's parts, so that a reader sees which one changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Parameters {
    /// The most tokens of one reply; absent: the model's own limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
}

/// What a model replies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

#[cfg(test)]
mod tests {
    use super::*;

    fn request(texts: &[&str]) -> ModelRequest {
        let say = |text: &&str| Shared::new(Message::User { text: (*text).to_owned() });
        ModelRequest {
            model: "main".parse().expect("a name"),
            instructions: "Say \"hello\".".into(),
            functions: Shared::new(vec![FunctionSpec {
                name: "a_b".into(),
                description: String::new(),
                input_schema: serde_json::json!({ "type": "object" }),
            }]),
            messages: texts.iter().map(say).collect(),
            parameters: Parameters { output_tokens: Some(7) },
        }
    }

    #[test]
    fn a_request_is_as_long_as_its_json() {
        for texts in [&[][..], &["Go."], &["Go.", "ä\n"], &["", "", ""]] {
            let mut request = request(texts);
            let length = |request: &_| serde_json::to_vec(request).expect("JSON").len();
            assert_eq!(request.bytes(), length(&request), "{texts:?}");
            request.functions = Shared::new(vec![]);
            assert_eq!(request.bytes(), length(&request), "{texts:?}");
        }
    }

    #[test]
    fn a_hash_is_the_same_whatever_was_hashed_before() {
        let mut digester = Digester::default();
        let long = request(&["a", "b", "c"]);
        let mut grown = request(&["a"]);
        for texts in [&[][..], &["a"], &["a", "b"], &["a", "b", "c"], &["x", "b", "c"], &["x"]] {
            let request = request(texts);
            let (whole, parts) = digester.of(&request);
            assert_eq!((whole, parts), request.digests(), "{texts:?}");
            let messages = serde_json::to_vec(&request.messages).expect("JSON");
            assert_eq!(parts.messages, Digest::of(&messages), "{texts:?}");
            let instructions = serde_json::to_vec(&request.instructions).expect("JSON");
            assert_eq!(parts.instructions, Digest::of(&instructions));
        }
        // Also where what came before is shared.
        grown.messages = long.messages[..1].to_vec();
        digester.of(&grown);
        assert_eq!(digester.of(&long), long.digests());
        let model = "other".parse().expect("a name");
        let other = ModelRequest { model, ..long.clone() };
        assert_ne!(digester.of(&other).0, digester.of(&long).0);
    }
}
