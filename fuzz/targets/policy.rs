//! Needs, grants and a request from a small world, in which they often meet: nothing panics, and a
//! permit opens nothing that a naive reading of both sides would not.
#![no_main]

use std::{collections::BTreeMap, path::Path};

use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary, fuzz_target};
use ringfence_event::{Access, Digest, Effect, Scope, TenantId};
use ringfence_policy::{
    CallRequest, Decision, Grants, Manifest, TenantGrants, ToolFacts, ToolPolicy, parse_file,
};
use serde::Deserialize;
use url::Url;

const HOSTS: [&str; 5] = ["a.example", "b.example", "c.b.example", "*.b.example", "*"];
const METHODS: [&str; 4] = ["GET", "HEAD", "POST", "DELETE"];
const PIECES: [&str; 8] = ["a", "b", "ab", "*", "a*", "**", "..", "%2e"];
const EFFECTS: [Effect; 4] = [Effect::Pure, Effect::Read, Effect::Idempotent, Effect::Unsafe];

#[derive(Arbitrary, Debug)]
struct Line {
    host: u8,
    methods: u8,
    paths: Vec<Vec<u8>>,
}

#[derive(Arbitrary, Debug)]
struct World {
    needs: Vec<Line>,
    grants: Vec<Line>,
    memory: [Option<bool>; 2],
    effect: u8,
    host: u8,
    method: u8,
    path: Vec<u8>,
    tail: String,
}

/// A line as both sides and the model see it.
#[derive(Clone, Debug)]
struct Told {
    host: &'static str,
    methods: Vec<&'static str>,
    paths: Vec<Vec<&'static str>>,
}

fn pick<const N: usize>(all: [&'static str; N], which: u8) -> &'static str {
    all[usize::from(which) % N]
}

fn told(line: &Line) -> Told {
    let methods = METHODS.into_iter().enumerate().filter(|(at, _)| line.methods >> at & 1 == 1);
    // A pattern has no dots.
    let pieces =
        |path: &Vec<u8>| path.iter().take(4).map(|piece| PIECES[usize::from(*piece) % 6]).collect();
    Told {
        host: pick(HOSTS, line.host),
        methods: methods.map(|(_, method)| method).collect(),
        paths: line.paths.iter().take(3).map(pieces).collect(),
    }
}

fn quoted(items: &[String]) -> String {
    items.iter().map(|item| format!("{item:?}")).collect::<Vec<_>>().join(", ")
}

impl Told {
    fn rest(&self) -> (String, String) {
        let methods: Vec<String> = self.methods.iter().map(|method| (*method).to_owned()).collect();
        let paths: Vec<String> =
            self.paths.iter().map(|path| format!("/{}", path.join("/"))).collect();
        (quoted(&methods), quoted(&paths))
    }

    /// Whether this line names the request, read as plainly as can be.
    fn names(&self, url: &Url, method: &str, usual: &[&str]) -> bool {
        let host = url.host_str().unwrap_or_default();
        let at_host = match self.host.strip_prefix('*') {
            None => self.host == host,
            Some("") => true,
            Some(below) => host.ends_with(below) && host.len() > below.len(),
        };
        let methods: &[&str] = if self.methods.is_empty() { usual } else { &self.methods };
        let path = plain(url.path());
        let parts: Vec<&str> = path[1..].split('/').collect();
        let at_path = self.paths.is_empty() || self.paths.iter().any(|path| matches(path, &parts));
        at_host && methods.contains(&method) && at_path
    }
}

/// A path with the escapes of letters, digits and `-._~` undone, and the others in capitals.
fn plain(path: &str) -> String {
    let mut pieces = path.split('%');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let code = piece.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                plain.push(char::from(byte));
            }
            Some(byte) => plain.push_str(&format!("%{byte:02X}")),
            None => plain.push('%'),
        }
        plain.push_str(if code.is_some() { &piece[2..] } else { piece });
    }
    plain
}

/// `**` is any number of parts, `*` alone one that is not empty, `*` within a part anything.
fn matches(pattern: &[&str], parts: &[&str]) -> bool {
    match pattern {
        [] => parts == [""] || parts.is_empty(),
        [only] if *only != "**" => parts.len() == 1 && part(only, parts[0]),
        ["**", rest @ ..] => {
            rest.is_empty() || (0..=parts.len()).any(|from| matches(rest, &parts[from..]))
        }
        [first, rest @ ..] => {
            !parts.is_empty() && part(first, parts[0]) && (matches(rest, &parts[1..]))
        }
    }
}

