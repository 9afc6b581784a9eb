//! What a tenant may spend in a window of time: `[tenant.NAME.budget]`. Windows begin and end by
//! UTC, so that everybody can say when the next one opens.

use std::{fmt, marker::PhantomData, str::FromStr};

use ringfence_event::{Limit, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use crate::{ConfigError, Count, Fuel, Usd, config::line_of};

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
const WEEK_MS: u64 = 7 * DAY_MS;

/// What a tenant may spend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantBudget {
    /// One for each key that is given.
    pub entries: Vec<BudgetEntry>,
}

/// How much of one limit, in which window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetEntry {
    /// What is counted.
    pub limit: Limit,
    /// How much: calls, tokens, units of fuel, billionths of a dollar.
    pub of: u64,
    /// In each of which windows.
    pub window: Window,
    /// The line that says so.
    pub line: u32,
}

/// A window of time, by UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// From the full hour on.
    Hour,
    /// From midnight on.
    Day,
    /// From Monday's midnight on.
    Week,
    /// A calendar month.
    Month,
}

impl Window {
    /// The word, as it is written in files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// The window that a point in time lies in: its first millisecond, and that of the next one.
    #[must_use]
    pub fn of(self, at: Timestamp) -> (Timestamp, Timestamp) {
        // 1970-01-01 was a Thursday, three days after a Monday.
        const AFTER_MONDAY: u64 = 3 * DAY_MS;
        let aligned = |length: u64, shift: u64| {
            let into = (at.0 % length + shift) % length;
            // The first week began before the first millisecond there is.
            (at.0.saturating_sub(into), at.0.saturating_add(length - into))
        };
        let (start, end) = match self {
            Self::Hour => aligned(HOUR_MS, 0),
            Self::Day => aligned(DAY_MS, 0),
            Self::Week => aligned(WEEK_MS, AFTER_MONDAY),
            Self::Month => {
                let (year, month) = month_of(at.0 / DAY_MS);
                let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                let begins = |(year, month)| days_before(year, month).saturating_mul(DAY_MS);
                (begins((year, month)), begins(next))
            }
        };
        (Timestamp(start), Timestamp(end))
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Window {
    type Err = ();
    fn from_str(word: &str) -> Result<Self, ()> {
        let all = [Self::Hour, Self::Day, Self::Week, Self::Month];
        all.into_iter().find(|window| window.as_str() == word).ok_or(())
    }
}

/// Year and month of a day since 1970-01-01, by the proleptic Gregorian calendar. The year of this
/// reckoning begins in March, so that a leap day is its last one.
fn month_of(day: u64) -> (u64, u64) {
    const DAYS_400_YEARS: u64 = 146_097;
    // Days from 0000-03-01 to 1970-01-01.
    let day = day + 719_468;
    let (era, of_era) = (day / DAYS_400_YEARS, day % DAYS_400_YEARS);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year + era * 400 + u64::from(month <= 2), month)
}

/// Days from 1970-01-01 to the first of a month.
fn days_before(year: u64, month: u64) -> u64 {
    let (year, march_month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let years = 365 * year + year / 4 - year / 100 + year / 400;
    years + (153 * march_month + 2) / 5 - 719_468
}

/// `[tenant.NAME.budget]`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct BudgetTable {
    /// Calls that are proposed.
    #[schemars(with = "Option<Each<Count>>")]
    calls: Option<Spanned<Each<Count>>>,
    /// Tokens read and written by models.
    #[schemars(with = "Option<Each<Count>>")]
    tokens: Option<Spanned<Each<Count>>>,
    /// Units of fuel.
    #[schemars(with = "Option<Each<Fuel>>")]
    fuel: Option<Spanned<Each<Fuel>>>,
    /// Dollars for models.
    #[schemars(with = "Option<Each<Usd>>")]
    usd: Option<Spanned<Each<Usd>>>,
}

impl BudgetTable {
    pub(crate) fn budget(&self, file: &str, text: &str) -> Result<TenantBudget, ConfigError> {
        let mut entries = Vec::new();
        add(&mut entries, Limit::Calls, &self.calls, |count| count.0, (file, text))?;
        add(&mut entries, Limit::Tokens, &self.tokens, |count| count.0, (file, text))?;
        add(&mut entries, Limit::Fuel, &self.fuel, |fuel| fuel.0, (file, text))?;
        add(&mut entries, Limit::Money, &self.usd, |usd| usd.0.nanos(), (file, text))?;
        Ok(TenantBudget { entries })
    }
}

fn add<T>(
    entries: &mut Vec<BudgetEntry>,
    limit: Limit,
    given: &Option<Spanned<Each<T>>>,
    amount: impl Fn(&T) -> u64,
    (file, text): (&str, &str),
) -> Result<(), ConfigError> {
    let Some(given) = given else { return Ok(()) };
    let Each { of, window } = given.get_ref();
    let of = amount(of);
    if of == 0 {
        let message = "a budget of nothing lets nothing be done";
        return Err(ConfigError::at(file, text, given.span(), message)
            .with_help("without the line nothing is counted"));
    }
    let line = line_of(text, given.span().start);
    entries.push(BudgetEntry { limit, of, window: *window, line });
    Ok(())
}

/// `"5 per day"`
#[derive(Clone, Copy, Debug)]
struct Each<T> {
    of: T,
    window: Window,
}

impl<T> JsonSchema for Each<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Each".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let said = "An amount in a window of time: `5 per day`, or per hour, week or month.";
        schemars::json_schema!({ "type": "string", "description": said })
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Each<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(PhantomData<T>);
        impl<T: FromStr<Err: fmt::Display>> de::Visitor<'_> for Visitor<T> {
            type Value = Each<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount in quotes and `per hour`, `per day`, `per week` or `per month`, such as \"5 per day\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Each<T>, E> {
                let wrong = || E::invalid_value(de::Unexpected::Str(text), &self);
                let (of, window) = text.split_once(" per ").ok_or_else(wrong)?;
                let window = window.parse().map_err(|()| wrong())?;
                Ok(Each { of: of.parse().map_err(E::custom)?, window })
            }
        }
        deserializer.deserialize_any(Visitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Window; 4] = [Window::Hour, Window::Day, Window::Week, Window::Month];

    #[test]
    fn windows_are_those_of_the_calendar() {
        let check = |window: Window, at: u64, expected: (u64, u64)| {
            let (start, end) = window.of(Timestamp(at * 1000));
            assert_eq!((start.0 / 1000, end.0 / 1000), expected, "{window} {at}");
        };
        // 2024-02-29T12:34:56Z, a Thursday.
        let at = 1_709_210_096;
        check(Window::Hour, at, (1_709_208_000, 1_709_211_600));
        check(Window::Day, at, (1_709_164_800, 1_709_251_200));
        check(Window::Week, at, (1_708_905_600, 1_709_510_400));
        check(Window::Month, at, (1_706_745_600, 1_709_251_200));
        // 2023-12-31T23:59:59Z, the last second of a year and of a week.
        check(Window::Month, 1_704_067_199, (1_701_388_800, 1_704_067_200));
        check(Window::Week, 1_704_067_199, (1_703_462_400, 1_704_067_200));
        check(Window::Month, 0, (0, 2_678_400));
        check(Window::Week, 0, (0, 345_600));
    }

    proptest! {
        /// Windows lie side by side: each point is in one, and the next begins where it ends.
        #[test]
        fn windows_leave_nothing_out(at in 0..=253_402_300_799_999_u64, which in 0..4_usize) {
            let window = ALL[which];
            let (start, end) = window.of(Timestamp(at));
            prop_assert!(start.0 <= at && at < end.0);
            prop_assert_eq!(window.of(start), (start, end));
            prop_assert_eq!(window.of(Timestamp(end.0 - 1)), (start, end));
            prop_assert_eq!(window.of(end).0, end);
        }

        /// The end of time is in a window too.
        #[test]
        fn no_point_in_time_is_too_late(at in any::<u64>(), which in 0..4_usize) {
            let (start, end) = ALL[which].of(Timestamp(at));
            prop_assert!(start.0 <= at && (at < end.0 || end.0 == u64::MAX));
        }
    }
}
