//! Whether a row is what was written, and whether a row that is not found was never there.
//!
//! Every row has a checksum over all of its columns. No row can say that another one is gone, so what is looked up
//! or listed is asked of two trees of the database with the same keys: what damages one leaves the other.

use ringfence_event::Digest;
use rusqlite::{
    Connection, Row, Statement, params_from_iter,
    types::{ToSqlOutput, ValueRef},
};

use crate::Error;

/// How many bytes of the hash a row has: what damages a row by chance does not meet eight of them.
const CHECKSUM_BYTES: usize = 8;

/// The checksum of a row: over its table and its columns, in the order of the table.
fn checksum(table: &str, columns: &[ValueRef<'_>]) -> [u8; CHECKSUM_BYTES] {
    let mut all = table.as_bytes().to_vec();
    for column in columns {
        let number;
        let (kind, bytes): (u8, &[u8]) = match column {
            ValueRef::Null => (0, &[]),
            ValueRef::Integer(integer) => {
                number = integer.to_le_bytes();
                (1, &number)
            }
            // No table has one; a damaged row may say so.
            ValueRef::Real(real) => {
                number = real.to_le_bytes();
                (2, &number)
            }
            ValueRef::Text(text) => (3, text),
            ValueRef::Blob(blob) => (4, blob),
        };
        all.push(kind);
        all.extend((bytes.len() as u64).to_le_bytes());
        all.extend(bytes);
    }
    let mut short = [0; CHECKSUM_BYTES];
    short.copy_from_slice(&Digest::of(&all).as_bytes()[..CHECKSUM_BYTES]);
    short
}

/// Whether a row, read with all its columns and then its checksum, is what was written.
pub(crate) fn is_whole(table: &str, row: &Row<'_>) -> Result<bool, Error> {
    is_whole_until(table, row, row.as_ref().column_count() - 1)
}

/// As [`is_whole`], of a row whose checksum is the column `count`; others may stand behind it.
pub(crate) fn is_whole_until(table: &str, row: &Row<'_>, count: usize) -> Result<bool, Error> {
    let columns = (0..count).map(|column| row.get_ref(column)).collect::<Result<Vec<_>, _>>()?;
    Ok(row.get_ref(count)? == ValueRef::Blob(&checksum(table, &columns)))
}

/// As [`is_whole`]; an error that says what is damaged.
pub(crate) fn whole(
    table: &str,
    row: &Row<'_>,
    what: impl FnOnce() -> String,
) -> Result<(), Error> {
    if is_whole(table, row)? { Ok(()) } else { Err(damaged(what())) }
}

/// Writes a row: the statement takes its columns as `?1` and so on, and its checksum behind them.
pub(crate) fn write(
    connection: &Connection,
    table: &str,
    sql: &str,
    columns: &[ValueRef<'_>],
) -> Result<usize, Error> {
    let sum = checksum(table, columns);
    let sum = ValueRef::Blob(&sum);
    let all = columns.iter().chain([&sum]).map(|one| ToSqlOutput::Borrowed(*one));
    Ok(connection.prepare_cached(sql)?.execute(params_from_iter(all))?)
}

/// What a question finds in one tree of the database and in another that has the same keys.
pub(crate) fn twice<T: PartialEq>(
    connection: &Connection,
    sql: impl Fn(&str) -> String,
    [one, other]: [&str; 2],
    mut ask: impl FnMut(&mut Statement<'_>) -> Result<T, rusqlite::Error>,
) -> Result<T, Error> {
    let found = ask(&mut *connection.prepare_cached(&sql(one))?)?;
    if ask(&mut *connection.prepare_cached(&sql(other))?)? == found {
        Ok(found)
    } else {
        Err(damaged(format!("the index {one} or {other}")))
    }
}

/// An error if a row that was not found has left its key in another tree.
pub(crate) fn absent(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
    what: impl FnOnce() -> String,
) -> Result<(), Error> {
    if connection.prepare_cached(sql)?.exists(parameters)? { Err(damaged(what())) } else { Ok(()) }
}

pub(crate) fn damaged(what: String) -> Error {
    Error::Damaged { what }
}

pub(crate) fn text(text: &str) -> ValueRef<'_> {
    ValueRef::Text(text.as_bytes())
}

pub(crate) fn maybe_text(maybe: Option<&str>) -> ValueRef<'_> {
    maybe.map_or(ValueRef::Null, text)
}

/// The database's numbers have a sign.
pub(crate) fn number(number: u64) -> Result<ValueRef<'static>, Error> {
    match i64::try_from(number) {
        Ok(number) => Ok(ValueRef::Integer(number)),
        Err(error) => Err(rusqlite::Error::ToSqlConversionFailure(Box::new(error)).into()),
    }
}

pub(crate) fn maybe_number(maybe: Option<u64>) -> Result<ValueRef<'static>, Error> {
    maybe.map_or(Ok(ValueRef::Null), number)
}
