//! Paths within a root, and what lies between two roots.

mod held;
mod kept;
mod outside;
mod quota;
mod race;
mod read_only;
mod special;

use std::fs;

use ringfence_event::{DenialCode, Effect};
use ringfence_tests::{Folders, Scene, text};
use serde_json::json;

/// F1: odd spellings of what is granted work, or fail with an error that says why.
#[tokio::test]
async fn f1_spellings_within_a_root() {
    let folders = Folders::new();
    let scene = Scene::new(Effect::Read).root("workspace", &folders.workspace(), "read");
    let long = "x".repeat(5_000);
    for (act, path, said) in [
        ("read", "a.txt", "hello"),
        ("read", "./a.txt", "hello"),
        ("read", "sub/../a.txt", "hello"),
        ("read", "sub/./b.txt", "below"),
        ("read", "link", "hello"),
        ("stat", "link", "DescriptorType::RegularFile 5"),
        ("stat-no-follow", "link", "DescriptorType::SymbolicLink 5"),
        ("list", "sub/", "b.txt"),
        ("stat", "sub/.", "DescriptorType::Directory"),
        ("read", "a.txt/", "error: not-directory"),
        ("read", "a.txt/.", "error: not-directory"),
        ("read", "link/", "error: not-directory"),
        ("read-no-follow", "link", "error: loop"),
        ("read", "loop", "error: loop"),
        ("read", "nothing", "error: no-entry"),
        ("read", "", "error: no-entry"),
        ("read", "sub", "error: is-directory"),
        ("list", "a.txt", "error: not-directory"),
        ("read", long.as_str(), "error: name-too-long"),
        ("read", "a\0b", "error: invalid"),
    ] {
        let ended = scene.file(act, path).await;
        let found = text(&ended);
        assert!(found.starts_with(said), "{act} {path:.20}: {found}");
        assert!(ended.denials.is_empty(), "{act} {path:.20}: {ended:?}");
    }
}

/// H2: what is no file is refused at once, and no thread waits for it.
#[tokio::test]
async fn h2_a_fifo_is_refused_and_holds_nobody() {
    let folders = Folders::new();
    for (effect, act) in [(Effect::Read, "read"), (Effect::Unsafe, "append")] {
        let scene = Scene::new(effect).root("workspace", &folders.workspace(), "write");
        let ended = scene.file(act, "pipe").await;
        assert!(text(&ended).starts_with("error: "), "{ended:?}");
        assert!(ended.usage.wall_us < 5_000_000, "{ended:?}");
    }
    let scene = Scene::new(Effect::Read).root("workspace", &folders.workspace(), "read");
    let ended = scene.file("read", "pipe").await;
    let [denial] = &ended.denials[..] else { panic!("{ended:?}") };
    assert_eq!(denial.code, DenialCode::NeverOpen, "it lies within its root: {denial}");
    let ended = scene.file("stat", "pipe").await;
    assert!(text(&ended).starts_with("DescriptorType::Fifo"), "{ended:?}");
}

/// A link or a move between two roots would carry bytes past what each is granted for.
#[tokio::test]
async fn nothing_is_linked_or_moved_between_roots() {
    let (folders, other) = (Folders::new(), tempfile::tempdir().unwrap());
    let scene = Scene::new(Effect::Unsafe).root("workspace", &folders.workspace(), "write").root(
        "notes",
        other.path(),
        "write",
    );
    for act in ["link", "rename"] {
        let within = json!({ "act": act, "path": "a.txt", "to": "sub/c.txt" });
        let between = json!({ "act": act, "path": "a.txt", "to_root": "/notes", "to": "a.txt" });
        let ended = scene.run("file", between).await;
        assert_eq!(text(&ended), "error: cross-device", "{act}");
        let [denial] = &ended.denials[..] else { panic!("{act}: {ended:?}") };
        assert_eq!(denial.code, DenialCode::OutsideRoot, "{act}: {denial}");
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0, "{act}");

        let ended = scene.run("file", within).await;
        assert_eq!((text(&ended).as_str(), ended.denials.len()), ("done", 0), "{act}: {ended:?}");
        fs::remove_file(folders.workspace().join("sub/c.txt")).unwrap();
        fs::write(folders.workspace().join("a.txt"), "hello").unwrap();
    }
    // Granted for reading on one end is not enough, whichever it is.
    let scene = Scene::new(Effect::Unsafe).root("workspace", &folders.workspace(), "read").root(
        "notes",
        other.path(),
        "write",
    );
    for (root, to_root) in [("/workspace", "/notes"), ("/notes", "/workspace")] {
        let arguments = json!({ "act": "rename", "root": root, "path": "a.txt", "to_root": to_root, "to": "b.txt" });
        let ended = scene.run("file", arguments).await;
        assert_eq!(text(&ended), "error: read-only");
        assert_eq!(ended.denials[0].code, DenialCode::NotGranted, "{ended:?}");
    }
}
