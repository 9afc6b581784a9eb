//! The memory of one call over the store: who is asking is fixed here, once, and nothing that a
//! guest says can name another's bucket.

use std::sync::Arc;

use ringfence_capability::memory::{BoxFuture, Buckets, Change, PAGE, Unavailable, Used, Writes};
use ringfence_event::{AgentName, CallResult, Limit, Outcome, Scope};
use ringfence_policy::ToolPolicy;
use ringfence_session::MemoryChange as Recorded;
use ringfence_store::{BucketId, MemoryChange, MemoryLimits, MemoryUsed, MemoryWrite, Store};

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
                    Change::Increment { sum, .. } => Some(sum.to_string().len() as u64),
                };
                let recorded = Recorded { scope, key: key.clone(), bytes };
                let change = match change {
                    Change::Set(value) => MemoryChange::Set(value),
                    Change::Delete => MemoryChange::Delete,
                    Change::Increment { by, .. } => MemoryChange::Increment(by),
                };
                (MemoryWrite { bucket: self.bucket(scope), key, change }, recorded)
            })
            .unzip()
    }
}

/// What a tenant's policy says of memory, as the store wants it.
pub(crate) fn limits(policy: &ToolPolicy) -> MemoryLimits {
    stored_limits(policy.memory_limits())
}

/// The same, where no tool is at hand.
pub(crate) fn stored_limits(limits: &ringfence_policy::MemoryLimits) -> MemoryLimits {
    MemoryLimits {
        bucket_bytes: limits.bucket_bytes,
        bucket_keys: limits.bucket_keys,
        tenant_bytes: limits.tenant_bytes,
    }
}

/// How a call ends whose writes no longer fit when they are to be stored: others were stored since
/// it looked. It is stopped as by any limit, so nothing of what it wrote is kept.
pub(crate) fn end_full(policy: &ToolPolicy, scope: Scope, result: &mut CallResult) {
    result.outcome = Outcome::LimitReached { limit: Limit::Storage };
    result.denials.push(policy.deny_memory_full(scope));
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

    fn used(&self, scope: Scope) -> BoxFuture<'_, Result<Used, Unavailable>> {
        let used = self.store.memory_used(&self.bucket(scope)).map_err(|_| Unavailable);
        let used =
            used.map(|MemoryUsed { bytes, keys, tenant_bytes }| Used { bytes, keys, tenant_bytes });
        Box::pin(std::future::ready(used))
    }

    fn size<'a>(
        &'a self,
        scope: Scope,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<u64>, Unavailable>> {
        let size = self.store.memory_size(&self.bucket(scope), key).map_err(|_| Unavailable);
        Box::pin(std::future::ready(size))
    }
}

#[cfg(test)]
mod tests {
    use ringfence_store::Batch;

    use super::*;

    /// Two calls that both saw 41 and ended in either order: neither's part is lost.
    #[tokio::test]
    async fn increments_of_calls_side_by_side_come_to_their_sum() {
        let home = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(&home.path().join("ringfence.db")).unwrap());
        let buckets = CallBuckets::new(store.clone(), &Caller::local(), "session", None);
        let commit = async |changes: Vec<(&str, Change)>| {
            let writes = changes
                .into_iter()
                .map(|(key, change)| ((Scope::User, key.to_owned()), change))
                .collect();
            let (memory, recorded) = buckets.changes(writes);
            store.commit(Batch { memory, ..Batch::default() }).await.unwrap();
            recorded
        };
        let held = async |key| {
            let value = Buckets::get(&buckets, Scope::User, key).await.unwrap();
            value.map(|value| String::from_utf8(value).unwrap())
        };
        commit(vec![("count", Change::Set(b"41".to_vec()))]).await;
        let recorded = commit(vec![("count", Change::Increment { by: 59, sum: 100 })]).await;
        assert_eq!(recorded[0].bytes, Some(3), "as the call saw it");
        commit(vec![("count", Change::Increment { by: 2, sum: 43 })]).await;
        assert_eq!(held("count").await.as_deref(), Some("102"));
        // One that was set to a word in between stays a word, and the call's outcome stands.
        commit(vec![("count", Change::Set(b"many".to_vec()))]).await;
        commit(vec![("count", Change::Increment { by: 1, sum: 103 })]).await;
        assert_eq!(held("count").await.as_deref(), Some("many"));
    }
}
