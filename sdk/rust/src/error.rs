//! How a call fails: three kinds, told apart by what the caller can do.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::bindings::ringfence::tool::types;
use crate::errno::io_error_kind;
use crate::question::Pending;

/// What a function of a tool returns when it can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the caller can do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Mend the arguments and call again.
    InvalidInput,
    /// Try the same call later: something it needs did not answer.
    Unavailable,
    /// Give up: the same call would fail again.
    Failed,
}

/// Why a call did not end with an output.
///
/// The message is read by a model: it says what was wrong and how to mend it.
///
/// ```
/// use std::time::Duration;
/// use ringfence_sdk::{Error, ErrorKind};
///
/// let error = Error::invalid_input("`start` is 9 and `end` is 3: swap them").at("/range/start");
/// assert_eq!(error.kind(), ErrorKind::InvalidInput);
///
/// let error = Error::unavailable("the index is being rebuilt").retry_after(Duration::from_secs(5));
/// assert_eq!(error.to_string(), "the index is being rebuilt");
///
/// let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
/// let error = Error::from(missing).context("/workspace/a.txt");
/// assert_eq!(error.kind(), ErrorKind::InvalidInput);
/// assert_eq!(error.to_string(), "/workspace/a.txt: entity not found");
/// ```
#[derive(Debug)]
pub struct Error(Box<Ending>);

/// The two ways in which a call ends without an output.
#[derive(Debug)]
enum Ending {
    Failure(Failure),
    /// Not a failure: the call is made again once a person has answered. It travels as an error so
    /// that `?` leaves the function.
    Pending(Pending),
}

#[derive(Debug)]
struct Failure {
    kind: ErrorKind,
    message: String,
    path: Option<String>,
    retry_after: Option<Duration>,
}

impl Error {
    /// The arguments are at fault: the caller mends them and calls again.
    pub fn invalid_input(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    /// Something this call needs did not answer: the caller tries again later.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// The same call would fail again: the caller gives up.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, message)
    }

    /// An error whose kind is known only when it happens.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Ending::Failure(Failure { kind, message, path: None, retry_after: None })))
    }

    /// Points at the argument at fault by JSON Pointer, such as `/range/start`. Where no argument is
    /// at fault, it says nothing.
    #[must_use]
    pub fn at(mut self, path: impl Into<String>) -> Self {
        if let Ending::Failure(failure) = &mut *self.0 {
            failure.path = Some(path.into());
        }
        self
    }

    /// Says how long to wait before the next try. Where there is no point in one, it says nothing.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        if let Ending::Failure(failure) = &mut *self.0 {
            failure.retry_after = Some(delay);
        }
        self
    }

    /// Puts `subject` in front of the message: what the error is about.
    #[must_use]
    pub fn context(mut self, subject: impl fmt::Display) -> Self {
        if let Ending::Failure(failure) = &mut *self.0 {
            failure.message = format!("{subject}: {}", failure.message);
        }
        self
    }

    /// What the caller can do. A question that waits for its answer counts as unavailable.
    pub fn kind(&self) -> ErrorKind {
        match &*self.0 {
            Ending::Failure(failure) => failure.kind,
            Ending::Pending(_) => ErrorKind::Unavailable,
        }
    }

    pub(crate) fn pending(question: Pending) -> Self {
        Self(Box::new(Ending::Pending(question)))
    }

    /// What the contract calls this ending.
    pub(crate) fn into_outcome(self) -> Result<types::Outcome, types::Failure> {
        match *self.0 {
            Ending::Failure(failure) => Err(failure.into()),
            Ending::Pending(question) => Ok(types::Outcome::NeedsInput(question.into())),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Ending::Failure(failure) => f.write_str(&failure.message),
            Ending::Pending(question) => write!(f, "waits for an answer: {}", question.message),
        }
    }
}

impl std::error::Error for Error {}

/// A path that is not there or not of the right sort is the caller's to mend, a refusal is final,
/// and what was slow or busy may work later.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::new(io_kind(io_error_kind(&error)), error.to_string())
    }
}

impl From<Failure> for types::Failure {
    fn from(failure: Failure) -> Self {
        Self {
            kind: match failure.kind {
                ErrorKind::InvalidInput => types::FailureKind::InvalidInput,
                ErrorKind::Unavailable => types::FailureKind::Unavailable,
                ErrorKind::Failed => types::FailureKind::Failed,
            },
            message: failure.message,
            // The contract has a place for each of the two with one kind only.
            path: failure.path.filter(|_| failure.kind == ErrorKind::InvalidInput),
            retry_after_ms: failure
                .retry_after
                .filter(|_| failure.kind == ErrorKind::Unavailable)
                .map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

fn io_kind(kind: io::ErrorKind) -> ErrorKind {
    use io::ErrorKind as Io;
    match kind {
        Io::NotFound
        | Io::AlreadyExists
        | Io::InvalidInput
        | Io::InvalidFilename
        | Io::NotADirectory
        | Io::IsADirectory
        | Io::DirectoryNotEmpty => ErrorKind::InvalidInput,
        Io::TimedOut
        | Io::WouldBlock
        | Io::Interrupted
        | Io::ResourceBusy
        | Io::ConnectionRefused
        | Io::ConnectionReset
        | Io::ConnectionAborted
        | Io::HostUnreachable
        | Io::NetworkUnreachable
        | Io::NetworkDown => ErrorKind::Unavailable,
        _ => ErrorKind::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_io_error_says_what_the_caller_can_do() {
        let check = |kind: io::ErrorKind, expected| {
            assert_eq!(Error::from(io::Error::from(kind)).kind(), expected, "{kind}");
        };
        check(io::ErrorKind::NotFound, ErrorKind::InvalidInput);
        check(io::ErrorKind::IsADirectory, ErrorKind::InvalidInput);
        check(io::ErrorKind::PermissionDenied, ErrorKind::Failed);
        check(io::ErrorKind::ReadOnlyFilesystem, ErrorKind::Failed);
        check(io::ErrorKind::QuotaExceeded, ErrorKind::Failed);
        check(io::ErrorKind::TimedOut, ErrorKind::Unavailable);
        check(io::ErrorKind::ConnectionRefused, ErrorKind::Unavailable);
    }

    #[test]
    fn a_failure_crosses_with_what_its_kind_has_a_place_for() {
        let check = |error: Error, path: Option<&str>, retry_after_ms: Option<u64>| {
            let error = error.at("/key").retry_after(Duration::from_millis(1_500));
            let failure = error.into_outcome().expect_err("an error is a failure");
            assert_eq!(failure.message, "busy");
            assert_eq!(failure.path.as_deref(), path);
            assert_eq!(failure.retry_after_ms, retry_after_ms);
        };
        check(Error::invalid_input("busy"), Some("/key"), None);
        check(Error::unavailable("busy"), None, Some(1_500));
        check(Error::failed("busy"), None, None);
    }
}
