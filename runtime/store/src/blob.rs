//! Bytes under their digest, a tenant's own: the same bytes of two tenants are stored twice, so
//! that neither can find out what the other has.

use ringfence_event::{Digest, TenantId};
use rusqlite::{Connection, OptionalExtension as _};

use crate::{
    Error, check,
    squeeze::{Squeezed, squeeze, unsqueeze},
};

/// A blob as it is stored, made before there is a transaction.
#[derive(Debug)]
pub(crate) struct Encoded {
    digest: Digest,
    stored: Squeezed,
}

impl Encoded {
    pub(crate) fn new(digest: Digest, bytes: Vec<u8>) -> Self {
        Self { digest, stored: squeeze(bytes) }
    }

    /// How long it is as it is stored.
    pub(crate) fn bytes(&self) -> usize {
        self.stored.bytes.len()
    }
}

pub(crate) fn put(connection: &Connection, tenant: &TenantId, blob: &Encoded) -> Result<(), Error> {
    let Encoded { digest, stored: Squeezed { bytes, size } } = blob;
    connection
        .prepare_cached(
            "INSERT INTO blob (tenant, digest, bytes, size) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO NOTHING",
        )?
        .execute((tenant.as_str(), digest.as_bytes(), bytes, size))?;
    Ok(())
}

/// The bytes, if they are there and are what they were.
pub(crate) fn get(
    connection: &Connection,
    tenant: &TenantId,
    digest: &[u8],
) -> Result<Option<Vec<u8>>, Error> {
    let stored = connection
        .prepare_cached(
            "SELECT bytes, size FROM blob INDEXED BY sqlite_autoindex_blob_1
             WHERE tenant = ?1 AND digest = ?2",
        )?
        .query_row((tenant.as_str(), digest), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((bytes, size)) = stored else {
        let twin = "SELECT 1 FROM blob INDEXED BY blob_twin WHERE tenant = ?1 AND digest = ?2";
        check::absent(connection, twin, (tenant.as_str(), digest), || "the row of a blob".into())?;
        return Ok(None);
    };
    match unsqueeze(bytes, size) {
        Some(bytes) if Digest::of(&bytes).as_bytes() == digest => Ok(Some(bytes)),
        _ => Err(Error::CorruptBlob),
    }
}
