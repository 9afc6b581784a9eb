//! A session's row. It follows from the session's events, so that one that is damaged is made from them again.

use ringfence_event::{AgentName, Body, SessionId, Stream, TenantId, Timestamp, UserId, Wait};
use rusqlite::{Connection, Row};

use crate::{
    Error, check,
    check::{absent, maybe_number, maybe_text, number, text},
    dictionary::Dictionary,
    head, journal,
    runs::{Runs, wait_of},
};

/// How much of the first input names a session in a list: a line.
const TITLE_CHARS_MAX: usize = 80;

/// How many milliseconds sessions in a list are told apart by its index: the row of a session that
/// works changes with each step, its place in the index once a minute.
pub(crate) const RECENT_MS: u64 = 60_000;

/// How many events are read at a time when a row is made again.
const PAGE: u32 = 256;

/// What a session that was damaged is looked at for again: at once, for nothing else says when.
const AT_ONCE: Timestamp = Timestamp(0);

/// A session's row.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) tenant: TenantId,
    pub(crate) id: SessionId,
    pub(crate) user: UserId,
    pub(crate) agent: AgentName,
    pub(crate) created: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) title: Option<String>,
    pub(crate) runs: Runs,
    pub(crate) wake: Option<Timestamp>,
    /// Its place among those used last, in [`RECENT_MS`].
    recent: u64,
    /// What the row in the database says of what indexes hold; none if there is no such row.
    stored: Option<(Runs, Option<Timestamp>, u64)>,
}

impl Record {
    fn created(
        (tenant, id, user): (&TenantId, &SessionId, &UserId),
        at: Timestamp,
        agent: &AgentName,
    ) -> Self {
        Self {
            tenant: tenant.clone(),
            id: id.clone(),
            user: user.clone(),
            agent: agent.clone(),
            created: at,
            last: at,
            title: None,
            runs: Runs::default(),
            wake: None,
            recent: at.0 / RECENT_MS,
            stored: None,
        }
    }

    /// What says which of two sessions was used later.
    pub(crate) fn place(&self) -> (u64, Timestamp) {
        (self.recent, self.last)
    }

