//! A session as one file: lines of JSON, each of one kind. First the head, then the events, each
//! behind the blobs that it is the first to name, then what the session's tools keep in its memory, and
//! at the end a digest over all lines before it.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ringfence_event::{AgentName, Body, Digest, Event, SessionId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;

/// The version of the file that this code writes.
pub(crate) const EXPORT_FORMAT: u32 = 1;

/// What every such file says of itself, for whoever finds one.
pub(crate) const WHAT: &str = "a session of Ringfence";

/// The longest line, in bytes: some times the largest output that a tool has by default, in base64.
pub(crate) const LINE_BYTES: u64 = 64 << 20;

/// The longest file, in bytes: it is stored in one commit, which has to fit into memory.
pub(crate) const FILE_BYTES: u64 = 1 << 30;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Line {
    /// The first one.
    Session(Head),
    /// Bytes that the next event names.
    Blob(Blob),
    /// What happened, in the order in which it did.
    Event(Box<Event>),
    /// What lies under a key of the session's memory, in the order of the keys.
    Memory(Entry),
    /// The last one.
    End(End),
}

/// What the file is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Head {
    /// [`EXPORT_FORMAT`].
    pub(crate) format: u32,
    /// [`WHAT`].
    pub(crate) what: String,
    /// The session.
    pub(crate) id: SessionId,
    /// Its agent.
    pub(crate) agent: AgentName,
    /// The place of its last event.
    pub(crate) last_seq: u64,
}

/// Bytes under their digest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Blob {
    /// As events name them.
    pub(crate) digest: Digest,
    /// In base64.
    #[serde(serialize_with = "encode", deserialize_with = "decode")]
    pub(crate) bytes: Vec<u8>,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Entry {
    /// The key.
    pub(crate) key: String,
    /// In base64.
    #[serde(serialize_with = "encode", deserialize_with = "decode")]
    pub(crate) value: Vec<u8>,
}

/// That nothing is missing and nothing was changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct End {
    /// How many lines stand before this one.
    pub(crate) lines: u64,
    /// Of all bytes before this line.
    pub(crate) digest: Digest,
}

/// The blobs that an event names, apart from those that the store keeps for itself.
pub(crate) fn blobs_of(event: &Event) -> Option<Digest> {
    match &event.body {
        Body::MessageAdded { agent, .. } => *agent,
        Body::InputAsked { state, .. } => Some(*state),
        _ => None,
    }
}

/// What of `given` is not in `kept`, as a path: what was read and would be lost.
pub(crate) fn lost(given: &Value, kept: &Value) -> Option<String> {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => given.iter().find_map(|(key, value)| {
            let inner = match kept.get(key) {
                None => String::new(),
                Some(kept) => lost(value, kept)?,
            };
            Some(if inner.is_empty() { key.clone() } else { format!("{key}.{inner}") })
        }),
        (Value::Array(given), Value::Array(kept)) if given.len() == kept.len() => {
            given.iter().zip(kept).zip(0..).find_map(|((given, kept), place): (_, usize)| {
                let inner = lost(given, kept)?;
                Some(if inner.is_empty() { place.to_string() } else { format!("{place}.{inner}") })
            })
        }
        _ => (given != kept).then(String::new),
    }
}

/// How deep the brackets of a text are, without reading it as anything else: what is too deep for a
/// reader must not reach one.
pub(crate) fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut quoted, mut escaped) = (false, false);
    for byte in text {
        match (quoted, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => quoted = !quoted,
            (false, b'[' | b'{') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The digests that were met, to find what is named and what is not.
#[derive(Debug, Default)]
pub(crate) struct Named(BTreeSet<Digest>);

impl Named {
    /// Whether it was not met before.
    pub(crate) fn is_new(&mut self, digest: Digest) -> bool {
        self.0.insert(digest)
    }

    pub(crate) fn contains(&self, digest: &Digest) -> bool {
        self.0.contains(digest)
    }
}

fn encode<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn decode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(|error| D::Error::custom(format!("no base64: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_would_be_lost_is_named() {
        let check = |given: Value, kept: Value, path: Option<&str>| {
            assert_eq!(lost(&given, &kept).as_deref(), path, "{given} {kept}");
        };
        check(json!({ "a": [1, { "b": 2 }] }), json!({ "a": [1, { "b": 2 }], "c": 3 }), None);
        check(json!({ "a": [1, { "b": 2 }] }), json!({ "a": [1, {}] }), Some("a.1.b"));
        check(json!({ "a": [1, { "b": 2 }] }), json!({ "a": [1, { "b": 3 }] }), Some("a.1.b"));
        check(json!({ "a": [1] }), json!({ "a": [1, 2] }), Some("a"));
        check(json!({ "a": 1 }), json!({}), Some("a"));
    }

    #[test]
    fn brackets_count_outside_of_texts() {
        for (text, deep) in [
            ("", 0),
            ("7", 0),
            ("[[1],{\"a\":[2]}]", 3),
            (r#"{"[[[": "\"[[[\\"}"#, 1),
            (r#"["]", [2]]"#, 2),
            ("]]]]", 0),
        ] {
            assert_eq!(depth(text.as_bytes()), deep, "{text}");
        }
    }
}
