//! HTTP methods as manifests and grants list them.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// One HTTP method, in capitals. `CONNECT` and `TRACE` are none of these: a tunnel would pass every
/// other check, and a trace echoes what the host put into the request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Method(String);

impl Method {
    /// What a need asks that lists no methods, and all that a `read` function may send.
    pub const READING: [&'static str; 2] = ["GET", "HEAD"];

    /// The method itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The method of this name.
    ///
    /// # Errors
    /// In words, when it is none.
    pub fn parse(given: &str) -> Result<Self, String> {
        if given.is_empty() || given.len() > 32 || !given.bytes().all(|b| b.is_ascii_uppercase()) {
            let upper = given.to_ascii_uppercase();
            return Err(format!("`{given}` is no HTTP method; write it in capitals, `{upper}`"));
        }
        if given == "CONNECT" || given == "TRACE" {
            return Err(format!("nothing opens the method `{given}`"));
        }
        Ok(Self(given.to_owned()))
    }

    pub(crate) fn reading() -> Vec<Self> {
        Self::READING.iter().map(|&name| Self(name.to_owned())).collect()
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
