//! Lists that are damaged: nobody works on them any more, and everybody can see which they are.

use ringfence_event::{Stream, TenantId};
use rusqlite::Connection;

use crate::{
    Error, check,
    check::{number, text, twice},
    head,
};

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
    let Quarantined { tenant, stream, .. } = found;
    let first = match get(connection, tenant, stream) {
        Ok(Some(known)) if known.seq <= found.seq => known,
        // A row that is damaged itself is written anew.
        Ok(_) | Err(Error::Damaged { .. }) => found.clone(),
        Err(error) => return Err(error),
    };
    let name = stream.to_string();
    check::write(
        connection,
        "quarantine",
        "INSERT INTO quarantine (tenant, stream, seq, what, checksum) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET seq = ?3, what = ?4, checksum = ?5",
        &[text(tenant.as_str()), text(&name), number(first.seq)?, text(&first.what)],
    )?;
    match head::load(connection, tenant, stream) {
        Ok(mut head) => {
            head.damaged = Some(first.seq);
            head::store(connection, tenant, stream, &head).map(drop)
        }
        // Nobody can claim or add to what has no head that can be read.
        Err(Error::Corrupt { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn get(
    connection: &Connection,
    tenant: &TenantId,
    stream: &Stream,
) -> Result<Option<Quarantined>, Error> {
    let name = stream.to_string();
    let mut statement = connection.prepare_cached(
        "SELECT tenant, stream, seq, what, checksum FROM quarantine
         WHERE tenant = ?1 AND stream = ?2",
    )?;
    let mut rows = statement.query((tenant.as_str(), &name))?;
    let Some(row) = rows.next()? else { return Ok(None) };
    check::whole("quarantine", row, || format!("what is known of the damage to {stream}"))?;
    let (tenant, stream) = (tenant.clone(), stream.clone());
    Ok(Some(Quarantined { tenant, stream, seq: row.get(2)?, what: row.get(3)? }))
}

/// All of them, by tenant and list.
pub(crate) fn list(connection: &Connection) -> Result<Vec<Quarantined>, Error> {
    let sql = |index: &str| {
        format!("SELECT tenant, stream FROM quarantine INDEXED BY {index} ORDER BY tenant, stream")
    };
    let names = twice(connection, sql, ["quarantine_list", "quarantine_twin"], |statement| {
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect::<Result<Vec<(String, String)>, _>>()
    })?;
    let each = names.into_iter().map(|(tenant, stream)| {
        let damaged = || check::damaged(format!("what is known of the damage to {stream}"));
        let (tenant, stream) = (tenant.parse(), stream.parse());
        let (Ok(tenant), Ok(stream)) = (tenant, stream) else { return Err(damaged()) };
        get(connection, &tenant, &stream)?.ok_or_else(damaged)
    });
    each.collect()
}
