//! Where notes are kept.

use std::fmt;

use ringfence_sdk::memory::{self, Bucket};
use ringfence_sdk::prelude::*;

use crate::note::{Key, Note};

/// Other tools may keep things in the same bucket; what begins so is ours.
const PREFIX: &str = "note:";

/// How many notes one round trip brings: at most 1 MiB.
const BATCH: usize = 64;

/// Whose memory.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// This conversation.
    Session,
    /// The person this conversation is with, in all their conversations.
    #[default]
    User,
    /// This agent, whoever talks to it.
    Agent,
    /// Everybody in the organisation.
    Tenant,
}

impl AsRef<str> for Scope {
    fn as_ref(&self) -> &str {
        match self {
            Self::Session => "session",
            Self::User => "user",
            Self::Agent => "agent",
            Self::Tenant => "tenant",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_ref())
    }
}

/// The notes of one scope.
pub(crate) struct Notes(Bucket);

impl Notes {
    pub(crate) fn open(scope: Scope) -> Result<Self> {
        memory::open(scope).map(Self).map_err(|error| Error::from(error).at("/scope"))
    }

    pub(crate) fn put(&self, key: &Key, note: &Note) -> Result<()> {
        let value = serde_json::to_vec(note).map_err(|error| Error::failed(error.to_string()))?;
        Ok(self.0.set(&stored(key), value)?)
    }

    pub(crate) fn get(&self, key: &Key) -> Result<Option<Note>> {
        self.0.get(&stored(key))?.map(|value| parse(key, &value)).transpose()
    }

    pub(crate) fn remove(&self, key: &Key) -> Result<()> {
        Ok(self.0.delete(&stored(key))?)
    }

    /// All of them, by key.
    pub(crate) fn all(&self) -> Result<Vec<(Key, Note)>> {
        let mut stored = Vec::new();
        for key in self.0.list_keys() {
            let key = key?;
            if key.starts_with(PREFIX) {
                stored.push(key);
            }
        }
        stored.sort_unstable();
        let mut notes = Vec::with_capacity(stored.len());
        for batch in stored.chunks(BATCH) {
            for (key, value) in batch.iter().zip(self.0.get_many(batch)?) {
                let key = Key::new(key[PREFIX.len()..].to_owned())?;
                // Between the two round trips another call may have removed it.
                if let Some(value) = value {
                    notes.push((key.clone(), parse(&key, &value)?));
                }
            }
        }
        Ok(notes)
    }
}

fn stored(key: &Key) -> String {
    format!("{PREFIX}{key}")
}

fn parse(key: &Key, value: &[u8]) -> Result<Note> {
    serde_json::from_slice(value).map_err(|error| {
        Error::failed(format!(
            "what is kept under `{key}` is no note ({error}): remember or forget it anew"
        ))
    })
}
