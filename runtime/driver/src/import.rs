//! A session read from one file: all of it is checked before any of it is stored.

use std::{
    collections::BTreeMap,
    io::{BufRead, Read as _},
};

use ringfence_capability::memory::KEY_BYTES;
use ringfence_event::{Digest, Event, Hasher, SessionId, Stream, Timestamp, TraceContext};
use ringfence_session::Session;
use ringfence_store::{
    Append, Batch, BlobWrite, MemoryChange, MemoryLimits, MemoryUsed, MemoryWrite, NewEvent, Wake,
};
use serde::Deserialize as _;
use serde_json::Value;

use crate::{
    Agent, Caller, Error, Runtime, buckets,
    definition::{definition, stand_in},
    export::bucket,
    exported::{
        Blob, EXPORT_FORMAT, End, Entry, FILE_BYTES, Head, LINE_BYTES, Line, Named, WHAT, blobs_of,
        depth, lost,
    },
    runtime::Inner,
};

/// How deep the JSON of a line may be: as deep as what a tool returns may be, and the event around it.
const DEPTH: usize = 160;

/// How far ahead of this host's clock the clock of another may have been.
const AHEAD_MS: u64 = 24 * 3_600_000;

/// The latest time that the store can keep.
const LATEST: Timestamp = Timestamp(i64::MAX as u64);

impl Runtime {
    /// Reads a session that [`Runtime::export`] has written, and stores it as one of the caller's,
    /// under its id. All of it is checked first: that nothing is missing, twice, changed or out of
    /// order, that the machine can make a session of it, and that its memory keeps the tenant's
    /// limits. Then it is stored in one commit. Tenant and user of its events become the caller's; who
    /// answered what stays as it was. A run that has not ended is unfinished here, and goes on as the
    /// grants of this host say: a call that was under way runs again only where the policy that it was
    /// decided by is the same, which another tenant's never is. What it spent before counts for the session and its runs, and not for
    /// the tenant's budget.
    ///
    /// The digest shows damage, not who wrote the file: what it says that people approved counts as
    /// approved, as far as this host's policy is the one they approved it under.
    ///
    /// Reads on this thread and waits for the store on it: not for use in async code.
    ///
    /// # Errors
    /// [`Error::Import`] with the line that is wrong, [`Error::SessionExists`] when the tenant has a
    /// session of this id; otherwise when it cannot be read or stored. Then nothing is stored.
    pub fn import(&self, caller: &Caller, input: &mut dyn BufRead) -> Result<SessionId, Error> {
        let mut file = File::new(input);
        let head = file.head()?;
        match self.0.store()?.session(&caller.tenant, &head.id) {
            Err(ringfence_store::Error::NoSuchSession) => {}
            Ok(_) => return Err(Error::SessionExists { session: head.id }),
            Err(error) => return Err(error.into()),
        }
        let mut import = Import::new(&self.0, caller, head)?;
        loop {
            match file.line()? {
                Line::Session(_) => return Err(file.wrong("a second head")),
                Line::Blob(blob) => import.blob(blob),
                Line::Event(event) => import.event(*event),
                Line::Memory(entry) => import.entry(entry),
                Line::End(end) => {
                    file.end(&end)?;
                    break;
                }
            }
            .map_err(|message| file.wrong(message))?;
        }
        import.check_end().map_err(|message| file.wrong(message))?;
        import.store(&file)
    }
}

/// The file as it is read.
struct File<'a> {
    input: &'a mut dyn BufRead,
    /// Of all lines before the current one.
    hasher: Hasher,
    /// The current one, with its end.
    text: Vec<u8>,
    /// Its number, from 1.
    line: u64,
    bytes: u64,
}

impl<'a> File<'a> {
    fn new(input: &'a mut dyn BufRead) -> Self {
        Self { input, hasher: Hasher::new(), text: vec![], line: 0, bytes: 0 }
    }

    fn wrong(&self, message: impl Into<String>) -> Error {
        Error::Import { line: self.line.max(1), message: message.into() }
    }

    /// Reads one more line; says whether there is one.
    fn read(&mut self) -> Result<bool, Error> {
        self.hasher.add(&self.text);
        self.text.clear();
        let read = (&mut *self.input).take(LINE_BYTES + 1).read_until(b'\n', &mut self.text);
        read.map_err(|source| Error::Transfer { act: "read", source })?;
        if self.text.is_empty() {
            return Ok(false);
        }
        self.line += 1;
        let length = self.text.len() as u64;
        self.bytes = self.bytes.saturating_add(length);
        if length > LINE_BYTES {
            return Err(self.wrong(format!("it is longer than {} MiB", LINE_BYTES >> 20)));
        }
        if self.bytes > FILE_BYTES {
            let most = FILE_BYTES >> 20;
            return Err(self.wrong(format!("with it the file is longer than {most} MiB")));
        }
        match self.text.ends_with(b"\n") {
            true => Ok(true),
            false => Err(self.wrong("the file is cut off here")),
        }
    }

