//! Events as rows. One row holds what one commit adds to a list; rows are only ever added, at the
//! end of the table, so that a commit of many lists touches few pages.

use ringfence_event::{Body, Digest, Event, FORMAT, Stream, TenantId, Timestamp, UserId};
use rusqlite::Connection;

use crate::{
    Error, NewEvent, blob,
    dictionary::{self, Dictionary},
    head,
    pack::{BROKEN, Elsewhere, Packed, Packer, Unpacker},
    squeeze::{Squeezed, squeeze, unsqueeze},
};

/// How many events share a row at most: whoever asks for one of them reads them all.
const ROW_EVENTS_MAX: usize = 64;

/// How many bytes of JSON a row has before it is packed, usually.
const ROW_BYTES: usize = 4096;

/// How many bytes of the hash a row has: what damages a row by chance does not meet eight of them.
const CHECKSUM_BYTES: usize = 8;

/// A row before its place is known. Made on the thread of whoever commits; the one that writes has
/// others waiting.
#[derive(Debug)]
pub(crate) struct Encoded {
    count: u64,
    digest: Digest,
    stored: Squeezed,
    blobs: Vec<blob::Encoded>,
    unknown: Vec<[u8; 32]>,
}

impl Encoded {
    /// How long the row is, with the blobs that it refers to.
    pub(crate) fn bytes(&self) -> usize {
        self.stored.bytes.len() + self.blobs.iter().map(blob::Encoded::bytes).sum::<usize>()
    }

    /// Digests in it that have no number.
    pub(crate) fn unknown(&self) -> &[[u8; 32]] {
        &self.unknown
    }
}

/// What a row says before its events: the format, on whose behalf, and when the first was recorded;
/// then of each the milliseconds since then, its cause and its trace.
type Head<User> = (u32, User, u64, Vec<(i64, Option<u64>, Option<String>)>);

/// The rows of some events.
pub(crate) fn encode(
    stream: &Stream,
    user: &UserId,
    events: &[NewEvent],
    dictionary: &Dictionary,
) -> Result<Vec<Encoded>, Error> {
    let row = |events| encode_row(stream, user, events, dictionary);
    events.chunks(ROW_EVENTS_MAX).map(row).collect()
}

fn encode_row(
    stream: &Stream,
    user: &UserId,
    events: &[NewEvent],
    dictionary: &Dictionary,
) -> Result<Encoded, Error> {
    let began = events.first().map_or(0, |event| event.at.0);
    let each = events.iter().map(|NewEvent { at, cause, trace, .. }| {
        (at.0.wrapping_sub(began).cast_signed(), *cause, trace.clone())
    });
    let head: Head<&UserId> = (FORMAT, user, began, each.collect());
    let json = |error: serde_json::Error| corrupt(stream, 0, &error.to_string());
    // One text behind the other, in one piece of memory.
    let mut written = Vec::with_capacity(ROW_BYTES);
    serde_json::to_writer(&mut written, &head).map_err(json)?;
    let mut ends = vec![written.len()];
    for event in events {
        serde_json::to_writer(&mut written, &event.body).map_err(json)?;
        ends.push(written.len());
    }
    let written =
        String::from_utf8(written).map_err(|error| corrupt(stream, 0, &error.to_string()))?;
    let mut packer = Packer::new(dictionary);
    let mut start = 0;
    for end in ends {
        packer.add(&written[start..end]);
        start = end;
    }
    let Packed { bytes, blobs, unknown } = packer.finish();
    Ok(Encoded {
        count: events.len() as u64,
        digest: Digest::of(&bytes),
        stored: squeeze(bytes),
        blobs: blobs.into_iter().map(|(digest, bytes)| blob::Encoded::new(digest, bytes)).collect(),
        unknown,
    })
}

