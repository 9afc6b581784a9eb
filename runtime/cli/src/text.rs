//! Short texts for people: cut to a width, points in time.

use std::borrow::Cow;

pub(crate) use ringfence::event::amount::{bytes, count, micros, millis};
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

/// A point in time: `2026-11-23 11:44:22 UTC`.
pub(crate) fn moment(at: Timestamp) -> String {
    let text = at.rfc3339();
    let (day, time) = text.split_once('T').unwrap_or_default();
    let (time, _) = time.split_once('.').unwrap_or_default();
    format!("{day} {time} UTC")
}

/// `3 steps`, `1 step`.
pub(crate) fn several(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

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
