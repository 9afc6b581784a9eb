//! What the operator has set for this tool: one text a key.
//!
//! ```no_run
//! use ringfence_sdk::config;
//!
//! # fn tool() -> ringfence_sdk::Result<()> {
//! let base = config::get("base-url")?;
//! # Ok(())
//! # }
//! ```
//!
//! The manifest lists the keys, `[needs.config] keys = ["base-url"]`, and the operator sets them,
//! `config.base-url = "https://example.com"` in the tool's table.

use std::fmt;

use crate::bindings::wasi::config::store;

/// The value of `key`. There is none without the manifest's asking and the operator's setting it: a
/// tool that can do without reads an [`Error::Denied`] as "not set".
pub fn get(key: &str) -> Result<String, Error> {
    match store::get(key) {
        Ok(Some(value)) => Ok(value),
        // What Ringfence denies another host may leave out.
        Ok(None) => Err(Error::Denied(key.to_owned())),
        Err(error) => Err(Error::of(key, error)),
    }
}

/// All keys that are both asked and set, with their values.
pub fn get_all() -> Result<Vec<(String, String)>, Error> {
    store::get_all().map_err(|error| Error::of("*", error))
}

/// Why there is no value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The manifest does not ask for this key, the operator has not set it, or the function is
    /// `pure`; the host's record says which.
    Denied(String),
    /// What the host says about anything else.
    Other(String),
}

impl Error {
    fn of(key: &str, error: store::Error) -> Self {
        match error {
            store::Error::Upstream(message) if message == "denied" => Self::Denied(key.to_owned()),
            store::Error::Upstream(message) | store::Error::Io(message) => Self::Other(message),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(key) => write!(f, "the host denied the configuration value `{key}`"),
            Self::Other(message) => write!(f, "configuration: {message}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        Self::failed(error.to_string())
    }
}
