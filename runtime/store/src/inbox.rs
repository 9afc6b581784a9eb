//! Durable commands to a session, from any process. What they say is the driver's; here they are
//! JSON.

use ringfence_event::{Digest, SessionId, TenantId, Timestamp};
use rusqlite::{Connection, types::ValueRef};

use crate::{
    Conflict, Error, check,
    check::{number, text, twice},
    record,
};

/// A command in an inbox, named with its tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InboxId {
    tenant: TenantId,
    id: u64,
}

impl InboxId {
    /// The command with this number, for another store.
    #[must_use]
    pub fn new(tenant: TenantId, id: u64) -> Self {
        Self { tenant, id }
    }
}

/// A command that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inboxed {
    /// To be named in [`Batch::inbox_done`](crate::Batch::inbox_done).
    pub id: InboxId,
    /// When it was put there.
    pub at: Timestamp,
    /// The command, as JSON.
    pub command: String,
}

/// Puts a command there, or finds the one that came under the same key before.
pub(crate) fn put(
    connection: &Connection,
    tenant: &TenantId,
    session: &SessionId,
    at: Timestamp,
    command: &str,
    key: Option<&str>,
) -> Result<InboxId, Error> {
    let digest = Digest::of(command.as_bytes());
    if let Some(key) = key
        && let Some((id, known)) = find_key(connection, tenant, session, key)?
    {
        if known != digest.as_bytes() {
            return Err(Error::KeyReused { key: key.to_owned() });
        }
        return Ok(InboxId { tenant: tenant.clone(), id });
    }
    // The same answer for a session that is not there and for another tenant's.
    if !record::exists(connection, tenant, session)? {
        return Err(Error::NoSuchSession);
    }
    // Its number is the database's to give, and stands in its checksum.
    let id: u64 = connection
        .prepare_cached(
            "INSERT INTO inbox (tenant, session, at, command, checksum)
             VALUES (?1, ?2, ?3, ?4, x'') RETURNING id",
        )?
        .query_row((tenant.as_str(), session.as_str(), at.0, command), |row| row.get(0))?;
    check::write(
        connection,
        "inbox",
        "UPDATE inbox SET checksum = ?6
         WHERE (id, tenant, session, at, command) = (?1, ?2, ?3, ?4, ?5)",
        &[number(id)?, text(tenant.as_str()), text(session.as_str()), number(at.0)?, text(command)],
    )?;
    if let Some(key) = key {
        check::write(
            connection,
            "inbox_key",
            "INSERT INTO inbox_key (tenant, session, key, inbox, digest, checksum)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            &[
                text(tenant.as_str()),
                text(session.as_str()),
                text(key),
                number(id)?,
                ValueRef::Blob(digest.as_bytes()),
            ],
        )?;
    }
    Ok(InboxId { tenant: tenant.clone(), id })
}

/// The command that a key came with first, and its digest.
fn find_key(
    connection: &Connection,
    tenant: &TenantId,
    session: &SessionId,
    key: &str,
) -> Result<Option<(u64, Vec<u8>)>, Error> {
    let names = (tenant.as_str(), session.as_str(), key);
    let what = || format!("what came with the key `{key}`");
    let mut statement = connection.prepare_cached(
        "SELECT tenant, session, key, inbox, digest, checksum FROM inbox_key
         WHERE tenant = ?1 AND session = ?2 AND key = ?3",
    )?;
    let mut rows = statement.query(names)?;
    if let Some(row) = rows.next()? {
        check::whole("inbox_key", row, what)?;
        return Ok(Some((row.get(3)?, row.get(4)?)));
    }
    let twin = "SELECT 1 FROM inbox_key INDEXED BY inbox_key_twin
         WHERE tenant = ?1 AND session = ?2 AND key = ?3";
    check::absent(connection, twin, names, what)?;
    Ok(None)
}

pub(crate) fn list(
    connection: &Connection,
    tenant: &TenantId,
    session: &SessionId,
) -> Result<Vec<Inboxed>, Error> {
    let sql = |index: &str| {
        format!(
            "SELECT id FROM inbox INDEXED BY {index}
             WHERE tenant = ?1 AND session = ?2 ORDER BY id"
        )
    };
    let names = (tenant.as_str(), session.as_str());
    let ids = twice(connection, sql, ["inbox_by_session", "inbox_twin"], |statement| {
        statement.query_map(names, |row| row.get(0))?.collect::<Result<Vec<u64>, _>>()
    })?;
    ids.into_iter().map(|id| get(connection, tenant, id)).collect()
}

fn get(connection: &Connection, tenant: &TenantId, id: u64) -> Result<Inboxed, Error> {
    let what = || format!("the command {id} of an inbox");
    let mut statement = connection.prepare_cached(
        "SELECT id, tenant, session, at, command, checksum FROM inbox WHERE id = ?1",
    )?;
    let mut rows = statement.query([id])?;
    let row = rows.next()?.ok_or_else(|| check::damaged(what()))?;
    check::whole("inbox", row, what)?;
    Ok(Inboxed {
        id: InboxId { tenant: tenant.clone(), id },
        at: Timestamp(row.get(3)?),
        command: row.get(4)?,
    })
}

pub(crate) fn done(connection: &Connection, id: &InboxId) -> Result<(), Error> {
    let removed = connection
        .prepare_cached("DELETE FROM inbox WHERE tenant = ?1 AND id = ?2")?
        .execute((id.tenant.as_str(), id.id))?;
    if removed > 0 {
        return Ok(());
    }
    let twin = "SELECT 1 FROM inbox INDEXED BY inbox_twin WHERE tenant = ?1 AND id = ?2";
    check::absent(connection, twin, (id.tenant.as_str(), id.id), || {
        format!("the command {} of an inbox", id.id)
    })?;
    Err(Conflict::InboxDone.into())
}
