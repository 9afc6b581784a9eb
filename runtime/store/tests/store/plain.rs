//! A store that keeps everything in memory, written for itself: what the kit asks is no mirror of the
//! other's tables. It can be told to do one thing wrong.

use std::sync::{Arc, Mutex, MutexGuard};

use ringfence_event::{Digest, Event, Limit, SessionId, Stream, TenantId, Timestamp, UserId, Wait};
use ringfence_store::{
    Batch, BucketId, BudgetState, Committed, Error, Fence, InboxId, Inboxed, KeyPage, MemoryUsed,
    OpenSession, Resolved, SessionSummary,
    kit::{Harness, Subject},
};

mod state;

use state::{Command, State, Told, key};

/// What a store can do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    IgnoresFences,
    IgnoresPlaces,
    LosesTheLastEvent,
    Reorders,
    LeavesHalf,
    MixesTenants,
    PutsCommandsTwice,
    KeepsDoneCommands,
    Overspends,
    Overfills,
    ForgetsWhenClosed,
    SkipsKeys,
    ForgetsWhatWaits,
}

#[derive(Clone)]
pub(crate) struct Plain {
    fault: Fault,
    state: Arc<Mutex<State>>,
    unseen: Arc<Mutex<Option<Error>>>,
}

/// Makes plain stores, all with the same fault.
pub(crate) struct Plains(pub(crate) Fault);

impl Harness for Plains {
    type Subject = Plain;

    fn fresh(&mut self) -> Plain {
        Plain { fault: self.0, state: Arc::default(), unseen: Arc::default() }
    }

    fn reopen(&mut self, store: Plain) -> Plain {
        if self.0 == Fault::ForgetsWhenClosed { self.fresh() } else { store }
    }
}

impl Plain {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn store(&self, batch: Batch) -> Result<Committed, Error> {
        let mut state = self.state();
        let mut next = state.clone();
        let done = next.apply(batch, self.fault);
        if done.is_ok() || self.fault == Fault::LeavesHalf {
            next.version += 1;
            *state = next;
        }
        done
    }
}

fn open((tenant, told): (TenantId, Told)) -> OpenSession {
    let SessionSummary { id, user, agent, status, waits, wake, .. } = told.summary;
    OpenSession { tenant, user, session: id, agent, status, waits, wake }
}

impl Subject for Plain {
    async fn commit(&self, batch: Batch) -> Result<Committed, Error> {
        self.store(batch)
    }

    async fn commit_later(&self, batch: Batch) {
        if let Err(error) = self.store(batch) {
            self.unseen.lock().unwrap().get_or_insert(error);
        }
    }

    async fn flush(&self) -> Result<(), Error> {
        self.unseen.lock().unwrap().take().map_or(Ok(()), Err)
    }

    async fn claim(
        &self,
        tenant: &TenantId,
        session: &SessionId,
        _worker: &str,
    ) -> Result<Fence, Error> {
        let mut state = self.state();
        let list = state.list(tenant, &Stream::Session(session.clone()));
        list.fence += 1;
        Ok(Fence::new(list.fence))
    }

    async fn inbox_put(
        &self,
        tenant: &TenantId,
        session: &SessionId,
        at: Timestamp,
        command: String,
        key: Option<&str>,
    ) -> Result<InboxId, Error> {
        let mut state = self.state();
        state.told(tenant, session).ok_or(Error::NoSuchSession)?;
        let known = state.commands.iter().find(|known| {
            key.is_some()
                && self.fault != Fault::PutsCommandsTwice
                && (&known.tenant, &known.session, known.key.as_deref()) == (tenant, session, key)
        });
        if let Some(known) = known {
            let is_same = known.entry.command == command;
            let reused = || Error::KeyReused { key: key.unwrap_or_default().to_owned() };
            return is_same.then(|| known.entry.id.clone()).ok_or_else(reused);
        }
        let id = InboxId::new(tenant.clone(), state.commands.len() as u64 + 1);
        state.commands.push(Command {
            tenant: tenant.clone(),
            session: session.clone(),
            entry: Inboxed { id: id.clone(), at, command },
            key: key.map(str::to_owned),
            done: false,
        });
        Ok(id)
    }

    fn inbox(&self, tenant: &TenantId, session: &SessionId) -> Result<Vec<Inboxed>, Error> {
        let state = self.state();
        let mine = state.commands.iter().filter(|known| {
            (&known.tenant, &known.session, known.done) == (tenant, session, false)
        });
        Ok(mine.map(|known| known.entry.clone()).collect())
    }

    fn read(
        &self,
        tenant: &TenantId,
        stream: &Stream,
        from_seq: u64,
        limit: u32,
    ) -> Result<Vec<Event>, Error> {
        let state = self.state();
        let found = state.lists.iter().find(|((of, name), _)| {
            (of == tenant || self.fault == Fault::MixesTenants) && *name == stream.to_string()
        });
        let events = found.map_or(&[][..], |(_, list)| &list.events);
        let events = events.iter().filter(|event| event.seq >= from_seq);
        let mut events: Vec<Event> = events.take(limit as usize).cloned().collect();
        if self.fault == Fault::Reorders {
            events.reverse();
        }
        Ok(events)
    }

