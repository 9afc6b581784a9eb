//! A store that keeps everything in memory, written for itself: what the kit asks is no mirror of the
//! other's tables. It can be told to do one thing wrong.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use ringfence_event::{
    Body, Digest, Event, FORMAT, Limit, RunId, SessionId, Stream, TenantId, Timestamp, UserId, Wait,
};
use ringfence_store::{
    Append, Batch, BucketId, BudgetChange, BudgetState, Committed, Conflict, Error, Fence, InboxId,
    Inboxed, KeyPage, MemoryChange, MemoryUsed, OpenSession, Resolved, SessionSummary,
    kit::{Harness, Subject},
};

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

#[derive(Clone, Default)]
struct List {
    events: Vec<Event>,
    fence: u64,
}

#[derive(Clone)]
struct Command {
    tenant: TenantId,
    session: SessionId,
    entry: Inboxed,
    key: Option<String>,
    done: bool,
}

type Key = (TenantId, String, String, String);

#[derive(Clone, Default)]
struct State {
    lists: BTreeMap<(TenantId, String), List>,
    wakes: BTreeMap<(TenantId, SessionId), Timestamp>,
    commands: Vec<Command>,
    memory: BTreeMap<Key, Vec<u8>>,
    blobs: BTreeMap<(TenantId, Vec<u8>), Vec<u8>>,
    /// What is spent, by tenant, limit and window.
    spent: BTreeMap<(TenantId, String, u64), u64>,
    /// What is reserved, by owner.
    reserved: BTreeMap<(TenantId, String, u64, String), u64>,
    version: i64,
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

/// A session as its events tell it.
struct Told {
    summary: SessionSummary,
    open: Vec<(RunId, Option<Wait>, bool)>,
}

impl State {
    fn list(&mut self, tenant: &TenantId, stream: &Stream) -> &mut List {
        self.lists.entry((tenant.clone(), stream.to_string())).or_default()
    }

    fn told(&self, tenant: &TenantId, id: &SessionId) -> Option<Told> {
        let list = self.lists.get(&(tenant.clone(), Stream::Session(id.clone()).to_string()))?;
        let first = list.events.iter().find_map(|event| match &event.body {
            Body::SessionCreated { agent, .. } => Some((event, agent.clone())),
            _ => None,
        });
        let (first, agent) = first?;
        let mut open: Vec<(RunId, Option<Wait>, bool)> = vec![];
        let (mut ended, mut title) = (None, None);
        for event in &list.events {
            let mut set = |run: RunId, waits: Option<Wait>, begun: bool| {
                open.retain(|(known, ..)| *known != run);
                open.push((run, waits, begun));
                open.sort_by_key(|(run, ..)| run.0);
            };
            match &event.body {
                Body::MessageAdded { run, text, .. } => {
                    let line = text.trim().lines().next().unwrap_or_default();
                    title.get_or_insert_with(|| line.chars().take(80).collect::<String>());
                    if open.iter().all(|(known, ..)| known != run) {
                        open.push((*run, None, false));
                    }
                }
                Body::RunStarted { run } | Body::RunResumed { run } => set(*run, None, true),
                Body::RunWaiting { run, on, .. } => set(*run, Some(*on), true),
                Body::RunCompleted { run } | Body::RunCancelled { run } => {
                    open.retain(|(known, ..)| known != run);
                    let is_done = matches!(event.body, Body::RunCompleted { .. });
                    ended = Some(if is_done { "completed" } else { "cancelled" });
                }
                Body::SessionClosed {} => ended = Some("closed"),
                _ => {}
            }
        }
        let current = open.iter().find(|(.., begun)| *begun).or(open.first());
        let status = match current {
            Some((_, Some(_), _)) => Some("waiting"),
            Some((_, None, true)) => Some("running"),
            Some(_) => Some("queued"),
            None => ended,
        };
        let summary = SessionSummary {
            id: id.clone(),
            user: first.user.clone(),
            agent,
            created_at: first.at,
            last_at: list.events.iter().map(|event| event.at).max().unwrap_or(first.at),
            status: status.map(str::to_owned),
            waits: current.and_then(|(_, waits, _)| *waits),
            wake: self.wakes.get(&(tenant.clone(), id.clone())).copied(),
            title,
        };
        Some(Told { summary, open })
    }

