//! One batch inside a transaction: claims are checked, places given, everything written.

use ringfence_event::{Digest, Event, FORMAT, SessionId, Stream, TenantId};
use rusqlite::{Connection, OptionalExtension as _};

use crate::{
    Append, Batch, Committed, Conflict, Error, Fence, blob, budget, dictionary::Dictionary, inbox,
    journal, memory, session,
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
    let head = head(connection, &tenant, &stream)?;
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
    let list = set_head(connection, &tenant, &stream, head.list, last.seq)?;
    journal::insert(connection, (&tenant, &stream), list, seq, rows)?;
    if let Stream::Session(id) = &stream {
        session::follow(connection, id, &events)?;
    }
    Ok(events)
}

/// Where a list stands, by which claim it is held (0 for none), and where damage was found in it.
#[derive(Default)]
struct Head {
    list: Option<i64>,
    seq: u64,
    fence: Fence,
    damaged: Option<u64>,
}

fn head(connection: &Connection, tenant: &TenantId, stream: &Stream) -> Result<Head, Error> {
    let head = connection
        .prepare_cached(
            "SELECT id, seq, fence, damaged FROM stream WHERE tenant = ?1 AND stream = ?2",
        )?
        .query_row((tenant.as_str(), stream.to_string()), |row| {
            Ok(Head {
                list: row.get(0)?,
                seq: row.get(1)?,
                fence: Fence(row.get(2)?),
                damaged: row.get(3)?,
            })
        })
        .optional()?;
    Ok(head.unwrap_or_default())
}

/// Says where a list stands from now on; the list's key.
fn set_head(
    connection: &Connection,
    tenant: &TenantId,
    stream: &Stream,
    list: Option<i64>,
    seq: u64,
) -> Result<i64, Error> {
    if let Some(list) = list {
        connection
            .prepare_cached("UPDATE stream SET seq = ?2 WHERE id = ?1")?
            .execute((list, seq))?;
        return Ok(list);
    }
    let list = connection
        .prepare_cached(
            "INSERT INTO stream (tenant, stream, seq, fence) VALUES (?1, ?2, ?3, 0) RETURNING id",
        )?
        .query_row((tenant.as_str(), stream.to_string(), seq), |row| row.get(0))?;
    Ok(list)
}

/// Claims a session for a worker; every earlier claim is stale from then on.
pub(crate) fn claim(
    connection: &Connection,
    tenant: &TenantId,
    session: &SessionId,
    worker: &str,
) -> Result<Fence, Error> {
    let stream = Stream::Session(session.clone());
    if let Some(seq) = head(connection, tenant, &stream)?.damaged {
        return Err(Error::Quarantined { stream, seq });
    }
    let fence = connection
        .prepare_cached(
            "INSERT INTO stream (tenant, stream, seq, fence, worker) VALUES (?1, ?2, 0, 1, ?3)
             ON CONFLICT DO UPDATE SET fence = fence + 1, worker = excluded.worker
             RETURNING fence",
        )?
        .query_row((tenant.as_str(), stream.to_string(), worker), |row| row.get(0))?;
    Ok(Fence(fence))
}
