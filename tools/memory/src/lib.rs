//! Remembers, recalls, lists and forgets notes in the memory of a session, a user, an agent or a
//! tenant.

mod note;
mod notes;
mod rank;

use ringfence_sdk::prelude::*;

use crate::note::{Key, Note};
use crate::notes::{Notes, Scope};

/// More than a model wants to read at once.
const NOTES_MAX: usize = 100;

/// What fits words best comes first, so few are enough.
const RECALLED: usize = 10;

#[derive(Deserialize, JsonSchema)]
struct Remember {
    /// What to find the note by, such as `user/city`.
    key: String,
    /// The note, at most 16 KiB.
    text: String,
    /// Words to find it by that are not in it.
    #[serde(default)]
    tags: Vec<String>,
    /// Whose memory.
    #[serde(default)]
    scope: Scope,
}

/// Remembers a note under a key, in the place of what was there. It is still there in later
/// sessions, unless its scope is `session`.
#[tool(effect = "idempotent")]
fn remember(args: Remember) -> Result<String> {
    let key = Key::new(args.key)?;
    let note = Note::new(args.text, args.tags)?;
    Notes::open(args.scope)?.put(&key, &note)?;
    Ok(format!("remembered `{key}` ({})", args.scope))
}

#[derive(Deserialize, JsonSchema)]
struct Recall {
    /// The key of one note. Give this or `words`.
    key: Option<String>,
    /// Words to look for in keys, tags and text; the notes that fit best come first.
    words: Option<String>,
    /// At most so many notes.
    #[serde(default = "recalled")]
    #[schemars(range(min = 1, max = 100))]
    notes_max: usize,
    /// Whose memory.
    #[serde(default)]
    scope: Scope,
}

fn recalled() -> usize {
    RECALLED
}

/// Recalls notes, by key or by words.
#[tool(effect = "read")]
fn recall(args: Recall) -> Result<String> {
    let notes = Notes::open(args.scope)?;
    match (args.key, args.words) {
        (Some(key), None) => {
            let key = Key::new(key)?;
            match notes.get(&key)? {
                Some(note) => Ok(note.show(&key)),
                None => Err(Error::invalid_input(format!(
                    "nothing is remembered under `{key}` ({}): look for it with `words`, or `list` the keys",
                    args.scope
                ))
                .at("/key")),
            }
        }
        (None, Some(words)) => {
            let all = notes.all()?;
            let found = rank::best(&words, &all, args.notes_max.min(NOTES_MAX));
            if found.is_empty() {
                return Ok(format!(
                    "none of {} notes ({}) has one of these words",
                    all.len(),
                    args.scope
                ));
            }
            let shown: Vec<String> = found.into_iter().map(|(key, note)| note.show(key)).collect();
            Ok(shown.join("\n\n"))
        }
        (Some(_), Some(_)) => {
            Err(Error::invalid_input("give `key` or `words`, not both").at("/words"))
        }
        (None, None) => {
            Err(Error::invalid_input("give `key` for one note, or `words` to look for some")
                .at("/key"))
        }
    }
}

#[derive(Deserialize, JsonSchema)]
struct List {
    /// Only keys that begin so.
    #[serde(default)]
    prefix: String,
    /// Whose memory.
    #[serde(default)]
    scope: Scope,
}

/// Lists the notes there are: key, tags and the beginning of each.
#[tool(effect = "read")]
fn list(args: List) -> Result<String> {
    let mut all = Notes::open(args.scope)?.all()?;
    all.retain(|(key, _)| key.as_str().starts_with(&args.prefix));
    if all.is_empty() {
        return Ok(format!("nothing is remembered ({})", args.scope));
    }
    let mut lines: Vec<String> =
        all.iter().take(NOTES_MAX).map(|(key, note)| note.summarise(key)).collect();
    if all.len() > NOTES_MAX {
        lines.push(format!("[truncated: {} more; give a `prefix`]", all.len() - NOTES_MAX));
    }
    Ok(lines.join("\n"))
}

#[derive(Deserialize, JsonSchema)]
struct Forget {
    /// The note's key.
    key: String,
    /// Whose memory.
    #[serde(default)]
    scope: Scope,
}

/// Forgets a note. One that is not there needs no forgetting: that is no error.
#[tool(effect = "idempotent")]
fn forget(args: Forget) -> Result<String> {
    let key = Key::new(args.key)?;
    Notes::open(args.scope)?.remove(&key)?;
    Ok(format!("`{key}` ({}) is forgotten", args.scope))
}

ringfence_sdk::export!(remember, recall, list, forget);
