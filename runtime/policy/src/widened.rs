//! What a manifest asks for that an earlier one did not: the part of a change that somebody should
//! read twice.

use std::collections::BTreeSet;

use ringfence_event::Access;

use crate::{HttpNeed, Manifest, Method, Needs, PathPattern, SecretHeader};

/// What `new` asks for beyond `old`, in words; both as [`Manifest::asks`] writes them. What cannot be
/// read as an ask, such as one of a later version, counts as more.
#[must_use]
pub fn widened(old: &[String], new: &[String]) -> Vec<String> {
    match (parse(old), parse(new)) {
        (Some(old), Some(new)) => {
            let mut more = Vec::new();
            needs(&old.needs, &new.needs, &mut more);
            limits(&old, &new, &mut more);
            more
        }
        _ => new.iter().filter(|ask| !old.contains(ask)).cloned().collect(),
    }
}

/// Asks are lines of a manifest, so they are read as one.
fn parse(asks: &[String]) -> Option<Manifest> {
    let head = "tool = { name = \"x\", component = \"x.wasm\" }\n";
    Manifest::parse("asks", &format!("{head}{}", asks.join("\n"))).ok()
}

fn needs(old: &Needs, new: &Needs, more: &mut Vec<String>) {
    let beyond = |old: Option<Access>, new: Access| old.is_none_or(|old| old < new);
    for (name, need) in &new.fs {
        if beyond(old.fs.get(name).map(|need| need.access), need.access) {
            more.push(format!("{} the root `{name}`", need.access));
        }
    }
    for need in &new.http {
        origin(&old.http, need, more);
    }
    for (scope, need) in &new.memory {
        if beyond(old.memory.get(scope).map(|need| need.access), need.access) {
            more.push(format!("{} memory of scope `{scope}`", need.access));
        }
    }
    for need in &new.sockets {
        let same = |old: &&crate::SocketNeed| old.to == need.to && old.protocol == need.protocol;
        if old.sockets.iter().find(same).is_none() {
            more.push(format!("connect to {} by {}", need.to, need.protocol));
        }
    }
    let known: BTreeSet<_> = old.config.iter().flat_map(|need| &need.keys).collect();
    for key in new.config.iter().flat_map(|need| &need.keys) {
        if !known.contains(key) {
            more.push(format!("read the configuration value `{key}`"));
        }
    }
}

/// Whether an origin's need goes beyond each of the old ones for the very same origin: what a
/// wildcard would have covered counts as more too, for it is asked by name now.
fn origin(old: &[HttpNeed], need: &HttpNeed, more: &mut Vec<String>) {
    let whole = if need.origin.is_exact() { "" } else { ", and so to any host that fits" };
    let Some(old) = old.iter().find(|old| old.origin == need.origin) else {
        more.push(format!("send requests to {}{whole}", need.origin));
        secrets(&[], need, more);
        return;
    };
    let methods: Vec<&str> = need
        .methods
        .iter()
        .filter(|method| !old.methods.contains(method))
        .map(Method::as_str)
        .collect();
    if !methods.is_empty() {
        more.push(format!("send {} to {}", methods.join(", "), need.origin));
    }
    let any = old.paths.contains(&PathPattern::any());
    let paths = need.paths.iter().filter(|path| !any && !old.paths.contains(path));
    let paths: Vec<String> = paths.map(ToString::to_string).collect();
    if !paths.is_empty() {
        more.push(format!("send requests to {} at {}", need.origin, paths.join(", ")));
    }
    secrets(&old.secrets, need, more);
}

/// The secrets that requests carry now and did not before, or in another header.
fn secrets(old: &[SecretHeader], need: &HttpNeed, more: &mut Vec<String>) {
    for secret in need.secrets.iter().filter(|secret| !old.contains(secret)) {
        let SecretHeader { name, header, .. } = secret;
        more.push(format!("have the secret `{name}` sent to {} as `{header}`", need.origin));
    }
}

