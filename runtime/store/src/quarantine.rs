//! Lists that are damaged: nobody works on them any more, and everybody can see which they are.

use ringfence_event::{Stream, TenantId};
use rusqlite::Connection;

use crate::Error;

/// A list that is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Whose.
    pub tenant: TenantId,
    /// The list.
    pub stream: Stream,
    /// The first place at which damage was found; what stands before it can be read.
    pub seq: u64,
    /// What was found.
    pub what: String,
}

/// Keeps what was found first.
pub(crate) fn put(connection: &Connection, found: &Quarantined) -> Result<(), Error> {
    let Quarantined { tenant, stream, seq, what } = found;
    let names = (tenant.as_str(), stream.to_string(), seq, what);
    connection
        .prepare_cached(
            "INSERT INTO quarantine (tenant, stream, seq, what) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET what = iif(excluded.seq < seq, excluded.what, what),
             seq = min(seq, excluded.seq)",
        )?
        .execute(names)?;
    connection
        .prepare_cached("UPDATE stream SET damaged = ?3 WHERE tenant = ?1 AND stream = ?2")?
        .execute((tenant.as_str(), stream.to_string(), seq))?;
    Ok(())
}

/// All of them, by tenant and list.
pub(crate) fn list(connection: &Connection) -> Result<Vec<Quarantined>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT tenant, stream, seq, what FROM quarantine ORDER BY tenant, stream",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(Quarantined {
            tenant: crate::session::parsed(row, 0)?,
            stream: crate::session::parsed(row, 1)?,
            seq: row.get(2)?,
            what: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
