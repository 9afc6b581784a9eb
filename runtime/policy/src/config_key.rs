//! Keys of configuration values, as manifests list them, operators set them and guests ask for them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de};

/// The most bytes of a key: a name, not a text.
const BYTES_MAX: usize = 64;

/// The key of one configuration value, such as `base-url`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigKey(String);

/// A text that is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no configuration key: 1 to 64 of A-Z, a-z, 0-9, `-`, `_` and `.`")]
pub struct InvalidConfigKey {
    given: String,
}

impl ConfigKey {
    /// The key itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key as it is written behind `config.` in TOML: one with a dot in it has quotes, or it
    /// would be a table's.
    pub(crate) fn in_toml(&self) -> String {
        if self.0.contains('.') { format!("\"{}\"", self.0) } else { self.0.clone() }
    }

    fn is_one(text: &str) -> bool {
        (1..=BYTES_MAX).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    }
}

impl FromStr for ConfigKey {
    type Err = InvalidConfigKey;
    fn from_str(text: &str) -> Result<Self, InvalidConfigKey> {
        match Self::is_one(text) {
            true => Ok(Self(text.to_owned())),
            false => Err(InvalidConfigKey { given: text.chars().take(80).collect() }),
        }
    }
}

impl fmt::Display for ConfigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// So that a guest's text is looked up as it is.
impl std::borrow::Borrow<str> for ConfigKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for ConfigKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_names() {
        for (text, written) in [
            ("base-url", Some("base-url")),
            ("BASE_URL", Some("BASE_URL")),
            ("app.name", Some("\"app.name\"")),
            ("", None),
            ("*", None),
            ("a b", None),
            ("a\n", None),
            ("漢", None),
        ] {
            let key = text.parse::<ConfigKey>().ok();
            assert_eq!(key.map(|key| key.in_toml()).as_deref(), written, "{text:?}");
        }
        assert!("k".repeat(64).parse::<ConfigKey>().is_ok());
        assert!("k".repeat(65).parse::<ConfigKey>().is_err());
    }
}
