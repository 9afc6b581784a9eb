//! Whether the store keeps what it is given: what came of the last transaction, told without asking the
//! disk.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use rusqlite::ErrorCode;

use crate::Error;

/// Why nothing is kept at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// What kind of failure it is.
    pub kind: FailingKind,
    /// What the database says.
    pub message: String,
}

/// A kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailingKind {
    /// The disk is full. It passes when there is space.
    Full,
    /// The file or its file system cannot be written.
    ReadOnly,
    /// A write failed in a way that leaves open what reached the disk: nothing more is written until the
    /// store is opened again.
    Stopped,
    /// Something else. The next transaction may go through.
    Other,
}

impl FailingKind {
    /// As one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::ReadOnly => "read-only",
            Self::Stopped => "stopped",
            Self::Other => "failing",
        }
    }
}

/// What came of the last transaction.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// Read with every piece of work that begins.
    is_failing: AtomicBool,
    failing: Mutex<Option<Failing>>,
}

impl Health {
    /// A transaction that wrote something went through.
    pub(crate) fn wrote(&self) {
        if self.is_failing.load(Relaxed) {
            *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = None;
            self.is_failing.store(false, Relaxed);
        }
    }

    /// One did not.
    pub(crate) fn failed(&self, error: &Error, is_stopped: bool) {
        let kind = if is_stopped { FailingKind::Stopped } else { kind(error) };
        let message = match error {
            Error::Database(source) => source.to_string(),
            error => error.to_string(),
        };
        let failing = Some(Failing { kind, message });
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = failing;
        self.is_failing.store(true, Relaxed);
    }

    pub(crate) fn failing(&self) -> Option<Failing> {
        if !self.is_failing.load(Relaxed) {
            return None;
        }
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn kind(error: &Error) -> FailingKind {
    let Error::Database(error) = error else { return FailingKind::Other };
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => FailingKind::Full,
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            FailingKind::ReadOnly
        }
        _ => FailingKind::Other,
    }
}
