//! One batch inside a transaction: claims are checked, places given, everything written.

use ringfence_event::{Digest, Event, FORMAT, SessionId, Stream, TenantId};

use crate::{
    Append, Batch, BudgetState, Committed, Conflict, Error, Fence, MemoryChange, blob, budget,
    dictionary::Dictionary, head, inbox, journal, key, memory, record::Record, session,
    writing::Writing,
};

/// A batch whose events and blobs are encoded, on the thread of whoever commits it.
pub(crate) struct Encoded {
    batch: Batch,
    rows: Vec<Vec<journal::Encoded>>,
    blobs: Vec<(TenantId, blob::Encoded)>,
}

impl Encoded {
    pub(crate) fn new(mut batch: Batch, dictionary: &Dictionary) -> Result<Self, Error> {
        let rows = batch
            .appends
            .iter()
            .map(|append| journal::encode(&append.stream, &append.user, &append.events, dictionary))
            .collect::<Result<_, _>>()?;
        let blobs = std::mem::take(&mut batch.blobs)
            .into_iter()
            .map(|write| (write.tenant, blob::Encoded::new(Digest::of(&write.bytes), write.bytes)));
        let blobs = blobs.collect();
        Ok(Self { batch, rows, blobs })
    }

    /// What it takes of memory until it is written, about.
    pub(crate) fn bytes(&self) -> usize {
        let rows = self.rows.iter().flatten().map(journal::Encoded::bytes);
        let blobs = self.blobs.iter().map(|(_, blob)| blob.bytes());
        let memory = self.batch.memory.iter().map(|write| match &write.change {
            MemoryChange::Set(value) => value.len(),
            MemoryChange::Delete | MemoryChange::Increment(_) => 0,
        });
        // The events themselves go on to whoever hears of the commit.
        2 * rows.sum::<usize>() + blobs.sum::<usize>() + memory.sum::<usize>()
    }

    /// Digests in its rows that have no number.
    pub(crate) fn unknown(&self) -> Vec<[u8; 32]> {
        self.rows.iter().flatten().flat_map(journal::Encoded::unknown).copied().collect()
    }
}

/// What the transaction gave a batch.
pub(crate) struct Given {
    /// Its place among all commits; 0 for one without events.
    position: u64,
    /// The place before the first event of each append.
    after: Vec<u64>,
    counters: Vec<u64>,
    budgets: Vec<BudgetState>,
}

impl Encoded {
    /// What the batch became, and its place among all commits. Made by whoever hears of it, if possible: the one
    /// thread that writes has others waiting.
    pub(crate) fn committed(self, given: Given) -> (Committed, u64) {
        let Given { position, after, counters, budgets } = given;
        let events = self.batch.appends.into_iter().zip(after).flat_map(|(append, after)| {
            let Append { stream, tenant, user, events, fence: _, expected_seq: _ } = append;
            (after + 1..).zip(events).map(move |(seq, new)| Event {
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
        });
        (Committed { events: events.collect(), counters, budgets }, position)
    }
}

/// Writes all of a batch. On an error the caller rolls back to where it was.
pub(crate) fn batch(writing: &Writing, encoded: &Encoded) -> Result<Given, Error> {
    let Encoded { batch, rows, blobs } = encoded;
    let Batch { appends, memory, memory_limits, blobs: _, inbox_done, budgets, wake, keys } = batch;
    let (mut after, mut position) = (Vec::with_capacity(appends.len()), 0);
    for (append, rows) in appends.iter().zip(rows) {
        let (seq, last) = append_to(writing, append, rows)?;
        after.push(seq);
        position = last.max(position);
    }
    let counters = memory::write_all(writing, memory, *memory_limits)?;
    for (tenant, blob) in blobs {
        blob::put(writing, tenant, blob)?;
    }
    for id in inbox_done {
        inbox::done(writing, id)?;
    }
    for change in keys {
        key::change(writing, change)?;
    }
    let change = |change| budget::change(writing, change);
    let budgets = budgets.iter().map(change).collect::<Result<_, _>>()?;
    // After the appends: an end of the last run forgets the wake that was, not the one that comes.
    if let Some(wake) = wake {
        session::wake(writing, wake)?;
    }
    Ok(Given { position, after, counters, budgets })
}

/// The place where the list stood, and that of its last row among all rows; 0 for none.
fn append_to(
    writing: &Writing,
    append: &Append,
    rows: &[journal::Encoded],
) -> Result<(u64, u64), Error> {
    let Append { stream, tenant, user, fence, expected_seq, events } = append;
    let mut list = writing.take(tenant, stream)?;
    let head = &mut list.head;
    let seq = head.seq;
    if let Some(seq) = head.damaged {
        return Err(Error::Quarantined { stream: stream.clone(), seq });
    }
    if fence.unwrap_or(Fence(0)) != head.fence {
        return Err(Conflict::StaleFence { stream: stream.clone() }.into());
    }
    if let Some(expected) = *expected_seq
        && expected != seq
    {
        return Err(Conflict::WrongSeq { stream: stream.clone(), expected, found: seq }.into());
    }
    let mut position = 0;
    if !events.is_empty() {
        head.seq += events.len() as u64;
        let key = head::store(writing, tenant, stream, head)?;
        head.list = Some(key);
        position = journal::insert(writing, (tenant, stream), key, seq, rows)?;
        if let Stream::Session(id) = stream {
            let new = events.iter().map(|new| (new.at, &new.body));
            list.record = Record::follow(list.record, (tenant, id, user), new);
            // Events of a session that was never created are kept; it is in no list.
            if let Some(record) = &mut list.record {
                record.store(writing)?;
            }
        }
    }
    writing.keep(tenant.clone(), stream.clone(), list);
    Ok((seq, position))
}

/// Claims a session for a worker; every earlier claim is stale from then on.
pub(crate) fn claim(
    writing: &Writing,
    tenant: &TenantId,
    session: &SessionId,
    worker: &str,
) -> Result<Fence, Error> {
    let stream = Stream::Session(session.clone());
    let mut list = writing.take(tenant, &stream)?;
    let head = &mut list.head;
    if let Some(seq) = head.damaged {
        return Err(Error::Quarantined { stream, seq });
    }
    let fence = Fence(head.fence.0 + 1);
    head.fence = fence;
    head.worker = Some(worker.to_owned());
    head.list = Some(head::store(writing, tenant, &stream, head)?);
    writing.keep(tenant.clone(), stream, list);
    Ok(fence)
}
