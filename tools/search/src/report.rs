//! What a search found, for a program and for a reader.

use std::fmt;

use ringfence_sdk::prelude::*;

/// Longer lines are seldom written by people; their beginning is enough to know them by.
const LINE_CHARS_MAX: usize = 500;

/// How many files that could not be searched are named; the rest are counted.
const UNREADABLE_SHOWN: usize = 5;

/// How much a report may hold.
#[derive(Clone, Copy)]
pub(crate) struct Room {
    pub(crate) matches_max: usize,
    pub(crate) bytes_max: usize,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Report {
    /// The lines found, and those around them.
    pub(crate) lines: Vec<Line>,
    /// How many of the lines match; the others are context.
    pub(crate) matches: usize,
    /// How many files were searched, binary ones not counted.
    pub(crate) files: usize,
    /// Whether there may be more than is shown.
    pub(crate) truncated: bool,
    /// What could not be searched, and why.
    pub(crate) unreadable: Vec<String>,
    #[serde(skip)]
    room: Room,
    #[serde(skip)]
    bytes: usize,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Line {
    /// The absolute path of the file.
    pub(crate) file: String,
    /// Counted from 1.
    pub(crate) line: u64,
    /// The line, shortened where it is very long.
    pub(crate) text: String,
    /// Whether the line matches; else it stands near one that does.
    pub(crate) matches: bool,
}

impl Report {
    pub(crate) fn new(room: Room) -> Self {
        Self {
            lines: Vec::new(),
            matches: 0,
            files: 0,
            truncated: false,
            unreadable: Vec::new(),
            room,
            bytes: 0,
        }
    }

    /// Adds a line if there is room; without room the report is truncated, and `false`.
    pub(crate) fn add(&mut self, file: &str, line: u64, bytes: &[u8], matches: bool) -> bool {
        let text = shortened(bytes);
        let is_full = matches && self.matches == self.room.matches_max;
        if is_full || self.bytes + text.len() > self.room.bytes_max {
            self.truncated = true;
            return false;
        }
        self.bytes += text.len();
        self.matches += usize::from(matches);
        self.lines.push(Line { file: file.to_owned(), line, text, matches });
        true
    }

    /// Takes back what was added for a file that turned out to be no text.
    pub(crate) fn take_back(&mut self, file: &str) {
        while let Some(line) = self.lines.pop_if(|line| line.file == file) {
            self.bytes -= line.text.len();
            self.matches -= usize::from(line.matches);
        }
    }
}

fn shortened(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line);
    let line = line.trim_end_matches(['\n', '\r']);
    match line.char_indices().nth(LINE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// Each file once, its lines below it: `12:` before a match, `13-` before a line near one.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut above: Option<&Line> = None;
        for line in &self.lines {
            match above {
                Some(above) if above.file == line.file => {
                    if line.line != above.line + 1 && self.lines.iter().any(|line| !line.matches) {
                        writeln!(f, "--")?;
                    }
                }
                Some(_) => writeln!(f, "\n{}", line.file)?,
                None => writeln!(f, "{}", line.file)?,
            }
            writeln!(f, "{}{} {}", line.line, if line.matches { ':' } else { '-' }, line.text)?;
            above = Some(line);
        }
        if self.truncated {
            writeln!(
                f,
                "[truncated after {} matches: narrow `pattern`, `path` or `glob`, or raise `matches_max`]",
                self.matches
            )?;
        } else {
            writeln!(f, "[{} matches in {} files searched]", self.matches, self.files)?;
        }
        if self.files == 0 && self.unreadable.is_empty() {
            writeln!(
                f,
                "[no text file was searched: is it hidden, ignored, or excluded by `glob`?]"
            )?;
        }
        for error in self.unreadable.iter().take(UNREADABLE_SHOWN) {
            writeln!(f, "[not searched: {error}]")?;
        }
        if let Some(more @ 1..) = self.unreadable.len().checked_sub(UNREADABLE_SHOWN) {
            writeln!(f, "[not searched: {more} more]")?;
        }
        Ok(())
    }
}
