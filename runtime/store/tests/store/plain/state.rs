//! What a plain store holds, and how a batch changes it.

use std::collections::BTreeMap;

use ringfence_event::{
    Body, Digest, Event, FORMAT, Limit, RunId, SessionId, Stream, TenantId, Timestamp, UserId, Wait,
};
use ringfence_store::{
    Append, Batch, BucketId, BudgetChange, BudgetState, Committed, Conflict, Error, Fence, Inboxed,
    MemoryChange, MemoryUsed, SessionSummary,
};

use super::Fault;

#[derive(Clone, Default)]
pub(super) struct List {
    pub(super) events: Vec<Event>,
    pub(super) fence: u64,
}

#[derive(Clone)]
pub(super) struct Command {
    pub(super) tenant: TenantId,
    pub(super) session: SessionId,
    pub(super) entry: Inboxed,
    pub(super) key: Option<String>,
    pub(super) done: bool,
}

type Key = (TenantId, String, String, String);

#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) lists: BTreeMap<(TenantId, String), List>,
    pub(super) wakes: BTreeMap<(TenantId, SessionId), Timestamp>,
    pub(super) commands: Vec<Command>,
    pub(super) memory: BTreeMap<Key, Vec<u8>>,
    pub(super) blobs: BTreeMap<(TenantId, Vec<u8>), Vec<u8>>,
    /// What is spent, by tenant, limit and window.
    pub(super) spent: BTreeMap<(TenantId, String, u64), u64>,
    /// What is reserved, by owner.
    pub(super) reserved: BTreeMap<(TenantId, String, u64, String), u64>,
    pub(super) version: i64,
}

/// A session as its events tell it.
pub(super) struct Told {
    pub(super) summary: SessionSummary,
    pub(super) open: Vec<(RunId, Option<Wait>, bool)>,
}

impl State {
    pub(super) fn list(&mut self, tenant: &TenantId, stream: &Stream) -> &mut List {
        self.lists.entry((tenant.clone(), stream.to_string())).or_default()
    }

    pub(super) fn told(&self, tenant: &TenantId, id: &SessionId) -> Option<Told> {
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

    pub(super) fn all(&self) -> Vec<(TenantId, Told)> {
        let of = |(tenant, stream): &(TenantId, String)| {
            let id = stream.strip_prefix("session/")?.parse().ok()?;
            Some((tenant.clone(), self.told(tenant, &id)?))
        };
        self.lists.keys().filter_map(of).collect()
    }

    pub(super) fn of(&self, tenant: &TenantId, user: Option<&UserId>) -> Vec<Told> {
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

    pub(super) fn used(&self, bucket: &BucketId) -> MemoryUsed {
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

    pub(super) fn budget(&self, tenant: &TenantId, limit: Limit, window: u64) -> BudgetState {
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

pub(super) fn key(bucket: &BucketId, key: &str) -> Key {
    (bucket.tenant.clone(), bucket.scope.to_string(), bucket.owner.clone(), key.to_owned())
}

impl State {
    pub(super) fn apply(&mut self, batch: Batch, fault: Fault) -> Result<Committed, Error> {
        let Batch { appends, memory, memory_limits, blobs, inbox_done, budgets, wake, keys: _ } =
            batch;
        let mut done = Committed { events: [].into(), counters: vec![], budgets: vec![] };
        let mut events = vec![];
        let buckets: Vec<_> =
            memory.iter().map(|write| (write.bucket.clone(), self.used(&write.bucket))).collect();
        for write in memory {
            let place = key(&write.bucket, &write.key);
            match write.change {
                MemoryChange::Set(value) => drop(self.memory.insert(place, value)),
                MemoryChange::Delete => drop(self.memory.remove(&place)),
                MemoryChange::Increment(by) => {
                    let held = self
                        .memory
                        .get(&place)
                        .map_or("0".into(), |value| String::from_utf8_lossy(value).into_owned());
                    if let Ok(held) = held.parse::<u64>() {
                        let sum = held.saturating_add(by);
                        done.counters.push(sum);
                        self.memory.insert(place, sum.to_string().into_bytes());
                    }
                }
            }
        }
        for append in appends {
            events.extend(self.append(append, fault)?);
        }
        if let Some(limits) = memory_limits
            && fault != Fault::Overfills
        {
            for (bucket, before) in buckets {
                let after = self.used(&bucket);
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
            self.blobs.insert((blob.tenant, digest), blob.bytes);
        }
        for id in inbox_done {
            let found = self.commands.iter_mut().find(|known| known.entry.id == id && !known.done);
            let found = found.ok_or(Conflict::InboxDone)?;
            found.done = fault != Fault::KeepsDoneCommands;
        }
        for change in &budgets {
            done.budgets.push(self.change(change, fault)?);
        }
        if let Some(wake) = wake {
            self.told(&wake.tenant, &wake.session).ok_or(Error::NoSuchSession)?;
            let place = (wake.tenant, wake.session);
            match wake.at {
                Some(at) => drop(self.wakes.insert(place, at)),
                None => drop(self.wakes.remove(&place)),
            }
        }
        done.events = events.into();
        Ok(done)
    }
}
