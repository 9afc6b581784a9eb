//! Which sessions have something in their inbox. Everybody who drives one wants to know it many times a second, so
//! it is looked up once for all of them.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use ringfence_event::{SessionId, TenantId};
use rusqlite::Connection;

use crate::{Error, check::twice};

/// How old an answer may be: short beside what a person notices.
const AGE: Duration = Duration::from_millis(10);

/// How many times as long as looking took nobody looks again, so that inboxes that nobody reads cost a
/// twentieth of a processor, however full they are.
const REST: u32 = 20;

/// What was found last.
#[derive(Default)]
pub(crate) struct Mail(Mutex<Option<Found>>);

struct Found {
    sessions: HashSet<(String, String)>,
    until: Instant,
}

impl Mail {
    /// Whether a session has some, as of a moment ago.
    pub(crate) fn waits(
        &self,
        tenant: &TenantId,
        session: &SessionId,
        look: impl FnOnce() -> Result<HashSet<(String, String)>, Error>,
    ) -> Result<bool, Error> {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let began = Instant::now();
        let found = match &mut *found {
            Some(known) if began < known.until => known,
            found => {
                let sessions = look()?;
                let until = Instant::now() + AGE.max(began.elapsed() * REST);
                found.insert(Found { sessions, until })
            }
        };
        Ok(!found.sessions.is_empty()
            && found.sessions.contains(&(tenant.to_string(), session.to_string())))
    }

    /// Something came: what is known is old.
    pub(crate) fn came(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// All sessions that have some.
pub(crate) fn sessions(connection: &Connection) -> Result<HashSet<(String, String)>, Error> {
    let sql =
        |index: &str| format!("SELECT DISTINCT tenant, session FROM inbox INDEXED BY {index}");
    twice(connection, sql, ["inbox_by_session", "inbox_twin"], |statement| {
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    })
}
