//! The rows of all lists in the one order in which they were written.

use ringfence_event::{Commit, CommitPage, Stream, TenantId};
use rusqlite::Connection;

use crate::{
    Error, check,
    dictionary::Dictionary,
    journal::{self, Tables},
    record::parsed,
};

/// The rows behind one place and up to another, with whose they are.
const ROWS: &str = "
    SELECT stream.id, stream.tenant, stream.stream, stream.seq, stream.fence, stream.worker,
           stream.damaged, stream.checksum,
           journal.id, journal.first, journal.checksum, journal.events, journal.size
    FROM journal LEFT JOIN stream ON stream.id = journal.list
    WHERE journal.id > ?1 AND journal.id <= ?2
    ORDER BY journal.id
";

/// The place of the last row; 0 when there is none.
pub(crate) fn position(connection: &Connection) -> Result<u64, Error> {
    let mut statement = connection.prepare_cached("SELECT coalesce(max(id), 0) FROM journal")?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

/// What stands in up to `limit` rows behind a place, of all tenants or of one. A row that is damaged is
/// named and left out.
pub(crate) fn read(
    (connection, dictionary): (&Connection, &Dictionary),
    after: u64,
    tenant: Option<&TenantId>,
    limit: u32,
) -> Result<CommitPage, Error> {
    let last = position(connection)?;
    let end = after.saturating_add(u64::from(limit)).min(last);
    if end <= after {
        return Ok(CommitPage { position: after, is_last: true, ..CommitPage::default() });
    }
    let (mut commits, mut damaged) = (vec![], vec![]);
    let mut statement = connection.prepare_cached(ROWS)?;
    let mut rows = statement.query((after, end))?;
    while let Some(row) = rows.next()? {
        let position: u64 = row.get(8)?;
        // The first columns are the whole row of the list.
        if !check::is_whole_until("stream", row, 7)? {
            damaged.push(format!("row {position}: the row of its list is damaged"));
            continue;
        }
        let (owner, stream): (TenantId, Stream) = (parsed(row, 1)?, parsed(row, 2)?);
        if tenant.is_some_and(|tenant| *tenant != owner) {
            continue;
        }
        let tables = Tables { connection, dictionary, tenant: &owner };
        let stored = (row.get(10)?, row.get(11)?, row.get(12)?);
        match journal::decode(tables, (&owner, &stream), row.get(9)?, stored) {
            Ok(events) => commits.push(Commit { position, events: events.into() }),
            Err(error @ Error::Corrupt { .. }) => damaged.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok(CommitPage { commits, damaged, position: end, is_last: end == last })
}
