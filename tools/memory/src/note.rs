//! One note and its key.

use std::fmt;

use ringfence_sdk::prelude::*;

/// Longer keys are notes themselves.
const KEY_BYTES_MAX: usize = 128;

/// A note is read whole, often several at once: about three pages.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// More tags than this find everything.
const TAGS_MAX: usize = 16;

/// How much of a note a list shows.
const SUMMARY_CHARS: usize = 80;

/// What a note is found by: 1 to 128 bytes, no control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(String);

impl Key {
    pub(crate) fn new(key: String) -> Result<Self> {
        let refused = |why: &str| Err(Error::invalid_input(why).at("/key"));
        if key.trim().is_empty() {
            refused("the key is empty: say what the note is about, such as `user/city`")
        } else if key.len() > KEY_BYTES_MAX {
            refused("the key is longer than 128 bytes: shorten it, the note itself is `text`")
        } else if key.contains(char::is_control) {
            refused("the key has a line break or another control character: leave it out")
        } else {
            Ok(Self(key))
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is remembered, in the form in which it is kept.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<String>,
}

impl Note {
    pub(crate) fn new(text: String, tags: Vec<String>) -> Result<Self> {
        if text.trim().is_empty() {
            return Err(Error::invalid_input("the text is empty: use `forget` to remove a note")
                .at("/text"));
        }
        if text.len() > TEXT_BYTES_MAX {
            let message = format!(
                "the text has {} bytes, a note at most {TEXT_BYTES_MAX}: split it",
                text.len()
            );
            return Err(Error::invalid_input(message).at("/text"));
        }
        if tags.len() > TAGS_MAX {
            return Err(
                Error::invalid_input(format!("a note has at most {TAGS_MAX} tags")).at("/tags")
            );
        }
        Ok(Self { text, tags })
    }

    /// The note as a reader sees it.
    pub(crate) fn show(&self, key: &Key) -> String {
        format!("{}\n{}", self.heading(key), self.text)
    }

    /// One line about it.
    pub(crate) fn summarise(&self, key: &Key) -> String {
        let line =
            self.text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
        let mut summary: String = line.chars().take(SUMMARY_CHARS).collect();
        if summary.len() < self.text.trim().len() {
            summary.push('…');
        }
        format!("{}: {summary}", self.heading(key))
    }

    fn heading(&self, key: &Key) -> String {
        if self.tags.is_empty() {
            format!("`{key}`")
        } else {
            format!("`{key}` [{}]", self.tags.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_none_says_why() {
        let check = |key: &str, expected: &str| {
            let found = Key::new(key.to_owned())
                .map_or_else(|error| error.to_string(), |key| key.to_string());
            assert!(found.contains(expected), "{key:?}: {found}");
        };
        check("user/city", "user/city");
        check("  ", "the key is empty");
        check("a\nb", "has a line break");
        check(&"k".repeat(129), "longer than 128 bytes");
    }

    #[test]
    fn a_summary_is_one_line() {
        let check = |text: &str, tags: &[&str], expected: &str| {
            let tags = tags.iter().map(ToString::to_string).collect();
            let note = Note::new(text.to_owned(), tags).expect("a note");
            assert_eq!(note.summarise(&Key("k".to_owned())), expected);
        };
        check("Lives in Potsdam.", &[], "`k`: Lives in Potsdam.");
        check("\n first \nsecond", &["a", "b"], "`k` [a, b]: first…");
        check(&"ä".repeat(90), &[], &format!("`k`: {}…", "ä".repeat(80)));
    }
}
