//! Durable commands to a session, from any process. What they say is the driver's; here they are
//! JSON.

use ringfence_event::{Digest, SessionId, TenantId, Timestamp};
use rusqlite::{Connection, OptionalExtension as _};

use crate::{Conflict, Error};

/// A command in an inbox, named with its tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InboxId {
    tenant: TenantId,
    id: u64,
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
    let id = connection
        .prepare_cached(
            "INSERT INTO inbox (tenant, session, at, command)
             SELECT tenant, id, ?3, ?4 FROM session WHERE tenant = ?1 AND id = ?2 RETURNING id",
        )?
        .query_row((tenant.as_str(), session.as_str(), at.0, command), |row| row.get(0))
        .optional()?;
    let id: u64 = id.ok_or(Error::NoSuchSession)?;
    if let Some(key) = key {
        connection
            .prepare_cached(
                "INSERT INTO inbox_key (tenant, session, key, inbox, digest)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute((tenant.as_str(), session.as_str(), key, id, digest.as_bytes()))?;
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
    let found = connection
        .prepare_cached(
            "SELECT inbox, digest FROM inbox_key WHERE tenant = ?1 AND session = ?2 AND key = ?3",
        )?
        .query_row((tenant.as_str(), session.as_str(), key), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found)
}

pub(crate) fn list(
    connection: &Connection,
    tenant: &TenantId,
    session: &SessionId,
) -> Result<Vec<Inboxed>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT id, at, command FROM inbox WHERE tenant = ?1 AND session = ?2 ORDER BY id",
    )?;
    let rows = statement.query_map((tenant.as_str(), session.as_str()), |row| {
        Ok(Inboxed {
            id: InboxId { tenant: tenant.clone(), id: row.get(0)? },
            at: Timestamp(row.get(1)?),
            command: row.get(2)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) fn done(connection: &Connection, id: &InboxId) -> Result<(), Error> {
    let removed = connection
        .prepare_cached("DELETE FROM inbox WHERE tenant = ?1 AND id = ?2")?
        .execute((id.tenant.as_str(), id.id))?;
    if removed == 0 { Err(Conflict::InboxDone.into()) } else { Ok(()) }
}
