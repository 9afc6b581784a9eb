//! The list of sessions. Indexes say which ones are meant, each with its twin; what is told of them is
//! in their rows.

use ringfence_event::{AgentName, SessionId, Stream, TenantId, Timestamp, UserId, Wait};
use rusqlite::{Connection, Statement};

use crate::{
    Error, Wake,
    check::{damaged, twice},
    record::{RECENT_MS, Record},
    runs::CLOSED,
    writing::Writing,
};

/// How many candidates an ambiguous prefix shows.
const AMBIGUOUS_MAX: usize = 8;

/// A session in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSummary {
    /// Its id.
    pub id: SessionId,
    /// On whose behalf.
    pub user: UserId,
    /// The agent.
    pub agent: AgentName,
    /// When it was created.
    pub created_at: Timestamp,
    /// When something happened last.
    pub last_at: Timestamp,
    /// The status word of the run that goes on or waits, of one that is queued if there is no such,
    /// or else of the one that ended last; `closed` when it was closed, absent before the first run.
    pub status: Option<String>,
    /// What it waits for.
    pub waits: Option<Wait>,
    /// When it is to be looked at again.
    pub wake: Option<Timestamp>,
    /// The beginning of its first input; absent before that.
    pub title: Option<String>,
}

impl SessionSummary {
    /// Whether somebody closed it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.status.as_deref() == Some(CLOSED)
    }
}

/// A session that somebody has to look after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    /// Whose.
    pub tenant: TenantId,
    /// On whose behalf.
    pub user: UserId,
    /// Its id.
    pub session: SessionId,
    /// The agent.
    pub agent: AgentName,
    /// [`SessionSummary::status`].
    pub status: Option<String>,
    /// What it waits for.
    pub waits: Option<Wait>,
    /// When it is to be looked at again.
    pub wake: Option<Timestamp>,
}

/// What a prefix of a session's id names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// One session.
    One(SessionId),
    /// None of this tenant's.
    None,
    /// Several; some of them.
    Ambiguous(Vec<SessionId>),
}

impl From<Record> for SessionSummary {
    fn from(record: Record) -> Self {
        Self {
            status: record.runs.status().map(str::to_owned),
            waits: record.runs.waits(),
            id: record.id,
            user: record.user,
            agent: record.agent,
            created_at: record.created,
            last_at: record.last,
            title: record.title,
            wake: record.wake,
        }
    }
}

impl From<Record> for OpenSession {
    fn from(record: Record) -> Self {
        Self {
            status: record.runs.status().map(str::to_owned),
            waits: record.runs.waits(),
            tenant: record.tenant,
            user: record.user,
            session: record.id,
            agent: record.agent,
            wake: record.wake,
        }
    }
}

/// Keeps when a session is to be looked at again.
pub(crate) fn wake(writing: &Writing, wake: &Wake) -> Result<(), Error> {
    let Wake { tenant, session, at } = wake;
    let stream = Stream::Session(session.clone());
    let mut list = writing.take(tenant, &stream)?;
    let record = list.record.as_mut().ok_or(Error::NoSuchSession)?;
    record.wake = *at;
    record.store(writing)?;
    writing.keep(tenant.clone(), stream, list);
    Ok(())
}

/// A session as an index names it.
type Name = (String, String);

/// The rows of sessions that an index names.
fn records(connection: &Connection, names: Vec<Name>) -> Result<Vec<Record>, Error> {
    let record = |(tenant, id): Name| {
        let missing = || damaged(format!("the row of the session {id}"));
        let (Ok(tenant), Ok(session)) = (tenant.parse(), id.parse()) else { return Err(missing()) };
        Record::load(connection, &tenant, &session)?.ok_or_else(missing)
    };
    names.into_iter().map(record).collect()
}

