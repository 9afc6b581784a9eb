//! Money: what models cost. Whole numbers of a billionth of a US dollar, so that sums are exact and
//! a single token of the cheapest model still costs something.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Billionths in a dollar.
const NANOS: u64 = 1_000_000_000;

/// An amount of US dollars. In JSON and in print a decimal number as text: `"0.0125"`.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub struct Money(u64);

/// A text that is no amount of dollars.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no amount of dollars: a number such as 0.50, with at most 9 decimals")]
pub struct InvalidMoney {
    /// What was given, cut to 80 characters.
    pub given: String,
}

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So many billionths of a dollar.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// In billionths of a dollar.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Both together, up to the most there is.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left when the other is taken away, at least nothing.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dollars, nanos) = (self.0 / NANOS, self.0 % NANOS);
        let decimals = format!("{nanos:09}");
        // Cents at least: it is money that people read.
        let kept = decimals.trim_end_matches('0').len().max(2);
        write!(f, "{dollars}.{}", &decimals[..kept])
    }
}

impl FromStr for Money {
    type Err = InvalidMoney;

    fn from_str(given: &str) -> Result<Self, InvalidMoney> {
        let amount = || {
            let (dollars, decimals) = given.split_once('.').unwrap_or((given, "0"));
            let is_number =
                |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            if !is_number(dollars) || !is_number(decimals) || decimals.len() > 9 {
                return None;
            }
            let dollars: u64 = dollars.parse().ok()?;
            let nanos: u64 = format!("{decimals:0<9}").parse().ok()?;
            dollars.checked_mul(NANOS)?.checked_add(nanos)
        };
        let invalid = || InvalidMoney { given: given.chars().take(80).collect() };
        amount().map(Self).ok_or_else(invalid)
    }
}

impl TryFrom<String> for Money {
    type Error = InvalidMoney;
    fn try_from(given: String) -> Result<Self, InvalidMoney> {
        given.parse()
    }
}

impl From<Money> for String {
    fn from(money: Money) -> String {
        money.to_string()
    }
}

/// What a model's tokens cost, each for a million of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Price {
    /// Tokens that it reads.
    pub input: Money,
    /// Tokens that it reads from its vendor's cache; absent: as any others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<Money>,
    /// Tokens that it writes.
    pub output: Money,
}

impl Price {
    /// What these tokens cost, rounded up to a billionth of a dollar.
    #[must_use]
    pub fn of(&self, tokens: crate::TokenUsage) -> Money {
        let cached = tokens.cached.min(tokens.input);
        let price = |count: u64, each: Money| u128::from(count) * u128::from(each.0);
        let total = price(tokens.input - cached, self.input)
            + price(cached, self.cached_input.unwrap_or(self.input))
            + price(tokens.output, self.output);
        Money(u64::try_from(total.div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TokenUsage;

    #[test]
    fn amounts_are_read_and_written() {
        let check = |text: &str, shown: Option<&str>| {
            let money = text.parse::<Money>().ok();
            assert_eq!(money.map(|money| money.to_string()).as_deref(), shown, "{text}");
        };
        check("0.50", Some("0.50"));
        check("5", Some("5.00"));
        check("2.50", Some("2.50"));
        check("0.0375", Some("0.0375"));
        check("0.000000001", Some("0.000000001"));
        check("0.0000000001", None);
        check("", None);
        check(".5", None);
        check("5.", None);
        check("-1", None);
        check("$1", None);
        check("1e3", None);
        check("99999999999", None);
    }

    #[test]
    fn tokens_cost_what_the_table_says() {
        let money = |text: &str| text.parse::<Money>().unwrap();
        let price =
            Price { input: money("2.50"), cached_input: Some(money("1.25")), output: money("10") };
        let tokens = TokenUsage { input: 1_000_000, cached: 400_000, output: 100_000 };
        assert_eq!(price.of(tokens), money("3.00"));
        // One token of the cheapest model is not free.
        let cheap = Price { input: money("0.0001"), cached_input: None, output: money("0") };
        assert_eq!(cheap.of(TokenUsage { input: 1, ..TokenUsage::default() }).nanos(), 1);
    }
}
