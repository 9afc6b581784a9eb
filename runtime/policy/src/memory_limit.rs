//! What memory buckets may hold: one quota of the tenant's, of which each bucket has a share.

/// What a tenant's buckets may hold together where its quota says nothing: notes, not files.
const TENANT_BYTES: u64 = 64 << 20;
/// One user's bucket must not leave the others nothing.
const BUCKETS: u64 = 4;
/// An entry takes some dozens of bytes of the store beside its own: as many as its key's limit.
const BYTES_A_KEY: u64 = 256;

/// How much memory buckets may hold. Bytes are those of keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Bytes of one bucket: a quarter of the tenant's.
    pub bucket_bytes: u64,
    /// Keys of one bucket: one for each 256 bytes.
    pub bucket_keys: u64,
    /// Bytes of all buckets of the tenant.
    pub tenant_bytes: u64,
}

impl MemoryLimits {
    /// What follows from a tenant's quota, if it has one.
    pub(crate) fn of(quota: Option<u64>) -> Self {
        let tenant_bytes = quota.unwrap_or(TENANT_BYTES);
        let bucket_bytes = tenant_bytes / BUCKETS;
        Self { bucket_bytes, bucket_keys: bucket_bytes / BYTES_A_KEY, tenant_bytes }
    }
}
