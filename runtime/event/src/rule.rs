//! The rules of an agent that its sessions follow: when what failed is tried again, when a long
//! conversation is told in short, what all runs of a session may spend.

use serde::{Deserialize, Serialize};

use crate::Money;

/// How often something is tried, and with which pauses: each twice as long as the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RetryRule {
    /// Tries in all; 1: it is not tried again.
    pub attempts: u32,
    /// The first pause, in milliseconds.
    pub first_ms: u64,
    /// The longest pause, in milliseconds.
    pub most_ms: u64,
    /// The most time over all pauses, in milliseconds.
    pub time_ms: u64,
}

/// When what failed in a way that passes is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RetryRules {
    /// A model that did not reply.
    pub model: RetryRule,
    /// A call that failed and may be repeated.
    pub call: RetryRule,
}

impl RetryRules {
    /// Nothing is tried again.
    pub const NONE: Self = Self { model: RetryRule::NONE, call: RetryRule::NONE };

    /// What holds if an agent says nothing.
    pub const DEFAULT: Self = Self {
        model: RetryRule { attempts: 5, first_ms: 500, most_ms: 30_000, time_ms: 300_000 },
        call: RetryRule { attempts: 3, first_ms: 1_000, most_ms: 30_000, time_ms: 300_000 },
    };
}

impl RetryRule {
    const NONE: Self = Self { attempts: 1, first_ms: 0, most_ms: 0, time_ms: 0 };
}

/// When a long conversation is told in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CompactionRule {
    /// Once it has more than so many tokens, as they are estimated.
    pub above: u64,
    /// The last steps, which stay as they are.
    pub keep: u32,
}

/// What all runs of a session together may spend; absent: no matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SessionLimits {
    /// Calls proposed, refused ones included.
    pub calls: Option<u64>,
    /// Tokens read and written by models.
    pub tokens: Option<u64>,
    /// Units of fuel over all calls.
    pub fuel: Option<u64>,
    /// What models may cost.
    pub usd: Option<Money>,
}
