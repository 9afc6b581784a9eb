//! Events as rows: how they are written down, and how they are read and checked again.

use ringfence_event::{Body, Digest, Event, FORMAT, Stream, TenantId, Timestamp, UserId};
use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::{Error, blob};

/// A body longer than this is kept as a blob: a page of the database, beyond which rows would
/// drag their neighbours apart.
const INLINE_BYTES_MAX: usize = 4096;

/// Writes one event at its place.
pub(crate) fn insert(connection: &Connection, event: &Event) -> Result<(), Error> {
    let corrupt =
        |what: String| Error::Corrupt { stream: event.stream.clone(), seq: event.seq, what };
    let body = serde_json::to_string(&event.body).map_err(|error| corrupt(error.to_string()))?;
    let digest = Digest::of(body.as_bytes());
    let checksum = checksum(event, &digest);
    let inline = body.len() <= INLINE_BYTES_MAX;
    if !inline {
        blob::put(connection, &event.tenant, body.as_bytes())?;
    }
    connection
        .prepare_cached(
            "INSERT INTO event (tenant, stream, seq, format, user, at, kind, body, blob, cause, trace, checksum)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?
        .execute((
            event.tenant.as_str(),
            event.stream.to_string(),
            event.seq,
            event.format,
            event.user.as_str(),
            event.at.0,
            event.body.kind(),
            inline.then_some(&body),
            (!inline).then_some(digest.as_bytes()),
            event.cause,
            &event.trace,
            checksum.as_bytes(),
        ))?;
    Ok(())
}

/// A hash over all that the row says, so that a flipped bit is found and not believed.
fn checksum(event: &Event, body: &Digest) -> Digest {
    let Event { format, tenant, user, stream, seq, at, body: _, cause, trace } = event;
    let at = at.0;
    let text =
        format!("{format}\n{tenant}\n{user}\n{stream}\n{seq}\n{at}\n{body}\n{cause:?}\n{trace:?}");
    Digest::of(text.as_bytes())
}

/// The place of the last event; 0 for a list that has none.
pub(crate) fn last_seq(
    connection: &Connection,
    tenant: &TenantId,
    stream: &Stream,
) -> Result<u64, Error> {
    let seq = connection
        .prepare_cached("SELECT seq FROM stream WHERE tenant = ?1 AND stream = ?2")?
        .query_row((tenant.as_str(), stream.to_string()), |row| row.get(0))
        .optional()?;
    Ok(seq.unwrap_or(0))
}

/// Up to `limit` events from `from` on, each checked; none is left out.
pub(crate) fn read(
    connection: &Connection,
    tenant: &TenantId,
    stream: &Stream,
    from: u64,
    limit: u32,
) -> Result<Vec<Event>, Error> {
    let from = from.max(1);
    // One view of both tables, whatever is written meanwhile.
    let view = connection.unchecked_transaction()?;
    let last = last_seq(&view, tenant, stream)?;
    let end = last.min(from.saturating_add(u64::from(limit)).saturating_sub(1));
    let mut statement = view.prepare_cached(
        "SELECT seq, format, user, at, body, blob, cause, trace, checksum FROM event
         WHERE tenant = ?1 AND stream = ?2 AND seq BETWEEN ?3 AND ?4 ORDER BY seq",
    )?;
    let mut rows = statement.query((tenant.as_str(), stream.to_string(), from, end))?;
    let mut events = vec![];
    for seq in from..=end {
        let row = rows.next()?.ok_or_else(|| corrupt(stream, seq, "it is missing"))?;
        events.push(event(&view, row, tenant, stream, seq)?);
    }
    Ok(events)
}

fn event(
    connection: &Connection,
    row: &Row<'_>,
    tenant: &TenantId,
    stream: &Stream,
    seq: u64,
) -> Result<Event, Error> {
    if row.get::<_, u64>(0)? != seq {
        return Err(corrupt(stream, seq, "it is missing"));
    }
    let format: u32 = row.get(1)?;
    if format > FORMAT {
        return Err(corrupt(
            stream,
            seq,
            &format!("it is of format {format}, which this version does not read"),
        ));
    }
    let body: String = match (row.get::<_, Option<String>>(4)?, row.get::<_, Option<Vec<u8>>>(5)?) {
        (Some(body), None) => body,
        (None, Some(digest)) => match blob::get(connection, tenant, &digest) {
            Ok(Some(bytes)) => String::from_utf8(bytes)
                .map_err(|error| corrupt(stream, seq, &error.to_string()))?,
            Ok(None) => return Err(corrupt(stream, seq, "its blob is missing")),
            Err(Error::CorruptBlob) => {
                return Err(corrupt(stream, seq, "its blob is not what it was"));
            }
            Err(error) => return Err(error),
        },
        _ => return Err(corrupt(stream, seq, "it has no body")),
    };
    let user: UserId = row
        .get::<_, String>(2)?
        .parse()
        .map_err(|error| corrupt(stream, seq, &format!("{error}")))?;
    let digest = Digest::of(body.as_bytes());
    let body: Body =
        serde_json::from_str(&body).map_err(|error| corrupt(stream, seq, &error.to_string()))?;
    let event = Event {
        format,
        tenant: tenant.clone(),
        user,
        stream: stream.clone(),
        seq,
        at: Timestamp(row.get(3)?),
        body,
        cause: row.get(6)?,
        trace: row.get(7)?,
    };
    if checksum(&event, &digest).as_bytes().as_slice() != row.get_ref(8)?.as_blob().unwrap_or(&[]) {
        return Err(corrupt(stream, seq, "its checksum does not fit"));
    }
    Ok(event)
}

fn corrupt(stream: &Stream, seq: u64, what: &str) -> Error {
    Error::Corrupt { stream: stream.clone(), seq, what: what.to_owned() }
}