fn names(
    statement: &mut Statement<'_>,
    parameters: impl rusqlite::Params,
) -> Result<Vec<Name>, rusqlite::Error> {
    let rows = statement.query_map(parameters, |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

/// A tenant's sessions, or one user's of it; the one used last comes first.
pub(crate) fn list(
    connection: &Connection,
    tenant: &TenantId,
    user: Option<&UserId>,
    after: Option<(Timestamp, &SessionId)>,
    limit: u32,
) -> Result<Vec<SessionSummary>, Error> {
    let limit = limit as usize;
    let first = after.map_or(i64::MAX as u64, |(last, _)| last.0 / RECENT_MS);
    let sql = |index: &str| {
        format!(
            "SELECT tenant, id, recent FROM session INDEXED BY {index}
             WHERE tenant = ?1 AND (?2 IS NULL OR user = ?2) AND recent <= ?3 ORDER BY recent DESC"
        )
    };
    let found = twice(connection, sql, ["session_recent", "session_recent_twin"], |statement| {
        let mut rows = statement.query((tenant.as_str(), user.map(UserId::as_str), first))?;
        let (mut found, mut minute, mut before) = (vec![], None::<u64>, 0);
        // As many as are asked for, and all that the index does not tell from the last of them.
        while let Some(row) = rows.next()? {
            let recent = Some(row.get(2)?);
            if found.len() >= limit + before && recent != minute {
                break;
            }
            minute = recent;
            // Which of these stand behind the given one only their rows say.
            before += usize::from(after.is_some() && recent == Some(first));
            found.push((row.get(0)?, row.get(1)?));
        }
        Ok(found)
    })?;
    let mut records = records(connection, found)?;
    records.sort_by(|a, b| (b.place(), &a.id).cmp(&(a.place(), &b.id)));
    if let Some((last, id)) = after {
        records.retain(|record| (record.place(), &record.id) < ((first, last), id));
    }
    records.truncate(limit);
    Ok(records.into_iter().map(SessionSummary::from).collect())
}

/// One session.
pub(crate) fn get(
    connection: &Connection,
    tenant: &TenantId,
    id: &SessionId,
) -> Result<SessionSummary, Error> {
    let record = Record::load(connection, tenant, id)?;
    record.map(SessionSummary::from).ok_or(Error::NoSuchSession)
}

/// Sessions of all tenants that have an open run, behind a cursor.
pub(crate) fn unfinished(
    connection: &Connection,
    after: Option<(&TenantId, &SessionId)>,
    limit: u32,
) -> Result<Vec<OpenSession>, Error> {
    let sql = |index: &str| {
        format!(
            "SELECT tenant, id FROM session INDEXED BY {index}
             WHERE open IS NOT NULL AND (tenant, id) > (?1, ?2) ORDER BY tenant, id LIMIT ?3"
        )
    };
    // No tenant's name is empty, so this stands before all of them.
    let (tenant, id) = after.map_or(("", ""), |(tenant, id)| (tenant.as_str(), id.as_str()));
    let found = twice(connection, sql, ["session_open", "session_open_twin"], |statement| {
        names(statement, (tenant, id, limit))
    })?;
    Ok(records(connection, found)?.into_iter().map(OpenSession::from).collect())
}

/// A tenant's sessions that wait; the one that nothing happened in for longest comes first.
pub(crate) fn waiting(
    connection: &Connection,
    tenant: &TenantId,
    user: Option<&UserId>,
    on: Option<Wait>,
) -> Result<Vec<SessionSummary>, Error> {
    let sql = |index: &str| {
        format!(
            "SELECT tenant, id FROM session INDEXED BY {index}
             WHERE tenant = ?1 AND waits IS NOT NULL AND (?2 IS NULL OR user = ?2)
             AND (?3 IS NULL OR waits = ?3)"
        )
    };
    let of = (tenant.as_str(), user.map(UserId::as_str), on.map(Wait::as_str));
    let found = twice(connection, sql, ["session_waits", "session_waits_twin"], |statement| {
        names(statement, of)
    })?;
    let mut records = records(connection, found)?;
    records.sort_by(|a, b| (a.last, &a.id).cmp(&(b.last, &b.id)));
    Ok(records.into_iter().map(SessionSummary::from).collect())
}

/// Sessions of all tenants whose time has come; the one whose came first is first.
pub(crate) fn due(
    connection: &Connection,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<OpenSession>, Error> {
    let sql = |index: &str| {
        format!(
            "SELECT tenant, id FROM session INDEXED BY {index}
             WHERE wake <= ?1 ORDER BY wake, tenant, id LIMIT ?2"
        )
    };
    let found = twice(connection, sql, ["session_wake", "session_wake_twin"], |statement| {
        names(statement, (now.0, limit))
    })?;
    Ok(records(connection, found)?.into_iter().map(OpenSession::from).collect())
}

/// The first point in time at which any session is to be looked at.
pub(crate) fn next_wake(connection: &Connection) -> Result<Option<Timestamp>, Error> {
    let sql = |index: &str| {
        format!("SELECT min(wake) FROM session INDEXED BY {index} WHERE wake IS NOT NULL")
    };
    let next = twice(connection, sql, ["session_wake", "session_wake_twin"], |statement| {
        statement.query_row([], |row| row.get::<_, Option<u64>>(0))
    })?;
    Ok(next.map(Timestamp))
}

/// The session of one user whose id begins like this.
pub(crate) fn resolve(
    connection: &Connection,
    tenant: &TenantId,
    user: &UserId,
    prefix: &str,
) -> Result<Resolved, Error> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if !prefix.bytes().all(is_hex) {
        return Ok(Resolved::None);
    }
    // `g` stands behind every hexadecimal digit.
    let sql = |index: &str| {
        format!(
            "SELECT id FROM session INDEXED BY {index}
             WHERE tenant = ?1 AND user = ?2 AND id >= ?3 AND id < ?3 || 'g' ORDER BY id LIMIT ?4"
        )
    };
    let of = (tenant.as_str(), user.as_str(), prefix, AMBIGUOUS_MAX);
    let found = twice(connection, sql, ["session_id", "session_id_twin"], |statement| {
        statement.query_map(of, |row| row.get(0))?.collect::<Result<Vec<String>, _>>()
    })?;
    let id = |id: String| id.parse().map_err(|_| damaged("the list of sessions".to_owned()));
    let mut found = found.into_iter().map(id).collect::<Result<Vec<SessionId>, Error>>()?;
    Ok(match (found.pop(), found.is_empty()) {
        (None, _) => Resolved::None,
        (Some(one), true) => Resolved::One(one),
        (Some(last), false) => {
            found.push(last);
            Resolved::Ambiguous(found)
        }
    })
}
