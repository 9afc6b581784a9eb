//! Secrets: read from the environment, a file or the keyring when a request needs one, and kept out
//! of everything that comes back. Knows nothing of requests, and nobody's names but the secrets' own.
//!
//! ```
//! use ringfence_event::{SecretFault, SecretPlace};
//! use ringfence_vault::{Environment, Redactor, Vault};
//!
//! let variables = |name: &str| (name == "TOKEN").then(|| "correct horse".into());
//! let vault = Vault::new().with_environment(Environment::new(variables));
//! let place = |variable: &str| SecretPlace::Environment { variable: variable.to_owned() };
//! let secret = vault.read(&"TOKEN".parse()?, &place("TOKEN")).map_err(|fault| fault.reason())?;
//! assert_eq!(&secret.within("Bearer ", "")[..], b"Bearer correct horse");
//! assert_eq!(vault.read(&"TOKEN".parse()?, &place("OTHER")).err(), Some(SecretFault::Missing));
//!
//! let redactor = Redactor::default();
//! redactor.learn(secret);
//! assert_eq!(redactor.text("said: correct%20horse"), "said: [redacted:TOKEN]");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod environment;
mod file;
mod keyring;
mod redact;
mod secret;
mod vault;

pub use environment::Environment;
pub use file::Files;
pub use keyring::Keyring;
pub use redact::{Redactor, Stream};
pub use secret::Secret;
pub use vault::{SecretSource, Vault};
/// Bytes that are overwritten when they are dropped.
pub use zeroize::Zeroizing;
