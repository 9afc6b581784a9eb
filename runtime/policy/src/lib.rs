//! Needs, grants and their TOML; with a call they become a [`Permit`], a hold or a denial that
//! names the lines it comes from. Pure: no I/O, no clock, no async runtime.
//!
//! ```
//! use ringfence_event::{Access, Digest, Effect, Money};
//! use ringfence_policy::{CallRequest, Decision, FlagGrants, Grants, Manifest, ToolFacts, ToolPolicy};
//!
//! let manifest = Manifest::parse("tool.toml", r#"
//!     tool = { name = "files", component = "files.wasm" }
//!     [needs.fs.workspace]
//!     access = "write"
//! "#)?;
//! let grants = Grants::from_flags(FlagGrants {
//!     fs: vec![("workspace".parse()?, "/srv/checkout".into(), Access::Write)],
//!     ..FlagGrants::default()
//! })?;
//! let tool = ToolFacts {
//!     name: manifest.name.clone(),
//!     component: Digest::of(b"component"),
//!     definitions: Digest::of(b"definitions"),
//!     functions: vec![("read".parse()?, Effect::Read)],
//! };
//! let policy = ToolPolicy::compile(&"local".parse()?, &tool, &manifest, &grants);
//! let decision = policy.decide(&CallRequest {
//!     user: &"local".parse()?,
//!     function: &"read".parse()?,
//!     arguments: Digest::of(b"{}"),
//!     arguments_text: "{}",
//!     limits: None,
//!     rules: None,
//!     spent: Money::ZERO,
//!     approval: None,
//! });
//! let Decision::Permit(permit) = decision else { panic!("denied") };
//! // Needed and granted for writing, but the function only reads.
//! assert_eq!(permit.roots()[0].access, Access::Read);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod arguments;
mod bare;
mod budget;
mod config;
mod config_key;
mod edit;
mod explain;
mod file_pattern;
mod grant;
mod grants;
mod hold;
mod hold_file;
mod host;
mod limit;
mod manifest;
mod memory_limit;
mod method;
mod origin;
mod overlay;
mod path;
mod permit;
mod quota;
mod quote;
mod refusal;
mod remedy;
mod review;
mod schema;
mod secret;
mod server_url;
mod share;
mod sink;
mod socket;
mod taken;
mod tool_policy;
mod unit;
mod version;
mod widened;

pub use budget::{BudgetEntry, BudgetTable, TenantBudget, Window};
pub use config::{ConfigError, line_of, parse_file};
pub use config_key::{ConfigKey, InvalidConfigKey};
pub use edit::{GrantEdit, HttpEdit, edit_grant, suggest_grant};
pub use explain::{Answer, Explanation, Opening, Request};
pub use file_pattern::FilePattern;
pub use grant::{Defaults, FsGrant, GrantSet, HttpGrant, SocketGrant, TenantGrants, ToolGrant};
pub use grants::{COMMAND_LINE, FlagGrants, GrantedRoot, Grants};
pub use hold::{Approval, Held, HoldRules};
pub use hold_file::HoldTable;
pub use host::{HostPattern, InvalidHost};
pub use limit::LimitTable;
pub use manifest::{
    ConfigNeed, FsNeed, FunctionEntry, HttpNeed, MANIFEST_FILE, Manifest, MemoryNeed, Needs,
    SocketNeed,
};
pub use memory_limit::MemoryLimits;
pub use method::Method;
pub use origin::{InvalidOrigin, Origin};
pub use overlay::{Override, overlay};
pub use path::PathPattern;
pub use permit::{HttpPass, Permit, Root};
pub use quota::{Full, Quota, QuotaTable, TenantQuota};
pub use review::Remark;
pub use secret::{SecretGrant, SecretHeader};
pub use server_url::server_url;
pub use share::{Rate, TenantShare};
pub use sink::{Sink, SinkTable, SinkTarget};
pub use socket::{InvalidTarget, Protocol, SocketPass, SocketTarget};
pub use tool_policy::{CallRequest, Decision, ToolFacts, ToolPolicy};
pub use unit::{Bytes, Count, Fuel, InvalidQuantity, Millis, Usd};
pub use widened::widened;
