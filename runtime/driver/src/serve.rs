//! What a service asks of a runtime beside what everybody does: who owns a session, what there is to
//! see since, what a tenant may use, and what must not be done twice.

use ringfence_catalog::Entry;
use ringfence_event::{
    AgentName, CallId, Digest, Event, SessionId, Stream, TenantId, Timestamp, ToolName, UserId,
    Wait,
};
use ringfence_policy::TenantBudget;
use ringfence_store::{Claim, Claimed, RequestAnswer, SessionSummary, Store};

use crate::{
    Agent, Caller, Error, Runtime, Waiting, budget,
    definition::definition,
    drive::Driver,
    entropy,
    journal::{self, Journal},
};

/// How long it is remembered how a request under a client's key was answered: a client that was
/// offline for a weekend is a rare one, one that was for a night is not.
const REMEMBERED_MS: u64 = 24 * 60 * 60 * 1000;

/// A request that is not to be carried out twice, as a service claims it.
#[derive(Clone, Debug)]
pub struct Request {
    /// What the client calls it.
    pub key: String,
    /// What all of it says.
    pub digest: Digest,
    /// Who carries it out: a process.
    pub worker: String,
    /// Workers that are known to be gone.
    pub gone: Vec<String>,
}

impl Runtime {
    /// Opens the store, if it is not open yet.
    ///
    /// # Errors
    /// When it cannot be opened, or has stopped writing.
    pub async fn is_ready(&self) -> Result<(), Error> {
        let store = self.0.store()?;
        store.data_version()?;
        store.flush_point().await?;
        Ok(())
    }

    /// A number that changes whenever anything was stored, by this process or another.
    ///
    /// # Errors
    /// When the store fails.
    pub fn data_version(&self) -> Result<i64, Error> {
        Ok(self.0.store()?.data_version()?)
    }

