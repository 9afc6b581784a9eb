//! Requests that are not to be carried out twice: what came under a key of the client's, and how it was
//! answered.

use ringfence_event::{Digest, TenantId, Timestamp, UserId};
use rusqlite::{Connection, types::ValueRef};

use crate::{
    Error,
    check::{self, maybe_number, number, text},
};

/// How many that are too old are forgotten with each new one: more than come, so that they become fewer.
const FORGOTTEN_AT_ONCE: u32 = 16;

/// A request that is about to be carried out, unless it was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whose.
    pub tenant: TenantId,
    /// On whose behalf.
    pub user: UserId,
    /// What the client calls it.
    pub key: String,
    /// What all of the request says.
    pub digest: Digest,
    /// The name of what would come of it.
    pub resource: String,
    /// Who would carry it out.
    pub worker: String,
    /// When.
    pub at: Timestamp,
    /// Those of the tenant that came before this time are forgotten.
    pub forget_before: Timestamp,
    /// Workers that are gone: what one of them began and did not answer is begun again.
    pub gone: Vec<String>,
}

/// What became of a [`Claim`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// It is the claimer's to carry out, under this name of what comes of it: that of the first who
    /// tried, if that one is gone.
    Yours {
        /// The name.
        resource: String,
        /// Whether somebody tried before.
        again: bool,
    },
    /// Somebody carries it out.
    Busy {
        /// Who.
        worker: String,
    },
    /// It was answered.
    Answered(RequestAnswer),
    /// Another request came under the key.
    Other,
}

/// How a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestAnswer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

struct Stored {
    digest: Vec<u8>,
    resource: String,
    worker: String,
    at: u64,
    answer: Option<RequestAnswer>,
}

/// Claims a request, if it is nobody's.
pub(crate) fn claim(connection: &Connection, claim: &Claim) -> Result<Claimed, Error> {
    forget(connection, &claim.tenant, claim.forget_before)?;
    let names = (claim.tenant.as_str(), claim.user.as_str(), claim.key.as_str());
    let found = get(connection, names)?.filter(|found| found.at >= claim.forget_before.0);
    let (resource, again) = match found {
        None => (claim.resource.clone(), false),
        Some(found) if found.digest != claim.digest.as_bytes() => return Ok(Claimed::Other),
        Some(Stored { answer: Some(answer), .. }) => return Ok(Claimed::Answered(answer)),
        Some(found) if claim.gone.contains(&found.worker) => (found.resource, true),
        Some(found) => return Ok(Claimed::Busy { worker: found.worker }),
    };
    let row = Stored {
        digest: claim.digest.as_bytes().to_vec(),
        resource: resource.clone(),
        worker: claim.worker.clone(),
        at: claim.at.0,
        answer: None,
    };
    put(connection, names, &row)?;
    Ok(Claimed::Yours { resource, again })
}

/// Keeps how a claimed request was answered; without an answer nothing came of it, and it may be made
/// again.
pub(crate) fn answer(
    connection: &Connection,
    names: (&str, &str, &str),
    answer: Option<RequestAnswer>,
) -> Result<(), Error> {
    let Some(found) = get(connection, names)? else { return Ok(()) };
    match answer {
        Some(answer) => put(connection, names, &Stored { answer: Some(answer), ..found }),
        None => {
            connection
                .prepare_cached("DELETE FROM request WHERE tenant = ?1 AND user = ?2 AND key = ?3")?
                .execute(names)?;
            Ok(())
        }
    }
}

fn get(connection: &Connection, names: (&str, &str, &str)) -> Result<Option<Stored>, Error> {
    let what = || format!("what came with the key `{}`", names.2);
    let mut statement = connection.prepare_cached(
        "SELECT tenant, user, key, digest, resource, worker, at, status, answer, checksum
         FROM request WHERE tenant = ?1 AND user = ?2 AND key = ?3",
    )?;
    let mut rows = statement.query(names)?;
    let Some(row) = rows.next()? else {
        let twin = "SELECT 1 FROM request INDEXED BY request_twin
             WHERE tenant = ?1 AND user = ?2 AND key = ?3";
        check::absent(connection, twin, names, what)?;
        return Ok(None);
    };
    check::whole("request", row, what)?;
    let status: Option<u16> = row.get(7)?;
    let body: Option<Vec<u8>> = row.get(8)?;
    Ok(Some(Stored {
        digest: row.get(3)?,
        resource: row.get(4)?,
        worker: row.get(5)?,
        at: row.get(6)?,
        answer: status.zip(body).map(|(status, body)| RequestAnswer { status, body }),
    }))
}

fn put(
    connection: &Connection,
    (tenant, user, key): (&str, &str, &str),
    row: &Stored,
) -> Result<(), Error> {
    let status = row.answer.as_ref().map(|answer| u64::from(answer.status));
    let body = row.answer.as_ref().map_or(ValueRef::Null, |answer| ValueRef::Blob(&answer.body));
    check::write(
        connection,
        "request",
        "INSERT INTO request (tenant, user, key, digest, resource, worker, at, status, answer, checksum)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT DO UPDATE SET digest = excluded.digest, resource = excluded.resource,
             worker = excluded.worker, at = excluded.at, status = excluded.status,
             answer = excluded.answer, checksum = excluded.checksum",
        &[
            text(tenant),
            text(user),
            text(key),
            ValueRef::Blob(&row.digest),
            text(&row.resource),
            text(&row.worker),
            number(row.at)?,
            maybe_number(status)?,
            body,
        ],
    )?;
    Ok(())
}

fn forget(connection: &Connection, tenant: &TenantId, before: Timestamp) -> Result<(), Error> {
    connection
        .prepare_cached(
            "DELETE FROM request WHERE (tenant, user, key) IN (
                 SELECT tenant, user, key FROM request INDEXED BY request_at
                 WHERE tenant = ?1 AND at < ?2 LIMIT ?3)",
        )?
        .execute((tenant.as_str(), before.0, FORGOTTEN_AT_ONCE))?;
    Ok(())
}