fn limits(old: &Manifest, new: &Manifest, more: &mut Vec<String>) {
    // What a manifest does not limit has the operator's ceiling.
    let spend = |manifest: &Manifest| manifest.limits.over(&ringfence_event::CallLimits::UNBOUNDED);
    let (old, new) = (spend(old), spend(new));
    for (name, old, new) in [
        ("fuel", old.fuel, new.fuel),
        ("memory", old.memory, new.memory),
        ("time", old.time, new.time),
        ("output", old.output, new.output),
        ("logs", old.logs, new.logs),
        ("egress", old.egress, new.egress),
        ("handles", old.handles, new.handles),
        ("requests", old.requests, new.requests),
        ("storage", old.storage, new.storage),
        ("random", old.random, new.random),
        ("lift", old.lift, new.lift),
    ] {
        if new > old {
            more.push(format!("spend more {name}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(lines: &str) -> Vec<String> {
        let head = "tool = { name = \"x\", component = \"x.wasm\" }\n";
        Manifest::parse("tool.toml", &format!("{head}{lines}")).unwrap().asks()
    }

    /// X7: what is more is told, and what is less or the same is not.
    #[test]
    fn x7_what_is_asked_beyond_is_told() {
        for (old, new, more) in [
            ("", "", &[][..]),
            ("", "[needs.fs.a]\naccess = \"read\"", &["read the root `a`"]),
            (
                "[needs.fs.a]\naccess = \"read\"",
                "[needs.fs.a]\naccess = \"write\"",
                &["write the root `a`"],
            ),
            ("[needs.fs.a]\naccess = \"write\"", "[needs.fs.a]\naccess = \"read\"", &[]),
            (
                "[needs.fs.a]\naccess = \"read\"",
                "[needs.fs.a]\naccess = \"read\"\nreason = \"why\"",
                &[],
            ),
            (
                "[needs.http.\"https://a\"]",
                "[needs.http.\"https://a\"]\n[needs.http.\"*\"]",
                &["send requests to *, and so to any host that fits"],
            ),
            (
                "[needs.http.\"https://*.a\"]",
                "[needs.http.\"https://b.a\"]",
                &["send requests to https://b.a"],
            ),
            (
                "[needs.http.\"https://a\"]",
                "[needs.http.\"https://a\"]\nmethods = [\"GET\", \"POST\"]",
                &["send POST to https://a"],
            ),
            (
                "[needs.http.\"https://a\"]\npaths = [\"/b\"]",
                "[needs.http.\"https://a\"]",
                &["send requests to https://a at /**"],
            ),
            ("[needs.http.\"https://a\"]", "[needs.http.\"https://a\"]\npaths = [\"/b\"]", &[]),
            (
                "[needs.memory.user]\naccess = \"read\"",
                "[needs.memory.tenant]\naccess = \"write\"",
                &["write memory of scope `tenant`"],
            ),
            (
                "[needs.sockets.\"a:1\"]",
                "[needs.sockets.\"a:1\"]\nprotocol = \"udp\"\n[needs.sockets.\"b:1\"]",
                &["connect to a:1 by udp", "connect to b:1 by tcp"],
            ),
            ("[needs.sockets.\"a:1\"]", "[needs.sockets.\"a:1\"]\nreason = \"why\"", &[]),
            (
                "[needs.http.\"https://a\"]",
                "[needs.http.\"https://a\"]\nsecret = { header = \"x-key\", value = \"{KEY}\" }",
                &["have the secret `KEY` sent to https://a as `x-key`"],
            ),
            (
                "",
                "[needs.http.\"https://a\"]\nsecret = { header = \"x-key\", value = \"{KEY}\" }",
                &[
                    "send requests to https://a",
                    "have the secret `KEY` sent to https://a as `x-key`",
                ],
            ),
            (
                "[needs.config]\nkeys = [\"a\"]",
                "[needs.config]\nkeys = [\"a\", \"b\"]",
                &["read the configuration value `b`"],
            ),
            (
                "[limits]\nfuel = \"5M\"\ntime = \"5s\"",
                "[limits]\nfuel = \"6M\"",
                &["spend more fuel", "spend more time"],
            ),
            ("", "[limits]\nfuel = \"6M\"", &[]),
        ] {
            assert_eq!(widened(&asks(old), &asks(new)), more, "{old} -> {new}");
        }
        let later = vec!["needs.teleport = { to = \"anywhere\" }".to_owned()];
        assert_eq!(widened(&asks(""), &later), later);
    }
}
