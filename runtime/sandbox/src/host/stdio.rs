//! Standard output and error: log records, one a line, counted, with nothing held back but the
//! line that is not finished yet.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use ringfence_capability::{LimitReached, Meter, cost};
use ringfence_event::{Level, Note, neutralise_line};
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamError, StreamResult},
};

use crate::run::Sink;

/// A line longer than this is given out in pieces.
const LINE: usize = 8 << 10;
/// What is kept of standard error to explain a trap.
const LAST_WORDS: usize = 2 << 10;

/// The end of standard error: where a panic says what went wrong.
#[derive(Clone, Default)]
pub(crate) struct LastWords(Arc<Mutex<VecDeque<u8>>>);

impl LastWords {
    fn hear(&self, bytes: &[u8]) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.extend(bytes);
        let past = heard.len().saturating_sub(LAST_WORDS);
        heard.drain(..past);
    }

    pub(crate) fn text(&self) -> String {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = heard.iter().copied().collect();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

/// One of the two streams.
#[derive(Clone)]
pub(crate) struct Printed(Arc<Shared>);

struct Shared {
    level: Level,
    meter: Arc<Meter>,
    sink: Arc<dyn Sink>,
    last_words: Option<LastWords>,
    line: Mutex<Vec<u8>>,
}

impl Printed {
    pub(crate) fn stdout(meter: Arc<Meter>, sink: Arc<dyn Sink>) -> Self {
        Self::new(Level::Info, meter, sink, None)
    }

    pub(crate) fn stderr(meter: Arc<Meter>, sink: Arc<dyn Sink>, last_words: LastWords) -> Self {
        Self::new(Level::Warn, meter, sink, Some(last_words))
    }

    fn new(
        level: Level,
        meter: Arc<Meter>,
        sink: Arc<dyn Sink>,
        last_words: Option<LastWords>,
    ) -> Self {
        Self(Arc::new(Shared { level, meter, sink, last_words, line: Mutex::default() }))
    }
}

impl Printed {
    /// Gives out what was printed without a newline, when the call is over.
    pub(crate) fn end(&self) {
        self.0.say_rest();
    }
}

impl Shared {
    fn print(&self, bytes: &[u8]) -> StreamResult<()> {
        let limited = |limit: LimitReached| StreamError::Trap(limit.into());
        self.meter.log(bytes.len() as u64).map_err(limited)?;
        if let Some(last_words) = &self.last_words {
            last_words.hear(bytes);
        }
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(part);
            while line.ends_with(b"\n") || line.len() > LINE {
                self.meter.charge(cost::NOTE).map_err(limited)?;
                let end = piece(&line);
                let rest = line.split_off(end);
                self.say(&mut line);
                *line = rest;
            }
        }
        Ok(())
    }

    /// Gives out what was printed without a newline: it is a record too.
    fn say_rest(&self) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if !line.is_empty() {
            self.say(&mut line);
        }
    }

    fn say(&self, line: &mut Vec<u8>) {
        // Taken out first: a sink that breaks is not told the same once more.
        let line = std::mem::take(line);
        let text = String::from_utf8_lossy(&line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let message = neutralise_line(text.strip_suffix('\r').unwrap_or(text)).into_owned();
        self.sink.note(Note::Log { level: self.level, message });
    }
}

/// How much of a line is given out at once: all of it if it is not too long, and no character in two.
fn piece(line: &[u8]) -> usize {
    if line.len() <= LINE {
        return line.len();
    }
    let starts = |at: &usize| line[*at] & 0b1100_0000 != 0b1000_0000;
    // A character has at most four bytes; what is longer is none.
    (LINE - 3..=LINE).rev().find(starts).unwrap_or(LINE)
}

impl Drop for Shared {
    /// For a call that nobody waits for any more. A sink that breaks must not keep the store, which
    /// this is a part of, from giving back its place.
    fn drop(&mut self) {
        let _ = catch_unwind(AssertUnwindSafe(|| self.say_rest()));
    }
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Printed {
    async fn ready(&mut self) {}
}

#[wasmtime_wasi::async_trait]
impl OutputStream for Printed {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.print(&bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

/// For WASI 0.3, whose guests are refused; here so that the trait is whole.
impl AsyncWrite for Printed {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let printed = self.0.print(bytes);
        Poll::Ready(printed.map(|()| bytes.len()).map_err(std::io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
