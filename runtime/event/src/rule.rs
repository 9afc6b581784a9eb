//! Rules of an agent that the session machine keeps: when to try again, when to compact, when to
//! take another model, what one session may spend. Plain values; `agent.toml` is where they are
//! written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ModelFailureClass, ModelName, Money};

/// How often one thing is tried, and how long is paused between two tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RetryRule {
    /// Tries in all, the first one included; at least 1, which means that nothing is tried again.
    pub attempts: u32,
    /// The first pause, in milliseconds, before jitter. Each later one is twice the one before.
    pub first_ms: u64,
    /// The longest pause, in milliseconds.
    pub most_ms: u64,
    /// The most time that all pauses together may take, in milliseconds.
    pub time_ms: u64,
}

/// What is tried again, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RetryRules {
    /// Requests to a model.
    pub model: RetryRule,
    /// Calls, as far as their effect lets them run again.
    pub call: RetryRule,
}

impl RetryRule {
    /// Nothing is tried again.
    pub const NONE: Self = Self { attempts: 1, first_ms: 0, most_ms: 0, time_ms: 0 };
}

impl RetryRules {
    /// Nothing is tried again.
    pub const NONE: Self = Self { model: RetryRule::NONE, call: RetryRule::NONE };

    /// What an agent gets that says nothing.
    pub const DEFAULT: Self = Self {
        model: RetryRule {
            attempts: 5, // a vendor's minute of overload is over by then
            first_ms: 500,
            most_ms: 30_000, // a vendor that asks for more says so itself
            time_ms: 5 * 60_000,
        },
        call: RetryRule {
            attempts: 3, // the model can call again, and knows why it should
            first_ms: 1_000,
            most_ms: 30_000,
            time_ms: 5 * 60_000,
        },
    };
}

impl Default for RetryRules {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// When a conversation is compacted, and what of it stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CompactionRule {
    /// Above how many estimated tokens of the conversation.
    pub above: u64,
    /// The last steps that stay as they are.
    pub keep: u32,
}

/// When another model takes over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FallbackRule {
    /// The other model, by its name in the operator's file.
    pub model: ModelName,
    /// The failures of the first one that count, sorted, each once; at least one.
    pub on: Vec<ModelFailureClass>,
    /// After how many failed tries of the first one; at least 1.
    pub after: u32,
}

/// What all runs of one session may spend together. Absent: no more than each run may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SessionLimits {
    /// Calls proposed, refused ones included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
    /// Tokens read and written by models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Units of fuel over all calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// Money for models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usd: Option<Money>,
}
