//! One trait, and one source behind it for each kind of place.

use std::{fmt, sync::Arc};

use ringfence_event::{SecretFault, SecretName, SecretPlace};
use zeroize::Zeroizing;

use crate::{Environment, Files, Keyring, Secret};

/// A kind of place where secrets are kept.
pub trait SecretSource: Send + Sync {
    /// The value as it is now. Called for each request that carries it, on a thread that may wait;
    /// it may not keep the value, nor answer with one that it kept.
    ///
    /// # Errors
    /// What is wrong with it; [`SecretFault::NotOffered`] for a place of another kind.
    fn read(&self, place: &SecretPlace) -> Result<Zeroizing<Vec<u8>>, SecretFault>;
}

/// Where a process reads secrets. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    environment: Arc<dyn SecretSource>,
    files: Arc<dyn SecretSource>,
    keyring: Arc<dyn SecretSource>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault")
    }
}

impl Default for Vault {
    fn default() -> Self {
        Self::new()
    }
}

impl Vault {
    /// One that reads files and the keyring, and no environment: that is the program's to give.
    #[must_use]
    pub fn new() -> Self {
        Self {
            environment: Arc::new(Environment::none()),
            files: Arc::new(Files),
            keyring: Arc::new(Keyring),
        }
    }

    /// The same with another source for `env`.
    #[must_use]
    pub fn with_environment(self, source: impl SecretSource + 'static) -> Self {
        Self { environment: Arc::new(source), ..self }
    }

    /// The same with another source for `file`.
    #[must_use]
    pub fn with_files(self, source: impl SecretSource + 'static) -> Self {
        Self { files: Arc::new(source), ..self }
    }

    /// The same with another source for `keyring`.
    #[must_use]
    pub fn with_keyring(self, source: impl SecretSource + 'static) -> Self {
        Self { keyring: Arc::new(source), ..self }
    }

    /// Reads a secret as it is now. Waits for the disk or the kernel.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&self, name: &SecretName, place: &SecretPlace) -> Result<Secret, SecretFault> {
        Secret::new(name.clone(), self.value(place)?)
    }

    /// The value at a place as it is now, for what is the host's own and no tool's: the key of a
    /// model. Waits for the disk or the kernel.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn value(&self, place: &SecretPlace) -> Result<Zeroizing<Vec<u8>>, SecretFault> {
        let source = match place {
            SecretPlace::Environment { .. } => &self.environment,
            SecretPlace::File { .. } => &self.files,
            SecretPlace::Keyring { .. } => &self.keyring,
        };
        source.read(place)
    }
}
