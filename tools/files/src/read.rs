//! `read`: the text of a file, or some lines of it.

use std::fs::File;
use std::io::{self, Read as _};

use ringfence_sdk::prelude::*;
use ringfence_sdk::resolve;

use crate::fault::fault;

/// About as much as a model can use of one file; more is read in parts.
const BYTES_MAX: usize = 256 * 1024;

/// How much of a file is held beside the excerpt.
const CHUNK_BYTES: usize = 64 * 1024;

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Read {
    /// The file, absolute or relative to the first root.
    path: String,
    /// The first line to read, counted from 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    start: usize,
    /// The last line to read, itself included. Without it: to the end.
    #[schemars(range(min = 1))]
    end: Option<usize>,
    /// Whether to put each line's number in front of it.
    #[serde(default)]
    numbered: bool,
    /// At most so many bytes of the file.
    #[serde(default = "bytes_max")]
    #[schemars(range(min = 1, max = 262_144))]
    bytes_max: usize,
}

fn one() -> usize {
    1
}

fn bytes_max() -> usize {
    BYTES_MAX
}

/// Reads a text file, whole or by lines. A result that was cut ends with a line that says so and
/// where to go on.
#[tool(effect = "read")]
pub(crate) fn read(args: Read) -> Result<String> {
    let path = resolve(&args.path).map_err(|error| error.at("/path"))?;
    let end = args.end.unwrap_or(usize::MAX);
    if end < args.start {
        let message =
            format!("`end` is {end} and `start` is {}: no line lies between them", args.start);
        return Err(Error::invalid_input(message).at("/end"));
    }
    let at_path = |error| {
        // A folder can be opened, and is noticed only when it is read.
        let error = if path.is_dir() { io::ErrorKind::IsADirectory.into() } else { error };
        fault(&path, error).at("/path")
    };
    let file = File::open(&path).map_err(at_path)?;
    let excerpt =
        Excerpt::read(file, args.start, end, args.bytes_max.min(BYTES_MAX)).map_err(|error| {
            match error {
                Unreadable::Io(error) => at_path(error),
                Unreadable::NotText(why) => {
                    Error::invalid_input(format!("`{}` is not text: {why}", path.display()))
                        .at("/path")
                }
            }
        })?;
    if excerpt.bytes.is_empty() && args.start > excerpt.lines_seen.max(1) {
        let message =
            format!("`start` is {}, the file has {} lines", args.start, excerpt.lines_seen);
        return Err(Error::invalid_input(message).at("/start"));
    }
    excerpt.render(args.start, args.numbered).map_err(|why| {
        Error::invalid_input(format!("`{}` is not text: {why}", path.display())).at("/path")
    })
}

/// The lines asked for, as far as there was room.
struct Excerpt {
    bytes: Vec<u8>,
    /// How many lines were passed until reading stopped.
    lines_seen: usize,
    truncated: bool,
}

#[derive(Debug)]
enum Unreadable {
    Io(io::Error),
    NotText(&'static str),
}

impl Excerpt {
    /// Reads no further than it must, and holds no more than `bytes_max` and one chunk.
    fn read(
        mut source: impl io::Read,
        start: usize,
        end: usize,
        bytes_max: usize,
    ) -> Result<Self, Unreadable> {
        let mut excerpt = Self { bytes: Vec::new(), lines_seen: 0, truncated: false };
        let mut line = 1;
        let mut inside_line = false;
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        loop {
            chunk.clear();
            let limit = u64::try_from(CHUNK_BYTES).unwrap_or(u64::MAX);
            source.by_ref().take(limit).read_to_end(&mut chunk).map_err(Unreadable::Io)?;
            if chunk.is_empty() {
                excerpt.lines_seen = line - usize::from(!inside_line);
                return Ok(excerpt);
            }
            if chunk.contains(&0) {
                return Err(Unreadable::NotText(
                    "it has a zero byte, as pictures and programs have",
                ));
            }
            for part in chunk.split_inclusive(|byte| *byte == b'\n') {
                if line > end {
                    excerpt.lines_seen = end;
                    return Ok(excerpt);
                }
                if line >= start {
                    let room = bytes_max - excerpt.bytes.len();
                    excerpt.bytes.extend_from_slice(&part[..part.len().min(room)]);
                    if part.len() > room {
                        excerpt.lines_seen = line;
                        excerpt.truncated = true;
                        return Ok(excerpt);
                    }
                }
                inside_line = !part.ends_with(b"\n");
                line += usize::from(!inside_line);
            }
        }
    }

