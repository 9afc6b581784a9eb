//! Variables of the environment, as whoever owns the process hands them over.

use std::{ffi::OsString, os::unix::ffi::OsStringExt};

use ringfence_event::{SecretFault, SecretPlace};
use zeroize::Zeroizing;

use crate::SecretSource;

/// The source behind `env = "…"`. The library reads no environment of its own accord: the program
/// hands over a look-up.
pub struct Environment(Option<Box<LookUp>>);

type LookUp = dyn Fn(&str) -> Option<OsString> + Send + Sync;

impl Environment {
    /// One that asks `look_up` each time.
    #[must_use]
    pub fn new(look_up: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(look_up)))
    }

    /// One that has nothing to offer.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }
}

impl SecretSource for Environment {
    fn read(&self, place: &SecretPlace) -> Result<Zeroizing<Vec<u8>>, SecretFault> {
        let (Some(look_up), SecretPlace::Environment { variable }) = (&self.0, place) else {
            return Err(SecretFault::NotOffered);
        };
        let value = look_up(variable).ok_or(SecretFault::Missing)?;
        Ok(Zeroizing::new(value.into_vec()))
    }
}