    /// The current line as JSON.
    fn json(&self) -> Result<Value, Error> {
        if depth(&self.text) > DEPTH {
            return Err(self.wrong(format!("it is nested deeper than {DEPTH}")));
        }
        let mut reader = serde_json::Deserializer::from_slice(&self.text);
        // How deep it is was looked at above.
        reader.disable_recursion_limit();
        let value = Value::deserialize(&mut reader);
        value.and_then(|value| reader.end().map(|()| value)).map_err(|error| {
            let (column, text) = (error.column(), error.to_string());
            let text = text.split(" at line ").next().unwrap_or_default();
            self.wrong(format!("column {column}: no JSON: {text}"))
        })
    }

    /// The current line, if nothing of it is unknown here.
    fn parse(&self, value: &Value) -> Result<Line, Error> {
        let line = Line::deserialize(value).map_err(|error| self.wrong(error.to_string()))?;
        let kept = serde_json::to_value(&line).map_err(|error| self.wrong(error.to_string()))?;
        match lost(value, &kept) {
            None => Ok(line),
            Some(path) => Err(self.wrong(format!("`{path}` is not known to this version"))),
        }
    }

    /// The first line. Which version wrote it is looked at before everything that a version may say.
    fn head(&mut self) -> Result<Head, Error> {
        let none = "this is no exported session: `ringfence session export ID` writes one";
        if !self.read()? {
            return Err(self.wrong(none));
        }
        let value = self.json().map_err(|_| self.wrong(none))?;
        let head = &value["session"];
        let (what, format) = (head["what"].as_str(), head["format"].as_u64());
        let (Some(WHAT), Some(format)) = (what, format) else { return Err(self.wrong(none)) };
        if format != u64::from(EXPORT_FORMAT) {
            return Err(self.wrong(format!(
                "its format is {format}; this version of Ringfence reads {EXPORT_FORMAT}"
            )));
        }
        match self.parse(&value)? {
            Line::Session(head) => Ok(head),
            _ => Err(self.wrong(none)),
        }
    }

    /// The next line.
    fn line(&mut self) -> Result<Line, Error> {
        if !self.read()? {
            self.line += 1;
            return Err(self.wrong("the file ends here, before its last line"));
        }
        self.parse(&self.json()?)
    }

    /// Checks the last line, and that it is the last.
    fn end(&mut self, end: &End) -> Result<(), Error> {
        let before = self.line - 1;
        if end.lines != before {
            return Err(
                self.wrong(format!("{} lines are to stand before it, not {before}", end.lines))
            );
        }
        if end.digest != self.hasher.digest() {
            return Err(self.wrong("the lines before it are not those that it is the digest of"));
        }
        match self.read()? {
            true => Err(self.wrong("it stands behind the last line")),
            false => Ok(()),
        }
    }
}

/// What was read and checked so far.
struct Import<'a> {
    inner: &'a Inner,
    caller: &'a Caller,
    head: Head,
    session: Session,
    events: Vec<NewEvent>,
    blobs: BTreeMap<Digest, Vec<u8>>,
    /// Of blobs, those that an event has named.
    named: Named,
    /// A blob that no event has named yet.
    waiting: Option<Digest>,
    memory: Vec<MemoryWrite>,
    limits: MemoryLimits,
    /// What memory holds with what was read.
    used: MemoryUsed,
    latest: Timestamp,
}

impl<'a> Import<'a> {
    fn new(inner: &'a Inner, caller: &'a Caller, head: Head) -> Result<Self, Error> {
        let limits = inner.current().grants.memory_limits(&caller.tenant);
        let now = inner.config.clock.now();
        Ok(Self {
            inner,
            caller,
            session: Session::new(head.id.clone()),
            events: vec![],
            blobs: BTreeMap::new(),
            named: Named::default(),
            waiting: None,
            memory: vec![],
            limits: buckets::stored_limits(&limits),
            used: inner.store()?.memory_used(&bucket(caller, &head.id))?,
            latest: Timestamp(now.0.saturating_add(AHEAD_MS)),
            head,
        })
    }

    fn blob(&mut self, Blob { digest, bytes }: Blob) -> Result<(), String> {
        if Digest::of(&bytes) != digest {
            return Err(format!("the blob is not the one that {digest} names"));
        }
        if let Some(other) = self.waiting.replace(digest) {
            return Err(format!("no event has named the blob {other} before it"));
        }
        if !self.memory.is_empty() {
            return Err("a blob stands before the event that names it, not behind memory".into());
        }
        match self.blobs.insert(digest, bytes) {
            None => Ok(()),
            Some(_) => Err(format!("the blob {digest} is there twice")),
        }
    }