    fn all(&self) -> Vec<(TenantId, Told)> {
        let of = |(tenant, stream): &(TenantId, String)| {
            let id = stream.strip_prefix("session/")?.parse().ok()?;
            Some((tenant.clone(), self.told(tenant, &id)?))
        };
        self.lists.keys().filter_map(of).collect()
    }

    fn of(&self, tenant: &TenantId, user: Option<&UserId>) -> Vec<Told> {
        let all = self.all().into_iter().filter(|(of, _)| of == tenant).map(|(_, told)| told);
        all.filter(|told| user.is_none_or(|user| told.summary.user == *user)).collect()
    }

    fn append(&mut self, append: Append, fault: Fault) -> Result<Vec<Event>, Error> {
        let Append { stream, tenant, user, fence, expected_seq, events } = append;
        let list = self.list(&tenant, &stream);
        if fence.unwrap_or(Fence::new(0)) != Fence::new(list.fence) && fault != Fault::IgnoresFences
        {
            return Err(Conflict::StaleFence { stream }.into());
        }
        let found = list.events.len() as u64;
        if let Some(expected) = expected_seq
            && expected != found
            && fault != Fault::IgnoresPlaces
        {
            return Err(Conflict::WrongSeq { stream, expected, found }.into());
        }
        let events: Vec<Event> = (found + 1..)
            .zip(events)
            .map(|(seq, new)| Event {
                format: FORMAT,
                tenant: tenant.clone(),
                user: user.clone(),
                stream: stream.clone(),
                seq,
                at: new.at,
                body: new.body,
                cause: new.cause,
                trace: new.trace,
            })
            .collect();
        list.events.extend(events.iter().cloned());
        if fault == Fault::LosesTheLastEvent {
            list.events.pop();
        }
        if let Stream::Session(id) = &stream
            && self.told(&tenant, id).is_some_and(|told| told.open.is_empty())
        {
            self.wakes.remove(&(tenant, id.clone()));
        }
        Ok(events)
    }

    fn used(&self, bucket: &BucketId) -> MemoryUsed {
        let mut used = MemoryUsed::default();
        for ((tenant, scope, owner, key), value) in &self.memory {
            let bytes = (key.len() + value.len()) as u64;
            if *tenant == bucket.tenant {
                used.tenant_bytes += bytes;
                if *scope == bucket.scope.to_string() && *owner == bucket.owner {
                    used.bytes += bytes;
                    used.keys += 1;
                }
            }
        }
        used
    }

    fn budget(&self, tenant: &TenantId, limit: Limit, window: u64) -> BudgetState {
        let key = (tenant.clone(), limit.as_str().to_owned(), window);
        let reserved = self.reserved.iter().filter(|((of, kind, at, _), _)| {
            (of, kind.as_str(), *at) == (tenant, limit.as_str(), window)
        });
        BudgetState {
            limit,
            spent: self.spent.get(&key).copied().unwrap_or(0),
            reserved: reserved.map(|(_, amount)| amount).sum(),
        }
    }

