//! One batch inside a transaction: claims are checked, places given, everything written.

use ringfence_event::{Digest, Event, FORMAT, SessionId, Stream, TenantId};
use rusqlite::Connection;

use crate::{
    Append, Batch, Committed, Conflict, Error, Fence, MemoryChange, blob, budget,
    dictionary::Dictionary, head, inbox, journal, memory, record, session,
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

/// Writes all of a batch. On an error the caller rolls back to where it was.
pub(crate) fn batch(connection: &Connection, encoded: Encoded) -> Result<Committed, Error> {
    let Encoded { batch, rows, blobs } = encoded;
    let Batch { appends, memory, memory_limits, blobs: _, inbox_done, budgets, wake } = batch;
    let mut events = vec![];
    for (append, rows) in appends.into_iter().zip(&rows) {
        events.extend(append_to(connection, append, rows)?);
    }
    let counters = memory::write_all(connection, &memory, memory_limits)?;
    for (tenant, blob) in &blobs {
        blob::put(connection, tenant, blob)?;
    }
    for id in &inbox_done {
        inbox::done(connection, id)?;
    }
    let budgets = budgets
        .iter()
        .map(|change| budget::change(connection, change))
        .collect::<Result<_, _>>()?;
    // After the appends: an end of the last run forgets the wake that was, not the one that comes.
    if let Some(wake) = &wake {
        session::wake(connection, wake)?;
    }
    Ok(Committed { events, counters, budgets })
}

fn append_to(
    connection: &Connection,
    append: Append,
    rows: &[journal::Encoded],
) -> Result<Vec<Event>, Error> {
    let Append { stream, tenant, user, fence, expected_seq, events } = append;
    let mut head = head::load(connection, &tenant, &stream)?;
    if let Some(seq) = head.damaged {
        return Err(Error::Quarantined { stream, seq });
    }
    if fence.unwrap_or(Fence(0)) != head.fence {
        return Err(Conflict::StaleFence { stream }.into());
    }
    let seq = head.seq;
    if let Some(expected) = expected_seq
        && expected != seq
    {
        return Err(Conflict::WrongSeq { stream, expected, found: seq }.into());
    }
    let events: Vec<Event> = (seq + 1..)
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
    let Some(last) = events.last() else { return Ok(events) };
    head.seq = last.seq;
    let list = head::store(connection, &tenant, &stream, &head)?;
    journal::insert(connection, (&tenant, &stream), list, seq, rows)?;
    if let Stream::Session(id) = &stream {
        record::follow(connection, id, &events)?;
    }
    Ok(events)
}

/// Claims a session for a worker; every earlier claim is stale from then on.
pub(crate) fn claim(
    connection: &Connection,
    tenant: &TenantId,
    session: &SessionId,
    worker: &str,
) -> Result<Fence, Error> {
    let stream = Stream::Session(session.clone());
    let mut head = head::load(connection, tenant, &stream)?;
    if let Some(seq) = head.damaged {
        return Err(Error::Quarantined { stream, seq });
    }
    head.fence = Fence(head.fence.0 + 1);
    head.worker = Some(worker.to_owned());
    head::store(connection, tenant, &stream, &head)?;
    Ok(head.fence)
}
