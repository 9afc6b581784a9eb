//! What one run of an agent may spend.

use ringfence_policy::{ConfigError, Count, Fuel, Millis};
use serde::Deserialize;
use toml::Spanned;

/// What one run may spend, and how much of it at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLimits {
    /// Steps: model replies with the calls they ask for.
    pub steps: u32,
    /// Calls proposed, refused ones included.
    pub calls: u32,
    /// Tokens read and written by the model.
    pub tokens: u64,
    /// Wall-clock time in milliseconds.
    pub time_ms: u64,
    /// Units of fuel over all its calls.
    pub fuel: u64,
    /// Calls that run at one time.
    pub concurrent_calls: u32,
}

impl RunLimits {
    /// What a run gets when its agent says nothing: enough for an afternoon's task, and an end to
    /// one that goes in circles.
    pub const DEFAULT: Self = Self {
        steps: 30,             // a task that takes more has lost its way
        calls: 200,            // several a step
        tokens: 1_000_000,     // thirty full contexts of a small model
        time_ms: 10 * 60_000,  // somebody is waiting
        fuel: 500_000_000_000, // fifty calls that spend all of their default
        concurrent_calls: 4,   // a small machine keeps a core for the rest
    };
}

/// `[limits]` of `agent.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct RunLimitTable {
    steps: Option<Spanned<Count>>,
    calls: Option<Spanned<Count>>,
    tokens: Option<Spanned<Count>>,
    time: Option<Spanned<Millis>>,
    fuel: Option<Spanned<Fuel>>,
    concurrent_calls: Option<Spanned<Count>>,
}

impl RunLimitTable {
    pub(crate) fn limits(self, file: &str, text: &str) -> Result<RunLimits, ConfigError> {
        let wrong = |span, message: &str| ConfigError::at(file, text, span, message);
        let read =
            |given: Option<(u64, std::ops::Range<usize>)>, most: u64, default: u64| match given {
                None => Ok(default),
                // A run that may do nothing is a mistake, not a limit.
                Some((0, span)) => Err(wrong(
                    span,
                    "the limit must be at least 1: without the line it has its default",
                )),
                Some((limit, span)) if limit > most => {
                    Err(wrong(span, &format!("the limit must be at most {most}")))
                }
                Some((limit, _)) => Ok(limit),
            };
        let count =
            |given: Option<Spanned<Count>>| given.map(|limit| (limit.get_ref().0, limit.span()));
        let small = |given, default: u32| {
            read(count(given), u32::MAX.into(), default.into())
                .map(|limit| u32::try_from(limit).unwrap_or(u32::MAX))
        };
        let default = RunLimits::DEFAULT;
        Ok(RunLimits {
            steps: small(self.steps, default.steps)?,
            calls: small(self.calls, default.calls)?,
            tokens: read(count(self.tokens), u64::MAX, default.tokens)?,
            time_ms: read(
                self.time.map(|limit| (limit.get_ref().0, limit.span())),
                u64::MAX,
                default.time_ms,
            )?,
            fuel: read(
                self.fuel.map(|limit| (limit.get_ref().0, limit.span())),
                u64::MAX,
                default.fuel,
            )?,
            concurrent_calls: small(self.concurrent_calls, default.concurrent_calls)?,
        })
    }
}
