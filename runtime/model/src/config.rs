//! `[model.NAME]` in `ringfence.toml`.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

/// One model as an operator sets it up.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// How it is spoken to.
    pub protocol: Protocol,
    /// The script, seen from the folder of the configuration file.
    pub script: PathBuf,
}

/// How a model is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Replies are read from a file.
    Scripted,
}

impl<'de> Deserialize<'de> for Protocol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "scripted" => Ok(Self::Scripted),
            other => Err(serde::de::Error::custom(format!(
                "`{other}` is not offered; this version offers the protocol `scripted`"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_offered_is_accepted() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let found = toml::from_str::<ModelConfig>(text);
            match (found, expected) {
                (Ok(config), Ok(script)) => assert_eq!(config.script, PathBuf::from(script)),
                (Err(error), Err(part)) => {
                    assert!(error.to_string().contains(part), "{text}: {error}");
                }
                (found, _) => panic!("{text}: {found:?}"),
            }
        };
        check("protocol = \"scripted\"\nscript = \"a/b.toml\"", Ok("a/b.toml"));
        check("protocol = \"openai-chat\"", Err("this version offers the protocol `scripted`"));
        check("protocol = \"scripted\"", Err("missing field `script`"));
        check("protocol = \"scripted\"\nscript = \"a\"\nurl = \"b\"", Err("unknown field `url`"));
    }
}
