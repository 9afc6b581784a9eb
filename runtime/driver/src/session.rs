//! Sessions from outside: the list, one as its journal tells it, and what people say to one that
//! another process may be driving.

use ringfence_event::{
    ApprovalScope, CallId, Digest, Event, Hold, Question, SessionId, Stream, Wait,
};
use ringfence_session::{Call, CallStatus, Command, Session, hold_id, question_id};
use ringfence_store::{Resolved, SessionSummary, Store};

use crate::{
    Caller, Error, Reconciliation, Runtime, Saying,
    journal::{self, Journal},
    run::known_definition,
};

/// What was done with something that a person said to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It is recorded. Nobody drives the session: [`Runtime::resume`] goes on with it, and
    /// [`Runtime::tend`] does where a service looks after its sessions.
    Recorded,
    /// It lies durably in the inbox of the process that drives the session, which looks there all the
    /// time.
    Delivered,
}

/// A call that waits for a person.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Its session.
    pub session: SessionId,
    /// Which call.
    pub call: CallId,
    /// What for.
    pub wait: Wait,
    /// The function's name as the model said it.
    pub function: String,
    /// The arguments as the model wrote them.
    pub arguments: String,
    /// What holds it, if it waits for a yes.
    pub hold: Option<Hold>,
    /// What its tool asks, if it waits for an answer.
    pub question: Option<Question>,
    /// Names what is shown here, to be given back with the answer to it.
    pub shown: Option<Digest>,
}

/// Names what a person is shown of a call that waits for one: to be given back with the answer to it.
#[must_use]
pub fn shown(call: &Call) -> Option<Digest> {
    match call.status() {
        CallStatus::Waiting(Wait::Approval) => call.hold().map(|hold| hold_id(hold)),
        CallStatus::Waiting(Wait::Input) => call.inquiry().map(|inquiry| question_id(inquiry)),
        _ => None,
    }
}

