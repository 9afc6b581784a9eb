//! Any text as `tool.toml` and as the tables of `ringfence.toml`: it is read, or an error says where
//! in it something is wrong; both can be shown.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use ringfence_event::TenantId;
use ringfence_policy::{Defaults, GrantSet, Manifest, TenantGrants, parse_file};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[derive(Default)]
struct Operator {
    defaults: Defaults,
    grant_set: BTreeMap<String, GrantSet>,
    tenant: BTreeMap<TenantId, TenantGrants>,
}

fuzz_target!(|text: &str| {
    match Manifest::parse("tool.toml", text) {
        Ok(manifest) => assert!(!format!("{manifest:?}").is_empty()),
        Err(error) => assert!(error.to_string().starts_with("tool.toml:"), "{error}"),
    }
    match parse_file::<Operator>("ringfence.toml", text) {
        Ok(file) => {
            let Operator { defaults, grant_set, tenant } = file;
            assert!(!format!("{defaults:?} {grant_set:?} {tenant:?}").is_empty());
        }
        Err(error) => assert!(error.to_string().starts_with("ringfence.toml:"), "{error}"),
    }
});
