//! What the program exits with.

use std::process::ExitCode;

use ringfence::{RunEnded, RunStatus, event::CallResult};

/// The exit codes, which never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// Bad usage or input.
    Usage,
    /// It was cancelled.
    Cancelled,
    /// The host failed.
    Host,
    /// As the call or the run ended.
    Ended(u8),
}

impl Exit {
    /// Of a call.
    pub(crate) fn of_call(result: &CallResult) -> Self {
        Self::Ended(result.exit_code())
    }

    /// Of a run: as with a call, a failure with at least one denial counts as denied.
    pub(crate) fn of_run(ended: &RunEnded) -> Self {
        Self::Ended(match ended.status {
            RunStatus::Completed => 0,
            RunStatus::Failed if ended.denials > 0 => 3,
            RunStatus::Failed => 1,
            RunStatus::LimitReached(_) => 4,
            RunStatus::Cancelled => 6,
            // `run` returns when a run ended or waits for a person.
            RunStatus::Queued | RunStatus::Running | RunStatus::Waiting(_) => 7,
        })
    }

    /// The number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Usage => 2,
            Self::Cancelled => 6,
            Self::Host => 8,
            Self::Ended(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}