    fn change(&mut self, change: &BudgetChange, fault: Fault) -> Result<BudgetState, Error> {
        let BudgetChange { tenant, limit, window_start, owner, spent, reserved, of } = change;
        let (kind, window) = (limit.as_str().to_owned(), window_start.0);
        let before = self.budget(tenant, *limit, window);
        let total = (tenant.clone(), kind.clone(), window);
        let is_new = !self.spent.contains_key(&total);
        let own = (tenant.clone(), kind.clone(), window, owner.clone());
        let held = self.reserved.get(&own).copied().unwrap_or(0);
        let most = i64::MAX as u64;
        let after = before.spent.saturating_add(*spent).min(most);
        let all = after.saturating_add(before.reserved - held).saturating_add(*reserved);
        if let Some(of) = *of
            && *reserved > held
            && all > of
            && fault != Fault::Overspends
        {
            let BudgetState { limit, spent, reserved } = before;
            return Err(Error::BudgetSpent { limit, spent, reserved, of });
        }
        if is_new {
            self.reserved
                .retain(|(of, known, at, _), _| (of, known) != (tenant, &kind) || *at >= window);
        }
        self.spent.insert(total, after);
        self.reserved.insert(own, *reserved);
        Ok(self.budget(tenant, *limit, window))
    }
}

fn key(bucket: &BucketId, key: &str) -> Key {
    (bucket.tenant.clone(), bucket.scope.to_string(), bucket.owner.clone(), key.to_owned())
}

impl Plain {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn store(&self, batch: Batch) -> Result<Committed, Error> {
        let mut state = self.state();
        let mut next = state.clone();
        let done = self.apply(&mut next, batch);
        if done.is_ok() || self.fault == Fault::LeavesHalf {
            next.version += 1;
            *state = next;
        }
        done
    }

    fn apply(&self, state: &mut State, batch: Batch) -> Result<Committed, Error> {
        let Batch { appends, memory, memory_limits, blobs, inbox_done, budgets, wake } = batch;
        let mut done = Committed { events: vec![], counters: vec![], budgets: vec![] };
        let buckets: Vec<_> =
            memory.iter().map(|write| (write.bucket.clone(), state.used(&write.bucket))).collect();
        for write in memory {
            let place = key(&write.bucket, &write.key);
            match write.change {
                MemoryChange::Set(value) => drop(state.memory.insert(place, value)),
                MemoryChange::Delete => drop(state.memory.remove(&place)),
                MemoryChange::Increment(by) => {
                    let held = state
                        .memory
                        .get(&place)
                        .map_or("0".into(), |value| String::from_utf8_lossy(value).into_owned());
                    if let Ok(held) = held.parse::<u64>() {
                        let sum = held.saturating_add(by);
                        done.counters.push(sum);
                        state.memory.insert(place, sum.to_string().into_bytes());
                    }
                }
            }
        }
        for append in appends {
            done.events.extend(state.append(append, self.fault)?);
        }
        if let Some(limits) = memory_limits
            && self.fault != Fault::Overfills
        {
            for (bucket, before) in buckets {
                let after = state.used(&bucket);
                if (after.bytes > before.bytes && after.bytes > limits.bucket_bytes)
                    || (after.keys > before.keys && after.keys > limits.bucket_keys)
                    || (after.tenant_bytes > before.tenant_bytes
                        && after.tenant_bytes > limits.tenant_bytes)
                {
                    return Err(Error::MemoryFull { scope: bucket.scope });
                }
            }
        }
        for blob in blobs {
            let digest = Digest::of(&blob.bytes).as_bytes().to_vec();
            state.blobs.insert((blob.tenant, digest), blob.bytes);
        }
        for id in inbox_done {
            let found = state.commands.iter_mut().find(|known| known.entry.id == id && !known.done);
            let found = found.ok_or(Conflict::InboxDone)?;
            found.done = self.fault != Fault::KeepsDoneCommands;
        }
        for change in &budgets {
            done.budgets.push(state.change(change, self.fault)?);
        }
        if let Some(wake) = wake {
            state.told(&wake.tenant, &wake.session).ok_or(Error::NoSuchSession)?;
            let place = (wake.tenant, wake.session);
            match wake.at {
                Some(at) => drop(state.wakes.insert(place, at)),
                None => drop(state.wakes.remove(&place)),
            }
        }
        Ok(done)
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
