//! Sessions from outside: the list, one as its journal tells it, and commands to one that another
//! process may be driving.

use ringfence_event::{Event, Parameters, RunId, SessionId, Stream};
use ringfence_session::{Command, Definition, Run, RunLimits, Session};
use ringfence_store::{Resolved, SessionSummary, Store};
use serde::{Deserialize, Serialize};

use crate::{
    Caller, Error, Runtime, entropy,
    journal::{self, Journal},
};

/// What can be put into a session's inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum InboxCommand {
    /// End this run. A later one is not meant by it, however late it is read.
    Cancel {
        /// Which.
        run: RunId,
    },
}

impl InboxCommand {
    pub(crate) fn parse(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    fn json(self) -> String {
        serde_json::to_string(&self).expect("plain data with string keys is always JSON")
    }
}

impl Runtime {
    /// The tenant's sessions, the one used last first.
    ///
    /// # Errors
    /// When the store fails.
    pub fn sessions(&self, caller: &Caller, limit: u32) -> Result<Vec<SessionSummary>, Error> {
        Ok(self.0.store()?.sessions(&caller.tenant, Some(&caller.user), limit)?)
    }

    /// The one session of the caller whose id begins like this.
    ///
    /// # Errors
    /// When there is none, or several.
    pub fn find_session(&self, caller: &Caller, prefix: &str) -> Result<SessionId, Error> {
        let store = self.0.store()?;
        match store.resolve_session(&caller.tenant, &caller.user, prefix)? {
            Resolved::One(id) => Ok(id),
            Resolved::None => Err(Error::input(format!("there is no session `{prefix}`"))),
            Resolved::Ambiguous(ids) => {
                let ids: Vec<&str> = ids.iter().map(SessionId::as_str).collect();
                Err(Error::input(format!("`{prefix}` may be any of {}", ids.join(", "))))
            }
        }
    }

    /// A session as its journal tells it.
    ///
    /// # Errors
    /// When there is none, or its journal is damaged.
    pub fn session(&self, caller: &Caller, id: &SessionId) -> Result<Session, Error> {
        let store = self.0.store()?;
        own(store, caller, id)?;
        journal::fold(store, caller, id)
    }

    /// The events of a session from a place on, up to `limit` of them.
    ///
    /// # Errors
    /// When they cannot be read, with the first one that is damaged.
    pub fn events(
        &self,
        caller: &Caller,
        id: &SessionId,
        from_seq: u64,
        limit: u32,
    ) -> Result<Vec<Event>, Error> {
        let store = self.0.store()?;
        own(store, caller, id)?;
        Ok(store.read(&caller.tenant, &Stream::Session(id.clone()), from_seq, limit)?)
    }

    /// Cancels the run of a session. If a process drives it, the request is durable when this
    /// returns and the run ends soon after; if none does, the run has ended when this returns.
    ///
    /// # Errors
    /// When there is no such session, or no run under way in it.
    pub async fn cancel_session(&self, caller: &Caller, id: &SessionId) -> Result<(), Error> {
        let run = self.session(caller, id)?.run().map(Run::id);
        let run = run.ok_or(ringfence_session::Refused::NoRun)?;
        let store = self.0.store()?;
        let json = InboxCommand::Cancel { run }.json();
        store.inbox_put(&caller.tenant, id, entropy::now(), json).await?;
        let home = &self.0.config.home;
        if let Some(journal) = Journal::try_open(store.clone(), home, caller, id).await? {
            end_abandoned(journal, run).await?;
        }
        Ok(())
    }

    /// Closes a session: it takes nothing from then on, and what its tools kept in `scratch` is
    /// removed. One that is closed already stays so.
    ///
    /// # Errors
    /// When there is no such session, a run is under way in it, or its `scratch` cannot be removed:
    /// then the session is closed all the same, and the next start tries again.
    pub async fn close_session(&self, caller: &Caller, id: &SessionId) -> Result<(), Error> {
        let inner = &*self.0;
        let store = inner.store()?.clone();
        own(&store, caller, id)?;
        let mut journal = Journal::open(store, &inner.config.home, caller, id).await?;
        let definition =
            stand_in(journal.session()).ok_or(ringfence_session::Refused::NotCreated)?;
        journal.record(&definition, Command::Close)?;
        journal.save(&mut |_| {}).await?;
        // Only now: what is removed cannot come back if the event is lost.
        let scratch = inner.scratches.of_session(&caller.tenant, id);
        let path = scratch.path().to_owned();
        let removing = tokio::task::spawn_blocking(move || scratch.remove());
        let removed = removing.await.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
        removed.map_err(|source| Error::File { act: "remove", path, source })
    }
}

/// The agent of a session for what needs nothing of it but who it is: its own file is not here.
fn stand_in(session: &Session) -> Option<Definition> {
    let (agent, digest) = session.agent()?;
    Some(Definition {
        name: agent.clone(),
        digest,
        instructions: String::new(),
        functions: vec![],
        model: "none".parse().expect("a model's name"),
        parameters: Parameters::default(),
        limits: RunLimits::DEFAULT,
    })
}

/// Ends the run of a session whose process is gone. Nothing of it starts again: an `unsafe` call that
/// was under way is of unknown outcome, as after every crash.
async fn end_abandoned(mut journal: Journal, run: RunId) -> Result<(), Error> {
    // It may have ended, and another have begun, between the request and the claim.
    if journal.session().run().is_some_and(|open| open.id() == run)
        && let Some(definition) = stand_in(journal.session())
    {
        journal.record(&definition, Command::Cancel)?;
        journal.record(&definition, Command::Recover)?;
    }
    for inboxed in journal.inbox()? {
        if let Some(InboxCommand::Cancel { .. }) = InboxCommand::parse(&inboxed.command) {
            journal.done(inboxed.id);
        }
    }
    journal.save(&mut |_| {}).await
}

/// A session of this tenant and this user. One of somebody else is as one that is not there.
pub(crate) fn own(store: &Store, caller: &Caller, id: &SessionId) -> Result<SessionSummary, Error> {
    let summary = store.session(&caller.tenant, id)?;
    match summary.user == caller.user {
        true => Ok(summary),
        false => Err(ringfence_store::Error::NoSuchSession.into()),
    }
}
