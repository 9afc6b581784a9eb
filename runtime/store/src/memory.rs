//! Memory buckets: what tools keep between calls.

use rusqlite::{Connection, OptionalExtension as _};

use crate::{BucketId, Error, MemoryChange, MemoryWrite};

/// Some of a bucket's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPage {
    /// In their order.
    pub keys: Vec<String>,
    /// Where to go on; absent: that was all.
    pub cursor: Option<String>,
}

fn names(bucket: &BucketId) -> (&str, &str, &str) {
    (bucket.tenant.as_str(), bucket.scope.as_str(), &bucket.owner)
}

pub(crate) fn get(
    connection: &Connection,
    bucket: &BucketId,
    key: &str,
) -> Result<Option<Vec<u8>>, Error> {
    let (tenant, scope, owner) = names(bucket);
    let value = connection
        .prepare_cached(
            "SELECT value FROM memory WHERE tenant = ?1 AND scope = ?2 AND owner = ?3 AND key = ?4",
        )?
        .query_row((tenant, scope, owner, key), |row| row.get(0))
        .optional()?;
    Ok(value)
}

pub(crate) fn exists(connection: &Connection, bucket: &BucketId, key: &str) -> Result<bool, Error> {
    let (tenant, scope, owner) = names(bucket);
    let mut statement = connection.prepare_cached(
        "SELECT 1 FROM memory WHERE tenant = ?1 AND scope = ?2 AND owner = ?3 AND key = ?4",
    )?;
    Ok(statement.exists((tenant, scope, owner, key))?)
}

/// Up to `limit` keys behind `cursor`.
pub(crate) fn keys(
    connection: &Connection,
    bucket: &BucketId,
    cursor: Option<&str>,
    limit: u32,
) -> Result<KeyPage, Error> {
    let (tenant, scope, owner) = names(bucket);
    let limit = limit.max(1);
    let mut statement = connection.prepare_cached(
        "SELECT key FROM memory
         WHERE tenant = ?1 AND scope = ?2 AND owner = ?3 AND (?4 IS NULL OR key > ?4)
         ORDER BY key LIMIT ?5",
    )?;
    // One more than asked tells whether there is more.
    let more = u64::from(limit) + 1;
    let rows = statement.query_map((tenant, scope, owner, cursor, more), |row| row.get(0))?;
    let mut keys = rows.collect::<Result<Vec<String>, _>>()?;
    let cursor = if keys.len() > limit as usize {
        keys.truncate(limit as usize);
        keys.last().cloned()
    } else {
        None
    };
    Ok(KeyPage { keys, cursor })
}

/// Bytes of all keys and values.
pub(crate) fn bytes_used(connection: &Connection, bucket: &BucketId) -> Result<u64, Error> {
    let bytes = connection
        .prepare_cached("SELECT bytes FROM bucket WHERE tenant = ?1 AND scope = ?2 AND owner = ?3")?
        .query_row(names(bucket), |row| row.get(0))
        .optional()?;
    Ok(bytes.unwrap_or(0))
}

/// Makes one change; the new value of a counter.
pub(crate) fn write(connection: &Connection, write: &MemoryWrite) -> Result<Option<u64>, Error> {
    let MemoryWrite { bucket, key, change } = write;
    match change {
        MemoryChange::Set(value) => set(connection, bucket, key, value).map(|()| None),
        MemoryChange::Delete => delete(connection, bucket, key).map(|()| None),
        MemoryChange::Increment(by) => {
            let held = match get(connection, bucket, key)? {
                None => Some(0),
                Some(value) => std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok()),
            };
            let Some(held) = held else { return Ok(None) };
            let sum = u64::saturating_add(held, *by);
            set(connection, bucket, key, sum.to_string().as_bytes())?;
            Ok(Some(sum))
        }
    }
}

fn set(connection: &Connection, bucket: &BucketId, key: &str, value: &[u8]) -> Result<(), Error> {
    let before = size(connection, bucket, key)?;
    let (tenant, scope, owner) = names(bucket);
    connection
        .prepare_cached(
            "INSERT INTO memory (tenant, scope, owner, key, value) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET value = excluded.value",
        )?
        .execute((tenant, scope, owner, key, value))?;
    let after = (key.len() + value.len()) as i64;
    count(connection, bucket, after - before)
}

fn delete(connection: &Connection, bucket: &BucketId, key: &str) -> Result<(), Error> {
    let before = size(connection, bucket, key)?;
    let (tenant, scope, owner) = names(bucket);
    connection
        .prepare_cached(
            "DELETE FROM memory WHERE tenant = ?1 AND scope = ?2 AND owner = ?3 AND key = ?4",
        )?
        .execute((tenant, scope, owner, key))?;
    count(connection, bucket, -before)
}

/// What an entry takes now; 0 if it is not there.
fn size(connection: &Connection, bucket: &BucketId, key: &str) -> Result<i64, Error> {
    let (tenant, scope, owner) = names(bucket);
    let size = connection
        .prepare_cached(
            "SELECT octet_length(key) + octet_length(value) FROM memory
             WHERE tenant = ?1 AND scope = ?2 AND owner = ?3 AND key = ?4",
        )?
        .query_row((tenant, scope, owner, key), |row| row.get(0))
        .optional()?;
    Ok(size.unwrap_or(0))
}

fn count(connection: &Connection, bucket: &BucketId, bytes: i64) -> Result<(), Error> {
    let (tenant, scope, owner) = names(bucket);
    connection
        .prepare_cached(
            "INSERT INTO bucket (tenant, scope, owner, bytes) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes",
        )?
        .execute((tenant, scope, owner, bytes))?;
    Ok(())
}
