//! Ways out of a root: none of them leads anywhere, and each is on record.

use std::fs;

use ringfence_event::{Access, Asked, DenialCode, Effect, FileOwner};
use ringfence_tests::{Folders, Scene, text};
use serde_json::json;

/// F1, F2, F3: `..`, absolute paths and links, with and without a slash at the end, through every
/// interface. The host's own files are never touched, and the denial names the guest's path alone.
#[tokio::test]
async fn f2_no_path_leads_out_of_its_root() {
    let folders = Folders::new();
    let scene = Scene::new(Effect::Unsafe).root("workspace", &folders.workspace(), "write");
    let paths = [
        "../outside/secret.txt",
        "sub/../../outside/secret.txt",
        "./../outside/secret.txt",
        "/etc/passwd",
        "absolute/passwd",
        "up/secret.txt",
        "up/../outside/secret.txt",
        "sub/../up/secret.txt",
    ];
    let acts = [
        "read",
        "read-no-follow",
        "stat",
        "stat-no-follow",
        "list",
        "read-link",
        "hash",
        "write",
        "append",
        "create",
        "truncate",
        "set-size",
        "set-times",
        "make-folder",
        "remove-folder",
        "remove-file",
        "symbolic-link",
        "sync",
    ];
    let mut cases: Vec<(&str, &str)> =
        paths.iter().flat_map(|path| acts.iter().map(|act| (*act, *path))).collect();
    // The link itself, followed.
    cases.extend(
        ["read", "stat", "hash", "set-times", "truncate", "append"].map(|act| (act, "secret")),
    );
    cases.extend(["list", "stat", "hash"].iter().flat_map(|act| {
        ["up", "up/", "up/.", "absolute", "absolute/", "absolute/.", ".."].map(|path| (*act, path))
    }));
    for (act, path) in cases {
        let arguments = json!({ "act": act, "path": path, "to": "a.txt", "text": "overwritten" });
        let ended = scene.run("file", arguments).await;
        assert_eq!(text(&ended), "error: not-permitted", "{act} {path}");
        let [denial] = &ended.denials[..] else { panic!("{act} {path}: {ended:?}") };
        assert_eq!(denial.code, DenialCode::OutsideRoot, "{act} {path}: {denial}");
        let shown = format!("{denial:?}");
        assert!(!shown.contains(&*folders.workspace().to_string_lossy()), "{shown}");
    }
    // The denial names the end that leads out; the first of the two if both do.
    for (act, path, to, named) in [
        ("link", "a.txt", "up/stolen.txt", "up/stolen.txt"),
        ("link", "up/secret.txt", "stolen.txt", "up/secret.txt"),
        ("rename", "a.txt", "../outside/a.txt", "../outside/a.txt"),
        ("rename", "../outside/secret.txt", "stolen.txt", "../outside/secret.txt"),
        ("rename", "up/secret.txt", "stolen.txt", "up/secret.txt"),
        ("rename", "a.txt", "up/a.txt", "up/a.txt"),
        ("rename", "up/secret.txt", "../outside/b.txt", "up/secret.txt"),
    ] {
        let ended = scene.run("file", json!({ "act": act, "path": path, "to": to })).await;
        assert_eq!(text(&ended), "error: not-permitted", "{act} {path} {to}");
        let [denial] = &ended.denials[..] else { panic!("{act} {path} {to}: {ended:?}") };
        let asked = Asked::File { path: format!("/workspace/{named}"), access: Access::Write };
        assert_eq!((denial.code, &denial.asked), (DenialCode::OutsideRoot, &asked));
    }
    assert_eq!(fs::read_to_string(folders.outside().join("secret.txt")).unwrap(), "secret");
    assert_eq!(fs::read_dir(folders.outside()).unwrap().count(), 1);
    assert!(!folders.workspace().join("stolen.txt").exists());
    // The same, granted: another root makes it reachable, under its own name.
    let scene = scene.root("outside", &folders.outside(), "read");
    let ended =
        scene.run("file", json!({ "act": "read", "root": "/outside", "path": "secret.txt" })).await;
    assert_eq!((text(&ended).as_str(), ended.denials.len()), ("secret", 0));
}

/// F3: a guest may make a link that points out; nobody gets anywhere by it, and an absolute one is
/// not even made.
#[tokio::test]
async fn f3_a_link_that_a_guest_made_leads_nowhere() {
    let folders = Folders::new();
    let scene = Scene::new(Effect::Unsafe).root("workspace", &folders.workspace(), "write");
    let link = |path: &str, to: &str| json!({ "act": "symbolic-link", "path": path, "to": to });
    let ended = scene.run("file", link("mine", "../outside/secret.txt")).await;
    if text(&ended) == "done" {
        let ended = scene.file("read", "mine").await;
        assert_eq!(text(&ended), "error: not-permitted");
    }
    let ended = scene.run("file", link("passwd", "/etc/passwd")).await;
    assert_eq!(text(&ended), "error: not-permitted");
    let ended = scene.run("file", link("fine", "sub/b.txt")).await;
    assert_eq!(text(&ended), "done");
    let ended = scene.file("read", "fine").await;
    assert_eq!(text(&ended), "below");
}

/// What lies outside every root is denied by the lines that would make it a root.
#[tokio::test]
async fn a_path_outside_every_root_is_denied_and_recorded() {
    let folders = Folders::new();
    let none = Scene::new(Effect::Unsafe);
    let one = Scene::new(Effect::Unsafe).root("workspace", &folders.workspace(), "write");
    for scene in [none, one] {
        for (act, path) in
            [("read", "etc/passwd"), ("stat", "etc/passwd"), ("list", "etc"), ("write", "etc/new")]
        {
            let arguments = json!({ "act": act, "root": "/", "path": path, "text": "" });
            let ended = scene.run("file", arguments).await;
            assert_eq!(text(&ended), "error: not-permitted", "{act}");
            let [denial] = &ended.denials[..] else { panic!("{act}: {ended:?}") };
            assert_eq!(denial.code, DenialCode::NotNeeded, "{act}: {denial}");
            let Asked::File { path: asked, .. } = &denial.asked else { panic!("{denial:?}") };
            assert_eq!(*asked, format!("/{path}"));
            for owner in [FileOwner::ToolAuthor, FileOwner::Operator] {
                let names = |remedy: &ringfence_event::Remedy| {
                    remedy.owner == owner && format!("{remedy}").contains("fs.etc")
                };
                assert!(denial.remedies.iter().any(names), "{owner}: {denial}");
            }
        }
        let ended = scene.run("file", json!({ "act": "list", "root": "/", "path": "." })).await;
        assert!(ended.denials.is_empty(), "{ended:?}");
    }
}

/// F14: a root is a handle: what its path names later is nobody's business.
#[tokio::test]
async fn f14_a_root_that_is_replaced_stays_what_it_was() {
    let folders = Folders::new();
    let scene = Scene::new(Effect::Read).root("workspace", &folders.workspace(), "read");
    assert_eq!(text(&scene.file("read", "a.txt").await), "hello");
    let moved = folders.workspace().with_file_name("moved");
    fs::rename(folders.workspace(), &moved).unwrap();
    std::os::unix::fs::symlink(folders.outside(), folders.workspace()).unwrap();
    assert_eq!(text(&scene.file("read", "a.txt").await), "hello");
    assert_eq!(text(&scene.file("read", "secret.txt").await), "error: no-entry");
}
