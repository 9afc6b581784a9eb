//! The journal of one session while it is driven: events are applied to the machine at once and
//! stored together, and nobody is shown what is not durable.

use std::{
    collections::HashMap,
    fs::{File, TryLockError},
    path::Path,
    sync::Arc,
};

use ringfence_event::{
    Body, Digest, Event, RunId, SessionId, SpanId, Stream, Timestamp, TraceContext,
};
use ringfence_session::{Command, Decided, Definition, Session, Totals};
use ringfence_store::{
    Append, Batch, BlobWrite, Committed, Fence, InboxId, MemoryLimits, MemoryWrite, NewEvent,
    Store, Wake,
};

use crate::{
    Caller, Clock, Config, Error,
    budget::{Ledger, Stopped},
    entropy,
    runtime::Inner,
};

/// How many events are read at a time: of the largest, with a megabyte of output each, they are what a
/// process can hold.
pub(crate) const PAGE: u32 = 128;

/// A session with the right to write it.
pub(crate) struct Journal {
    store: Arc<Store>,
    caller: Caller,
    clock: Clock,
    fence: Fence,
    /// Of what is recorded of no run.
    trace: TraceContext,
    /// Of the runs that are open, by the input that began each.
    traces: HashMap<RunId, TraceContext>,
    session: Session,
    /// Where the stored list stands.
    stored: u64,
    unsaved: Vec<NewEvent>,
    blobs: Vec<BlobWrite>,
    /// The operator's file that the account is by.
    rules: Arc<Config>,
    /// The session's account with its tenant.
    ledger: Ledger,
    /// Budgets of the tenant that are nearly spent, until the session is told.
    warnings: Vec<Stopped>,
    /// When the session is to be looked at again, if that is not stored yet.
    wake: Option<Option<Timestamp>>,
    done: Vec<InboxId>,
    /// Held as long as the session is driven, and let go by the system if the process dies.
    _driven: File,
    saves: u64,
}

impl Journal {
    /// Claims a session and folds its journal. A session that somebody drives is not taken from
    /// them: its calls are under way.
    pub(crate) async fn open(
        inner: &Inner,
        caller: &Caller,
        id: &SessionId,
    ) -> Result<Self, Error> {
        let opened = Self::try_open(inner, caller, id).await?;
        opened.ok_or_else(|| driven(id))
    }

