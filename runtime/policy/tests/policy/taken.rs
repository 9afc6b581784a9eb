//! What one reading of the operator's file takes away that an earlier one gave.

use crate::scene::{grants, policy};

const MANIFEST: &str = r#"
tool = { name = "files", component = "files.wasm" }
[needs.fs.workspace]
access = "write"
[needs.http."https://api.example"]
methods = ["GET", "POST"]
[needs.memory.user]
access = "write"
[needs.config]
keys = ["colour"]
[needs.sockets."db.example:5432"]
"#;

const ALL: &str = r#"fs.workspace = { path = "/srv/a", access = "write" }
http = [{ url = "https://api.example", methods = ["GET"] }]
memory.user = "read"
config.colour = "red"
sockets = ["db.example:5432"]
limits.fuel = "1M"
"#;

fn check(what: &str, function: &str, before: &str, after: &str, taken: bool) {
    let table = |lines: &str| match lines {
        "" => "[tenant.acme]".to_owned(),
        lines => format!("[tenant.acme.tool.files]\n{lines}"),
    };
    let compiled = |lines: &str| policy(MANIFEST, &grants(&table(lines)).unwrap());
    let (old, new) = (compiled(before), compiled(after));
    assert_eq!(new.takes_away(&old, &function.parse().unwrap()), taken, "{what}: {function}");
    assert!(!new.takes_away(&new, &function.parse().unwrap()), "{what}: nothing changes");
}

#[test]
fn what_is_taken_away_is_known_and_what_is_added_is_not_taken() {
    let changed = |old: &str, new: &str| {
        assert!(ALL.contains(old), "{old}");
        ALL.replacen(old, new, 1)
    };
    for (what, after, narrower) in [
        ("the same in another order", ALL.lines().rev().collect::<Vec<_>>().join("\n"), false),
        ("the tool", String::new(), true),
        ("its writing", changed("access = \"write\"", "access = \"read\""), true),
        ("its folder", changed("/srv/a", "/srv/b"), true),
        ("the root", changed("fs.workspace = { path = \"/srv/a\", access = \"write\" }", ""), true),
        ("a method", changed("methods = [\"GET\"]", "methods = [\"POST\"]"), true),
        (
            "some paths",
            changed("methods = [\"GET\"]", "methods = [\"GET\"], paths = [\"/a\"]"),
            true,
        ),
        (
            "the address",
            changed("methods = [\"GET\"]", "methods = [\"GET\"], address = \"10.0.0.1\""),
            true,
        ),
        ("the bucket", changed("memory.user = \"read\"", ""), true),
        ("the value", changed("\"red\"", "\"blue\""), true),
        ("the socket", changed("sockets = [\"db.example:5432\"]", ""), true),
        ("the function", format!("{ALL}functions = [\"look\"]\n"), true),
        ("this build", format!("{ALL}digest = \"sha256:{}\"\n", "0".repeat(64)), true),
        // What is more, and what is counted.
        ("a method more", changed("[\"GET\"]", "[\"POST\", \"GET\"]"), false),
        ("all methods", changed(", methods = [\"GET\"]", ""), false),
        ("writing more", changed("memory.user = \"read\"", "memory.user = \"write\""), false),
        ("less fuel", changed("1M", "1k"), false),
        ("the function by name", format!("{ALL}functions = [\"send\"]\n"), false),
    ] {
        check(what, "send", ALL, &after, narrower);
        if !after.is_empty() && what != "this build" && what != "the function by name" {
            // The other way round everything is given that was not.
            let given = ["a method", "the address", "its folder", "the value"].contains(&what);
            let less = ["a method more", "all methods", "writing more"].contains(&what);
            check(&format!("{what}, back"), "send", &after, ALL, given || less);
        }
    }
    // What a function has not got anyway is not taken from it.
    check("nothing of a pure function's", "add", ALL, &changed("/srv/a", "/srv/b"), false);
    check("the tool", "add", ALL, "", true);
    check("nothing where nothing was", "add", "", "", false);
    check("nothing where nothing was", "add", "", ALL, false);
}

/// A rule by which a person is to be asked now is one that takes away; one that is gone gives.
#[test]
fn a_rule_that_holds_takes_away() {
    let with = |rule: &str| {
        let text = format!("[tenant.acme.tool.files]\n{ALL}{rule}");
        policy(MANIFEST, &grants(&text).unwrap())
    };
    let (free, held) = (with(""), with("[[tenant.acme.hold]]\neffect = \"unsafe\"\n"));
    let other = with("[[tenant.acme.hold]]\neffect = \"unsafe\"\nexpires = \"1h\"\n");
    let send = "send".parse().unwrap();
    assert!(held.takes_away(&free, &send));
    assert!(!free.takes_away(&held, &send));
    assert!(other.takes_away(&held, &send));
    assert!(!held.takes_away(&free, &"look".parse().unwrap()), "it names no such function");
}

#[test]
fn a_grant_is_told_without_what_is_the_operators_own() {
    let text = format!("[tenant.acme.tool.files]\n{ALL}secret.TOKEN = {{ env = \"HIDDEN\" }}\n");
    let (tenant, tool) = ("acme".parse().unwrap(), "files".parse().unwrap());
    let all = grants(&text).unwrap();
    let lines = all.grant_lines(&tenant, &tool).join("\n");
    for hidden in ["/srv/a", "red", "HIDDEN"] {
        assert!(!lines.contains(hidden), "{lines}");
    }
    insta::assert_snapshot!(lines, @r#"
    [tenant.acme.tool.files]
    fs.workspace = { path = "…", access = "write" }
    http = [{ url = "https://api.example", methods = ["GET"] }]
    memory.user = "read"
    config.colour = "…"
    secret.TOKEN = { env = "…" }
    sockets = ["db.example:5432"]
    limits.fuel = "1M"
    "#);
    let version = all.grant_version(&tenant, &tool);
    assert!(version.is_some());
    assert_eq!(grants(&format!("\n\n{text}")).unwrap().grant_version(&tenant, &tool), version);
    let other = grants(&text.replace("1M", "2M")).unwrap();
    assert_ne!(other.grant_version(&tenant, &tool), version);
    let none = grants("[tenant.acme]").unwrap();
    assert_eq!(none.grant_version(&tenant, &tool), None);
    assert!(none.grant_lines(&tenant, &tool).is_empty());
}