    /// The text with what a reader needs to know about it, or why it is none.
    fn render(mut self, start: usize, numbered: bool) -> Result<String, String> {
        if self.truncated {
            self.drop_torn_end();
        }
        let text = String::from_utf8(self.bytes).map_err(|error| {
            format!("byte {} of the lines asked for is not UTF-8", error.utf8_error().valid_up_to())
        })?;
        let next = start + text.lines().count();
        let mut shown = if numbered {
            let numbers = start..;
            numbers
                .zip(text.split_inclusive('\n'))
                .map(|(number, line)| format!("{number}\t{line}"))
                .collect()
        } else {
            text
        };
        if self.truncated {
            if !shown.ends_with('\n') {
                // One line longer than all the room: there is no line to go on with.
                shown.push_str("\n[truncated in the middle of a line: set a greater `bytes_max`]");
            } else {
                shown.push_str(&format!("[truncated: go on with `start` {next}]"));
            }
        }
        Ok(shown)
    }

    /// Cuts back to the last whole line, or, where there is none, to the last whole character.
    fn drop_torn_end(&mut self) {
        if let Some(last) = self.bytes.iter().rposition(|byte| *byte == b'\n') {
            self.bytes.truncate(last + 1);
        } else if let Err(error) = str::from_utf8(&self.bytes)
            && error.error_len().is_none()
        {
            self.bytes.truncate(error.valid_up_to());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: usize = usize::MAX;

    #[track_caller]
    fn check(text: &[u8], (start, end): (usize, usize), bytes_max: usize, expected: &str) {
        let found = match Excerpt::read(text, start, end, bytes_max) {
            Ok(excerpt) => excerpt.render(start, false).unwrap_or_else(|why| why),
            Err(Unreadable::NotText(why)) => why.to_owned(),
            Err(Unreadable::Io(error)) => error.to_string(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn lines_are_counted_from_one_and_both_ends_belong() {
        let text = b"one\ntwo\nthree\nfour";
        check(text, (1, ALL), 100, "one\ntwo\nthree\nfour");
        check(text, (2, 3), 100, "two\nthree\n");
        check(text, (4, 4), 100, "four");
        check(text, (4, 9), 100, "four");
        check(text, (5, 9), 100, "");
        check(b"", (1, ALL), 100, "");
        check(b"\n\n", (2, 2), 100, "\n");
    }

    #[test]
    fn a_cut_says_where_to_go_on() {
        check(b"one\ntwo\nthree\n", (1, ALL), 9, "one\ntwo\n[truncated: go on with `start` 3]");
        check(b"one\ntwo\nthree\n", (2, ALL), 5, "two\n[truncated: go on with `start` 3]");
        check(b"one\ntwo\n", (1, ALL), 8, "one\ntwo\n");
        check(b"one\ntwo\n", (1, 1), 4, "one\n");
        let middle = "\n[truncated in the middle of a line: set a greater `bytes_max`]";
        check(b"one two", (1, ALL), 3, &format!("one{middle}"));
        check("aä".as_bytes(), (1, ALL), 2, &format!("a{middle}"));
    }

    #[test]
    fn a_file_that_is_no_text_says_so() {
        check(b"\x89PNG\0\0", (1, ALL), 100, "it has a zero byte, as pictures and programs have");
        check(b"caf\xe9\n", (1, ALL), 100, "byte 3 of the lines asked for is not UTF-8");
    }

    #[test]
    fn lines_cross_chunks() {
        let text = "a line of a file\n".repeat(20_000);
        let excerpt = Excerpt::read(text.as_bytes(), 19_999, ALL, 100).expect("text");
        assert_eq!(excerpt.lines_seen, 20_000);
        let shown = excerpt.render(19_999, true).expect("text");
        assert_eq!(shown, "19999\ta line of a file\n20000\ta line of a file\n");
    }
}