/// Writes rows behind a place of a list; the number of the last of them.
pub(crate) fn insert(
    connection: &Connection,
    (tenant, stream): (&TenantId, &Stream),
    list: i64,
    after: u64,
    rows: &[Encoded],
) -> Result<u64, Error> {
    let mut first = after + 1;
    let mut last = 0;
    for Encoded { count, digest, stored, blobs, unknown: _ } in rows {
        for blob in blobs {
            blob::put(connection, tenant, blob)?;
        }
        let checksum = checksum(tenant, stream, first, digest);
        connection
            .prepare_cached(
                "INSERT INTO journal (list, first, checksum, events, size)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute((list, first, checksum, &stored.bytes, stored.size))?;
        last = connection.last_insert_rowid().unsigned_abs();
        first += count;
    }
    Ok(last)
}

/// A hash over all that a row says and where it stands, so that a flipped bit is found and not
/// believed.
fn checksum(
    tenant: &TenantId,
    stream: &Stream,
    first: u64,
    events: &Digest,
) -> [u8; CHECKSUM_BYTES] {
    let place = format!("{tenant}\n{stream}\n{first}\n{events}");
    let mut short = [0; CHECKSUM_BYTES];
    short.copy_from_slice(&Digest::of(place.as_bytes()).as_bytes()[..CHECKSUM_BYTES]);
    short
}

/// The rows that hold the events of a list from `?2` to `?3`; the first may begin before.
const ROWS: &str = "
    SELECT first, checksum, events, size FROM journal
    WHERE list = ?1 AND first BETWEEN coalesce(
        (SELECT max(first) FROM journal WHERE list = ?1 AND first <= ?2), ?2) AND ?3
    ORDER BY first
";

/// Up to `limit` events from `from` on, each checked; none is left out. For use inside a transaction, so that
/// all tables are of one time.
pub(crate) fn read(
    (connection, dictionary): (&Connection, &Dictionary),
    tenant: &TenantId,
    stream: &Stream,
    from: u64,
    limit: u32,
) -> Result<Vec<Event>, Error> {
    let from = from.max(1);
    let head = head::load(connection, tenant, stream)?;
    let (Some(list), last) = (head.list, head.seq) else { return Ok(vec![]) };
    let end = last.min(from.saturating_add(u64::from(limit)).saturating_sub(1));
    let mut events = vec![];
    if from > end {
        return Ok(events);
    }
    let mut statement = connection.prepare_cached(ROWS)?;
    // What cannot be read at all is damage to the list like any other.
    let unread = |error: rusqlite::Error, seq| match error.into() {
        Error::Damaged { what } => corrupt(stream, seq, &format!("{what} is damaged")),
        error => error,
    };
    let mut rows = statement.query((list, from, end))?;
    // Where the next row is to begin; the first one may begin before what was asked for.
    let mut next = None;
    loop {
        let place = next.unwrap_or(from);
        if place > end {
            return Ok(events);
        }
        let row = rows.next().map_err(|error| unread(error, place))?;
        let row = row.ok_or_else(|| corrupt(stream, place, "it is missing"))?;
        let first: u64 = row.get(0).map_err(|error| unread(error, place))?;
        if next.is_some_and(|next| next != first) || first > from.max(place) {
            return Err(corrupt(stream, place, "it is missing"));
        }
        let stored = || Ok((row.get(1)?, row.get(2)?, row.get(3)?));
        let stored = stored().map_err(|error| unread(error, place))?;
        let tables = Tables { connection, dictionary, tenant };
        let found = decode(tables, (tenant, stream), first, stored)?;
        let after = first + found.len() as u64;
        if after <= place {
            return Err(corrupt(stream, place, "it is missing"));
        }
        next = Some(after);
        events.extend(found.into_iter().filter(|event| (from..=end).contains(&event.seq)));
    }
}

/// Why a row cannot be unpacked.
pub(crate) enum Fault {
    Row(String),
    Store(Error),
}

impl From<&'static str> for Fault {
    fn from(what: &'static str) -> Self {
        Self::Row(what.to_owned())
    }
}

/// What rows refer to.
pub(crate) struct Tables<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) dictionary: &'a Dictionary,
    pub(crate) tenant: &'a TenantId,
}

impl Elsewhere for Tables<'_> {
    type Error = Fault;

    fn blob(&self, digest: &[u8]) -> Result<String, Fault> {
        match blob::get(self.connection, self.tenant, digest) {
            Ok(Some(bytes)) => String::from_utf8(bytes).map_err(|_| BROKEN.into()),
            Ok(None) => Err("its blob is missing".into()),
            Err(Error::CorruptBlob) => Err("its blob is not what it was".into()),
            Err(Error::Damaged { what }) => Err(Fault::Row(format!("{what} is damaged"))),
            Err(error) => Err(Fault::Store(error)),
        }
    }

    fn digest(&self, number: u64) -> Result<[u8; 32], Fault> {
        if let Some(known) = self.dictionary.digest(number) {
            return Ok(known);
        }
        let found = match dictionary::get(self.connection, number) {
            Err(Error::Damaged { .. }) => None,
            found => found.map_err(Fault::Store)?,
        };
        found.ok_or_else(|| "a digest that it names is missing or damaged".into())
    }
}