    fn event(&mut self, event: Event) -> Result<(), String> {
        let seq = event.seq;
        if !self.memory.is_empty() {
            return Err(format!("event {seq} stands behind memory"));
        }
        let before = self.session.last_at();
        self.session.apply(&event).map_err(|corrupt| corrupt.to_string())?;
        if event.at < before {
            return Err(format!("event {seq} was recorded before the one before it"));
        }
        if event.at > self.latest {
            return Err(format!("event {seq} is of a time that has not come"));
        }
        if event.cause.is_some_and(|cause| cause == 0 || cause >= seq) {
            return Err(format!("event {seq} follows from one that is not before it"));
        }
        let is_trace = |trace: &String| trace.parse::<TraceContext>().is_ok();
        if event.trace.as_ref().is_some_and(|trace| !is_trace(trace)) {
            return Err(format!("the trace of event {seq} is no trace context"));
        }
        if let Some(digest) = blobs_of(&event) {
            if !self.blobs.contains_key(&digest) {
                return Err(format!("the blob {digest} that event {seq} names is missing"));
            }
            self.named.is_new(digest);
        }
        if let Some(digest) = self.waiting.take().filter(|digest| !self.named.contains(digest)) {
            return Err(format!("event {seq} does not name the blob {digest} before it"));
        }
        let Event { at, body, cause, trace, .. } = event;
        self.events.push(NewEvent { at, body, cause, trace });
        Ok(())
    }

    fn entry(&mut self, Entry { key, value }: Entry) -> Result<(), String> {
        self.check_events()?;
        if !(1..=KEY_BYTES).contains(&key.len()) {
            return Err(format!("a key has 1 to {KEY_BYTES} bytes"));
        }
        if self.memory.last().is_some_and(|last| last.key >= key) {
            return Err("keys stand in their order, each once".into());
        }
        let bytes = (key.len() + value.len()) as u64;
        let MemoryUsed { bytes: bucket_bytes, keys, tenant_bytes } = &mut self.used;
        let limits = self.limits;
        for (used, more, limit, what) in [
            (keys, 1, limits.bucket_keys, "keys of a session"),
            (bucket_bytes, bytes, limits.bucket_bytes, "bytes of a session"),
            (tenant_bytes, bytes, limits.tenant_bytes, "bytes of the tenant"),
        ] {
            *used = used.saturating_add(more);
            if *used > limit {
                let (tenant, file) = (&self.caller.tenant, self.inner.config.file_name());
                return Err(format!(
                    "the memory does not fit, with it there are {used} of {limit} {what}: `memory` \
                     under [tenant.{tenant}.quota] in {file} allows more"
                ));
            }
        }
        let bucket = bucket(self.caller, &self.head.id);
        self.memory.push(MemoryWrite { bucket, key, change: MemoryChange::Set(value) });
        Ok(())
    }

    /// That all events are there.
    fn check_events(&self) -> Result<(), String> {
        let Head { agent, last_seq, .. } = &self.head;
        let found = self.session.seq();
        if found != *last_seq {
            return Err(format!("{last_seq} events are to stand before it, not {found}"));
        }
        match self.session.agent() {
            Some((name, _)) if name == agent => Ok(()),
            Some((name, _)) => Err(format!("the head names agent {agent}, the events {name}")),
            None => Err("the session has no events".into()),
        }
    }

    fn check_end(&self) -> Result<(), String> {
        self.check_events()?;
        match self.waiting {
            None => Ok(()),
            Some(digest) => Err(format!("no event names the blob {digest}")),
        }
    }

    /// When the session is to be looked at again, as its driver would have said it on leaving.
    fn wake(&self) -> Option<Timestamp> {
        self.session.run()?;
        let source = self.session.source().and_then(|digest| self.blobs.get(&digest));
        // An agent that cannot be run here is told to whoever goes on with the session.
        let agent = source.and_then(|source| Agent::from_stored(source).ok());
        let known = agent.and_then(|agent| definition(self.inner, &agent).ok());
        let definition = known.or_else(|| stand_in(&self.session))?;
        self.session.wake_at(&definition, None).map(|at| at.min(LATEST))
    }

    fn store(self, file: &File<'_>) -> Result<SessionId, Error> {
        let (id, tenant) = (self.head.id.clone(), &self.caller.tenant);
        let wake = self.wake();
        let append = Append {
            stream: Stream::Session(id.clone()),
            tenant: tenant.clone(),
            user: self.caller.user.clone(),
            fence: None,
            expected_seq: Some(0),
            events: self.events,
        };
        let blobs = self.blobs.into_values();
        let batch = Batch {
            appends: vec![append],
            memory: self.memory,
            memory_limits: Some(self.limits),
            blobs: blobs.map(|bytes| BlobWrite { tenant: tenant.clone(), bytes }).collect(),
            wake: wake.map(|at| Wake { tenant: tenant.clone(), session: id.clone(), at: Some(at) }),
            ..Batch::default()
        };
        match self.inner.store()?.commit_blocking(batch) {
            Ok(_) => Ok(id),
            // Somebody else has imported it meanwhile.
            Err(ringfence_store::Error::Conflict(_)) => Err(Error::SessionExists { session: id }),
            // It fitted when it was looked at; others have written since.
            Err(ringfence_store::Error::MemoryFull { .. }) => {
                Err(file.wrong("the tenant's memory has become too full for it"))
            }
            Err(error) => Err(error.into()),
        }
    }
}
