//! What one tenant may have of what all share: how often it may begin something, how much of it runs and
//! how much waits, and how many turns it gets beside others. In `[tenant.NAME]`.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use ringfence_event::TenantId;
use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use crate::{ConfigError, Count, TenantGrants, config::line_of};

/// One tenant of a hundred thousand turns to one is no share of anybody else's any more.
const WEIGHTS: RangeInclusive<u64> = 1..=1_000;
/// What waits holds memory; more than this nobody waits for.
const QUEUES: RangeInclusive<u64> = 0..=100_000;
/// As many calls as a host can have, and as many runs.
const CALLS: RangeInclusive<u64> = 1..=1_000;
const RUNS: RangeInclusive<u64> = 1..=100_000;

/// How much of something may be begun in a time: `"100 per s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many; as many may come at once.
    pub count: u64,
    /// In how many milliseconds.
    pub window_ms: u64,
}

/// The words of a rate, and how long each is.
const WINDOWS: [(&str, u64); 3] = [("s", 1_000), ("min", 60_000), ("h", 3_600_000)];

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = || text.chars().take(40).collect::<String>();
        let wrong = || {
            format!(
                "`{}` is no rate: write a whole number and `per s`, `per min` or `per h`, such as \
                 \"100 per s\"",
                shown()
            )
        };
        let (count, window) = text.split_once(" per ").ok_or_else(wrong)?;
        let window = WINDOWS.iter().find(|(word, _)| *word == window).ok_or_else(wrong)?;
        let count = count.parse::<Count>().map_err(|_| wrong())?.0;
        match count {
            0 => Err(format!("a rate of nothing lets nothing be done: `{}`", shown())),
            count => Ok(Self { count, window_ms: window.1 }),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word =
            WINDOWS.iter().find(|(_, ms)| *ms == self.window_ms).map_or("s", |(word, _)| word);
        write!(f, "{} per {word}", self.count)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Rate;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rate in quotes, such as \"100 per s\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Rate, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// What one tenant may have of what all share. Each line absent: nothing of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantShare {
    /// How many turns it gets for one of a tenant that says nothing; `None`: one.
    pub weight: Option<u32>,
    /// How often it may begin something from outside, and the line that says so.
    pub rate: Option<(Rate, u32)>,
    /// How much of that may wait for its turn.
    pub queue: Option<(u32, u32)>,
    /// How many of its calls run at one time.
    pub calls: Option<(u32, u32)>,
    /// How many of its runs are driven at one time.
    pub runs: Option<(u32, u32)>,
}

impl TenantShare {
    /// What a tenant's table says, checked.
    pub(crate) fn read(
        file: &str,
        text: &str,
        tenant: &TenantId,
        table: &TenantGrants,
    ) -> Result<Self, ConfigError> {
        let line = |span: std::ops::Range<usize>| line_of(text, span.start);
        let number = |key: &str, given: &Option<Spanned<Count>>, of: RangeInclusive<u64>| {
            let Some(given) = given else { return Ok(None) };
            let count = given.get_ref().0;
            match u32::try_from(count).ok().filter(|_| of.contains(&count)) {
                Some(number) => Ok(Some((number, line(given.span())))),
                None => {
                    let message = format!("{key} is a number from {} to {}", of.start(), of.end());
                    let error = ConfigError::at(file, text, given.span(), message);
                    Err(error.with_help(format!(
                        "without the line tenant `{tenant}` has what the host gives every tenant"
                    )))
                }
            }
        };
        Ok(Self {
            weight: number("weight", &table.weight, WEIGHTS)?.map(|(weight, _)| weight),
            rate: table.rate.as_ref().map(|rate| (*rate.get_ref(), line(rate.span()))),
            queue: number("queue", &table.queue, QUEUES)?,
            calls: number("concurrent-calls", &table.concurrent_calls, CALLS)?,
            runs: number("concurrent-runs", &table.concurrent_runs, RUNS)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_a_window() {
        for (text, shown) in [
            ("100 per s", Some("100 per s")),
            ("10k per min", Some("10000 per min")),
            ("1 per h", Some("1 per h")),
            ("0 per s", None),
            ("100", None),
            ("100 per day", None),
            ("100 per  s", None),
            ("-1 per s", None),
            ("per s", None),
            ("", None),
        ] {
            let read = text.parse::<Rate>().ok().map(|rate| rate.to_string());
            assert_eq!(read.as_deref(), shown, "{text}");
        }
    }
}
