//! Amounts as people read them, in the unit that reads best. One wording for the screen, for errors and
//! for whoever embeds the library.

use crate::{Limit, Money, Spent};

/// A count with its letter: `950`, `1.2k`, `34.5M`.
#[must_use]
pub fn count(number: u64) -> String {
    scaled(number, 1000.0, &["", "k", "M", "G", "T"])
}

/// Bytes: `17 B`, `3.4 MiB`.
#[must_use]
pub fn bytes(number: u64) -> String {
    scaled(number, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB"])
}

/// Microseconds: `850 µs`, `12.0 ms`, `3.4 s`, `2 min 5 s`.
#[must_use]
pub fn micros(us: u64) -> String {
    match us {
        0..60_000_000 => scaled(us, 1000.0, &[" µs", " ms", " s"]),
        _ => {
            let seconds = us.div_ceil(1_000_000);
            let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            match hours {
                0 => format!("{minutes} min {seconds} s"),
                _ => format!("{hours} h {minutes} min"),
            }
        }
    }
}

/// Milliseconds, as [`micros`].
#[must_use]
pub fn millis(ms: u64) -> String {
    micros(ms.saturating_mul(1000))
}

impl Limit {
    /// An amount of what is counted, in its own unit: `$0.50`, `3.4 s`, `1.2M`.
    #[must_use]
    pub fn amount(self, amount: u64) -> String {
        match self {
            Self::Money => format!("${}", Money::from_nanos(amount)),
            Self::Time => millis(amount),
            _ => count(amount),
        }
    }
}

impl Spent {
    /// How much of how much: `2 of 2`, and what did not fit any more.
    #[must_use]
    pub fn words(&self, limit: Limit) -> String {
        let words = format!("{} of {}", limit.amount(self.spent), limit.amount(self.of));
        match self.asked {
            0 => words,
            asked => format!("{words}, and {} more asked for", limit.amount(asked)),
        }
    }
}

fn scaled(number: u64, step: f64, units: &[&str]) -> String {
    let mut value = number as f64;
    let mut unit = 0;
    // What would be shown as 1000 is shown in the next unit.
    while value >= step - 0.5 && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    let digits = if unit == 0 || value >= 99.95 { 0 } else { 1 };
    format!("{value:.digits$}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use crate::BudgetLevel;

    use super::*;

    #[test]
    fn quantities_are_short() {
        for (number, shown) in [
            (0, "0"),
            (999, "999"),
            (1000, "1.0k"),
            (12_345, "12.3k"),
            (999_499, "999k"),
            (999_999, "1.0M"),
            (1_234_567, "1.2M"),
            (5_000_000_000, "5.0G"),
        ] {
            assert_eq!(count(number), shown);
        }
        for (number, shown) in [(17, "17 B"), (65_536, "64.0 KiB"), (3_565_158, "3.4 MiB")] {
            assert_eq!(bytes(number), shown);
        }
        for (number, shown) in [
            (850, "850 µs"),
            (12_000, "12.0 ms"),
            (3_400_000, "3.4 s"),
            (125_000_000, "2 min 5 s"),
            (3_700_000_000, "1 h 1 min"),
        ] {
            assert_eq!(micros(number), shown);
        }
    }

    #[test]
    fn a_budget_is_told_in_its_own_unit() {
        let check = |limit: Limit, spent: u64, asked: u64, of: u64, words: &str| {
            let spent = Spent { level: BudgetLevel::Run, spent, asked, of, reopens: None };
            assert_eq!(spent.words(limit), words);
        };
        check(Limit::Calls, 2, 1, 2, "2 of 2, and 1 more asked for");
        check(Limit::Money, 480_000_000, 0, 500_000_000, "$0.48 of $0.50");
        check(Limit::Time, 600_012, 0, 600_000, "10 min 1 s of 10 min 0 s");
        check(
            Limit::Fuel,
            15_000_000,
            5_000_000,
            18_000_000,
            "15.0M of 18.0M, and 5.0M more asked for",
        );
    }
}
