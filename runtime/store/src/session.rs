//! The list of sessions: a row each, that follows from its events in the same transaction.

use ringfence_event::{AgentName, Body, Event, SessionId, TenantId, Timestamp, UserId, Wait};
use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::{
    Error, Wake,
    runs::{CLOSED, Runs, wait_of},
};

/// How much of the first input names a session in a list: a line.
const TITLE_CHARS_MAX: usize = 80;

/// How many milliseconds sessions in a list are told apart by its index: the row of a session that
/// works changes with each step, its place in the index once a minute.
const RECENT_MS: u64 = 60_000;

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

/// Brings a session's row up to its new events.
pub(crate) fn follow(
    connection: &Connection,
    id: &SessionId,
    events: &[Event],
) -> Result<(), Error> {
    let Some(last) = events.last() else { return Ok(()) };
    let mut title = None;
    for event in events {
        match &event.body {
            Body::SessionCreated { agent, .. } => create(connection, id, event, agent)?,
            Body::MessageAdded { text, .. } if title.is_none() => {
                let line = text.trim().lines().next().unwrap_or_default();
                title = Some(line.chars().take(TITLE_CHARS_MAX).collect::<String>());
            }
            _ => {}
        }
    }
    let key = (last.tenant.as_str(), id.as_str());
    let row = connection
        .prepare_cached("SELECT open, status, recent FROM session WHERE tenant = ?1 AND id = ?2")?
        .query_row(key, |row| Ok((row.get::<_, Option<String>>(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    // Events of a session that was never created are kept; it is in no list.
    let Some((open, status, listed)) = row else { return Ok(()) };
    let before = Runs::parse(open.as_deref(), status).ok_or_else(|| Error::Corrupt {
        stream: last.stream.clone(),
        seq: last.seq,
        what: "the list of its open runs cannot be read".to_owned(),
    })?;
    let mut runs = before.clone();
    events.iter().for_each(|event| runs.follow(&event.body));
    let recent: u64 = last.at.0 / RECENT_MS;
    if runs == before && recent <= listed {
        connection
            .prepare_cached(
                "UPDATE session SET last = max(last, ?3), title = coalesce(title, ?4)
                 WHERE tenant = ?1 AND id = ?2",
            )?
            .execute((key.0, key.1, last.at.0, title))?;
    } else {
        connection
            .prepare_cached(
                "UPDATE session SET last = max(last, ?3), title = coalesce(title, ?4), status = ?5,
                 open = ?6, waits = ?7, recent = max(recent, ?8), wake = iif(?6 IS NULL, NULL, wake)
                 WHERE tenant = ?1 AND id = ?2",
            )?
            .execute((
                key.0,
                key.1,
                last.at.0,
                title,
                runs.status(),
                runs.open(),
                runs.waits().map(Wait::as_str),
                recent,
            ))?;
    }
    Ok(())
}

fn create(
    connection: &Connection,
    id: &SessionId,
    event: &Event,
    agent: &AgentName,
) -> Result<(), Error> {
    connection
        .prepare_cached(
            "INSERT INTO session (tenant, id, user, agent, created, last, recent)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6) ON CONFLICT DO NOTHING",
        )?
        .execute((
            event.tenant.as_str(),
            id.as_str(),
            event.user.as_str(),
            agent.as_str(),
            event.at.0,
            event.at.0 / RECENT_MS,
        ))?;
    Ok(())
}

/// Keeps when a session is to be looked at again.
pub(crate) fn wake(connection: &Connection, wake: &Wake) -> Result<(), Error> {
    let Wake { tenant, session, at } = wake;
    let changed = connection
        .prepare_cached("UPDATE session SET wake = ?3 WHERE tenant = ?1 AND id = ?2")?
        .execute((tenant.as_str(), session.as_str(), at.map(|at| at.0)))?;
    if changed == 0 { Err(Error::NoSuchSession) } else { Ok(()) }
}

const COLUMNS: &str = "id, user, agent, created, last, status, title, waits, wake";

/// A tenant's sessions, or one user's of it; the one used last comes first.
pub(crate) fn list(
    connection: &Connection,
    tenant: &TenantId,
    user: Option<&UserId>,
    limit: u32,
) -> Result<Vec<SessionSummary>, Error> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM session WHERE tenant = ?1 AND (?2 IS NULL OR user = ?2)
         ORDER BY recent DESC, last DESC, id LIMIT ?3"
    ))?;
    let rows = statement.query_map((tenant.as_str(), user.map(UserId::as_str), limit), summary)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// One session.
pub(crate) fn get(
    connection: &Connection,
    tenant: &TenantId,
    id: &SessionId,
) -> Result<SessionSummary, Error> {
    let row = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM session WHERE tenant = ?1 AND id = ?2"))?
        .query_row((tenant.as_str(), id.as_str()), summary);
    match row {
        Err(rusqlite::Error::QueryReturnedNoRows) => Err(Error::NoSuchSession),
        row => Ok(row?),
    }
}

fn summary(row: &Row<'_>) -> Result<SessionSummary, rusqlite::Error> {
    Ok(SessionSummary {
        id: parsed(row, 0)?,
        user: parsed(row, 1)?,
        agent: parsed(row, 2)?,
        created_at: Timestamp(row.get(3)?),
        last_at: Timestamp(row.get(4)?),
        status: row.get(5)?,
        title: row.get(6)?,
        waits: waits(row, 7)?,
        wake: row.get::<_, Option<u64>>(8)?.map(Timestamp),
    })
}

fn waits(row: &Row<'_>, column: usize) -> Result<Option<Wait>, rusqlite::Error> {
    let Some(word) = row.get::<_, Option<String>>(column)? else { return Ok(None) };
    wait_of(&word).map(Some).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            rusqlite::types::Type::Text,
            format!("nothing waits for `{word}`").into(),
        )
    })
}

