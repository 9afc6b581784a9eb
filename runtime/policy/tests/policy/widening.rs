//! Neither side alone opens anything, and taking a line away never does.

use std::collections::BTreeSet;

use proptest::prelude::*;
use ringfence_event::Access;
use url::Url;

use crate::scene::{decide, grants, permit, policy};

const HEAD: &str = "[tool]\nname = \"files\"\ncomponent = \"files.wasm\"\n";

/// Tables that a manifest may have, whole ones, so that any subset is a manifest.
const NEEDS: [&str; 12] = [
    "[needs.fs.a]\naccess = \"write\"\n",
    "[needs.fs.b]\naccess = \"read\"\n",
    "[needs.http.\"https://x.example\"]\nmethods = [\"GET\", \"POST\"]\npaths = [\"/p/**\"]\n",
    "[needs.http.\"https://*.example\"]\n",
    "[needs.http.\"*\"]\nmethods = [\"PUT\"]\n",
    "[needs.http.\"http://127.0.0.1\"]\n",
    "[needs.memory.user]\naccess = \"write\"\n",
    "[needs.memory.tenant]\naccess = \"read\"\n",
    "[needs.config]\nkeys = [\"base-url\"]\n",
    "[function.look]\neffect = \"read\"\n",
    "[needs.sockets.\"db.example:1\"]\n",
    "[needs.sockets.\"10.0.0.5:1\"]\nprotocol = \"udp\"\n",
];

/// Lines under a tool's table, and items of its `http`.
const LINES: [&str; 7] = [
    "fs.a = { path = \"/a\", access = \"write\" }\n",
    "fs.b = { path = \"/b\", access = \"write\" }\n",
    "memory.user = \"read\"\n",
    "memory.tenant = \"write\"\n",
    "use = [\"set\"]\n",
    "config.base-url = \"x\"\n",
    "sockets = [{ to = \"db.example:1\", address = \"10.0.0.6\" }, \"10.0.0.5:1\"]\n",
];
const ITEMS: [&str; 5] = [
    "{ url = \"https://x.example\", methods = [\"POST\"] }",
    "{ url = \"https://x.example\", paths = [\"/p/q/*\"] }",
    "\"https://*\"",
    "{ url = \"http://127.0.0.1\", methods = [\"GET\"] }",
    "\"*\"",
];
const SET: &str = "[grant-set.set]\nmemory.user = \"write\"\nhttp = [\"https://*.example\"]\nsockets = [\"db.example:1\"]\n";

/// All that can be asked here, and what of it is open.
fn open(needs: &[bool], lines: &[bool], items: &[bool]) -> BTreeSet<String> {
    let pick = |all: &[&str], chosen: &[bool]| -> Vec<String> {
        all.iter()
            .zip(chosen)
            .filter(|(_, chosen)| **chosen)
            .map(|(text, _)| (*text).to_owned())
            .collect()
    };
    let manifest = format!("{HEAD}{}", pick(&NEEDS, needs).concat());
    let text = format!(
        "{SET}[tenant.acme.tool.files]\n{}http = [{}]\n",
        pick(&LINES, lines).concat(),
        pick(&ITEMS, items).join(", ")
    );
    let policy = policy(&manifest, &grants(&text).unwrap());
    let mut open = BTreeSet::new();
    for function in ["add", "look", "write", "send"] {
        let permit = permit(&policy, function);
        for root in permit.roots() {
            open.insert(format!("{function} {} read", root.name));
            if root.access == Access::Write {
                open.insert(format!("{function} {} write", root.name));
            }
        }
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE"] {
            for url in [
                "https://x.example/p/q/r",
                "https://x.example/p",
                "https://x.example/",
                "https://a.x.example/p",
                "http://127.0.0.1/",
                "http://10.0.0.1:81/p",
            ] {
                if let Ok(pass) = permit.http(method, &Url::parse(url).unwrap()) {
                    open.insert(format!("{function} {method} {url}"));
                    if pass.address.is_some() {
                        open.insert(format!("{function} {method} {url} by address"));
                    }
                }
            }
        }
        if permit.config("base-url").is_ok() {
            open.insert(format!("{function} base-url"));
        }
        for pass in permit.sockets() {
            open.insert(format!("{function} {} {} {:?}", pass.protocol, pass.to, pass.address));
        }
        for bucket in ["session", "user", "agent", "tenant"] {
            for access in [Access::Read, Access::Write] {
                if permit.bucket(bucket, access).is_ok() {
                    open.insert(format!("{function} {bucket} {access}"));
                }
            }
        }
    }
    open
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn taking_a_line_away_opens_nothing(
        needs in prop::collection::vec(any::<bool>(), 12),
        lines in prop::collection::vec(any::<bool>(), 7),
        items in prop::collection::vec(any::<bool>(), 5),
        which in 0..24_usize,
    ) {
        let before = open(&needs, &lines, &items);
        let (mut fewer_needs, mut fewer_lines, mut fewer_items) = (needs, lines, items);
        match which {
            // Without its line in the manifest a function has the effect that it declares itself.
            9 => {}
            0..12 => fewer_needs[which] = false,
            12..19 => fewer_lines[which - 12] = false,
            _ => fewer_items[which - 19] = false,
        }
        let after = open(&fewer_needs, &fewer_lines, &fewer_items);
        prop_assert!(after.is_subset(&before), "{:?}", after.difference(&before).collect::<Vec<_>>());
    }
}

#[test]
fn one_side_opens_nothing() {
    assert_eq!(open(&[true; 12], &[false; 7], &[false; 5]), BTreeSet::new());
    assert_eq!(open(&[false; 12], &[true; 7], &[true; 5]), BTreeSet::new());
    let both = open(&[true; 12], &[true; 7], &[true; 5]);
    assert!(both.contains("write a write") && both.contains("send PUT https://x.example/"));
    assert!(!both.contains("look a write") && !both.iter().any(|line| line.starts_with("add ")));
    assert!(!both.contains("send DELETE https://x.example/"));
    for line in [
        "tcp db.example:1 Some(10.0.0.6)",
        "tcp db.example:1 None",
        "udp 10.0.0.5:1 Some(10.0.0.5)",
    ] {
        assert!(both.contains(&format!("send {line}")), "{both:?}");
        assert!(!both.contains(&format!("look {line}")) && !both.contains(&format!("add {line}")));
    }
}

#[test]
fn functions_that_are_not_listed_stay_shut() {
    let text = "[tenant.acme.tool.files]\nfunctions = [\"look\"]\n";
    let policy = policy(HEAD, &grants(text).unwrap());
    assert!(matches!(decide(&policy, "look"), ringfence_policy::Decision::Permit(_)));
    assert!(matches!(decide(&policy, "send"), ringfence_policy::Decision::Denial(_)));
}