/// The events of a row, checked.
pub(crate) fn decode(
    tables: Tables<'_>,
    (tenant, stream): (&TenantId, &Stream),
    first: u64,
    (sum, events, size): (Vec<u8>, Vec<u8>, Option<u64>),
) -> Result<Vec<Event>, Error> {
    let bytes = unsqueeze(events, size).ok_or_else(|| corrupt(stream, first, BROKEN))?;
    if checksum(tenant, stream, first, &Digest::of(&bytes)).as_slice() != sum {
        return Err(corrupt(stream, first, "its checksum does not fit"));
    }
    let fault = |fault, seq| match fault {
        Fault::Row(what) => corrupt(stream, seq, &what),
        Fault::Store(error) => error,
    };
    let mut unpacker = Unpacker::new(&bytes, tables);
    let head = unpacker.next().map_err(|error| fault(error, first))?;
    let (format, user, start, each): Head<UserId> =
        serde_json::from_str(&head).map_err(|error| corrupt(stream, first, &error.to_string()))?;
    if format > FORMAT {
        let what = format!("it is of format {format}, which this version does not read");
        return Err(corrupt(stream, first, &what));
    }
    let mut found = vec![];
    for (seq, (since, cause, trace)) in (first..).zip(each) {
        let text = unpacker.next().map_err(|error| fault(error, seq))?;
        found.push(Event {
            format,
            tenant: tenant.clone(),
            user: user.clone(),
            stream: stream.clone(),
            seq,
            at: Timestamp(start.wrapping_add_signed(since)),
            body: body(&text).map_err(|error| corrupt(stream, seq, &error.to_string()))?,
            cause,
            trace,
        });
    }
    if !unpacker.is_done() || found.is_empty() {
        return Err(corrupt(stream, first, BROKEN));
    }
    Ok(found)
}

/// What a tool returned may lie as deep as a reader of JSON allows, and lies deeper in its event.
pub(crate) fn body(text: &str) -> Result<Body, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.disable_recursion_limit();
    serde::Deserialize::deserialize(&mut deserializer)
}

pub(crate) fn corrupt(stream: &Stream, seq: u64, what: &str) -> Error {
    Error::Corrupt { stream: stream.clone(), seq, what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use ringfence_event::{RunId, SessionId};
    use rusqlite::StatementStatus::VmStep;

    use super::*;
    use crate::{Append, Batch, append, open::open, writing::Writing};

    /// A page of a long list costs what a page of a short one does, wherever it lies.
    #[test]
    fn d10_a_page_costs_the_same_in_a_session_of_any_length() {
        let home = tempfile::tempdir().unwrap();
        let connection = Writing::new(open(&home.path().join("ringfence.db")).unwrap());
        let (tenant, session) = (TenantId::local(), SessionId::from_random([7; 16]));
        let stream = Stream::Session(session);
        let mut written = 0;
        let mut steps = vec![];
        for length in [1_000, 20_000] {
            let view = connection.unchecked_transaction().unwrap();
            while written < length {
                let event = |n: u64| NewEvent {
                    at: Timestamp(n),
                    body: Body::RunStarted { run: RunId(1) },
                    cause: None,
                    trace: None,
                };
                let append = Append {
                    stream: stream.clone(),
                    tenant: tenant.clone(),
                    user: UserId::local(),
                    fence: None,
                    expected_seq: Some(written),
                    events: (0..8).map(event).collect(),
                };
                let batch = Batch { appends: vec![append], ..Batch::default() };
                let encoded = append::Encoded::new(batch, &Dictionary::default()).unwrap();
                append::batch(&connection, &encoded).unwrap();
                written += 8;
            }
            view.commit().unwrap();
            for from in [1, length / 2, length - 99] {
                let dictionary = Dictionary::default();
                let of = (&*connection, &dictionary);
                let found = read(of, &tenant, &stream, from, 100).unwrap();
                assert_eq!(found.len(), 100, "what is held is a page");
                let statement = connection.prepare_cached(ROWS).unwrap();
                steps.push(statement.reset_status(VmStep));
            }
        }
        let (least, most) = (steps.iter().min().unwrap(), steps.iter().max().unwrap());
        assert!(*least > 0 && most - least <= least / 5, "{steps:?}");
    }
}