    /// On whose behalf a session of a tenant runs.
    ///
    /// # Errors
    /// When the tenant has no such session.
    pub fn owner(&self, tenant: &TenantId, id: &SessionId) -> Result<Caller, Error> {
        match self.0.store()?.session(tenant, id) {
            Ok(summary) => Ok(Caller { tenant: tenant.clone(), user: summary.user }),
            Err(ringfence_store::Error::NoSuchSession) => {
                Err(Error::NoSuchSession { given: id.to_string() })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A session in a list.
    ///
    /// # Errors
    /// When the caller has no such session.
    pub fn summary(&self, caller: &Caller, id: &SessionId) -> Result<SessionSummary, Error> {
        crate::session::own(self.0.store()?, caller, id)
    }

    /// Up to `limit` sessions of a tenant, or of one user of it, the one used last first, behind the
    /// one that `after` names with the time at which it was used.
    ///
    /// # Errors
    /// When the store fails.
    pub fn sessions_after(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
        after: Option<(Timestamp, &SessionId)>,
        limit: u32,
    ) -> Result<Vec<SessionSummary>, Error> {
        Ok(self.0.store()?.sessions_after(tenant, user, after, limit)?)
    }

    /// Up to `limit` calls of a tenant's sessions, or of one user's, that wait for a person, in the order of
    /// their sessions' ids and their own, behind the one that `after` names; each with its session's user.
    /// No more sessions are read than these are of.
    ///
    /// # Errors
    /// When the store fails.
    pub fn waiting_after(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
        after: Option<(&SessionId, &CallId)>,
        limit: usize,
    ) -> Result<Vec<(UserId, Waiting)>, Error> {
        let store = self.0.store()?;
        let mut sessions = store.waiting(tenant, user, None)?;
        sessions.retain(|summary| {
            // What waits to be tried again waits for nobody.
            summary.waits != Some(Wait::Retry)
                && after.is_none_or(|(session, _)| summary.id >= *session)
        });
        sessions.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        let mut found = vec![];
        for summary in sessions {
            let caller = Caller { tenant: tenant.clone(), user: summary.user.clone() };
            let mut of = Waiting::of(&journal::fold(store, &caller, &summary.id)?);
            of.sort_unstable_by(|a, b| a.call.cmp(&b.call));
            of.retain(|waiting| {
                after.is_none_or(|(session, call)| {
                    waiting.session != *session || waiting.call > *call
                })
            });
            found.extend(of.into_iter().map(|waiting| (summary.user.clone(), waiting)));
            if found.len() >= limit {
                found.truncate(limit);
                break;
            }
        }
        Ok(found)
    }

    /// The place of the last event of a session; 0 before the first.
    ///
    /// # Errors
    /// When the caller has no such session.
    pub fn last_seq(&self, caller: &Caller, id: &SessionId) -> Result<u64, Error> {
        let store = self.0.store()?;
        Ok(store.last_seq(&caller.tenant, &Stream::Session(id.clone()))?)
    }

    /// Makes a session in which nothing has been said. One of this id that is the caller's already stays
    /// as it is. It is work from outside, like an input: [`Input::makes_session`](crate::Input::makes_session)
    /// makes one with its first.
    ///
    /// # Errors
    /// When it is not taken, the agent cannot be run here, the id is taken, or it cannot be stored.
    pub async fn create_session(
        &self,
        caller: &Caller,
        agent: &Agent,
        id: Option<SessionId>,
        show: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<SessionId, Error> {
        let inner = &self.0;
        let _entry = inner.enter(&caller.tenant, None)?;
        let definition = definition(inner, agent)?;
        inner.model(&definition.model.name)?;
        let id = match id {
            Some(id) => id,
            None => SessionId::from_random(entropy::id()?),
        };
        if is_made(inner.store()?, caller, &id)? {
            return Ok(id);
        }
        budget::admit(inner, caller)?;
        let journal = Journal::open(inner, caller, &id).await?;
        let mut driver = Driver::new(inner, caller, agent, definition, journal);
        driver.recover()?;
        driver.save(show).await?;
        Ok(id)
    }

    /// The accepted tools that a tenant is given.
    #[must_use]
    pub fn tools_of(&self, tenant: &TenantId) -> Vec<(ToolName, Entry)> {
        let current = self.0.current();
        let given = current.grants.tools(tenant);
        let entry = |name: &ToolName| Some((name.clone(), self.0.tools.entry(name)?));
        given.filter_map(entry).collect()
    }

    /// What `look` sees in one accepted tool, if the tenant is given it. Nothing of it is copied, nor of others.
    pub fn look_at_tool<T>(
        &self,
        tenant: &TenantId,
        name: &ToolName,
        look: impl FnOnce(&Entry) -> T,
    ) -> Option<T> {
        let current = self.0.current();
        let is_given = current.grants.tools(tenant).any(|given| given == name);
        is_given.then(|| self.0.tools.look(name, look))?
    }

    /// What a tenant may spend in windows of time, and how much of it is spent.
    ///
    /// # Errors
    /// When the store fails.
    pub fn budgets(
        &self,
        tenant: &TenantId,
    ) -> Result<Vec<(ringfence_event::Limit, ringfence_event::Spent)>, Error> {
        let current = self.0.current();
        let budget: Option<&TenantBudget> = current.grants.tenant_budget(tenant);
        self.budget_spending(tenant, budget)
    }

    /// The agents that a tenant may start.
    #[must_use]
    pub fn agents_of(&self, tenant: &TenantId) -> Vec<AgentName> {
        self.0.current().grants.agents(tenant).map(|(name, _)| name.clone()).collect()
    }

    /// An agent that a tenant may start, as its file is now; `None` if it may not.
    ///
    /// # Errors
    /// When its file cannot be read, or is wrong.
    pub fn agent_of(&self, tenant: &TenantId, name: &AgentName) -> Result<Option<Agent>, Error> {
        let current = self.0.current();
        match current.grants.agents(tenant).any(|(given, _)| given == name) {
            true => current.load_agent(name),
            false => Ok(None),
        }
    }

    /// The functions of an agent, as its model sees them.
    ///
    /// # Errors
    /// When it names what is not there.
    pub fn functions_of(&self, agent: &Agent) -> Result<Vec<String>, Error> {
        let functions = definition(&self.0, agent)?.functions;
        Ok(functions.iter().map(|function| function.name.clone()).collect())
    }

    /// Reads all agents that the operator's file names, as a check of it.
    ///
    /// # Errors
    /// The first that cannot be read, or that names what is not there.
    pub fn check_agents(&self) -> Result<usize, Error> {
        let current = self.0.current();
        let names = current.agents.keys();
        for name in names.clone() {
            if let Some(agent) = current.load_agent(name)? {
                let definition = definition(&self.0, &agent)?;
                self.0.model(&definition.model.name)?;
            }
        }
        Ok(names.len())
    }

    /// Claims a request of a client's that is not to be carried out twice.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn claim_request(&self, caller: &Caller, request: Request) -> Result<Claimed, Error> {
        let at = self.now();
        let Request { key, digest, worker, gone } = request;
        let claim = Claim {
            tenant: caller.tenant.clone(),
            user: caller.user.clone(),
            key,
            digest,
            resource: SessionId::from_random(entropy::id()?).to_string(),
            worker,
            at,
            forget_before: Timestamp(at.0.saturating_sub(REMEMBERED_MS)),
            gone,
        };
        Ok(self.0.store()?.claim_request(claim).await?)
    }

    /// Keeps how a claimed request was answered; `None`: nothing came of it.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn answer_request(
        &self,
        caller: &Caller,
        key: &str,
        answer: Option<RequestAnswer>,
    ) -> Result<(), Error> {
        let store = self.0.store()?;
        Ok(store.answer_request(&caller.tenant, &caller.user, key, answer).await?)
    }
}

/// Whether a session of this id is the caller's already; an error if it is somebody else's.
pub(crate) fn is_made(store: &Store, caller: &Caller, id: &SessionId) -> Result<bool, Error> {
    match store.session(&caller.tenant, id) {
        Ok(found) if found.user == caller.user => Ok(true),
        Ok(_) => Err(Error::SessionExists { session: id.clone() }),
        Err(ringfence_store::Error::NoSuchSession) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