    /// The row of a session, checked; made again if it is damaged.
    pub(crate) fn load(
        connection: &Connection,
        tenant: &TenantId,
        id: &SessionId,
    ) -> Result<Option<Self>, Error> {
        let mut statement = connection.prepare_cached(
            "SELECT tenant, id, user, agent, created, last, status, title, open, waits, wake, recent,
             checksum FROM session WHERE tenant = ?1 AND id = ?2",
        )?;
        let mut rows = statement.query((tenant.as_str(), id.as_str()))?;
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => {
                let twin = "SELECT 1 FROM session INDEXED BY session_id_twin
                     WHERE tenant = ?1 AND id = ?2";
                absent(connection, twin, (tenant.as_str(), id.as_str()), || {
                    format!("the row of the session {id}")
                })?;
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        if check::is_whole("session", row)?
            && let Some(record) = Self::read(row)?
        {
            return Ok(Some(record));
        }
        let again = Self::again(connection, tenant, id)?;
        again.map(Some).ok_or_else(|| check::damaged(format!("the row of the session {id}")))
    }

    fn read(row: &Row<'_>) -> Result<Option<Self>, Error> {
        let open: Option<String> = row.get(8)?;
        let waits: Option<String> = row.get(9)?;
        let Some(runs) = Runs::parse(open.as_deref(), row.get(6)?) else { return Ok(None) };
        if waits.as_deref().map(wait_of) != runs.waits().map(Some) {
            return Ok(None);
        }
        let (wake, recent) = (row.get::<_, Option<u64>>(10)?.map(Timestamp), row.get(11)?);
        Ok(Some(Self {
            tenant: parsed(row, 0)?,
            id: parsed(row, 1)?,
            user: parsed(row, 2)?,
            agent: parsed(row, 3)?,
            created: Timestamp(row.get(4)?),
            last: Timestamp(row.get(5)?),
            title: row.get(7)?,
            stored: Some((runs.clone(), wake, recent)),
            runs,
            wake,
            recent,
        }))
    }

    /// A row from the events of its session. When to look at it again they do not say.
    fn again(
        connection: &Connection,
        tenant: &TenantId,
        id: &SessionId,
    ) -> Result<Option<Self>, Error> {
        let stream = Stream::Session(id.clone());
        let (mut record, mut next) = (None, 1);
        let dictionary = Dictionary::default();
        let last = head::load(connection, tenant, &stream)?.seq;
        while next <= last {
            let page = journal::read((connection, &dictionary), tenant, &stream, next, PAGE)?;
            next += page.len() as u64;
            let Some(first) = page.first() else { break };
            let events = page.iter().map(|event| (event.at, &event.body));
            record = Self::follow(record, (tenant, id, &first.user), events);
        }
        Ok(record.map(|record: Self| Self { wake: record.runs.open().map(|_| AT_ONCE), ..record }))
    }

    /// Takes in more events, of the session of a tenant and on behalf of a user. Those of a session that was never
    /// created make no row.
    pub(crate) fn follow<'e>(
        record: Option<Self>,
        of: (&TenantId, &SessionId, &UserId),
        events: impl IntoIterator<Item = (Timestamp, &'e Body)> + Clone,
    ) -> Option<Self> {
        let mut record = record;
        if record.is_none() {
            record = events.clone().into_iter().find_map(|(at, body)| match body {
                Body::SessionCreated { agent, .. } => Some(Self::created(of, at, agent)),
                _ => None,
            });
        }
        let mut record = record?;
        let mut last = record.last;
        for (at, body) in events {
            if let Body::MessageAdded { text, .. } = body
                && record.title.is_none()
            {
                let line = text.trim().lines().next().unwrap_or_default();
                record.title = Some(line.chars().take(TITLE_CHARS_MAX).collect());
            }
            record.runs.follow(body);
            last = at;
        }
        record.last = record.last.max(last);
        record.recent = record.recent.max(last.0 / RECENT_MS);
        if record.runs.open().is_none() {
            record.wake = None;
        }
        Some(record)
    }

    /// Writes the row.
    pub(crate) fn store(&mut self, connection: &Connection) -> Result<(), Error> {
        let Self { tenant, id, user, agent, created, last, title, runs, wake, recent, stored } =
            self;
        let open = runs.open();
        let columns = [
            text(tenant.as_str()),
            text(id.as_str()),
            text(user.as_str()),
            text(agent.as_str()),
            number(created.0)?,
            number(last.0)?,
            maybe_text(runs.status()),
            maybe_text(title.as_deref()),
            maybe_text(open.as_deref()),
            maybe_text(runs.waits().map(Wait::as_str)),
            maybe_number(wake.map(|at| at.0))?,
            number(*recent)?,
        ];
        let is_same = stored
            .as_ref()
            .is_some_and(|(known, at, place)| (known, at, place) == (runs, wake, recent));
        let sql = if is_same {
            // What stands in no `SET` costs no index a write.
            "UPDATE session SET last = ?6, title = ?8, checksum = ?13
             WHERE tenant = ?1 AND id = ?2 AND (user, agent, created, status, open, waits, wake, recent)
                 IS (?3, ?4, ?5, ?7, ?9, ?10, ?11, ?12)"
        } else if stored.is_some() {
            "UPDATE session SET last = ?6, status = ?7, title = ?8, open = ?9, waits = ?10, wake = ?11,
             recent = ?12, checksum = ?13
             WHERE tenant = ?1 AND id = ?2 AND (user, agent, created) IS (?3, ?4, ?5)"
        } else {
            "INSERT INTO session (tenant, id, user, agent, created, last, status, title, open, waits,
                 wake, recent, checksum)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
             ON CONFLICT DO UPDATE SET user = ?3, agent = ?4, created = ?5, last = ?6, status = ?7,
                 title = ?8, open = ?9, waits = ?10, wake = ?11, recent = ?12, checksum = ?13"
        };
        match check::write(connection, "session", sql, &columns)? {
            0 => return Err(check::damaged(format!("the row of the session {id}"))),
            _ if is_same => {}
            _ => self.stored = Some((self.runs.clone(), self.wake, self.recent)),
        }
        Ok(())
    }
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

/// Whether a session has a row.
pub(crate) fn exists(
    connection: &Connection,
    tenant: &TenantId,
    id: &SessionId,
) -> Result<bool, Error> {
    Ok(Record::load(connection, tenant, id)?.is_some())
}

/// Says which runs of a session are open, for a store of an earlier format that did not.
pub(crate) fn restage(
    connection: &Connection,
    tenant: &TenantId,
    id: &SessionId,
    runs: Runs,
) -> Result<(), Error> {
    match Record::load(connection, tenant, id)? {
        Some(record) => Record { runs, ..record }.store(connection),
        None => Ok(()),
    }
}
