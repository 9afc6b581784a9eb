//! What roots may hold: bytes, files and open handles, as an operator writes it. Counted by whoever
//! opens the roots; what is full is named here, so that a denial can say which line bounds it.

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use crate::{Bytes, Count};

/// How much may lie in a folder. Absent: not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// The sizes of its files together. A sparse file counts with the size it shows.
    pub bytes: Option<u64>,
    /// Its entries: files, folders and links, those in folders below included.
    pub files: Option<u64>,
}

impl Quota {
    /// Whether nothing is counted.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.bytes.is_none() && self.files.is_none()
    }
}

/// What a tenant may hold, over all the folders that its tools may write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantQuota {
    /// What lies in its folders.
    pub held: Quota,
    /// Files and folders that its calls have open at one time. Absent: a share of what the process
    /// may open.
    pub handles: Option<u64>,
}

/// Which quota is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// A root's bytes.
    RootBytes,
    /// A root's files.
    RootFiles,
    /// The bytes of all roots of the tenant.
    TenantBytes,
    /// The files of all roots of the tenant.
    TenantFiles,
    /// The tenant's open handles, or those of the whole process.
    Handles,
}

/// `[tenant.NAME.quota]`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct QuotaTable {
    /// The keys and values of all memory buckets together; a bucket has a quarter of it.
    #[schemars(with = "Option<Bytes>")]
    pub memory: Option<Spanned<Bytes>>,
    /// The sizes of the files in all roots together.
    #[schemars(with = "Option<Bytes>")]
    pub bytes: Option<Spanned<Bytes>>,
    /// The entries of all roots together.
    #[schemars(with = "Option<Count>")]
    pub files: Option<Spanned<Count>>,
    /// Files and folders open at one time.
    #[schemars(with = "Option<Count>")]
    pub handles: Option<Spanned<Count>>,
}

impl QuotaTable {
    pub(crate) fn quota(&self) -> TenantQuota {
        let count = |count: &Option<Spanned<Count>>| count.as_ref().map(|count| count.get_ref().0);
        let bytes = self.bytes.as_ref().map(|bytes| bytes.get_ref().0);
        TenantQuota {
            held: Quota { bytes, files: count(&self.files) },
            handles: count(&self.handles),
        }
    }
}
