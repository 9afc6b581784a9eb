//! What a tenant may hold, as an operator writes it.

use serde::Deserialize;
use toml::Spanned;

use crate::Bytes;

/// `[tenant.NAME.quota]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct QuotaTable {
    /// The keys and values of all memory buckets together; a bucket has a quarter of it.
    pub memory: Option<Spanned<Bytes>>,
}
