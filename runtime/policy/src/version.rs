//! The policy version: one hash over everything that a decision depends on.

use std::fmt::Write as _;

use ringfence_event::{CallLimits, Digest, TenantId};

use crate::{
    HoldRules, Manifest, MemoryLimits, ToolFacts,
    grants::Granted,
    quote::{quote, quote_all},
};

/// The hash of the canonical text of both sides. Line numbers, reasons' places and the order of
/// lines do not count.
pub(crate) fn version(
    tenant: &TenantId,
    tool: &ToolFacts,
    manifest: &Manifest,
    granted: &Granted,
    holds: &HoldRules,
    closed: bool,
    (limits, memory): (&CallLimits, &MemoryLimits),
) -> Digest {
    let mut lines = manifest.asks();
    for (name, declared) in &tool.functions {
        lines.push(format!("function {name} {}", manifest.effect(name, *declared)));
    }
    if let Some((digest, _)) = &granted.digest {
        lines.push(format!("grant digest {digest}"));
    }
    if let Some((names, _)) = &granted.functions {
        lines.push(format!("grant functions {}", quote_all(names)));
    }
    for (name, root) in &granted.fs {
        lines.push(format!("grant fs {name} {} {:?} {:?}", root.access, root.path, root.quota));
    }
    for http in &granted.http {
        let grant = &http.grant;
        let mut line = format!("grant http {}", quote(&grant.origin.to_string()));
        if let Some(methods) = &grant.methods {
            let _ = write!(line, " methods {}", quote_all(methods));
        }
        if let Some(paths) = &grant.paths {
            let _ = write!(line, " paths {}", quote_all(paths));
        }
        if let Some(address) = Granted::address(grant) {
            let _ = write!(line, " address {address}");
        }
        lines.push(line);
    }
    for (scope, (access, _)) in &granted.memory {
        lines.push(format!("grant memory {scope} {access}"));
    }
    for (key, (value, _)) in &granted.config {
        lines.push(format!("grant config {key} {}", quote(value)));
    }
    for (name, secret) in &granted.secrets {
        lines.push(format!("grant secret {name} {}", secret.canonical()));
    }
    for (grant, _) in &granted.sockets {
        let mut line = format!("grant socket {}", grant.to);
        if let Some(address) = grant.address {
            let _ = write!(line, " address {address}");
        }
        lines.push(line);
    }
    lines.push(format!("grant quota {:?}", granted.quota));
    if !holds.is_empty() {
        lines.push(format!("grant holds {}", holds.digest()));
    }
    lines.sort();
    let head = format!(
        "ringfence policy 1\ntenant {tenant}\ntool {} {} {}\nclosed {closed}\nlimits {limits:?}\nmemory {memory:?}\n",
        tool.name, tool.component, tool.definitions
    );
    Digest::of((head + &lines.join("\n")).as_bytes())
}
