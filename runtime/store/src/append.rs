//! One batch inside a transaction: claims are checked, places given, everything written.

use ringfence_event::{Event, FORMAT, SessionId, Stream, TenantId};
use rusqlite::{Connection, OptionalExtension as _};

use crate::{
    Append, Batch, Committed, Conflict, Error, Fence, blob, budget, inbox, journal, memory, session,
};

/// Writes all of a batch. On an error the caller rolls back to where it was.
pub(crate) fn batch(connection: &Connection, batch: Batch) -> Result<Committed, Error> {
    let Batch { appends, memory, memory_limits, blobs, inbox_done, budgets, wake } = batch;
    let mut events = vec![];
    for append in appends {
        events.extend(append_to(connection, append)?);
    }
    let counters = memory::write_all(connection, &memory, memory_limits)?;
    for write in &blobs {
        blob::put(connection, &write.tenant, &write.bytes)?;
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

fn append_to(connection: &Connection, append: Append) -> Result<Vec<Event>, Error> {
    let Append { stream, tenant, user, fence, expected_seq, events } = append;
    let (seq, claimed) = head(connection, &tenant, &stream)?;
    if fence.unwrap_or(Fence(0)) != claimed {
        return Err(Conflict::StaleFence { stream }.into());
    }
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
    set_head(connection, &tenant, &stream, last.seq)?;
    for event in &events {
        journal::insert(connection, event)?;
    }
    if let Stream::Session(id) = &stream {
        session::follow(connection, id, &events)?;
    }
    Ok(events)
}

/// Where a list stands, and by which claim it is held; 0 for none.
fn head(
    connection: &Connection,
    tenant: &TenantId,
    stream: &Stream,
) -> Result<(u64, Fence), Error> {
    let head = connection
        .prepare_cached("SELECT seq, fence FROM stream WHERE tenant = ?1 AND stream = ?2")?
        .query_row((tenant.as_str(), stream.to_string()), |row| {
            Ok((row.get(0)?, Fence(row.get(1)?)))
        })
        .optional()?;
    Ok(head.unwrap_or((0, Fence(0))))
}

fn set_head(
    connection: &Connection,
    tenant: &TenantId,
    stream: &Stream,
    seq: u64,
) -> Result<(), Error> {
    connection
        .prepare_cached(
            "INSERT INTO stream (tenant, stream, seq, fence) VALUES (?1, ?2, ?3, 0)
             ON CONFLICT DO UPDATE SET seq = excluded.seq",
        )?
        .execute((tenant.as_str(), stream.to_string(), seq))?;
    Ok(())
}

/// Claims a session for a worker; every earlier claim is stale from then on.
pub(crate) fn claim(
    connection: &Connection,
    tenant: &TenantId,
    session: &SessionId,
    worker: &str,
) -> Result<Fence, Error> {
    let stream = Stream::Session(session.clone());
    let fence = connection
        .prepare_cached(
            "INSERT INTO stream (tenant, stream, seq, fence, worker) VALUES (?1, ?2, 0, 1, ?3)
             ON CONFLICT DO UPDATE SET fence = fence + 1, worker = excluded.worker
             RETURNING fence",
        )?
        .query_row((tenant.as_str(), stream.to_string(), worker), |row| row.get(0))?;
    Ok(Fence(fence))
}
