//! Memory buckets: what tools keep between calls.

use rusqlite::{Connection, OptionalExtension as _};

use crate::{BucketId, Error, MemoryChange, MemoryLimits, MemoryUsed, MemoryWrite};

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

/// All keys of a bucket with their values, in the order of the keys.
pub(crate) fn entries(
    connection: &Connection,
    bucket: &BucketId,
) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut statement = connection.prepare_cached(
        "SELECT key, value FROM memory WHERE tenant = ?1 AND scope = ?2 AND owner = ?3 ORDER BY key",
    )?;
    let rows = statement.query_map(names(bucket), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What a bucket holds, and all of its tenant's together: totals that are kept, not counted.
pub(crate) fn used(connection: &Connection, bucket: &BucketId) -> Result<MemoryUsed, Error> {
    let held = connection
        .prepare_cached(
            "SELECT bytes, keys FROM bucket WHERE tenant = ?1 AND scope = ?2 AND owner = ?3",
        )?
        .query_row(names(bucket), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let tenant_bytes = connection
        .prepare_cached("SELECT bytes FROM memory_total WHERE tenant = ?1")?
        .query_row([bucket.tenant.as_str()], |row| row.get(0))
        .optional()?;
    let (bytes, keys) = held.unwrap_or((0, 0));
    Ok(MemoryUsed { bytes, keys, tenant_bytes: tenant_bytes.unwrap_or(0) })
}

/// Makes all changes of a batch; the new values of counters. What grows must fit when all is done:
/// two batches that each looked before are held against the limits here, one after the other.
pub(crate) fn write_all(
    connection: &Connection,
    writes: &[MemoryWrite],
    limits: Option<MemoryLimits>,
) -> Result<Vec<u64>, Error> {
    let mut before: Vec<(&BucketId, MemoryUsed)> = vec![];
    if limits.is_some() {
        for MemoryWrite { bucket, .. } in writes {
            if before.iter().all(|(known, _)| *known != bucket) {
                before.push((bucket, used(connection, bucket)?));
            }
        }
    }
    let mut counters = vec![];
    for change in writes {
        counters.extend(write(connection, change)?);
    }
    let Some(limits) = limits else { return Ok(counters) };
    for (bucket, before) in before {
        let after = used(connection, bucket)?;
        let full = [
            (before.bytes, after.bytes, limits.bucket_bytes),
            (before.keys, after.keys, limits.bucket_keys),
            (before.tenant_bytes, after.tenant_bytes, limits.tenant_bytes),
        ];
        // What holds more than it may since the limit was lowered can still be emptied.
        if full.iter().any(|(before, after, limit)| after > before && after > limit) {
            return Err(Error::MemoryFull { scope: bucket.scope });
        }
    }
    Ok(counters)
}

/// Makes one change; the new value of a counter.
fn write(connection: &Connection, write: &MemoryWrite) -> Result<Option<u64>, Error> {
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
    let keys = i64::from(before.is_none());
    count(connection, bucket, after - before.unwrap_or(0), keys)
}

fn delete(connection: &Connection, bucket: &BucketId, key: &str) -> Result<(), Error> {
    let before = size(connection, bucket, key)?;
    let (tenant, scope, owner) = names(bucket);
    connection
        .prepare_cached(
            "DELETE FROM memory WHERE tenant = ?1 AND scope = ?2 AND owner = ?3 AND key = ?4",
        )?
        .execute((tenant, scope, owner, key))?;
    match before {
        Some(before) => count(connection, bucket, -before, -1),
        None => Ok(()),
    }
}

/// What an entry takes, its key included.
pub(crate) fn size(
    connection: &Connection,
    bucket: &BucketId,
    key: &str,
) -> Result<Option<i64>, Error> {
    let (tenant, scope, owner) = names(bucket);
    let size = connection
        .prepare_cached(
            "SELECT octet_length(key) + octet_length(value) FROM memory
             WHERE tenant = ?1 AND scope = ?2 AND owner = ?3 AND key = ?4",
        )?
        .query_row((tenant, scope, owner, key), |row| row.get(0))
        .optional()?;
    Ok(size)
}

fn count(connection: &Connection, bucket: &BucketId, bytes: i64, keys: i64) -> Result<(), Error> {
    let (tenant, scope, owner) = names(bucket);
    connection
        .prepare_cached(
            "INSERT INTO bucket (tenant, scope, owner, bytes, keys) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes, keys = keys + excluded.keys",
        )?
        .execute((tenant, scope, owner, bytes, keys))?;
    connection
        .prepare_cached(
            "INSERT INTO memory_total (tenant, bytes) VALUES (?1, ?2)
             ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes",
        )?
        .execute((tenant, bytes))?;
    Ok(())
}
