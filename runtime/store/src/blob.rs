//! Bytes under their digest, a tenant's own: the same bytes of two tenants are stored twice, so
//! that neither can find out what the other has.

use ringfence_event::{Digest, TenantId};
use rusqlite::{Connection, OptionalExtension as _};

use crate::Error;

pub(crate) fn put(
    connection: &Connection,
    tenant: &TenantId,
    bytes: &[u8],
) -> Result<Digest, Error> {
    let digest = Digest::of(bytes);
    connection
        .prepare_cached(
            "INSERT INTO blob (tenant, digest, bytes) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        )?
        .execute((tenant.as_str(), digest.as_bytes(), bytes))?;
    Ok(digest)
}

/// The bytes, if they are there and are what they were.
pub(crate) fn get(
    connection: &Connection,
    tenant: &TenantId,
    digest: &[u8],
) -> Result<Option<Vec<u8>>, Error> {
    let bytes: Option<Vec<u8>> = connection
        .prepare_cached("SELECT bytes FROM blob WHERE tenant = ?1 AND digest = ?2")?
        .query_row((tenant.as_str(), digest), |row| row.get(0))
        .optional()?;
    match bytes {
        Some(bytes) if Digest::of(&bytes).as_bytes() != digest => Err(Error::CorruptBlob),
        bytes => Ok(bytes),
    }
}
