//! What the program writes to: standard output for what was asked for, standard error for what is
//! said about it. No other file of the program writes anywhere.

use std::{
    fmt,
    io::{self, ErrorKind, IsTerminal as _, Write},
};

use ringfence::event::{neutralise, neutralise_line};
use serde::Serialize;

use crate::text::cut;

/// A line that is rewritten must not wrap: as many columns as the narrowest usual terminal has.
const PROGRESS_COLUMNS: usize = 78;

/// Both outputs.
pub(crate) struct Screen {
    /// What was asked for.
    pub(crate) out: Sheet,
    /// What is said about it.
    pub(crate) err: Sheet,
    /// Whether `out` takes JSON and nothing else.
    pub(crate) json: bool,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How a piece of text is meant; a colour where there are colours.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tone {
    /// Beside the point.
    Faint,
    /// What to look at first.
    Strong,
    /// It went well.
    Good,
    /// It may go wrong.
    Warning,
    /// It went wrong.
    Bad,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Faint => "2",
            Self::Strong => "1",
            Self::Good => "32",
            Self::Warning => "33",
            Self::Bad => "31",
        }
    }
}

impl Screen {
    /// The outputs of this process.
    pub(crate) fn of_process(color: Color, json: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        let colored = |terminal: bool| match color {
            Color::Auto => terminal && !plain,
            Color::Always => true,
            Color::Never => false,
        };
        let (out, err) = (io::stdout(), io::stderr());
        let (out_terminal, err_terminal) = (out.is_terminal(), err.is_terminal());
        Self {
            out: Sheet::new(Box::new(out), out_terminal, colored(out_terminal)),
            err: Sheet::new(Box::new(err), err_terminal, colored(err_terminal)),
            json,
        }
    }
}

/// One output. Nobody reading any more is no error; anything else that goes wrong is kept for
/// [`Sheet::finish`].
pub(crate) struct Sheet {
    writer: Box<dyn Write + Send>,
    terminal: bool,
    colored: bool,
    /// Whether the last line is one that is to be rewritten.
    rewriting: bool,
    closed: bool,
    failed: Option<io::Error>,
}

impl Sheet {
    pub(crate) fn new(writer: Box<dyn Write + Send>, terminal: bool, colored: bool) -> Self {
        Self { writer, terminal, colored, rewriting: false, closed: false, failed: None }
    }

    /// One line, or several.
    pub(crate) fn line(&mut self, text: impl fmt::Display) {
        self.write(&format!("{text}\n"));
    }

    /// A value as one line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) {
        match serde_json::to_string(value) {
            Ok(text) => self.line(text),
            Err(error) => self.failed = Some(error.into()),
        }
    }

    /// Text of a tool or a model, ended by a newline: as it is into a file or a pipe, with nothing
    /// in it that a terminal would obey onto a terminal.
    pub(crate) fn foreign(&mut self, text: &str) {
        let shown = if self.terminal { neutralise(text) } else { text.into() };
        let end = if shown.is_empty() || shown.ends_with('\n') { "" } else { "\n" };
        self.write(&format!("{shown}{end}"));
    }

    /// How far something is: a line that the next one rewrites on a terminal.
    pub(crate) fn progress(&mut self, text: &str) {
        if !self.terminal {
            return self.line(neutralise_line(text));
        }
        self.write(&cut(text, PROGRESS_COLUMNS));
        self.rewriting = true;
    }

    /// A question, to be answered on the same line.
    pub(crate) fn prompt(&mut self, text: &str) {
        self.write(text);
    }

    /// `text` in a tone.
    pub(crate) fn paint(&self, tone: Tone, text: impl fmt::Display) -> String {
        match self.colored {
            true => format!("\x1b[{}m{text}\x1b[0m", tone.code()),
            false => text.to_string(),
        }
    }

    /// Whether a person may be looking.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Everything written, or why not.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.rewriting) {
            self.write("\r\x1b[2K");
        }
        self.written(|writer| writer.flush());
        self.failed.take().map_or(Ok(()), Err)
    }

    fn write(&mut self, text: &str) {
        let erase = if std::mem::take(&mut self.rewriting) { "\r\x1b[2K" } else { "" };
        self.written(|writer| {
            writer.write_all(erase.as_bytes())?;
            writer.write_all(text.as_bytes())?;
            writer.flush()
        });
    }

    fn written(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) {
        if self.closed {
            return;
        }
        match write(&mut *self.writer) {
            Ok(()) => {}
            // `ringfence … | head`: what goes on goes on, and is not shown.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.closed = true,
            Err(error) => {
                self.closed = true;
                self.failed = Some(error);
            }
        }
    }
}

/// Bytes that are not made here, as they are: nobody reading any more is no error, as everywhere.
impl Write for Sheet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written(|writer| writer.write_all(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.written(|writer| writer.flush());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn check(terminal: bool, write: impl FnOnce(&mut Sheet), expected: &str) {
        let paper = Paper::default();
        let mut sheet = Sheet::new(Box::new(paper.clone()), terminal, terminal);
        write(&mut sheet);
        sheet.finish().unwrap();
        assert_eq!(String::from_utf8_lossy(&paper.0.lock().unwrap()), expected);
    }

    #[test]
    fn foreign_text_commands_no_terminal_and_is_not_touched_elsewhere() {
        let text = "a\u{1b}[2Jb";
        check(true, |sheet| sheet.foreign(text), "a\\u{1b}[2Jb\n");
        check(false, |sheet| sheet.foreign(text), "a\u{1b}[2Jb\n");
        check(true, |sheet| sheet.foreign("x\n"), "x\n");
        check(true, |sheet| sheet.foreign(""), "");
    }

    #[test]
    fn progress_is_rewritten_on_a_terminal_and_a_line_elsewhere() {
        let write = |sheet: &mut Sheet| {
            sheet.progress("1 of 2");
            sheet.progress("2 of\n2");
            sheet.line("done");
        };
        check(true, write, "1 of 2\r\x1b[2K2 of\\n2\r\x1b[2Kdone\n");
        check(false, write, "1 of 2\n2 of\\n2\ndone\n");
    }

    #[test]
    fn colours_are_only_where_they_are_wanted() {
        let write = |sheet: &mut Sheet| {
            let text = sheet.paint(Tone::Bad, "no");
            sheet.line(text);
        };
        check(true, write, "\x1b[31mno\x1b[0m\n");
        check(false, write, "no\n");
    }

    #[test]
    fn a_reader_that_is_gone_is_no_error_and_a_full_disk_is() {
        struct Broken(ErrorKind);
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for (kind, fine) in [(ErrorKind::BrokenPipe, true), (ErrorKind::StorageFull, false)] {
            let mut sheet = Sheet::new(Box::new(Broken(kind)), false, false);
            sheet.line("x");
            assert_eq!(sheet.finish().is_ok(), fine);
        }
    }
}
