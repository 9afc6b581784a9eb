//! What outlives a call: one bucket a scope, keys and bytes.
//!
//! ```no_run
//! use ringfence_sdk::memory;
//!
//! # fn tool() -> ringfence_sdk::Result<()> {
//! let bucket = memory::open("user")?;
//! bucket.set("city", "Potsdam")?;
//! assert_eq!(bucket.get("city")?.as_deref(), Some(b"Potsdam".as_slice()));
//! # Ok(())
//! # }
//! ```

use std::fmt;

use crate::bindings::wasi::keyvalue::{atomics, batch, store};

/// Opens the bucket of a scope: `session`, `user`, `agent` or `tenant`.
pub fn open(scope: impl AsRef<str>) -> Result<Bucket, Error> {
    let scope = scope.as_ref();
    match store::open(scope) {
        Ok(bucket) => Ok(Bucket { scope: scope.to_owned(), bucket }),
        Err(error) => Err(Error::of(scope, error)),
    }
}

/// The keys and values of one scope.
#[derive(Debug)]
pub struct Bucket {
    scope: String,
    bucket: store::Bucket,
}

impl Bucket {
    /// The value of `key`, if there is one.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.bucket.get(key).map_err(|error| self.error(error))
    }

    /// The values of several keys, in their order, for one round trip.
    pub fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let found = batch::get_many(&self.bucket, keys).map_err(|error| self.error(error))?;
        Ok(found.into_iter().map(|pair| pair.map(|(_, value)| value)).collect())
    }

    /// Sets the value of `key`, whatever it was.
    pub fn set(&self, key: &str, value: impl AsRef<[u8]>) -> Result<(), Error> {
        self.bucket.set(key, value.as_ref()).map_err(|error| self.error(error))
    }

    /// Removes `key`; no error where there is none.
    pub fn delete(&self, key: &str) -> Result<(), Error> {
        self.bucket.delete(key).map_err(|error| self.error(error))
    }

    /// Whether `key` has a value.
    pub fn exists(&self, key: &str) -> Result<bool, Error> {
        self.bucket.exists(key).map_err(|error| self.error(error))
    }

    /// Adds `delta` to the number under `key`, which begins at 0, and returns the sum as this call
    /// sees it. What other calls add at the same time is not in it, and is not lost: all of it is
    /// in the number once they have ended. So it counts, and does not give out numbers that no other
    /// call has. After `set` or `delete` of the same key in this call it adds to that, and the key
    /// is set to the sum.
    pub fn increment(&self, key: &str, delta: u64) -> Result<u64, Error> {
        atomics::increment(&self.bucket, key, delta).map_err(|error| self.error(error))
    }

    /// All keys, in no particular order, page after page.
    pub fn list_keys(&self) -> Keys<'_> {
        Keys { bucket: self, page: Vec::new().into_iter(), next: Next::Page(None) }
    }

    fn error(&self, error: store::Error) -> Error {
        Error::of(&self.scope, error)
    }
}

/// The keys of a bucket; a page is asked for when the last one is used up.
#[derive(Debug)]
pub struct Keys<'a> {
    bucket: &'a Bucket,
    page: std::vec::IntoIter<String>,
    next: Next,
}

#[derive(Debug)]
enum Next {
    Page(Option<u64>),
    End,
}

impl Iterator for Keys<'_> {
    type Item = Result<String, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(key) = self.page.next() {
                return Some(Ok(key));
            }
            let Next::Page(cursor) = self.next else {
                return None;
            };
            match self.bucket.bucket.list_keys(cursor) {
                Ok(page) => {
                    self.page = page.keys.into_iter();
                    self.next = page.cursor.map_or(Next::End, |cursor| Next::Page(Some(cursor)));
                }
                Err(error) => {
                    self.next = Next::End;
                    return Some(Err(self.bucket.error(error)));
                }
            }
        }
    }
}

/// Why a bucket did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// There is no such scope.
    NoSuchScope(String),
    /// The call may not open this scope, or may only read it.
    Denied(String),
    /// What the host says about anything else, such as a quota.
    Other(String),
}

impl Error {
    fn of(scope: &str, error: store::Error) -> Self {
        match error {
            store::Error::NoSuchStore => Self::NoSuchScope(scope.to_owned()),
            store::Error::AccessDenied => Self::Denied(scope.to_owned()),
            store::Error::Other(message) => Self::Other(message),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchScope(scope) => {
                write!(f, "memory has no scope `{scope}`: one of session, user, agent, tenant")
            }
            Self::Denied(scope) => {
                write!(f, "the host denied this use of the memory of scope `{scope}`")
            }
            Self::Other(message) => write!(f, "memory: {message}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::NoSuchScope(_) => Self::invalid_input(error.to_string()),
            Error::Denied(_) | Error::Other(_) => Self::failed(error.to_string()),
        }
    }
}
