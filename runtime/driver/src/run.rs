//! Something said to an agent, and the run that comes of it: driven here, or watched while another
//! process drives the session.

use std::{sync::Arc, time::Duration};

use ringfence_event::{
    Digest, Event, KeyId, RunId, SessionId, Stream, TenantId, Timestamp, TraceContext, Wait,
};
use ringfence_sandbox::Cancel;
use ringfence_session::{Busy, Command, Definition, Refused, Run, RunStatus, Session, Totals};
use ringfence_store::{BlobWrite, InboxId, OpenSession, Store};

use crate::{
    Agent, Caller, Error, Refusal, Runtime,
    admit::{Entry, Phase, Slot},
    budget,
    definition::{definition, stand_in},
    drive::{Driver, Until},
    entropy,
    inbox::InboxCommand,
    journal::{self, Journal},
    runtime::Inner,
    serve::is_made,
    session::own,
};

/// How often it is looked whether another process has recorded something.
const LOOK: Duration = Duration::from_millis(50);

/// What a run starts with.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// What is said to the agent.
    pub text: String,
    /// The session to say it in; `None`: a new one.
    pub session: Option<SessionId>,
    /// Whether that session is made if there is none of its id, with the first that is recorded of the run: a
    /// run that is refused makes none.
    pub makes_session: bool,
    /// What is done if a run is under way in it.
    pub busy: Busy,
    /// What whoever says it calls it: said again in the same session under the same key it is the
    /// same run. `None`: a key of its own.
    pub key: Option<String>,
    /// When nobody waits for the answer any more: a run that has not begun by then, because others were
    /// before it, ends as `limit-reached` without having begun. `None`: it waits as long as it takes.
    pub not_after: Option<Timestamp>,
    /// The trace that whoever says it is in; `None`: one of its own begins.
    pub trace: Option<TraceContext>,
    /// The API key that it came with, if a service was asked: [`Runtime::end_runs_of`] ends what was begun with
    /// one, and nobody goes on with it once that is revoked.
    pub api_key: Option<KeyId>,
}

impl Input {
    /// Something said in a new session.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }
}

/// How a run ended, or what it waits for.
#[derive(Clone, Debug)]
pub struct RunEnded {
    /// Its session.
    pub session: SessionId,
    /// Which run.
    pub run: RunId,
    /// Where it stands.
    pub status: RunStatus,
    /// The final answer of a run that completed.
    pub answer: Option<String>,
    /// Why a run failed.
    pub failure: Option<String>,
    /// How many things its calls were refused, whole or in part.
    pub denials: usize,
    /// What it spent.
    pub totals: Totals,
}

impl RunEnded {
    pub(crate) fn of(session: &Session, run: &Run) -> Self {
        Self {
            session: session.id().clone(),
            run: run.id(),
            status: run.status(),
            answer: run.answer().map(str::to_owned),
            failure: run.failure().map(str::to_owned),
            denials: run
                .calls()
                .filter_map(|call| call.result())
                .map(|result| result.denials.len())
                .sum(),
            totals: run.totals(),
        }
    }
}

