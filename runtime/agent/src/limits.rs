//! What one run of an agent may spend, and all runs of one session together.

use std::ops::Range;

use ringfence_event::{Money, SessionLimits};
use ringfence_policy::{ConfigError, Count, Fuel, Millis, Usd};
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
    /// Money for models; `None`: as much as the other limits let it cost.
    pub usd: Option<Money>,
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
        usd: None,             // not every model has a price
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
    usd: Option<Spanned<Usd>>,
}

/// `[session-limits]` of `agent.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct SessionLimitTable {
    calls: Option<Spanned<Count>>,
    tokens: Option<Spanned<Count>>,
    fuel: Option<Spanned<Fuel>>,
    usd: Option<Spanned<Usd>>,
}

impl RunLimitTable {
    pub(crate) fn limits(self, file: &str, text: &str) -> Result<RunLimits, ConfigError> {
        let read = |given: Option<Given>, most: u64, default: u64| match given {
            None => Ok(default),
            Some(given) => given.read(most, file, text),
        };
        let small = |given, default: u32| {
            read(count(given), u32::MAX.into(), default.into())
                .map(|limit| u32::try_from(limit).unwrap_or(u32::MAX))
        };
        let time = self.time.map(|limit| Given::from((limit.get_ref().0, limit.span())));
        let default = RunLimits::DEFAULT;
        Ok(RunLimits {
            steps: small(self.steps, default.steps)?,
            calls: small(self.calls, default.calls)?,
            tokens: read(count(self.tokens), u64::MAX, default.tokens)?,
            time_ms: read(time, u64::MAX, default.time_ms)?,
            fuel: read(fuel(self.fuel), u64::MAX, default.fuel)?,
            concurrent_calls: small(self.concurrent_calls, default.concurrent_calls)?,
            usd: usd(self.usd, file, text)?,
        })
    }
}

impl SessionLimitTable {
    pub(crate) fn limits(self, file: &str, text: &str) -> Result<SessionLimits, ConfigError> {
        let read = |given: Option<Given>| {
            given.map(|given| given.uncounted().read(u64::MAX, file, text)).transpose()
        };
        Ok(SessionLimits {
            calls: read(count(self.calls))?,
            tokens: read(count(self.tokens))?,
            fuel: read(fuel(self.fuel))?,
            usd: usd(self.usd, file, text)?,
        })
    }
}

fn count(given: Option<Spanned<Count>>) -> Option<Given> {
    given.map(|limit| Given::from((limit.get_ref().0, limit.span())))
}

fn fuel(given: Option<Spanned<Fuel>>) -> Option<Given> {
    given.map(|limit| Given::from((limit.get_ref().0, limit.span())))
}

fn usd(given: Option<Spanned<Usd>>, file: &str, text: &str) -> Result<Option<Money>, ConfigError> {
    let given = given.map(|limit| Given::from((limit.get_ref().0.nanos(), limit.span())));
    given
        .map(|given| given.uncounted().read(u64::MAX, file, text).map(Money::from_nanos))
        .transpose()
}

/// A number of the file, and where it stands.
pub(crate) struct Given {
    number: u64,
    span: Range<usize>,
    /// What holds where it is left out.
    absent: Option<&'static str>,
}

impl From<(u64, Range<usize>)> for Given {
    /// One that has a default.
    fn from((number, span): (u64, Range<usize>)) -> Self {
        Self { number, span, absent: Some("left out, it has its default") }
    }
}

impl Given {
    /// The same where nothing is counted if it is left out.
    pub(crate) fn uncounted(self) -> Self {
        Self { absent: Some("left out, nothing is counted"), ..self }
    }

    /// The same where it cannot be left out.
    pub(crate) fn required(self) -> Self {
        Self { absent: None, ..self }
    }

    /// The number, if it is more than 0 and at most `most`.
    pub(crate) fn read(self, most: u64, file: &str, text: &str) -> Result<u64, ConfigError> {
        let wrong = |message: String| ConfigError::at(file, text, self.span, message);
        match self.number {
            // A run that may do nothing is a mistake, not a limit.
            0 => {
                let error = wrong("it must be more than 0".to_owned());
                Err(match self.absent {
                    Some(absent) => error.with_help(absent),
                    None => error,
                })
            }
            number if number > most => Err(wrong(format!("it must be at most {most}"))),
            number => Ok(number),
        }
    }
}
