//! `ringfence explain`

use insta::assert_snapshot;

use crate::support::Scene;

/// The tool `files`, added and granted in part.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.file(
        "ringfence.toml",
        "[tenant.acme.tool.files]\nfunctions = [\"list\", \"read\", \"write\"]\n\
         fs.workspace = { path = \"data\" }\n[tenant.other]\n",
    );
    scene.tool("tools/files", "files", "");
    scene.file(
        "tools/files/tool.toml",
        "[tool]\nname = \"files\"\ncomponent = \"tool.wasm\"\n[needs.fs.workspace]\naccess = \"write\"\n\
         [needs.config]\nkeys = [\"base-url\"]\n",
    );
    scene.file("data/a.txt", "text\n");
    scene.run(&["tool", "add", "tools/files"]).expect(0);
    scene
}

#[test]
fn each_side_is_named_by_its_line() {
    let scene = scene();
    let mut shown = String::new();
    for (words, code) in [
        (&["read"][..], 0),
        (&["remove"], 3),
        (&["read", "fs", "read", "/workspace/a.txt"], 0),
        (&["read", "fs", "write", "/workspace/a.txt"], 3),
        (&["remove", "fs", "write", "/workspace/a.txt"], 3),
        (&["read", "http", "GET", "https://example.com/"], 3),
        (&["read", "memory", "read", "user"], 3),
        (&["read", "config", "base-url"], 3),
        (&["read", "socket", "db.example:5432"], 3),
        // All functions: one that is allowed it is enough.
        (&["fs", "read", "/workspace/a.txt"], 0),
    ] {
        let arguments = [&["explain", "files"], words, &["--tenant", "acme"]].concat();
        let ran = scene.run(&arguments).expect(code);
        shown += &format!("$ ringfence {}\n{}\n", arguments.join(" "), ran.shown);
    }
    assert_snapshot!(shown);
}

/// Rules that can hold a call are named: all of them with the call, those that a request can meet with the
/// request, also where what they say is known only when the call is made.
#[test]
fn what_may_be_held_is_told() {
    let scene = scene();
    scene.file(
        "ringfence.toml",
        r#"[tenant.acme.tool.files]
fs.workspace = { path = "data", access = "write" }

[[tenant.acme.hold]]
path = "/workspace/keys/**"

[[tenant.acme.hold]]
path = "/workspace/notes/**"
spent = "0.50"

[[tenant.acme.hold]]
argument = { at = "/text", matches = "*password*" }
answer = "call"

[[tenant.acme.hold]]
tool = "files"
function = "remove"
expires = "1h"

[[tenant.acme.hold]]
host = "pay.example"
"#,
    );
    let mut shown = String::new();
    for (words, code) in [
        (&["write"][..], 0),
        (&["write", "fs", "write", "/workspace/a.txt"], 0),
        (&["write", "fs", "write", "/workspace/keys/a.txt"], 3),
        (&["write", "fs", "write", "/workspace/notes/a.txt"], 0),
        (&["remove", "fs", "write", "/workspace/x/../notes"], 0),
        (&["read", "http", "GET", "https://PAY.example/"], 3),
    ] {
        let arguments = [&["explain", "files"], words, &["--tenant", "acme"]].concat();
        let ran = scene.run(&arguments).expect(code);
        shown += &format!("$ ringfence {}\n{}\n", arguments.join(" "), ran.shown);
    }
    assert_snapshot!(shown);
}

/// The words are those of the call itself.
#[test]
fn a_denial_is_the_calls_own() {
    let scene = scene();
    let path = r#"{"path": "/workspace/a.txt", "text": "new"}"#;
    let called = scene.run(&["call", "files", "write", path, "--tenant", "acme"]).expect(3);
    let asked =
        ["explain", "files", "write", "fs", "write", "/workspace/a.txt", "--tenant", "acme"];
    let explained = scene.run(&asked).expect(3);
    // The tool writes to a file of another name first, and tries more than once.
    let lines = |text: &str| {
        text.split_once("what would allow it: ")
            .map(|(_, lines)| lines.lines().next().map(str::to_owned))
    };
    assert!(lines(&called.err).is_some(), "{}", called.err);
    assert_eq!(lines(&called.err), lines(&explained.out));

    let json = scene.run(&[&asked[..], &["--json"]].concat()).expect(3).json();
    assert_eq!(json["functions"][0]["answer"]["allowed"], false);
    assert_eq!(json["functions"][0]["answer"]["denial"]["code"], "not-granted");
    let allowed = scene.run(&["explain", "files", "read", "--tenant", "acme", "--json"]).expect(0);
    let allowed = allowed.json();
    assert_eq!(allowed["functions"][0]["open"][0]["what"], "read /workspace");
    assert_eq!(allowed["functions"][0]["open"][0]["by"][1]["file"], "ringfence.toml");
    assert_eq!(allowed["functions"][0]["shut"][0]["asked"]["what"], "file");
}

#[test]
fn what_is_not_granted_or_not_accepted_is_explained_too() {
    let scene = scene();
    let other = scene.run(&["explain", "files", "read", "--tenant", "other"]).expect(3);
    assert!(other.out.contains("[tenant.other.tool.files]"), "{}", other.out);
    assert!(!other.out.contains("acme"), "{}", other.out);
    scene.component("tools/files/tool.wasm", "hello");
    let changed = scene.run(&["explain", "files", "read", "--tenant", "acme"]).expect(3);
    assert!(changed.out.contains("the tool is not what was accepted"), "{}", changed.out);
    // As it lies there, which no run would take.
    let here = ["explain", "./tools/files", "greet", "--tenant", "acme"];
    assert!(scene.run(&here).expect(3).out.contains("functions = "));
}

#[test]
fn a_request_that_cannot_be_read_says_how_it_is_written() {
    let scene = scene();
    for (words, said) in [
        (&["absent"][..], "`absent` is neither a function of the tool"),
        (&["fs", "read"], "a request is `fs read|write PATH`"),
        (&["fs", "look", "/a"], "`look` is neither `read` nor `write`"),
        (&["fs", "read", "a"], "does not begin with `/`"),
        (&["http", "GET", "example.com"], "is no URL"),
        (&["read", "GET", "https://example.com"], "a request is"),
    ] {
        let arguments = [&["explain", "files"], words, &["--tenant", "acme"]].concat();
        scene.run(&arguments).expect(2).says(said);
    }
    scene.run(&["explain", "absent"]).expect(2).says("there is no tool `absent`");
    scene.run(&["explain", "files", "--tenant", "nobody"]).expect(2).says("no tenant `nobody`");
}