impl Runtime {
    /// Says something to an agent and drives the run until it ends or waits for a person. `show`
    /// is given each event of the session, in order, once it is durable. A run that an earlier
    /// process left unfinished in the session is brought to its end first; one that another process
    /// drives is waited for, if [`Input::busy`] says so.
    ///
    /// # Errors
    /// When the agent cannot be run here, the session does not take the input, or the host fails;
    /// what is recorded by then stays, and [`Runtime::resume`] goes on from it.
    pub async fn run(
        &self,
        caller: &Caller,
        agent: &Agent,
        input: Input,
        cancel: &Cancel,
        show: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<RunEnded, Error> {
        let inner = &self.0;
        let entry = inner.enter(&caller.tenant, input.not_after)?;
        let definition = definition(inner, agent)?;
        inner.model(&definition.model.name)?;
        let store = inner.store()?.clone();
        budget::admit(inner, caller)?;
        let id = match &input.session {
            Some(id) if input.makes_session => {
                is_made(&store, caller, id)?;
                id.clone()
            }
            // A session that is not there, or somebody else's, is not claimed into being.
            Some(id) => own(&store, caller, id)?.id,
            None => SessionId::from_random(entropy::id()?),
        };
        let mut turn = Turn { entry: &entry, not_after: input.not_after, cancel, slot: None };
        // What is driven here takes no slot of its own: whoever interrupts it waits for nobody.
        if !inner.tended.is_driven(&id) {
            turn.come().await?;
        }
        let key = match input.key {
            Some(key) => key,
            None => format!("{:032x}", u128::from_be_bytes(entropy::id()?)),
        };
        let Input { text, busy, not_after, trace, api_key, .. } = input;
        let trace = trace.map_or_else(entropy::trace, Ok)?;
        let said = Said { text, busy, key, not_after, trace, api_key, source: agent.stored() };
        let _driving = inner.tended.drive(caller, &id);
        match turn.open(inner, caller, &id).await? {
            Some(journal) => {
                let mut driver = Driver::new(inner, caller, agent, definition, journal);
                self.end_of_revoked(caller, &mut driver)?;
                said.record(&mut driver, show).await?;
                driver.drive(Until::Run(said.key), cancel, show).await
            }
            None => self.beside(caller, agent, definition, &id, said, turn, show).await,
        }
    }

    /// Drives what is unfinished in a session until it ends or waits for a person, with the agent as
    /// the session used it last.
    ///
    /// # Errors
    /// When there is no such session or nothing unfinished in it, somebody drives it, its agent
    /// cannot be run here, or the host fails.
    pub async fn resume(
        &self,
        caller: &Caller,
        id: &SessionId,
        cancel: &Cancel,
        show: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<RunEnded, Error> {
        self.resume_telling(caller, id, cancel, &mut || {}, show).await
    }

    /// The same; `begins` is told once it is sure that it goes on, and here.
    ///
    /// # Errors
    /// As for [`resume`](Self::resume).
    pub async fn resume_telling(
        &self,
        caller: &Caller,
        id: &SessionId,
        cancel: &Cancel,
        begins: &mut (dyn FnMut() + Send),
        show: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<RunEnded, Error> {
        let entry = self.0.enter(&caller.tenant, None)?;
        let mut turn = Turn { entry: &entry, not_after: None, cancel, slot: None };
        if self.0.tended.is_driven(id) {
            own(self.0.store()?, caller, id)?;
            return Err(journal::driven(id));
        }
        turn.come().await?;
        self.go_on(caller, id, cancel, begins, show).await
    }

    /// As [`resume`](Self::resume), for whoever has a slot for it.
    pub(crate) async fn go_on(
        &self,
        caller: &Caller,
        id: &SessionId,
        cancel: &Cancel,
        begins: &mut (dyn FnMut() + Send),
        show: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<RunEnded, Error> {
        let inner = &self.0;
        own(inner.store()?, caller, id)?;
        let _driving = inner.tended.drive(caller, id);
        // Folded once, with the claim: a long journal is not read twice.
        let journal = Journal::open(inner, caller, id).await?;
        journal.session().run().ok_or(Refused::NoRun)?;
        let agent = kept_agent(inner, caller, journal.session())?;
        let definition = definition(inner, &agent)?;
        inner.model(&definition.model.name)?;
        let mut driver = Driver::new(inner, caller, &agent, definition, journal);
        begins();
        self.end_of_revoked(caller, &mut driver)?;
        driver.drive(Until::Idle, cancel, show).await
    }

    /// The sessions of all tenants that have something unfinished and that this program can go on with:
    /// a run that its host left, a retry or an expiry whose time has come, an answer that nobody took.
    ///
    /// # Errors
    /// When the store fails.
    pub fn unfinished(&self) -> Result<Vec<OpenSession>, Error> {
        let store = self.0.store()?;
        let now = self.0.config.clock.now();
        let mut found: Vec<OpenSession> = vec![];
        let mut last: Option<(TenantId, SessionId)> = None;
        loop {
            let after = last.as_ref().map(|(tenant, session)| (tenant, session));
            let page = store.unfinished(after, journal::PAGE)?;
            let Some(end) = page.last() else { return Ok(found) };
            last = Some((end.tenant.clone(), end.session.clone()));
            for open in page {
                if is_unfinished(store, &open, now)? {
                    found.push(open);
                }
            }
        }
    }

    /// Puts the input into the inbox of a session that another process drives, and watches until its
    /// run ends or waits. If the other process dies, this one goes on.
    #[expect(clippy::too_many_arguments, reason = "what `run` has at hand")]
    async fn beside(
        &self,
        caller: &Caller,
        agent: &Agent,
        definition: Definition,
        id: &SessionId,
        said: Said,
        mut turn: Turn<'_>,
        show: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<RunEnded, Error> {
        let inner = &self.0;
        let store = inner.store()?.clone();
        let cancel = turn.cancel;
        if said.busy == Busy::Reject {
            let run = journal::fold(&store, caller, id)?.run().map(Run::id);
            return Err(match run {
                Some(run) => Refused::Busy { run }.into(),
                None => journal::driven(id),
            });
        }
        // It waits for a run of which another driver has the slot.
        let mut queued = match turn.slot {
            Some(_) => None,
            None => Some(turn.entry.queue_to_run()?),
        };
        let blob = BlobWrite { tenant: caller.tenant.clone(), bytes: said.source.clone() };
        let batch = ringfence_store::Batch { blobs: vec![blob], ..Default::default() };
        store.commit(batch).await?;
        let command = InboxCommand::Input {
            text: said.text.clone(),
            queue: said.busy == Busy::Queue,
            key: said.key.clone(),
            not_after: said.not_after,
            // Said again under its key it is the same command, in whatever trace.
            trace: None,
            agent: Digest::of(&said.source),
            api_key: said.api_key.clone(),
        };
        // From before it is said: nothing that comes of it is missed.
        let mut ending = inner.admit.ending();
        let mut watch = Watch { inner, caller, session: journal::fold(&store, caller, id)? };
        // What the session has taken under this key is not said again.
        let mut place = match watch.session.run_of(&said.key) {
            Some(_) => None,
            None => Some(put(inner, caller, id, &command, Some(&said.key)).await?),
        };
        let (mut told, mut again) = (false, false);
        loop {
            // What takes it out of the inbox says in the same commit what came of it.
            let inbox = store.inbox(&caller.tenant, id)?;
            let is_taken = !inbox.iter().any(|inboxed| Some(&inboxed.id) == place.as_ref());
            watch.show(show)?;
            let session = &watch.session;
            let run = session.run_of(&said.key);
            if let Some(run) = run.filter(|run| run.input() != said.text) {
                return Err(Refused::OtherInput { run: run.id() }.into());
            }
            if let Some(run) = run.filter(|run| is_over(session, run)) {
                return Ok(RunEnded::of(session, run));
            }
            if let Some(journal) = turn.open(inner, caller, id).await? {
                drop(queued.take());
                // What the other process did last; nobody writes any more but this one.
                watch.show(show)?;
                let mut driver = Driver::new(inner, caller, agent, definition, journal);
                self.end_of_revoked(caller, &mut driver)?;
                said.record(&mut driver, show).await?;
                return driver.drive(Until::Run(said.key), cancel, show).await;
            }
            if is_taken && run.is_none() {
                // It was not taken when it came under this key before; now it may be.
                if !std::mem::replace(&mut again, true) {
                    place = Some(put(inner, caller, id, &command, None).await?);
                    continue;
                }
                let now = inner.config.clock.now().max(session.last_at());
                let refused = session.decide(&definition, now, command.command()).err();
                return Err(refused.unwrap_or_else(not_taken).into());
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = ending.beyond(Phase::Draining) => {
                    return Err(Error::Left { session: id.clone() });
                }
                () = cancel.requested(), if !told && run.is_some() => {
                    told = true;
                    let run = run.map(Run::id).unwrap_or(RunId(0));
                    put(inner, caller, id, &InboxCommand::Cancel { run }, None).await?;
                }
            }
        }
    }
}

/// The turn of something that was said: until it is recorded, whoever cancels it takes it back.
struct Turn<'a> {
    entry: &'a Entry,
    not_after: Option<Timestamp>,
    cancel: &'a Cancel,
    slot: Option<Slot>,
}

impl Turn<'_> {
    /// Waits for a slot to drive a run in, if it has none yet.
    async fn come(&mut self) -> Result<(), Refusal> {
        if self.slot.is_none() {
            self.slot = self.entry.run_now();
        }
        if self.slot.is_none() {
            let slot = tokio::select! {
                biased;
                () = self.cancel.requested() => Err(Refusal::Cancelled),
                slot = self.entry.run(self.not_after) => slot,
            };
            self.slot = Some(slot?);
        }
        Ok(())
    }

    /// The session to drive it, with a slot for that; `None` while somebody drives it.
    async fn open(
        &mut self,
        inner: &Inner,
        caller: &Caller,
        id: &SessionId,
    ) -> Result<Option<Journal>, Error> {
        let journal = Journal::try_open(inner, caller, id).await?;
        if self.slot.is_some() || journal.is_none() {
            return Ok(journal);
        }
        // Whoever drove it has just ended. Nobody has the session while it waits for a slot.
        drop(journal);
        self.come().await?;
        Journal::try_open(inner, caller, id).await
    }
}

/// What was said, on its way into the session.
struct Said {
    text: String,
    busy: Busy,
    key: String,
    not_after: Option<Timestamp>,
    trace: TraceContext,
    api_key: Option<KeyId>,
    source: Vec<u8>,
}

impl Said {
    /// Records it in a session that is driven here. What was left unfinished there is recovered first,
    /// so that the machine decides about it as it stands.
    async fn record(
        &self,
        driver: &mut Driver<'_>,
        show: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<(), Error> {
        driver.recover()?;
        let agent = Some(driver.keep(self.source.clone()));
        // A run that nobody drives any more is brought to its end first, whatever was said.
        let left = driver.session().run().map(Run::status);
        let goes_on = left.is_some_and(|status| !status.is_waiting_for_somebody());
        let busy = if goes_on && self.busy == Busy::Reject { Busy::Queue } else { self.busy };
        let (text, key, not_after) = (self.text.clone(), Some(self.key.clone()), self.not_after);
        driver.follow_from(self.trace);
        let api_key = self.api_key.clone();
        let said = driver.record(Command::Input { text, busy, key, not_after, agent, api_key });
        if said.is_err() {
            // What a host that died has left is known now, whatever becomes of the input.
            driver.save(show).await?;
        }
        said
    }
}

/// Whether a program can go on with an open session: nobody has to answer first, or has to wait for it.
pub(crate) fn is_unfinished(
    store: &Store,
    open: &OpenSession,
    now: Timestamp,
) -> Result<bool, Error> {
    let person = !matches!(open.waits, None | Some(Wait::Retry));
    let due = open.wake.is_some_and(|wake| wake <= now);
    Ok(!person || due || !store.inbox(&open.tenant, &open.session)?.is_empty())
}

/// Whether there is nothing to wait for any more, unless somebody answers.
pub(crate) fn is_over(session: &Session, run: &Run) -> bool {
    let blocked = session.run().is_some_and(|open| open.status().is_waiting_for_somebody());
    !run.status().is_open() || run.status().is_waiting_for_somebody() || blocked
}

/// An input that whoever drives the session refused, for what is not so any more.
fn not_taken() -> Refused {
    let state = "whoever drives the session had no room for it, say it again".to_owned();
    Refused::NotNow { kind: "message.added", state }
}

/// A command for whoever drives the session; which place it has in the inbox.
pub(crate) async fn put(
    inner: &Arc<Inner>,
    caller: &Caller,
    id: &SessionId,
    command: &InboxCommand,
    key: Option<&str>,
) -> Result<InboxId, Error> {
    let now = inner.config.clock.now();
    Ok(inner.store()?.inbox_put(&caller.tenant, id, now, command.json(), key).await?)
}

/// The agent as the session used it last.
pub(crate) fn kept_agent(
    inner: &Inner,
    caller: &Caller,
    session: &Session,
) -> Result<Agent, Error> {
    let kept = match session.source() {
        Some(source) => inner.store()?.blob(&caller.tenant, &source)?,
        None => None,
    };
    let kept = kept.ok_or_else(|| {
        Error::input(
            "the session has kept no agent: `ringfence run AGENT.toml --session ID` goes on with it",
        )
    })?;
    Agent::from_stored(&kept)
}

/// The definition of a session's agent, as good as it is known here: enough for what people say to a
/// session that nobody drives.
pub(crate) fn known_definition(
    inner: &Inner,
    caller: &Caller,
    session: &Session,
) -> Result<Definition, Error> {
    let kept = kept_agent(inner, caller, session).and_then(|agent| definition(inner, &agent));
    kept.or_else(|_| stand_in(session).ok_or_else(|| Refused::NotCreated.into()))
}

/// A session that another process drives, as its journal grows.
struct Watch<'a> {
    inner: &'a Arc<Inner>,
    caller: &'a Caller,
    session: Session,
}

impl Watch<'_> {
    fn show(&mut self, show: &mut (dyn FnMut(&Event) + Send)) -> Result<(), Error> {
        let stream = Stream::Session(self.session.id().clone());
        let store = self.inner.store()?;
        loop {
            let from = self.session.seq() + 1;
            let page = store.read(&self.caller.tenant, &stream, from, journal::PAGE)?;
            for event in &page {
                self.session.apply(event)?;
                show(event);
            }
            if page.len() < journal::PAGE as usize {
                return Ok(());
            }
        }
    }
}
