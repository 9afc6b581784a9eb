//! Memory buckets: what tools keep between calls.

use rusqlite::{Connection, Params, Row, types::ValueRef};

use crate::{
    BucketId, Error, MemoryChange, MemoryLimits, MemoryUsed, MemoryWrite,
    check::{self, number, text, twice},
};

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
    let damaged = || format!("the memory entry `{key}` of {scope} `{owner}`");
    let mut statement = connection.prepare_cached(
        "SELECT tenant, scope, owner, key, value, checksum FROM memory
         WHERE tenant = ?1 AND scope = ?2 AND owner = ?3 AND key = ?4",
    )?;
    let mut rows = statement.query((tenant, scope, owner, key))?;
    if let Some(row) = rows.next()? {
        check::whole("memory", row, damaged)?;
        return Ok(Some(row.get(4)?));
    }
    let twin = "SELECT 1 FROM memory INDEXED BY memory_twin
         WHERE tenant = ?1 AND scope = ?2 AND owner = ?3 AND key = ?4";
    check::absent(connection, twin, (tenant, scope, owner, key), damaged)?;
    Ok(None)
}

/// Up to `limit` keys behind `cursor`.
pub(crate) fn keys(
    connection: &Connection,
    bucket: &BucketId,
    cursor: Option<&str>,
    limit: u32,
) -> Result<KeyPage, Error> {
    let limit = limit.max(1);
    // One more than asked tells whether there is more.
    let mut keys = listed(connection, bucket, cursor, u64::from(limit) + 1)?;
    let cursor = if keys.len() > limit as usize {
        keys.truncate(limit as usize);
        keys.last().cloned()
    } else {
        None
    };
    Ok(KeyPage { keys, cursor })
}

/// Up to `limit` keys of a bucket behind one, in their order.
fn listed(
    connection: &Connection,
    bucket: &BucketId,
    after: Option<&str>,
    limit: u64,
) -> Result<Vec<String>, Error> {
    let (tenant, scope, owner) = names(bucket);
    let sql = |index: &str| {
        format!(
            "SELECT key FROM memory INDEXED BY {index}
             WHERE tenant = ?1 AND scope = ?2 AND owner = ?3 AND (?4 IS NULL OR key > ?4)
             ORDER BY key LIMIT ?5"
        )
    };
    twice(connection, sql, ["memory_key", "memory_twin"], |statement| {
        statement.query_map((tenant, scope, owner, after, limit), |row| row.get(0))?.collect()
    })
}

/// All keys of a bucket with their values, in the order of the keys.
pub(crate) fn entries(
    connection: &Connection,
    bucket: &BucketId,
) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let entry = |key: String| match get(connection, bucket, &key)? {
        Some(value) => Ok((key, value)),
        None => Err(check::damaged(format!("the memory entry `{key}`"))),
    };
    let all = listed(connection, bucket, None, i64::MAX as u64)?;
    all.into_iter().map(entry).collect()
}

/// What a bucket holds, and all of its tenant's together: totals that are kept, not counted.
pub(crate) fn used(connection: &Connection, bucket: &BucketId) -> Result<MemoryUsed, Error> {
    let (tenant, scope, owner) = names(bucket);
    let what = || format!("the total of the memory of {scope} `{owner}`");
    let of_bucket = Total {
        sql: "SELECT tenant, scope, owner, bytes, keys, checksum FROM bucket
             WHERE tenant = ?1 AND scope = ?2 AND owner = ?3",
        twin: "SELECT 1 FROM bucket INDEXED BY bucket_twin
             WHERE tenant = ?1 AND scope = ?2 AND owner = ?3",
        table: "bucket",
    };
    let held = of_bucket
        .read(connection, (tenant, scope, owner), what, |row| Ok((row.get(3)?, row.get(4)?)))?;
    let of_tenant = Total {
        sql: "SELECT tenant, bytes, checksum FROM memory_total WHERE tenant = ?1",
        twin: "SELECT 1 FROM memory_total INDEXED BY memory_total_twin WHERE tenant = ?1",
        table: "memory_total",
    };
    let what = || format!("the total of the memory of the tenant `{tenant}`");
    let tenant_bytes = of_tenant.read(connection, [tenant], what, |row| row.get(1))?;
    let (bytes, keys) = held.unwrap_or((0, 0));
    Ok(MemoryUsed { bytes, keys, tenant_bytes: tenant_bytes.unwrap_or(0) })
}

/// How a row of totals is found.
struct Total {
    sql: &'static str,
    twin: &'static str,
    table: &'static str,
}

impl Total {
    fn read<T>(
        &self,
        connection: &Connection,
        of: impl Params + Clone,
        what: impl Fn() -> String,
        take: impl FnOnce(&Row<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<Option<T>, Error> {
        let mut statement = connection.prepare_cached(self.sql)?;
        let mut rows = statement.query(of.clone())?;
        if let Some(row) = rows.next()? {
            check::whole(self.table, row, what)?;
            return Ok(Some(take(row)?));
        }
        check::absent(connection, self.twin, of, what)?;
        Ok(None)
    }
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
    check::write(
        connection,
        "memory",
        "INSERT INTO memory (tenant, scope, owner, key, value, checksum)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET value = excluded.value, checksum = excluded.checksum",
        &[text(tenant), text(scope), text(owner), text(key), ValueRef::Blob(value)],
    )?;
    let after = (key.len() + value.len()) as u64;
    count(connection, bucket, (before.unwrap_or(0), after), (u64::from(before.is_some()), 1))
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
        Some(before) => count(connection, bucket, (before, 0), (1, 0)),
        None => Ok(()),
    }
}

/// What an entry takes, its key included.
pub(crate) fn size(
    connection: &Connection,
    bucket: &BucketId,
    key: &str,
) -> Result<Option<u64>, Error> {
    Ok(get(connection, bucket, key)?.map(|value| (key.len() + value.len()) as u64))
}

/// Brings the totals from what an entry took, and how many keys it was, to what it takes and is now.
fn count(
    connection: &Connection,
    bucket: &BucketId,
    (bytes_before, bytes_after): (u64, u64),
    (keys_before, keys_after): (u64, u64),
) -> Result<(), Error> {
    let (tenant, scope, owner) = names(bucket);
    let MemoryUsed { bytes, keys, tenant_bytes } = used(connection, bucket)?;
    let moved =
        |total: u64, before: u64, after: u64| number((total + after).saturating_sub(before));
    check::write(
        connection,
        "bucket",
        "INSERT INTO bucket (tenant, scope, owner, bytes, keys, checksum)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET bytes = excluded.bytes, keys = excluded.keys,
             checksum = excluded.checksum",
        &[
            text(tenant),
            text(scope),
            text(owner),
            moved(bytes, bytes_before, bytes_after)?,
            moved(keys, keys_before, keys_after)?,
        ],
    )?;
    check::write(
        connection,
        "memory_total",
        "INSERT INTO memory_total (tenant, bytes, checksum) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET bytes = excluded.bytes, checksum = excluded.checksum",
        &[text(tenant), moved(tenant_bytes, bytes_before, bytes_after)?],
    )?;
    Ok(())
}
