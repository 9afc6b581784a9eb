//! The memory of one call over the store: who is asking is fixed here, once, and nothing that a
//! guest says can name another's bucket.

use std::sync::Arc;

use ringfence_capability::memory::{BoxFuture, Buckets, Change, PAGE, Unavailable, Writes};
use ringfence_event::{AgentName, Scope};
use ringfence_session::MemoryChange as Recorded;
use ringfence_store::{BucketId, MemoryChange, MemoryWrite, Store};

use crate::Caller;

/// The buckets of one call.
#[derive(Clone)]
pub(crate) struct CallBuckets {
    store: Arc<Store>,
    caller: Caller,
    /// The session's id; for a direct call the call's own, so that nothing outlives it there.
    session: String,
    /// The agent; direct calls share one bucket, which no agent can be named like.
    agent: String,
}

impl CallBuckets {
    pub(crate) fn new(
        store: Arc<Store>,
        caller: &Caller,
        session: &str,
        agent: Option<&AgentName>,
    ) -> Self {
        Self {
            store,
            caller: caller.clone(),
            session: session.to_owned(),
            agent: agent.map(ToString::to_string).unwrap_or_default(),
        }
    }

    fn bucket(&self, scope: Scope) -> BucketId {
        let owner = match scope {
            Scope::Session => self.session.clone(),
            Scope::User => self.caller.user.to_string(),
            Scope::Agent => self.agent.clone(),
            Scope::Tenant => self.caller.tenant.to_string(),
        };
        BucketId { tenant: self.caller.tenant.clone(), scope, owner }
    }

    /// What a call wrote, for the store and for the journal.
    pub(crate) fn changes(&self, writes: Writes) -> (Vec<MemoryWrite>, Vec<Recorded>) {
        writes
            .into_iter()
            .map(|((scope, key), change)| {
                let bytes = match &change {
                    Change::Set(value) => Some(value.len() as u64),
                    Change::Delete => None,
                };
                let recorded = Recorded { scope, key: key.clone(), bytes };
                let change = match change {
                    Change::Set(value) => MemoryChange::Set(value),
                    Change::Delete => MemoryChange::Delete,
                };
                (MemoryWrite { bucket: self.bucket(scope), key, change }, recorded)
            })
            .unzip()
    }
}

/// Reads take microseconds and are done in place; see [`Store`].
impl Buckets for CallBuckets {
    fn get<'a>(
        &'a self,
        scope: Scope,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, Unavailable>> {
        let value = self.store.memory_get(&self.bucket(scope), key).map_err(|_| Unavailable);
        Box::pin(std::future::ready(value))
    }

    fn keys<'a>(
        &'a self,
        scope: Scope,
        after: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<String>, Unavailable>> {
        let page = self.store.memory_keys(&self.bucket(scope), after, PAGE as u32);
        let keys = page.map(|page| page.keys).map_err(|_| Unavailable);
        Box::pin(std::future::ready(keys))
    }
}