    /// The same; `None` while somebody drives it.
    pub(crate) async fn try_open(
        inner: &Inner,
        caller: &Caller,
        id: &SessionId,
    ) -> Result<Option<Self>, Error> {
        let (config, store) = (&inner.config, inner.store()?.clone());
        let current = inner.current();
        let Some(driven) = drive(&config.home, id)? else { return Ok(None) };
        let worker = format!("{}", std::process::id());
        let fence = store.claim(&caller.tenant, id, &worker).await?;
        let mut traces = HashMap::new();
        let session = fold_and(&store, caller, id, &mut |event| remember(&mut traces, event))?;
        let is_open = |run: &RunId| {
            session.runs().iter().any(|known| known.id() == *run && known.status().is_open())
        };
        traces.retain(|run, _| is_open(run));
        Ok(Some(Self {
            store,
            caller: caller.clone(),
            clock: config.clock.clone(),
            ledger: Ledger::new(
                &caller.tenant,
                id.as_str(),
                current.grants.tenant_budget(&caller.tenant),
                session.totals(),
            ),
            rules: current.clone(),
            warnings: vec![],
            fence,
            trace: entropy::trace()?,
            traces,
            stored: session.seq(),
            session,
            _driven: driven,
            unsaved: vec![],
            blobs: vec![],
            wake: None,
            done: vec![],
            saves: 0,
        }))
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// The operator's file may have been read again: what the tenant may spend is by that.
    pub(crate) fn reload(&mut self, rules: Arc<Config>) {
        if !Arc::ptr_eq(&self.rules, &rules) {
            self.ledger.set_budget(rules.grants.tenant_budget(&self.caller.tenant));
            self.rules = rules;
        }
    }

    /// Lets the machine decide a command and applies what it decided.
    pub(crate) fn record(
        &mut self,
        definition: &Definition,
        command: Command,
    ) -> Result<(), Error> {
        let at = self.now();
        let owner = (&self.caller.tenant, &self.caller.user);
        let decided = self.session.act(owner, definition, at, command)?;
        for decided in decided {
            let event = self.new_event(at, decided);
            self.unsaved.push(event);
        }
        Ok(())
    }

    /// What is recorded from now on follows from a request in this trace, unless it is of a run that has
    /// one; the trace that was before.
    pub(crate) fn follow_from(&mut self, trace: TraceContext) -> TraceContext {
        std::mem::replace(&mut self.trace, trace)
    }

    /// The header that names the event recorded last as the span of what is asked of others next.
    pub(crate) fn traceparent(&self, run: RunId) -> String {
        let trace = self.traces.get(&run).unwrap_or(&self.trace);
        let stream = Stream::Session(self.session.id().clone());
        trace.traceparent(SpanId::of_event(&stream, self.session.seq()))
    }

    /// The trace that an event is of: its run's, from its input on.
    fn trace_of(&mut self, body: &Body) -> TraceContext {
        match (body, body.run()) {
            (Body::MessageAdded { .. }, Some(run)) => {
                self.traces.insert(run, self.trace);
                self.trace
            }
            (_, Some(run)) => self.traces.get(&run).copied().unwrap_or(self.trace),
            (_, None) => self.trace,
        }
    }

    /// As [`record`](Self::record), with memory that changes with what is recorded; durable when
    /// this returns. A limit that the memory does not keep is an error, and then nothing is recorded.
    pub(crate) async fn remember(
        &mut self,
        definition: &Definition,
        command: Command,
        memory: Vec<MemoryWrite>,
        limits: MemoryLimits,
        show: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<(), Error> {
        self.save(show).await?;
        let at = self.now();
        let owner = (&self.caller.tenant, &self.caller.user);
        // What is written here may not fit, and then nothing of it has happened.
        let mut next = self.session.clone();
        let decided = next.act(owner, definition, at, command)?;
        let events = decided.into_iter().map(|decided| self.new_event(at, decided)).collect();
        let totals = next.totals();
        let batch = Batch {
            appends: vec![self.append(events)],
            memory,
            memory_limits: Some(limits),
            budgets: self.ledger.settlement(&totals, self.clock.now()),
            ..Batch::default()
        };
        let committed = self.store.commit(batch).await?;
        self.session = next;
        self.committed(&totals, &committed, show);
        Ok(())
    }

    fn new_event(&mut self, at: Timestamp, decided: Decided) -> NewEvent {
        let Decided { body, cause } = decided;
        let trace = Some(self.trace_of(&body).to_string());
        NewEvent { at, body, cause, trace }
    }

    /// Takes in that something is durable, and shows it.
    fn committed(
        &mut self,
        totals: &Totals,
        committed: &Committed,
        show: &mut (dyn FnMut(&Event) + Send),
    ) {
        self.ledger.settled(totals);
        self.warnings = self.ledger.warnings(&committed.budgets, self.clock.now());
        self.stored += committed.events.len() as u64;
        committed.events.iter().for_each(show);
    }

    /// What time it is. Events of a session never go back in time, whatever the clocks of the hosts
    /// that drove it one after the other say.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now().max(self.session.last_at())
    }

    /// Bytes to be stored with what is recorded next.
    pub(crate) fn blob(&mut self, bytes: Vec<u8>) -> Digest {
        let digest = Digest::of(&bytes);
        self.blobs.push(BlobWrite { tenant: self.caller.tenant.clone(), bytes });
        digest
    }

    /// When whoever finds the session undriven is to look at it again, whatever is in the inbox.
    pub(crate) fn wake(&mut self, at: Option<Timestamp>) {
        self.wake = Some(at);
    }

    /// A command from the inbox that is done with the next save.
    pub(crate) fn done(&mut self, command: InboxId) {
        self.done.push(command);
    }

    /// Whether commands may wait in the inbox; asked often.
    pub(crate) fn has_mail(&self) -> Result<bool, Error> {
        Ok(self.store.has_mail(&self.caller.tenant, self.session.id())?)
    }

    /// The commands that wait in the inbox.
    pub(crate) fn inbox(&self) -> Result<Vec<ringfence_store::Inboxed>, Error> {
        Ok(self.store.inbox(&self.caller.tenant, self.session.id())?)
    }

    /// The session's account with its tenant, and the store that it is kept in.
    pub(crate) fn ledger(&mut self) -> (&mut Ledger, &Store, Timestamp) {
        let now = self.clock.now();
        (&mut self.ledger, &self.store, now)
    }

    /// The budgets of the tenant that are nearly spent, as the last commit told.
    pub(crate) fn take_warnings(&mut self) -> Vec<Stopped> {
        std::mem::take(&mut self.warnings)
    }

    /// Makes everything recorded durable, and then shows it.
    pub(crate) async fn save(
        &mut self,
        show: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<(), Error> {
        let is_due = !self.done.is_empty() || self.wake.is_some() || self.ledger.owes();
        if self.unsaved.is_empty() && !is_due {
            return Ok(());
        }
        self.saves += 1;
        let totals = self.session.totals();
        let events = std::mem::take(&mut self.unsaved);
        let batch = Batch {
            appends: vec![self.append(events)],
            blobs: std::mem::take(&mut self.blobs),
            budgets: self.ledger.settlement(&totals, self.clock.now()),
            wake: self.wake.take().map(|at| Wake {
                tenant: self.caller.tenant.clone(),
                session: self.session.id().clone(),
                at,
            }),
            inbox_done: std::mem::take(&mut self.done),
            ..Batch::default()
        };
        let committed = self.store.commit(batch).await?;
        self.committed(&totals, &committed, show);
        Ok(())
    }

    /// How often something was made durable.
    pub(crate) fn saves(&self) -> u64 {
        self.saves
    }

    fn append(&self, events: Vec<NewEvent>) -> Append {
        Append {
            stream: Stream::Session(self.session.id().clone()),
            tenant: self.caller.tenant.clone(),
            user: self.caller.user.clone(),
            fence: Some(self.fence),
            expected_seq: Some(self.stored),
            events,
        }
    }
}

/// Keeps the trace of a run with its input.
fn remember(traces: &mut HashMap<RunId, TraceContext>, event: &Event) {
    let trace = event.trace.as_deref().and_then(|trace| trace.parse().ok());
    if let (Body::MessageAdded { run, .. }, Some(trace)) = (&event.body, trace) {
        traces.insert(*run, trace);
    }
}

/// Somebody else drives the session.
pub(crate) fn driven(id: &SessionId) -> Error {
    Error::Driven { session: id.clone() }
}

/// Takes a session to drive it, on this machine; `None` if somebody else has. The claim in the store
/// stands behind it: a lock that was lost costs time, not the journal.
pub(crate) fn drive(home: &Path, id: &SessionId) -> Result<Option<File>, Error> {
    let folder = home.join("driven");
    let path = folder.join(id.as_str());
    let error = |source| Error::File { act: "write", path: path.clone(), source };
    std::fs::create_dir_all(&folder).map_err(error)?;
    let file = File::create(&path).map_err(error)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(error(source)),
    }
}

/// A session as its journal tells it.
pub(crate) fn fold(store: &Store, caller: &Caller, id: &SessionId) -> Result<Session, Error> {
    fold_and(store, caller, id, &mut |_| {})
}

/// The same, telling each event.
fn fold_and(
    store: &Store,
    caller: &Caller,
    id: &SessionId,
    tell: &mut dyn FnMut(&Event),
) -> Result<Session, Error> {
    let mut session = Session::new(id.clone());
    let stream = Stream::Session(id.clone());
    loop {
        let page = store.read(&caller.tenant, &stream, session.seq() + 1, PAGE)?;
        for event in &page {
            session.apply(event)?;
            tell(event);
        }
        if page.len() < PAGE as usize {
            return Ok(session);
        }
    }
}
