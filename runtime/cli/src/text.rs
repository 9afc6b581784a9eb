//! Short texts for people: cut to a width, quantities in the unit that reads best.

use std::borrow::Cow;

use ringfence::event::{Timestamp, neutralise_line};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// `text` on one line, nothing hidden in it, cut to so many columns.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    // A column takes at least one byte, so what is far longer need not be looked at.
    let text: Cow<'_, str> = match text.char_indices().nth(columns * 4) {
        Some((end, _)) => Cow::Owned(neutralise_line(&text[..end]).into_owned()),
        None => neutralise_line(text),
    };
    if text.width() <= columns {
        return text.into_owned();
    }
    let mut shown = String::new();
    let mut taken = 0;
    for character in text.chars() {
        taken += character.width().unwrap_or(0);
        if taken >= columns {
            break;
        }
        shown.push(character);
    }
    shown + "…"
}

/// The first line that says something, cut, and how many more there are.
pub(crate) fn first_line(text: &str, columns: usize) -> String {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let first = cut(lines.next().unwrap_or_default().trim(), columns);
    match lines.count() {
        0 => first,
        1 => format!("{first} (and 1 more line)"),
        more => format!("{first} (and {more} more lines)"),
    }
}

/// A count with its letter: `950`, `1.2k`, `34.5M`.
pub(crate) fn count(number: u64) -> String {
    scaled(number, 1000.0, &["", "k", "M", "G", "T"])
}

/// Bytes: `17 B`, `3.4 MiB`.
pub(crate) fn bytes(number: u64) -> String {
    scaled(number, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB"])
}

/// Microseconds: `850 µs`, `12.0 ms`, `3.4 s`, `2 min 5 s`.
pub(crate) fn micros(us: u64) -> String {
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
pub(crate) fn millis(ms: u64) -> String {
    micros(ms.saturating_mul(1000))
}

/// A point in time: `2026-11-23 11:44:22 UTC`.
pub(crate) fn moment(at: Timestamp) -> String {
    let seconds = at.0 / 1000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    // Years that begin in March have the leap day at their end; 400 of them are an era of 146,097
    // days, and 1970-01-01 is day 719,468 from the start of the first.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = match month {
        0..10 => (era * 400 + year, month + 3),
        _ => (era * 400 + year + 1, month - 9),
    };
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// `3 steps`, `1 step`.
pub(crate) fn several(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
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
    fn moments_are_dates() {
        for (seconds, shown) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_200, "2024-03-01 00:00:00 UTC"),
            (1_795_434_262, "2026-11-23 11:44:22 UTC"),
            (4_102_444_799, "2099-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(moment(Timestamp(seconds * 1000)), shown);
        }
    }

    #[test]
    fn texts_are_cut_by_what_they_take_on_the_screen() {
        for (text, shown) in [
            ("short", "short"),
            ("exactly ten", "exactly t…"),
            ("漢字漢字漢字", "漢字漢字…"),
            ("a\nb\u{1b}c", "a\\nb\\u{1b…"),
        ] {
            assert_eq!(cut(text, 10), shown);
        }
        assert_eq!(first_line("\n one \n\ntwo\nthree", 20), "one (and 2 more lines)");
        assert_eq!(first_line("", 20), "");
    }
}