fn part(pattern: &str, given: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == given,
        Some((before, behind)) => {
            !given.is_empty()
                && given.len() >= before.len() + behind.len()
                && given.starts_with(before)
                && given.ends_with(behind)
        }
    }
}

#[derive(Deserialize)]
struct Operator {
    tenant: BTreeMap<TenantId, TenantGrants>,
}

fuzz_target!(|world: World| {
    let needs: Vec<Told> = world.needs.iter().take(4).map(told).collect();
    let grants: Vec<Told> = world.grants.iter().take(4).map(told).collect();
    let effect = EFFECTS[usize::from(world.effect) % EFFECTS.len()];

    let mut manifest = "tool = { name = \"t\", component = \"t.wasm\" }\n".to_owned();
    for need in &needs {
        manifest += &format!("[needs.http.\"https://{}\"]\n", need.host);
        let (methods, paths) = need.rest();
        if !need.methods.is_empty() {
            manifest += &format!("methods = [{methods}]\n");
        }
        if !need.paths.is_empty() {
            manifest += &format!("paths = [{paths}]\n");
        }
    }
    let access = |write: bool| if write { "write" } else { "read" };
    if let Some(write) = world.memory[0] {
        manifest += &format!("[needs.memory.user]\naccess = \"{}\"\n", access(write));
    }
    // Two needs for one origin are refused, and so is a file with anything else that is wrong.
    let Ok(manifest) = Manifest::parse("tool.toml", &manifest) else { return };

    let items: Vec<String> = grants
        .iter()
        .map(|grant| {
            let (methods, paths) = grant.rest();
            let mut item = format!("{{ url = \"https://{}\"", grant.host);
            if !grant.methods.is_empty() {
                item += &format!(", methods = [{methods}]");
            }
            if !grant.paths.is_empty() {
                item += &format!(", paths = [{paths}]");
            }
            item + " }"
        })
        .collect();
    let mut text = format!("[tenant.local.tool.t]\nhttp = [{}]\n", items.join(", "));
    if let Some(write) = world.memory[1] {
        text += &format!("memory.user = \"{}\"\n", access(write));
    }
    let Ok(file) = parse_file::<Operator>("ringfence.toml", &text) else { return };
    let (folder, sets) = (Path::new("/"), BTreeMap::new());
    let compiled =
        Grants::new("ringfence.toml", &text, folder, Default::default(), &sets, file.tenant);
    let Ok(compiled) = compiled else { return };

    let facts = ToolFacts {
        name: manifest.name.clone(),
        component: Digest::of(b"component"),
        definitions: Digest::of(b"definitions"),
        functions: vec![("f".parse().expect("a name"), effect)],
    };
    let policy =
        ToolPolicy::compile(&"local".parse().expect("a tenant"), &facts, &manifest, &compiled);
    let (user, function) = ("local".parse().expect("a user"), "f".parse().expect("a name"));
    let decision = policy.decide(&CallRequest::new(&user, &function, "{}"));
    let Decision::Permit(permit) = decision else { return };

    let path: Vec<&str> = world.path.iter().take(6).map(|piece| pick(PIECES, *piece)).collect();
    let method = pick(METHODS, world.method);
    let text = format!("https://{}/{}{}", pick(HOSTS, world.host % 3), path.join("/"), world.tail);
    let Ok(url) = Url::parse(&text) else { return };
    let reading = ["GET", "HEAD"];
    let by_effect = match effect {
        Effect::Pure => false,
        Effect::Read => reading.contains(&method),
        Effect::Idempotent | Effect::Unsafe => true,
    };
    match permit.http(method, &url) {
        Ok(_) => {
            let needed = needs.iter().any(|need| need.names(&url, method, &reading));
            let granted = grants.iter().any(|grant| grant.names(&url, method, &METHODS));
            assert!(by_effect && needed && granted, "{method} {url}\n{needs:?}\n{grants:?}");
        }
        Err(denial) => assert!(!denial.to_string().is_empty()),
    }
    let write = permit.bucket("user", Access::Write).is_ok();
    let read = permit.bucket("user", Access::Read);
    let both =
        |least: bool| world.memory.iter().all(|side| side.is_some_and(|write| write >= least));
    assert!(!write || (both(true) && effect > Effect::Read), "{:?} {effect:?}", world.memory);
    match read {
        Ok(scope) => assert!(scope == Scope::User && both(false) && effect != Effect::Pure),
        Err(denial) => assert!(!denial.to_string().is_empty()),
    }
});
