//! Whatever a guest does in whatever order, what is counted is what is there, and no quota is passed.

#![expect(clippy::unwrap_used, reason = "a test that finds nothing is to fail")]

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::Arc,
};

use proptest::prelude::*;
use ringfence_capability::{
    Host, Opened,
    fs::{Files, FsError, Held, Node, OpenHow},
    memory::{BoxFuture, Buckets, Unavailable, Used},
};
use ringfence_event::{DenialCode, Digest, Effect, Scope, TenantId, Timestamp};
use ringfence_policy::{
    CallRequest, Decision, Defaults, Grants, Manifest, TenantGrants, ToolFacts, ToolPolicy,
    parse_file,
};

struct Nothing;

impl Buckets for Nothing {
    fn get<'a>(
        &'a self,
        _: Scope,
        _: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, Unavailable>> {
        Box::pin(async { Ok(None) })
    }

    fn keys<'a>(
        &'a self,
        _: Scope,
        _: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<String>, Unavailable>> {
        Box::pin(async { Ok(vec![]) })
    }

    fn used(&self, _: Scope) -> BoxFuture<'_, Result<Used, Unavailable>> {
        Box::pin(async { Ok(Used::default()) })
    }

    fn size<'a>(&'a self, _: Scope, _: &'a str) -> BoxFuture<'a, Result<Option<u64>, Unavailable>> {
        Box::pin(async { Ok(None) })
    }
}

const BYTES: u64 = 600;
const FILES: u64 = 6;