const OPEN_COLUMNS: &str = "tenant, user, id, agent, status, waits, wake";

fn open_session(row: &Row<'_>) -> Result<OpenSession, rusqlite::Error> {
    Ok(OpenSession {
        tenant: parsed(row, 0)?,
        user: parsed(row, 1)?,
        session: parsed(row, 2)?,
        agent: parsed(row, 3)?,
        status: row.get(4)?,
        waits: waits(row, 5)?,
        wake: row.get::<_, Option<u64>>(6)?.map(Timestamp),
    })
}

/// Sessions of all tenants that have an open run, behind a cursor.
pub(crate) fn unfinished(
    connection: &Connection,
    after: Option<(&TenantId, &SessionId)>,
    limit: u32,
) -> Result<Vec<OpenSession>, Error> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {OPEN_COLUMNS} FROM session WHERE open IS NOT NULL AND (tenant, id) > (?1, ?2)
         ORDER BY tenant, id LIMIT ?3"
    ))?;
    // No tenant's name is empty, so this stands before all of them.
    let (tenant, id) = after.map_or(("", ""), |(tenant, id)| (tenant.as_str(), id.as_str()));
    let rows = statement.query_map((tenant, id, limit), open_session)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A tenant's sessions that wait; the one that nothing happened in for longest comes first.
pub(crate) fn waiting(
    connection: &Connection,
    tenant: &TenantId,
    user: Option<&UserId>,
    on: Option<Wait>,
) -> Result<Vec<SessionSummary>, Error> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM session WHERE tenant = ?1 AND waits IS NOT NULL
         AND (?2 IS NULL OR user = ?2) AND (?3 IS NULL OR waits = ?3) ORDER BY last, id"
    ))?;
    let names = (tenant.as_str(), user.map(UserId::as_str), on.map(Wait::as_str));
    let rows = statement.query_map(names, summary)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Sessions of all tenants whose time has come; the one whose came first is first.
pub(crate) fn due(
    connection: &Connection,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<OpenSession>, Error> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {OPEN_COLUMNS} FROM session WHERE wake <= ?1 ORDER BY wake, tenant, id LIMIT ?2"
    ))?;
    let rows = statement.query_map((now.0, limit), open_session)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The first point in time at which any session is to be looked at.
pub(crate) fn next_wake(connection: &Connection) -> Result<Option<Timestamp>, Error> {
    let next: Option<u64> = connection
        .prepare_cached("SELECT min(wake) FROM session WHERE wake IS NOT NULL")?
        .query_row([], |row| row.get(0))?;
    Ok(next.map(Timestamp))
}

pub(crate) fn parsed<T>(row: &Row<'_>, column: usize) -> Result<T, rusqlite::Error>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    row.get::<_, String>(column)?.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            rusqlite::types::Type::Text,
            Box::new(error),
        )
    })
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
    let mut statement = connection.prepare_cached(
        "SELECT id FROM session WHERE tenant = ?1 AND user = ?2 AND id >= ?3 AND id < ?3 || 'g'
         ORDER BY id LIMIT ?4",
    )?;
    let names = (tenant.as_str(), user.as_str(), prefix, AMBIGUOUS_MAX);
    let rows = statement.query_map(names, |row| parsed::<SessionId>(row, 0))?;
    let mut found = rows.collect::<Result<Vec<_>, _>>()?;
    Ok(match (found.pop(), found.is_empty()) {
        (None, _) => Resolved::None,
        (Some(one), true) => Resolved::One(one),
        (Some(last), false) => {
            found.push(last);
            Resolved::Ambiguous(found)
        }
    })
}
