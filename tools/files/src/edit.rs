//! `edit`: one passage of a file in the place of another.

use std::fs;

use ringfence_sdk::prelude::*;
use ringfence_sdk::resolve;

use crate::fault::fault;
use crate::write::replace;

/// How many places a message names: enough to choose from.
const PLACES_MAX: usize = 5;

/// From which likeness on a line is worth showing; below it, lines share little but letters.
const LIKENESS_MIN: f64 = 0.6;

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Edit {
    /// The file, absolute or relative to the first root.
    path: String,
    /// The passage to replace, exactly as it stands in the file, white space included. It must
    /// stand there once: take in lines around it until it does.
    old: String,
    /// What to put in its place.
    new: String,
    /// Whether to replace every occurrence.
    #[serde(default)]
    all: bool,
}

/// Replaces a passage of a text file by another.
#[tool(effect = "unsafe")]
pub(crate) fn edit(args: Edit) -> Result<String> {
    let path = resolve(&args.path).map_err(|error| error.at("/path"))?;
    let text = fs::read_to_string(&path).map_err(|error| fault(&path, error).at("/path"))?;
    let (edited, count) = edited(&text, &args.old, &args.new, args.all)
        .map_err(|error| error.context(format_args!("`{}`", path.display())))?;
    replace(&path, edited.as_bytes()).map_err(|error| fault(&path, error).at("/path"))?;
    Ok(format!("replaced {count} in `{}`", path.display()))
}

/// The text after the edit, and how many passages were replaced.
fn edited(text: &str, old: &str, new: &str, all: bool) -> Result<(String, usize)> {
    let refused = |message: String, path: &str| Err(Error::invalid_input(message).at(path));
    if old.is_empty() {
        return refused("`old` is empty: say what to replace, or use `write`".to_owned(), "/old");
    }
    if old == new {
        return refused("`old` and `new` are the same: there is nothing to do".to_owned(), "/new");
    }
    let places: Vec<usize> = text.match_indices(old).map(|(at, _)| line_of(text, at)).collect();
    match places.len() {
        0 => refused(not_found(text, old), "/old"),
        1 => Ok((text.replacen(old, new, 1), 1)),
        count if all => Ok((text.replace(old, new), count)),
        count => {
            let lines: Vec<String> =
                places.iter().take(PLACES_MAX).map(ToString::to_string).collect();
            let more = if count > PLACES_MAX { ", …" } else { "" };
            let message = format!(
                "`old` stands there {count} times, at lines {}{more}: take in more of what is around the one \
                 you mean, or set `all`",
                lines.join(", ")
            );
            refused(message, "/old")
        }
    }
}

/// Counted from 1.
fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Why a passage was not found, as far as the text shows it.
fn not_found(text: &str, old: &str) -> String {
    if text.contains(&old.replace("\r\n", "\n").replace('\n', "\r\n")) {
        return "`old` stands there 0 times, but does with `\\r\\n` at the ends of lines: write them so".to_owned();
    }
    let wanted = old.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let mut near: Vec<(f64, usize, &str)> = text
        .lines()
        .enumerate()
        .map(|(index, line)| (likeness(wanted, line.trim()), index + 1, line))
        .filter(|(likeness, ..)| *likeness >= LIKENESS_MIN)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    if near.is_empty() {
        return "`old` stands there 0 times, and nothing like its first line does: read the file again".to_owned();
    }
    let mut message = "`old` stands there 0 times. Lines like its first one:".to_owned();
    for (_, number, line) in near.iter().take(PLACES_MAX) {
        message.push_str(&format!("\n{number}\t{line}"));
    }
    message.push_str("\nCopy the passage exactly, white space included.");
    message
}

/// How alike two lines are, from 0 to 1: the share of letter pairs that both have.
fn likeness(a: &str, b: &str) -> f64 {
    let pairs =
        |line: &str| -> Vec<(char, char)> { line.chars().zip(line.chars().skip(1)).collect() };
    let (of_a, mut of_b) = (pairs(a), pairs(b));
    let total = of_a.len() + of_b.len();
    if total == 0 {
        return if a == b && !a.is_empty() { 1.0 } else { 0.0 };
    }
    let mut shared = 0_u32;
    for pair in of_a {
        if let Some(index) = of_b.iter().position(|other| *other == pair) {
            of_b.swap_remove(index);
            shared += 1;
        }
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "a line has fewer letters than a float has whole numbers"
    )]
    let total = total as f64;
    f64::from(2 * shared) / total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, (old, new): (&str, &str), all: bool, expected: &str) {
        let found = match edited(text, old, new, all) {
            Ok((text, count)) => format!("{count} {text}"),
            Err(error) => error.to_string(),
        };
        assert!(found.contains(expected), "found {found}\nexpected {expected}");
    }

    #[test]
    fn a_passage_is_replaced_where_it_stands_once() {
        check("a\nb\nc\n", ("b", "B"), false, "1 a\nB\nc\n");
        check("a\nb\nc\n", ("a\nb", ""), false, "1 \nc\n");
        check("a b a", ("a", "c"), true, "2 c b c");
        check("a b", ("b", "c"), true, "1 a c");
        check("für", ("ü", "u"), false, "1 fur");
    }

    #[test]
    fn a_refusal_says_how_to_mend_it() {
        check(
            "a\nb\na\n",
            ("a", "c"),
            false,
            "`old` stands there 2 times, at lines 1, 3: take in more",
        );
        check(&"x\n".repeat(9), ("x", "y"), false, "9 times, at lines 1, 2, 3, 4, 5, …");
        check("a", ("", "c"), false, "use `write`");
        check("a", ("a", "a"), false, "there is nothing to do");
        check("a\r\nb\r\n", ("a\nb", "c"), false, "but does with `\\r\\n`");
        check("fn main() {\n", ("func other", "c"), false, "nothing like its first line does");
        check("", ("a", "b"), false, "nothing like its first line does");
    }

    #[test]
    fn a_near_miss_is_shown() {
        let text = "fn main() {\n    let count = 1;\n    print(count);\n}\n";
        check(
            text,
            ("\tlet count = 1;", ""),
            false,
            "first one:\n2\t    let count = 1;\nCopy the passage",
        );
        check(text, ("let counts = 2;\n", ""), false, "\n2\t    let count = 1;");
    }
}
