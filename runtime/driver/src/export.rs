//! A session written as one file, so that it can be read elsewhere.

use std::io::Write;

use ringfence_event::{Event, Hasher, Scope, SessionId, Stream};
use ringfence_store::BucketId;

use crate::{
    Caller, Error, Runtime,
    exported::{
        Blob, EXPORT_FORMAT, End, Entry, FILE_BYTES, Head, LINE_BYTES, Line, Named, WHAT, blobs_of,
    },
    runtime::Inner,
    session::own,
};

/// How many events or keys are read at a time: what is in memory at once.
const BATCH: u32 = 64;

/// What was exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// How many events.
    pub events: u64,
    /// How many entries of the session's memory.
    pub memory: u64,
}

impl Runtime {
    /// Writes a session of the caller's as one file of JSON lines, which [`Runtime::import`] reads:
    /// what happened up to now, the blobs that its events name, and what its tools keep in the
    /// session's memory. Whoever drives the session meanwhile goes on. Events are taken up to the one
    /// that was the last at the beginning; memory as it stands when it is read, so that a call that
    /// ends meanwhile may be in there already. Not in the file are commands that nobody has taken out
    /// of the session's inbox, the files in its `scratch`, tools, grants and secrets.
    ///
    /// A run that has not ended is exported as it stands. It is unfinished then in both places, and
    /// should be gone on with in one.
    ///
    /// Reads and writes on this thread.
    ///
    /// # Errors
    /// When the caller has no such session, it cannot be read, holds more than a file takes, or the
    /// file cannot be written. What is written by then has no end, and is not imported.
    pub fn export(
        &self,
        caller: &Caller,
        id: &SessionId,
        out: &mut dyn Write,
    ) -> Result<Exported, Error> {
        let store = self.0.store()?;
        let agent = own(store, caller, id)?.agent;
        let stream = Stream::Session(id.clone());
        let last_seq = store.last_seq(&caller.tenant, &stream)?;
        let mut file = File { out, session: id, hasher: Hasher::new(), lines: 0, bytes: 0 };
        let what = WHAT.to_owned();
        file.line(&Line::Session(Head {
            format: EXPORT_FORMAT,
            what,
            id: id.clone(),
            agent,
            last_seq,
        }))?;
        let mut named = Named::default();
        let mut seq = 0;
        while seq < last_seq {
            let batch = u32::try_from(last_seq - seq).unwrap_or(BATCH).min(BATCH);
            for event in store.read(&caller.tenant, &stream, seq + 1, batch)? {
                seq = event.seq;
                if let Some(digest) = blobs_of(&event).filter(|digest| named.is_new(*digest)) {
                    file.line(&Line::Blob(blob(&self.0, caller, &event, digest)?))?;
                }
                file.line(&Line::Event(Box::new(event)))?;
            }
        }
        let memory = file.memory(&self.0, caller)?;
        file.end()?;
        Ok(Exported { events: last_seq, memory })
    }
}

fn blob(
    inner: &Inner,
    caller: &Caller,
    event: &Event,
    digest: ringfence_event::Digest,
) -> Result<Blob, Error> {
    let bytes = inner.store()?.blob(&caller.tenant, &digest)?;
    // What an event names was stored in the same commit.
    let bytes = bytes.ok_or_else(|| ringfence_store::Error::Corrupt {
        stream: event.stream.clone(),
        seq: event.seq,
        what: format!("the blob {digest} that it names is missing"),
    })?;
    Ok(Blob { digest, bytes })
}

/// The file as it grows.
struct File<'a> {
    out: &'a mut dyn Write,
    session: &'a SessionId,
    hasher: Hasher,
    lines: u64,
    bytes: u64,
}

impl File<'_> {
    fn line(&mut self, line: &Line) -> Result<(), Error> {
        let mut text =
            serde_json::to_vec(line).expect("plain data with string keys is always JSON");
        text.push(b'\n');
        let length = text.len() as u64;
        self.bytes = self.bytes.saturating_add(length);
        if length > LINE_BYTES || self.bytes > FILE_BYTES {
            let message = format!(
                "line {} makes it longer than the {} MiB a line and {} MiB a file that are read again",
                self.lines + 1,
                LINE_BYTES >> 20,
                FILE_BYTES >> 20
            );
            return Err(Error::Export { session: self.session.clone(), message });
        }
        self.hasher.add(&text);
        self.lines += 1;
        self.out.write_all(&text).map_err(failed)
    }

    /// The entries of the session's memory; how many.
    fn memory(&mut self, inner: &Inner, caller: &Caller) -> Result<u64, Error> {
        let store = inner.store()?;
        let bucket = bucket(caller, self.session);
        let mut entries = 0;
        let mut cursor = None;
        loop {
            let page = store.memory_keys(&bucket, cursor.as_deref(), BATCH)?;
            for key in page.keys {
                // One that was taken out meanwhile is not there any more.
                if let Some(value) = store.memory_get(&bucket, &key)? {
                    self.line(&Line::Memory(Entry { key, value }))?;
                    entries += 1;
                }
            }
            cursor = page.cursor;
            if cursor.is_none() {
                return Ok(entries);
            }
        }
    }

    fn end(&mut self) -> Result<(), Error> {
        let end = End { lines: self.lines, digest: self.hasher.digest() };
        self.line(&Line::End(end))?;
        self.out.flush().map_err(failed)
    }
}

/// The memory of a session.
pub(crate) fn bucket(caller: &Caller, session: &SessionId) -> BucketId {
    let (tenant, owner) = (caller.tenant.clone(), session.to_string());
    BucketId { tenant, scope: Scope::Session, owner }
}

fn failed(source: std::io::Error) -> Error {
    Error::Transfer { act: "write", source }
}
