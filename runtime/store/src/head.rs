//! Where a list stands, and by which claim it is held.

use ringfence_event::{Stream, TenantId};
use rusqlite::{Connection, types::ValueRef};

use crate::{
    Error, Fence, check,
    check::{maybe_number, maybe_text, number, text},
    journal::corrupt,
};

/// The row of a list. One that has none has no event and no claim.
#[derive(Debug, Default)]
pub(crate) struct Head {
    /// The key that the rows of its events have.
    pub(crate) list: Option<i64>,
    /// The place of its last event; 0 for none.
    pub(crate) seq: u64,
    /// The claim by which it is held; 0 for none.
    pub(crate) fence: Fence,
    /// Who claimed it.
    pub(crate) worker: Option<String>,
    /// Where damage was found in it.
    pub(crate) damaged: Option<u64>,
}

/// The head of a list, checked.
pub(crate) fn load(
    connection: &Connection,
    tenant: &TenantId,
    stream: &Stream,
) -> Result<Head, Error> {
    let name = stream.to_string();
    let mut statement = connection.prepare_cached(
        "SELECT id, tenant, stream, seq, fence, worker, damaged, checksum FROM stream
         INDEXED BY sqlite_autoindex_stream_1 WHERE tenant = ?1 AND stream = ?2",
    )?;
    let mut rows = statement.query((tenant.as_str(), &name))?;
    // Without it nothing is known of any of its events.
    let damaged = || corrupt(stream, 1, "the row that says where it ends is damaged");
    if let Some(row) = rows.next()? {
        if !check::is_whole("stream", row)? {
            return Err(damaged());
        }
        return Ok(Head {
            list: row.get(0)?,
            seq: row.get(3)?,
            fence: Fence(row.get(4)?),
            worker: row.get(5)?,
            damaged: row.get(6)?,
        });
    }
    let twin = "SELECT 1 FROM stream INDEXED BY stream_twin WHERE tenant = ?1 AND stream = ?2";
    match connection.prepare_cached(twin)?.exists((tenant.as_str(), &name))? {
        true => Err(damaged()),
        false => Ok(Head::default()),
    }
}

/// Writes the head of a list; the list's key.
pub(crate) fn store(
    connection: &Connection,
    tenant: &TenantId,
    stream: &Stream,
    head: &Head,
) -> Result<i64, Error> {
    let Head { list, seq, fence, worker, damaged } = head;
    let key = match list {
        Some(key) => *key,
        None => connection
            .prepare_cached("SELECT coalesce(max(id), 0) + 1 FROM stream")?
            .query_row([], |row| row.get(0))?,
    };
    let name = stream.to_string();
    let columns = [
        ValueRef::Integer(key),
        text(tenant.as_str()),
        text(&name),
        number(*seq)?,
        number(fence.0)?,
        maybe_text(worker.as_deref()),
        maybe_number(*damaged)?,
    ];
    let sql = match list {
        // Names that do not change stand in no `SET`, so that no index is written.
        Some(_) => {
            "UPDATE stream SET seq = ?4, fence = ?5, worker = ?6, damaged = ?7, checksum = ?8
             WHERE id = ?1 AND tenant = ?2 AND stream = ?3"
        }
        None => {
            "INSERT INTO stream (id, tenant, stream, seq, fence, worker, damaged, checksum)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
        }
    };
    match check::write(connection, "stream", sql, &columns)? {
        0 => Err(corrupt(stream, 1, "the row that says where it ends is damaged")),
        _ => Ok(key),
    }
}
