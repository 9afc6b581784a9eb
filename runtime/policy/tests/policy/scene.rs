//! A manifest, an operator's file and a call, for the tests beside this file.

use std::{collections::BTreeMap, path::Path};

use ringfence_event::{Digest, Effect, FunctionName, Money, TenantId, UserId};
use ringfence_policy::{
    CallRequest, ConfigError, Decision, Defaults, GrantSet, Grants, Manifest, Permit, TenantGrants,
    ToolFacts, ToolPolicy, parse_file,
};
use serde::Deserialize;

/// The part of `ringfence.toml` that is policy's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct OperatorFile {
    #[serde(default)]
    defaults: Defaults,
    #[serde(default)]
    grant_set: BTreeMap<String, GrantSet>,
    #[serde(default)]
    tenant: BTreeMap<TenantId, TenantGrants>,
}

pub(crate) fn grants(text: &str) -> Result<Grants, ConfigError> {
    let file: OperatorFile = parse_file("ringfence.toml", text)?;
    let folder = Path::new("/etc/ringfence");
    Grants::new("ringfence.toml", text, folder, file.defaults, &file.grant_set, file.tenant)
}

pub(crate) fn facts() -> ToolFacts {
    let function = |name: &str, effect| (name.parse().unwrap(), effect);
    ToolFacts {
        name: "files".parse().unwrap(),
        component: Digest::of(b"component"),
        definitions: Digest::of(b"definitions"),
        functions: vec![
            function("write", Effect::Idempotent),
            function("add", Effect::Pure),
            function("look", Effect::Read),
            function("send", Effect::Unsafe),
        ],
    }
}

pub(crate) fn policy(manifest: &str, grants: &Grants) -> ToolPolicy {
    let manifest = Manifest::parse("/srv/tools/files/tool.toml", manifest).unwrap();
    ToolPolicy::compile(&"acme".parse().unwrap(), &facts(), &manifest, grants)
}

pub(crate) fn decide(policy: &ToolPolicy, function: &str) -> Decision {
    let (user, function): (UserId, FunctionName) =
        ("ann@example.com".parse().unwrap(), function.parse().unwrap());
    let arguments = Digest::of(b"{}");
    policy.decide(&CallRequest {
        user: &user,
        function: &function,
        arguments,
        arguments_text: "{}",
        limits: None,
        rules: None,
        spent: Money::ZERO,
        approval: None,
    })
}

pub(crate) fn permit(policy: &ToolPolicy, function: &str) -> Permit {
    match decide(policy, function) {
        Decision::Permit(permit) => permit,
        other => panic!("{other:?}"),
    }
}