    fn last_seq(&self, tenant: &TenantId, stream: &Stream) -> Result<u64, Error> {
        Ok(self.state().list(tenant, stream).events.len() as u64)
    }

    fn data_version(&self) -> Result<i64, Error> {
        Ok(self.state().version)
    }

    fn sessions(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<SessionSummary>, Error> {
        let mut all: Vec<_> =
            self.state().of(tenant, user).into_iter().map(|told| told.summary).collect();
        all.sort_by(|a, b| (b.last_at, &a.id).cmp(&(a.last_at, &b.id)));
        all.truncate(limit as usize);
        Ok(all)
    }

    fn session(&self, tenant: &TenantId, id: &SessionId) -> Result<SessionSummary, Error> {
        self.state().told(tenant, id).map(|told| told.summary).ok_or(Error::NoSuchSession)
    }

    fn unfinished(
        &self,
        after: Option<(&TenantId, &SessionId)>,
        limit: u32,
    ) -> Result<Vec<OpenSession>, Error> {
        let all = self.state().all().into_iter().filter(|(tenant, told)| {
            !told.open.is_empty() && after.is_none_or(|after| (tenant, &told.summary.id) > after)
        });
        Ok(all.map(open).take(limit as usize).collect())
    }

    fn waiting(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
        on: Option<Wait>,
    ) -> Result<Vec<SessionSummary>, Error> {
        let mut all: Vec<_> =
            self.state().of(tenant, user).into_iter().map(|told| told.summary).collect();
        all.retain(|summary| {
            summary.waits.is_some_and(|waits| on.is_none_or(|on| on == waits))
                && self.fault != Fault::ForgetsWhatWaits
        });
        all.sort_by(|a, b| (a.last_at, &a.id).cmp(&(b.last_at, &b.id)));
        Ok(all)
    }

    fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<OpenSession>, Error> {
        let mut all: Vec<_> = self.state().all().into_iter().map(open).collect();
        all.retain(|open| open.wake.is_some_and(|at| at <= now));
        all.sort_by(|a, b| (a.wake, &a.tenant, &a.session).cmp(&(b.wake, &b.tenant, &b.session)));
        all.truncate(limit as usize);
        Ok(all)
    }

    fn next_wake(&self) -> Result<Option<Timestamp>, Error> {
        Ok(self.state().wakes.values().min().copied())
    }

    fn budget(
        &self,
        tenant: &TenantId,
        limit: Limit,
        window_start: Timestamp,
    ) -> Result<BudgetState, Error> {
        Ok(self.state().budget(tenant, limit, window_start.0))
    }

    fn resolve_session(
        &self,
        tenant: &TenantId,
        user: &UserId,
        prefix: &str,
    ) -> Result<Resolved, Error> {
        let all = self.state().of(tenant, Some(user)).into_iter().map(|told| told.summary.id);
        let mut found: Vec<_> = all.filter(|id| id.as_str().starts_with(prefix)).take(8).collect();
        Ok(match found.len() {
            0 => Resolved::None,
            1 => found.pop().map_or(Resolved::None, Resolved::One),
            _ => Resolved::Ambiguous(found),
        })
    }

    fn blob(&self, tenant: &TenantId, digest: &Digest) -> Result<Option<Vec<u8>>, Error> {
        let place = (tenant.clone(), digest.as_bytes().to_vec());
        Ok(self.state().blobs.get(&place).cloned())
    }

    fn memory_get(&self, bucket: &BucketId, name: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.state().memory.get(&key(bucket, name)).cloned())
    }

    fn memory_exists(&self, bucket: &BucketId, name: &str) -> Result<bool, Error> {
        Ok(self.state().memory.contains_key(&key(bucket, name)))
    }

    fn memory_keys(
        &self,
        bucket: &BucketId,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<KeyPage, Error> {
        let keys = self.memory_entries(bucket)?.into_iter().map(|(key, _)| key);
        let mut keys: Vec<String> =
            keys.filter(|key| cursor.is_none_or(|cursor| key.as_str() > cursor)).collect();
        let is_all = keys.len() <= limit as usize;
        keys.truncate(limit as usize);
        if self.fault == Fault::SkipsKeys && !is_all {
            keys.pop();
        }
        let cursor = if is_all { None } else { keys.last().cloned() };
        Ok(KeyPage { keys, cursor: cursor.filter(|_| self.fault != Fault::SkipsKeys) })
    }

    fn memory_entries(&self, bucket: &BucketId) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let state = self.state();
        let mine = state.memory.iter().filter(|((tenant, scope, owner, _), _)| {
            (tenant, scope, owner) == (&bucket.tenant, &bucket.scope.to_string(), &bucket.owner)
        });
        Ok(mine.map(|((.., key), value)| (key.clone(), value.clone())).collect())
    }

    fn memory_used(&self, bucket: &BucketId) -> Result<MemoryUsed, Error> {
        Ok(self.state().used(bucket))
    }
}
