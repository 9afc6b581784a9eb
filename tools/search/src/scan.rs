//! One file after the other, line by line.

use std::io;
use std::path::Path;

use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{
    BinaryDetection, Searcher, SearcherBuilder, Sink, SinkContext, SinkFinish, SinkMatch,
};
use ringfence_sdk::{Error, Result};

use crate::report::Report;

/// A compiled pattern may take so much: a counted repetition of a repetition grows without end.
const PATTERN_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A line longer than this is not searched; it would be held in memory whole.
const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;

pub(crate) struct Scanner {
    matcher: RegexMatcher,
    searcher: Searcher,
}

impl Scanner {
    pub(crate) fn new(pattern: &str, ignore_case: bool, context: usize) -> Result<Self> {
        let matcher = RegexMatcherBuilder::new()
            .case_insensitive(ignore_case)
            .line_terminator(Some(b'\n'))
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(PATTERN_BYTES_MAX)
            .build(pattern)
            .map_err(|error| {
                Error::invalid_input(format!("`{pattern}` cannot be searched for: {error}"))
                    .at("/pattern")
            })?;
        let searcher = SearcherBuilder::new()
            .binary_detection(BinaryDetection::quit(0))
            .before_context(context)
            .after_context(context)
            .heap_limit(Some(LINE_BYTES_MAX))
            .build();
        Ok(Self { matcher, searcher })
    }

    /// Adds a file's lines to the report, or why there are none.
    pub(crate) fn scan(&mut self, file: &Path, report: &mut Report) {
        let name = file.display().to_string();
        let mut lines = Lines { file: &name, report, is_text: true };
        let scanned = self.searcher.search_path(&self.matcher, file, &mut lines);
        let is_text = lines.is_text;
        match scanned {
            Err(error) => report.unreadable.push(format!("`{name}`: {error}")),
            Ok(()) if is_text => report.files += 1,
            Ok(()) => report.take_back(&name),
        }
    }
}

/// Hands the lines of one file over to the report.
struct Lines<'a> {
    file: &'a str,
    report: &'a mut Report,
    is_text: bool,
}

impl Sink for Lines<'_> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> io::Result<bool> {
        Ok(self.report.add(self.file, found.line_number().unwrap_or_default(), found.bytes(), true))
    }

    fn context(&mut self, _: &Searcher, near: &SinkContext<'_>) -> io::Result<bool> {
        Ok(self.report.add(self.file, near.line_number().unwrap_or_default(), near.bytes(), false))
    }

    fn finish(&mut self, _: &Searcher, end: &SinkFinish) -> io::Result<()> {
        self.is_text = end.binary_byte_offset().is_none();
        Ok(())
    }
}
