//! The connection of the thread that writes, and what it remembers of the rows that it wrote last: what each commit
//! of a session changes is not read and checked anew each time. As soon as anybody else wrote, it is forgotten.

use std::{cell::RefCell, collections::HashMap, ops::Deref};

use ringfence_event::{Stream, TenantId};
use rusqlite::Connection;

use crate::{
    Error,
    head::{self, Head},
    record::Record,
};

/// How many lists are remembered: about a kilobyte each.
const LISTS_MAX: usize = 4096;

/// The rows of a list that change with each commit.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) head: Head,
    /// Of a session that has one.
    pub(crate) record: Option<Record>,
}

/// A connection that writes.
pub(crate) struct Writing {
    connection: Connection,
    known: RefCell<Known>,
}

#[derive(Default)]
struct Known {
    /// What SQLite called the database when this was true of it.
    version: i64,
    lists: HashMap<(TenantId, Stream), List>,
}

impl Writing {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, known: RefCell::default() }
    }

    /// Forgets what another connection may have changed; to be called at the beginning of each transaction.
    pub(crate) fn look(&self) -> Result<(), Error> {
        // Stays what it is while only this connection commits: https://www.sqlite.org/pragma.html#pragma_data_version
        let mut statement = self.connection.prepare_cached("PRAGMA data_version")?;
        let version = statement.query_row([], |row| row.get(0))?;
        let mut known = self.known.borrow_mut();
        if known.version != version {
            *known = Known { version, ..Known::default() };
        }
        Ok(())
    }

    /// Forgets everything: something that was done is taken back.
    pub(crate) fn forget(&self) {
        self.known.borrow_mut().lists.clear();
    }

    /// The rows of a list. Whoever changes them gives them back with [`keep`](Self::keep) once they are written;
    /// otherwise they are read again.
    pub(crate) fn take(&self, tenant: &TenantId, stream: &Stream) -> Result<List, Error> {
        let key = (tenant.clone(), stream.clone());
        if let Some(list) = self.known.borrow_mut().lists.remove(&key) {
            return Ok(list);
        }
        let head = head::load(self, tenant, stream)?;
        let record = match stream {
            Stream::Session(id) => Record::load(self, tenant, id)?,
            Stream::Tenant(_) => None,
        };
        Ok(List { head, record })
    }

    /// Remembers the rows of a list, as they are written.
    pub(crate) fn keep(&self, tenant: TenantId, stream: Stream, list: List) {
        let mut known = self.known.borrow_mut();
        if known.lists.len() >= LISTS_MAX {
            known.lists.clear();
        }
        known.lists.insert((tenant, stream), list);
    }
}

impl Deref for Writing {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}
