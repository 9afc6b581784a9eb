//! From the tables of earlier versions to this one's, inside the transaction of whoever opens the
//! store first.

use ringfence_event::{Digest, FORMAT, Stream, TenantId, Timestamp, UserId, Wait};
use rusqlite::{Connection, Row};

use crate::{
    Error, NewEvent, Quarantined, blob,
    dictionary::Dictionary,
    journal::{self, body, corrupt},
    open::NEW_IN_3,
    quarantine,
    runs::Runs,
    session::parsed,
};

/// From format 1, which counted the bytes of each bucket and nothing else.
const TO_FORMAT_2: &str = "
    ALTER TABLE bucket ADD COLUMN keys INTEGER NOT NULL DEFAULT 0;
    UPDATE bucket SET keys = (
        SELECT count(*) FROM memory WHERE memory.tenant = bucket.tenant
        AND memory.scope = bucket.scope AND memory.owner = bucket.owner
    );
    CREATE TABLE memory_total (
        tenant TEXT NOT NULL PRIMARY KEY, bytes INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    INSERT INTO memory_total (tenant, bytes) SELECT tenant, sum(bytes) FROM bucket GROUP BY tenant;
";

/// Format 2 had a row for each event, and a session's row said only its last word. An event that was
/// a blob as a whole keeps that blob.
const TO_FORMAT_3: &str = "
    ALTER TABLE event RENAME TO event_2;
    ALTER TABLE stream RENAME TO stream_2;
    ALTER TABLE blob ADD COLUMN size INTEGER;
    ALTER TABLE session ADD COLUMN open TEXT;
    ALTER TABLE session ADD COLUMN waits TEXT;
    ALTER TABLE session ADD COLUMN wake INTEGER;
    ALTER TABLE session ADD COLUMN recent INTEGER NOT NULL DEFAULT 0;
    UPDATE session SET recent = last / 60000;
    DROP INDEX session_by_last;
";

const MOVE_STREAMS: &str = "
    INSERT INTO stream (tenant, stream, seq, fence, worker)
    SELECT tenant, stream, seq, fence, worker FROM stream_2;
";

/// How many events are moved at a time.
const PAGE: u64 = 64;

/// Brings the tables of format `found` up to this version's.
pub(crate) fn migrate(connection: &Connection, found: u32) -> Result<(), Error> {
    if found < 2 {
        connection.execute_batch(TO_FORMAT_2)?;
    }
    if found < 3 {
        connection.execute_batch(TO_FORMAT_3)?;
        connection.execute_batch(NEW_IN_3)?;
        connection.execute_batch(MOVE_STREAMS)?;
        let mut is_whole = true;
        for list in lists(connection)? {
            is_whole &= list.move_events(connection)?;
        }
        // What is damaged stays where it is: some of it may still be of use to somebody.
        if is_whole {
            connection.execute_batch("DROP TABLE event_2; DROP TABLE stream_2;")?;
        }
    }
    Ok(())
}

struct List {
    key: i64,
    tenant: TenantId,
    stream: Stream,
    last: u64,
}

fn lists(connection: &Connection) -> Result<Vec<List>, Error> {
    let mut statement = connection.prepare("SELECT id, tenant, stream, seq FROM stream")?;
    let rows = statement.query_map([], |row| {
        Ok(List {
            key: row.get(0)?,
            tenant: parsed(row, 1)?,
            stream: parsed(row, 2)?,
            last: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

impl List {
    /// Moves the events of one list, up to the first that is damaged. Whether there was none.
    fn move_events(&self, connection: &Connection) -> Result<bool, Error> {
        let mut runs = Runs::default();
        let mut next = 1;
        let mut damage = None;
        while next <= self.last && damage.is_none() {
            let mut page: Vec<NewEvent> = vec![];
            let mut user = None;
            while next <= self.last && (page.len() as u64) < PAGE {
                match self.event(connection, next) {
                    // A row has one user.
                    Ok((by, _)) if user.as_ref().is_some_and(|user| *user != by) => break,
                    Ok((by, event)) => {
                        user = Some(by);
                        runs.follow(&event.body);
                        page.push(event);
                        next += 1;
                    }
                    Err(Error::Corrupt { seq, what, .. }) => {
                        damage = Some((seq, what));
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
            if let Some(user) = user {
                let after = next - 1 - page.len() as u64;
                let rows = journal::encode(&self.stream, &user, &page, &Dictionary::default())?;
                let names = (&self.tenant, &self.stream);
                journal::insert(connection, names, self.key, after, &rows)?;
            }
        }
        if let Stream::Session(id) = &self.stream {
            connection
                .prepare_cached(
                    "UPDATE session SET status = ?3, open = ?4, waits = ?5
                     WHERE tenant = ?1 AND id = ?2",
                )?
                .execute((
                    self.tenant.as_str(),
                    id.as_str(),
                    runs.status(),
                    runs.open(),
                    runs.waits().map(Wait::as_str),
                ))?;
        }
        let Some((seq, what)) = damage else { return Ok(true) };
        let (tenant, stream) = (self.tenant.clone(), self.stream.clone());
        quarantine::put(connection, &Quarantined { tenant, stream, seq, what })?;
        Ok(false)
    }

    /// One event as format 2 wrote it, checked.
    fn event(&self, connection: &Connection, seq: u64) -> Result<(UserId, NewEvent), Error> {
        let mut statement = connection.prepare_cached(
            "SELECT format, user, at, body, blob, cause, trace, checksum FROM event_2
             WHERE tenant = ?1 AND stream = ?2 AND seq = ?3",
        )?;
        let mut rows = statement.query((self.tenant.as_str(), self.stream.to_string(), seq))?;
        let row = rows.next()?.ok_or_else(|| self.corrupt(seq, "it is missing"))?;
        self.checked(connection, row, seq)
    }

    fn checked(
        &self,
        connection: &Connection,
        row: &Row<'_>,
        seq: u64,
    ) -> Result<(UserId, NewEvent), Error> {
        let Self { tenant, stream, .. } = self;
        let text: String = match (row.get(3)?, row.get::<_, Option<Vec<u8>>>(4)?) {
            (Some(text), None) => text,
            (None, Some(digest)) => match blob::get(connection, tenant, &digest) {
                Ok(Some(bytes)) => String::from_utf8(bytes)
                    .map_err(|error| self.corrupt(seq, &error.to_string()))?,
                Ok(None) => return Err(self.corrupt(seq, "its blob is missing")),
                Err(Error::CorruptBlob) => {
                    return Err(self.corrupt(seq, "its blob is not what it was"));
                }
                Err(error) => return Err(error),
            },
            _ => return Err(self.corrupt(seq, "it has no body")),
        };
        let (format, user): (u32, String) = (row.get(0)?, row.get(1)?);
        let (at, digest): (u64, _) = (row.get(2)?, Digest::of(text.as_bytes()));
        let (cause, trace): (Option<u64>, Option<String>) = (row.get(5)?, row.get(6)?);
        let all = format!(
            "{format}\n{tenant}\n{user}\n{stream}\n{seq}\n{at}\n{digest}\n{cause:?}\n{trace:?}"
        );
        if Digest::of(all.as_bytes()).as_bytes().as_slice() != row.get::<_, Vec<u8>>(7)? {
            return Err(self.corrupt(seq, "its checksum does not fit"));
        }
        if format > FORMAT {
            let what = format!("it is of format {format}, which this version does not read");
            return Err(self.corrupt(seq, &what));
        }
        let user = user.parse().map_err(|error| self.corrupt(seq, &format!("{error}")))?;
        let body = body(&text).map_err(|error| self.corrupt(seq, &error.to_string()))?;
        Ok((user, NewEvent { at: Timestamp(at), body, cause, trace }))
    }

    fn corrupt(&self, seq: u64, what: &str) -> Error {
        corrupt(&self.stream, seq, what)
    }
}