impl Waiting {
    /// The calls of a session that wait for a person.
    #[must_use]
    pub fn of(session: &Session) -> Vec<Self> {
        let calls = session.run().into_iter().flat_map(|run| run.steps().last());
        let calls = calls.flat_map(|step| step.calls());
        let waiting = calls.filter_map(|call| {
            let wait = match call.status() {
                CallStatus::Waiting(wait @ (Wait::Approval | Wait::Input)) => wait,
                CallStatus::OutcomeUnknown => Wait::Reconcile,
                _ => return None,
            };
            let question = call.inquiry().filter(|_| wait == Wait::Input);
            let hold = call.hold().filter(|_| wait == Wait::Approval);
            Some(Self {
                session: session.id().clone(),
                call: call.id().clone(),
                wait,
                function: call.function().to_owned(),
                arguments: call.arguments().to_owned(),
                hold: hold.map(|hold| hold.as_ref().clone()),
                question: question.map(|inquiry| inquiry.question.clone()),
                shown: shown(call),
            })
        });
        waiting.collect()
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
            Resolved::None => Err(Error::NoSuchSession { given: prefix.to_owned() }),
            Resolved::Ambiguous(found) => {
                Err(Error::AmbiguousSession { given: prefix.to_owned(), found })
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

    /// The events of the caller's tenant from a place on, up to `limit` of them: what happened outside any
    /// session. All of the tenant's users are in it.
    ///
    /// # Errors
    /// When they cannot be read, with the first one that is damaged.
    pub fn tenant_events(
        &self,
        caller: &Caller,
        from_seq: u64,
        limit: u32,
    ) -> Result<Vec<Event>, Error> {
        let stream = Stream::Tenant(caller.tenant.clone());
        Ok(self.0.store()?.read(&caller.tenant, &stream, from_seq, limit)?)
    }

    /// All calls of the caller's sessions that wait for a person.
    ///
    /// # Errors
    /// When the store fails.
    pub fn waiting(&self, caller: &Caller) -> Result<Vec<Waiting>, Error> {
        let store = self.0.store()?;
        let mut waiting = vec![];
        for summary in store.waiting(&caller.tenant, Some(&caller.user), None)? {
            waiting.extend(Waiting::of(&journal::fold(store, caller, &summary.id)?));
        }
        Ok(waiting)
    }

    /// The one call of a session that waits for this.
    ///
    /// # Errors
    /// When there is no such session, no such call in it, or several.
    pub fn waiting_call(
        &self,
        caller: &Caller,
        id: &SessionId,
        wait: Wait,
    ) -> Result<CallId, Error> {
        let waiting = Waiting::of(&self.session(caller, id)?).into_iter();
        let mut found: Vec<CallId> =
            waiting.filter(|one| one.wait == wait).map(|one| one.call).collect();
        match (found.pop(), found.is_empty()) {
            (None, _) => Err(Error::NothingWaits { session: id.clone(), wait }),
            (Some(one), true) => Ok(one),
            (Some(last), false) => {
                found.push(last);
                Err(Error::SeveralWait { wait, found })
            }
        }
    }

    /// Cancels the run of a session, the one under way. If a process drives it, the request is
    /// durable when this returns and the run ends soon after; if none does, the run has ended when
    /// this returns.
    ///
    /// # Errors
    /// When there is no such session, or no run under way in it.
    pub async fn cancel_session(&self, caller: &Caller, id: &SessionId) -> Result<Said, Error> {
        self.tell_session(caller, id, &caller.user, Saying::Cancel { run: None }).await
    }

    /// Lets a call run that is held. `shown`: what the person was shown, [`Waiting::shown`]; then an
    /// answer to something else is refused.
    ///
    /// # Errors
    /// When there is no such session or call, it does not wait for a yes (any more), waits for another
    /// one than was shown, it is too late, or its rule does not let a person say yes to so much.
    pub async fn approve(
        &self,
        caller: &Caller,
        id: &SessionId,
        call: &CallId,
        scope: ApprovalScope,
        reason: Option<String>,
        shown: Option<Digest>,
    ) -> Result<Said, Error> {
        let saying = Saying::Approve { call: call.clone(), scope, reason, shown };
        self.tell_session(caller, id, &caller.user, saying).await
    }

    /// Does not let a call run that is held.
    ///
    /// # Errors
    /// As for [`approve`](Self::approve).
    pub async fn decline(
        &self,
        caller: &Caller,
        id: &SessionId,
        call: &CallId,
        reason: Option<String>,
        shown: Option<Digest>,
    ) -> Result<Said, Error> {
        let saying = Saying::Decline { call: call.clone(), reason, shown };
        self.tell_session(caller, id, &caller.user, saying).await
    }

    /// Answers what a tool asks in the middle of a call; `None`: the person would not. The call goes on
    /// with it. `shown`: what the person was asked, [`Waiting::shown`]; without, what is asked now.
    ///
    /// # Errors
    /// When there is no such session or call, it asks nothing (any more) or something else, or the answer
    /// does not fit its schema.
    pub async fn answer(
        &self,
        caller: &Caller,
        id: &SessionId,
        call: &CallId,
        value: Option<serde_json::Value>,
        shown: Option<Digest>,
    ) -> Result<Said, Error> {
        let saying = Saying::Answer { call: call.clone(), value, shown };
        self.tell_session(caller, id, &caller.user, saying).await
    }

    /// Says how a call of unknown outcome ended.
    ///
    /// # Errors
    /// When there is no such session or call, or its outcome is not unknown (any more).
    pub async fn reconcile(
        &self,
        caller: &Caller,
        id: &SessionId,
        call: &CallId,
        how: Reconciliation,
    ) -> Result<Said, Error> {
        self.tell_session(caller, id, &caller.user, Saying::Reconcile { call: call.clone(), how })
            .await
    }

    /// Closes a session: it takes nothing from then on, and what its tools kept in `scratch` is
    /// removed. One that is closed already stays so.
    ///
    /// # Errors
    /// When there is no such session, a run is under way in it, or its `scratch` cannot be removed:
    /// then the session is closed all the same, and the next start tries again.
    pub async fn close_session(&self, caller: &Caller, id: &SessionId) -> Result<(), Error> {
        let inner = &self.0;
        let store = inner.store()?.clone();
        own(&store, caller, id)?;
        let mut journal = Journal::open(inner, caller, id).await?;
        let definition = known_definition(inner, caller, journal.session())?;
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

/// A session of this tenant and this user. One of somebody else is as one that is not there.
pub(crate) fn own(store: &Store, caller: &Caller, id: &SessionId) -> Result<SessionSummary, Error> {
    match store.session(&caller.tenant, id) {
        Ok(summary) if summary.user == caller.user => Ok(summary),
        Ok(_) | Err(ringfence_store::Error::NoSuchSession) => {
            Err(Error::NoSuchSession { given: id.to_string() })
        }
        Err(error) => Err(error.into()),
    }
}
