//! Work that was not taken.

use ringfence_event::TenantId;
use ringfence_policy::Rate;

/// Whoever is told to come again sooner than this only comes to be told again.
const RETRY_LEAST_MS: u64 = 100;
/// Later than this nothing is known any more.
const RETRY_MOST_MS: u64 = 60_000;

/// Why work was not taken. Nothing of it was begun, and nothing of it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its tenant begins more than its rate.
    #[error("tenant `{tenant}` has begun its {rate} ({file}:{line})")]
    Rate {
        /// Whose.
        tenant: TenantId,
        /// The rate.
        rate: Rate,
        /// The operator's file.
        file: String,
        /// The line that says so.
        line: u32,
        /// When there is one again.
        retry_after_ms: u64,
    },
    /// As much of its tenant's work waits as may.
    #[error(
        "{queue} calls and inputs of tenant `{tenant}` wait already, which is as many as may ({})",
        place(file, *line)
    )]
    Queue {
        /// Whose.
        tenant: TenantId,
        /// How much may wait.
        queue: u32,
        /// The operator's file.
        file: String,
        /// The line that says so; absent: it is what every tenant has.
        line: Option<u32>,
        /// When it is likely to be taken.
        retry_after_ms: u64,
    },
    /// As much waits of all tenants' work as may.
    #[error("the host has as much to do as may wait (`queue` under [host])")]
    Host {
        /// When it is likely to be taken.
        retry_after_ms: u64,
    },
    /// What would be recorded of it could not be kept.
    #[error("the store keeps nothing at present: {message}")]
    Store {
        /// Why.
        message: String,
        /// When it is looked at again.
        retry_after_ms: u64,
    },
    /// The runtime is about to stop.
    #[error("the host is about to stop and takes nothing new")]
    Draining,
    /// Somebody cancelled it while it waited for its turn.
    #[error("it was cancelled before it had begun")]
    Cancelled,
    /// Nobody waits for it any more.
    #[error("the time by which it was wanted is over, and it has not begun")]
    Late,
}

fn place(file: &str, line: Option<u32>) -> String {
    match line {
        Some(line) => format!("{file}:{line}"),
        None => format!("`queue` of the tenant in {file} says another number"),
    }
}

impl Refusal {
    /// The stable code, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Rate { .. } => "rate-limited",
            Self::Queue { .. } => "queue-full",
            Self::Host { .. } => "overloaded",
            Self::Store { .. } => "store-unavailable",
            Self::Draining => "draining",
            Self::Cancelled => "cancelled",
            Self::Late => "too-late",
        }
    }

    /// In how many milliseconds it is worth trying again.
    #[must_use]
    pub fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Rate { retry_after_ms, .. }
            | Self::Queue { retry_after_ms, .. }
            | Self::Host { retry_after_ms }
            | Self::Store { retry_after_ms, .. } => Some(*retry_after_ms),
            // Another process may take it soon.
            Self::Draining => Some(1_000),
            Self::Cancelled | Self::Late => None,
        }
    }

    /// Whether a limit of the tenant's own was met: others are not refused. Otherwise it is the host's.
    #[must_use]
    pub fn is_tenants_own(&self) -> bool {
        matches!(self, Self::Rate { .. } | Self::Queue { .. })
    }

    /// A time that is worth waiting for.
    pub(super) fn bounded(expected_ms: u64) -> u64 {
        expected_ms.clamp(RETRY_LEAST_MS, RETRY_MOST_MS)
    }
}
