//! From the tables of earlier versions to this one's, inside the transaction of whoever opens the
//! store first.

use ringfence_event::{Digest, FORMAT, Stream, TenantId, Timestamp, UserId};
use rusqlite::{Connection, Row};

use crate::{
    Error, NewEvent, Quarantined, blob, check,
    dictionary::Dictionary,
    journal::{self, body, corrupt},
    quarantine, record,
    record::parsed,
    runs::Runs,
    schema::TABLES,
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

/// Format 3: a list has a short key; its events are rows of several, at the end of one table.
const NEW_IN_3: &str = "
    CREATE TABLE stream (
        id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, stream TEXT NOT NULL,
        seq INTEGER NOT NULL, fence INTEGER NOT NULL, worker TEXT, damaged INTEGER,
        UNIQUE (tenant, stream)
    ) STRICT;
    CREATE TABLE journal (
        id INTEGER PRIMARY KEY, list INTEGER NOT NULL, first INTEGER NOT NULL,
        checksum BLOB NOT NULL, events BLOB NOT NULL, size INTEGER
    ) STRICT;
    CREATE UNIQUE INDEX journal_place ON journal (list, first);
    CREATE TABLE digest (
        id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, checksum BLOB NOT NULL
    ) STRICT;
    CREATE TABLE quarantine (
        tenant TEXT NOT NULL, stream TEXT NOT NULL, seq INTEGER NOT NULL, what TEXT NOT NULL,
        PRIMARY KEY (tenant, stream)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX session_recent ON session (tenant, recent);
    CREATE INDEX session_open ON session (tenant, id) WHERE open IS NOT NULL;
    CREATE INDEX session_waits ON session (tenant, waits) WHERE waits IS NOT NULL;
    CREATE INDEX session_wake ON session (wake) WHERE wake IS NOT NULL;
    CREATE TABLE inbox_key (
        tenant TEXT NOT NULL, session TEXT NOT NULL, key TEXT NOT NULL, inbox INTEGER NOT NULL,
        digest BLOB NOT NULL,
        PRIMARY KEY (tenant, session, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE budget (
        tenant TEXT NOT NULL, kind TEXT NOT NULL, window INTEGER NOT NULL,
        spent INTEGER NOT NULL, reserved INTEGER NOT NULL,
        PRIMARY KEY (tenant, kind, window)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE reservation (
        tenant TEXT NOT NULL, kind TEXT NOT NULL, window INTEGER NOT NULL, owner TEXT NOT NULL,
        amount INTEGER NOT NULL,
        PRIMARY KEY (tenant, kind, window, owner)
    ) STRICT, WITHOUT ROWID;
";

const MOVE_STREAMS: &str = "
    INSERT INTO stream (tenant, stream, seq, fence, worker)
    SELECT tenant, stream, seq, fence, worker FROM stream_2;
";

/// Format 4 has a checksum in every row and a twin for every index: the tables that are new in it, with the
/// columns that they take over. A table is emptied before those that it refers to.
const NEW_IN_4: [(&str, &str); 10] = [
    ("stream", "id, tenant, stream, seq, fence, worker, damaged"),
    ("quarantine", "tenant, stream, seq, what"),
    ("session", "tenant, id, user, agent, created, last, status, title, open, waits, wake, recent"),
    ("inbox", "id, tenant, session, at, command"),
    ("inbox_key", "tenant, session, key, inbox, digest"),
    ("memory", "tenant, scope, owner, key, value"),
    ("bucket", "tenant, scope, owner, bytes, keys"),
    ("memory_total", "tenant, bytes"),
    ("budget", "tenant, kind, window, spent, reserved"),
    ("reservation", "tenant, kind, window, owner, amount"),
];

/// Format 5 has API keys, and requests that are not to be carried out twice: these tables, with their indexes.
const NEW_IN_5: [&str; 2] = ["key", "request"];

/// Indexes of format 3 whose names are taken in this one.
const DROPPED_IN_4: &str = "
    DROP INDEX session_recent; DROP INDEX session_open; DROP INDEX session_waits;
    DROP INDEX session_wake; DROP INDEX inbox_by_session;
";

/// The numbers of commands go on: one that was done does not come again.
const NUMBERS_GO_ON: &str = "
    DELETE FROM sqlite_sequence WHERE name = 'inbox';
    INSERT INTO sqlite_sequence (name, seq)
    SELECT 'inbox', seq FROM sqlite_sequence WHERE name = 'inbox_3';
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
    }
    if found < 4 {
        // Which makes all the tables that are new since.
        to_format_4(connection)?;
    } else if found < 5 {
        for text in TABLES.split_inclusive(';').filter(|text| is_new_in_5(text)) {
            connection.execute_batch(text)?;
        }
    }
    if found < 3 {
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

fn is_new_in_5(text: &str) -> bool {
    let of = |table: &str| {
        text.contains(&format!("CREATE TABLE {table} ")) || text.contains(&format!(" ON {table} "))
    };
    NEW_IN_5.iter().copied().any(of)
}

/// Moves all rows into tables that have checksums.
fn to_format_4(connection: &Connection) -> Result<(), Error> {
    connection.execute_batch(DROPPED_IN_4)?;
    // Its text is another one where it comes from format 2.
    connection.execute_batch("ALTER TABLE blob RENAME TO blob_3")?;
    for (table, _) in NEW_IN_4 {
        connection.execute_batch(&format!("ALTER TABLE {table} RENAME TO {table}_3"))?;
    }
    // Those of format 3 that are left stand as they are.
    let is_kept = |text: &&str| {
        ["CREATE TABLE journal ", "journal_place", "CREATE TABLE digest "]
            .iter()
            .any(|kept| text.contains(kept))
    };
    for text in TABLES.split_inclusive(';').filter(|text| !is_kept(text)) {
        connection.execute_batch(text)?;
    }
    for (table, columns) in NEW_IN_4 {
        let count = columns.split(", ").count();
        let places: Vec<String> = (1..=count + 1).map(|place| format!("?{place}")).collect();
        let insert =
            format!("INSERT INTO {table} ({columns}, checksum) VALUES ({})", places.join(", "));
        let mut statement = connection.prepare(&format!("SELECT {columns} FROM {table}_3"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let row =
                (0..count).map(|column| row.get_ref(column)).collect::<Result<Vec<_>, _>>()?;
            check::write(connection, table, &insert, &row)?;
        }
    }
    connection.execute_batch(
        "INSERT INTO blob (tenant, digest, bytes, size)
         SELECT tenant, digest, bytes, size FROM blob_3; DROP TABLE blob_3",
    )?;
    connection.execute_batch(NUMBERS_GO_ON)?;
    for (table, _) in NEW_IN_4.iter().rev() {
        connection.execute_batch(&format!("DROP TABLE {table}_3"))?;
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
            record::restage(connection, &self.tenant, id, runs)?;
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
