//! The list of sessions: a row each, that follows from its events in the same transaction.

use ringfence_event::{AgentName, Body, Event, SessionId, TenantId, Timestamp, UserId};
use rusqlite::{Connection, Row};

use crate::Error;

/// How much of the first input names a session in a list: a line.
const TITLE_CHARS_MAX: usize = 80;

/// The status word of a session that takes nothing more.
const CLOSED: &str = "closed";

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
    /// The status word of its last run, or `closed`; absent before the first run.
    pub status: Option<String>,
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
    let mut status = None;
    let mut title = None;
    for event in events {
        if let Body::SessionCreated { agent, .. } = &event.body {
            connection
                .prepare_cached(
                    "INSERT INTO session (tenant, id, user, agent, created, last)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?5) ON CONFLICT DO NOTHING",
                )?
                .execute((
                    event.tenant.as_str(),
                    id.as_str(),
                    event.user.as_str(),
                    agent.as_str(),
                    event.at.0,
                ))?;
        }
        if let Body::MessageAdded { text, .. } = &event.body
            && title.is_none()
        {
            let line = text.trim().lines().next().unwrap_or_default();
            title = Some(line.chars().take(TITLE_CHARS_MAX).collect::<String>());
        }
        status = status_word(&event.body).or(status);
    }
    connection
        .prepare_cached(
            "UPDATE session SET last = max(last, ?3), status = coalesce(?4, status),
             title = coalesce(title, ?5) WHERE tenant = ?1 AND id = ?2",
        )?
        .execute((last.tenant.as_str(), id.as_str(), last.at.0, status, title))?;
    Ok(())
}

fn status_word(body: &Body) -> Option<&'static str> {
    match body {
        Body::SessionClosed {} => Some(CLOSED),
        Body::MessageAdded { .. } | Body::RunQueued { .. } => Some("queued"),
        Body::RunStarted { .. } | Body::RunResumed { .. } => Some("running"),
        Body::RunWaiting { .. } => Some("waiting"),
        Body::RunCompleted { .. } => Some("completed"),
        Body::RunFailed { .. } => Some("failed"),
        Body::RunCancelled { .. } => Some("cancelled"),
        Body::RunLimitReached { .. } => Some("limit-reached"),
        _ => None,
    }
}

const COLUMNS: &str = "id, user, agent, created, last, status, title";

/// A tenant's sessions, or one user's of it; the one used last comes first.
pub(crate) fn list(
    connection: &Connection,
    tenant: &TenantId,
    user: Option<&UserId>,
    limit: u32,
) -> Result<Vec<SessionSummary>, Error> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM session WHERE tenant = ?1 AND (?2 IS NULL OR user = ?2)
         ORDER BY last DESC, id LIMIT ?3"
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
    })
}

fn parsed<T>(row: &Row<'_>, column: usize) -> Result<T, rusqlite::Error>
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