fn open(host: &Host, folder: &Path) -> Opened {
    let text = format!(
        "acme.quota = {{ bytes = \"{}B\", files = {FILES} }}
         acme.tool.files.fs.workspace = {{ path = \"{}\", access = \"write\", bytes = \"{BYTES}B\", files = 7 }}",
        BYTES + 100,
        folder.display(),
    );
    let tenants: BTreeMap<TenantId, TenantGrants> = parse_file("ringfence.toml", &text).unwrap();
    let (defaults, sets) = (Defaults::default(), BTreeMap::new());
    let grants = Grants::new("ringfence.toml", &text, Path::new("/"), defaults, &sets, tenants);
    let manifest = "tool = { name = \"files\", component = \"files.wasm\" }
        needs.fs.workspace.access = \"write\"";
    let manifest = Manifest::parse("tool.toml", manifest).unwrap();
    let facts = ToolFacts {
        name: manifest.name.clone(),
        component: Digest::of(b""),
        definitions: Digest::of(b""),
        functions: vec![("act".parse().unwrap(), Effect::Unsafe)],
    };
    let policy = ToolPolicy::compile(&"acme".parse().unwrap(), &facts, &manifest, &grants.unwrap());
    let (user, function) = ("ann".parse().unwrap(), "act".parse().unwrap());
    let decision = policy.decide(&CallRequest::new(&user, &function, ""));
    let Decision::Permit(permit) = decision else { panic!("{decision:?}") };
    host.open(permit, Timestamp(0), 0, Arc::new(Nothing)).unwrap()
}

#[derive(Clone, Debug)]
enum Act {
    Write(&'static str, u64, u64),
    Append(&'static str, u64),
    Truncate(&'static str),
    SetSize(&'static str, u64),
    Create(&'static str),
    MakeFolder(&'static str),
    RemoveFolder(&'static str),
    RemoveFile(&'static str),
    SymbolicLink(&'static str, &'static str),
    Link(&'static str, &'static str),
    Rename(&'static str, &'static str),
    /// Keeps a file open.
    Hold(&'static str),
    /// Writes into the one that is kept open longest.
    WriteHeld(u64, u64),
    /// Closes it.
    LetGo,
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c", "d", "d/a", "d/b", "l", "l/a"])
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (name(), 0_u64..300, 0_u64..200).prop_map(|(n, at, len)| Act::Write(n, at, len)),
        1 => (name(), 0_u64..200).prop_map(|(n, len)| Act::Append(n, len)),
        1 => name().prop_map(Act::Truncate),
        2 => (name(), prop_oneof![0_u64..400, Just(1 << 40)]).prop_map(|(n, s)| Act::SetSize(n, s)),
        1 => name().prop_map(Act::Create),
        2 => name().prop_map(Act::MakeFolder),
        1 => name().prop_map(Act::RemoveFolder),
        3 => name().prop_map(Act::RemoveFile),
        1 => (name(), name()).prop_map(|(n, to)| Act::SymbolicLink(n, to)),
        2 => (name(), name()).prop_map(|(n, to)| Act::Link(n, to)),
        3 => (name(), name()).prop_map(|(n, to)| Act::Rename(n, to)),
        2 => name().prop_map(Act::Hold),
        1 => (0_u64..300, 0_u64..200).prop_map(|(at, len)| Act::WriteHeld(at, len)),
        1 => Just(Act::LetGo),
    ]
}

fn root(files: &Files) -> Node {
    files.preopens().next().unwrap().0
}

fn perform(files: &Files, root: &Node, held: &mut Vec<Node>, act: &Act) -> Result<(), FsError> {
    let write = OpenHow { write: true, follow: true, ..OpenHow::default() };
    let open = |name: &str, how| files.open(root, name, how);
    let bytes = |length: u64| vec![b'x'; length as usize];
    match *act {
        Act::Write(name, at, length) => {
            let file = open(name, OpenHow { create: true, ..write })?;
            file.file()?.write_at(&bytes(length), at).map(drop)
        }
        Act::Append(name, length) => open(name, write)?.file()?.append(&bytes(length)).map(drop),
        Act::Truncate(name) => open(name, OpenHow { truncate: true, ..write }).map(drop),
        Act::SetSize(name, size) => open(name, write)?.file()?.set_size(size),
        Act::Create(name) => {
            open(name, OpenHow { create: true, exclusive: true, ..write }).map(drop)
        }
        Act::MakeFolder(name) => files.create_dir(root, name),
        Act::RemoveFolder(name) => files.remove_dir(root, name),
        Act::RemoveFile(name) => files.remove_file(root, name),
        Act::SymbolicLink(name, to) => files.symlink(root, to, name),
        Act::Link(name, to) => files.link(root, name, root, to),
        Act::Rename(name, to) => files.rename(root, name, root, to),
        Act::Hold(name) => {
            held.push(open(name, OpenHow { read: true, ..write })?);
            Ok(())
        }
        Act::WriteHeld(at, length) => match held.first().map(Node::file) {
            Some(file) => file?.write_at(&bytes(length), at).map(drop),
            None => Ok(()),
        },
        Act::LetGo => {
            if !held.is_empty() {
                held.remove(0);
            }
            Ok(())
        }
    }
}

/// What is there, counted by the book.
fn there(folder: &Path) -> Held {
    let (mut held, mut seen) = (Held::default(), HashSet::new());
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let metadata = entry.path().symlink_metadata().unwrap();
            held.files += 1;
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if seen.insert(metadata.ino()) {
                held.bytes += metadata.len();
            }
        }
    }
    held
}

/// What has no name any more and is open.
fn nameless(open: &[Node]) -> u64 {
    let stats = open.iter().map(|node| node.stat().unwrap()).filter(|stat| stat.links == 0);
    let sizes: HashMap<_, _> = stats.map(|stat| (stat.identity, stat.size)).collect();
    sizes.values().sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn f10_what_is_counted_is_what_is_there(acts in prop::collection::vec(act(), 1..60)) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "before").unwrap();
        let host = Host::new();
        let opened = open(&host, folder.path());
        let tenant = "acme".parse().unwrap();
        let counted = || host.held(&tenant, folder.path()).unwrap();
        let root = root(&opened.files);
        let mut held = Vec::new();
        for act in &acts {
            let before = counted();
            let done = perform(&opened.files, &root, &mut held, act);
            let there = there(folder.path());
            let expected = Held { bytes: there.bytes + nameless(&held), ..there };
            prop_assert_eq!(counted(), expected, "{:?} {:?}", act, done);
            prop_assert!(expected.bytes <= BYTES && expected.files <= FILES, "{:?}", act);
            if matches!(done, Err(FsError::Full)) {
                // A file that had room may have been made before what did not fit into it.
                let made = matches!(act, Act::Write(..)).into();
                prop_assert!(counted().files - before.files <= made, "{:?}", act);
                prop_assert_eq!(counted().bytes, before.bytes, "{:?}", act);
            }
        }
        held.clear();
        prop_assert_eq!(counted(), there(folder.path()));
        let (denials, ..) = opened.close(None);
        let allowed = [DenialCode::QuotaFull, DenialCode::OutsideRoot];
        prop_assert!(denials.iter().all(|denial| allowed.contains(&denial.code)));
    }
}

/// Two calls of a tenant at one time share the count without losing any of it.
#[test]
fn f10_calls_at_one_time_share_one_count() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new();
    let tenant = "acme".parse().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (host, folder) = (&host, folder.path());
            scope.spawn(move || {
                let opened = open(host, folder);
                let root = root(&opened.files);
                let (mut held, names) = (Vec::new(), ["a", "b", "c", "d", "d/a", "l"]);
                let mut state = thread + 1;
                for _ in 0..2_000 {
                    // A generator of Marsaglia's: any order will do, if it is another one each.
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    let name = |shift: u32| names[(state >> shift) as usize % names.len()];
                    let act = match state % 11 {
                        0 => Act::Write(name(8), state >> 40 & 255, state >> 50 & 127),
                        1 => Act::Append(name(8), state >> 50 & 127),
                        2 => Act::Truncate(name(8)),
                        3 => Act::SetSize(name(8), state >> 50 & 511),
                        4 => Act::MakeFolder(name(8)),
                        5 => Act::RemoveFolder(name(8)),
                        6 => Act::RemoveFile(name(8)),
                        7 => Act::Link(name(8), name(16)),
                        8 => Act::Rename(name(8), name(16)),
                        9 => Act::Hold(name(8)),
                        _ => Act::LetGo,
                    };
                    let _ = perform(&opened.files, &root, &mut held, &act);
                    let counted = host.held(&"acme".parse().unwrap(), folder).unwrap();
                    assert!(counted.bytes <= BYTES && counted.files <= FILES, "{counted:?}");
                }
            });
        }
    });
    assert_eq!(host.held(&tenant, folder.path()).unwrap(), there(folder.path()));
}
