//! Durable commands to a session, from any process. What they say is the driver's; here they are
//! JSON.

use ringfence_event::{SessionId, TenantId, Timestamp};
use rusqlite::Connection;

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

pub(crate) fn put(
    connection: &Connection,
    tenant: &TenantId,
    session: &SessionId,
    at: Timestamp,
    command: &str,
) -> Result<InboxId, Error> {
    // The same answer for a session that is not there and for another tenant's.
    let id = connection
        .prepare_cached(
            "INSERT INTO inbox (tenant, session, at, command)
             SELECT tenant, id, ?3, ?4 FROM session WHERE tenant = ?1 AND id = ?2 RETURNING id",
        )?
        .query_row((tenant.as_str(), session.as_str(), at.0, command), |row| row.get(0));
    match id {
        Err(rusqlite::Error::QueryReturnedNoRows) => Err(Error::NoSuchSession),
        id => Ok(InboxId { tenant: tenant.clone(), id: id? }),
    }
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
