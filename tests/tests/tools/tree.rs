//! `files` and `search` over trees as they are found: large, partly unreadable, with names of all
//! sorts.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _, path::Path};

use ringfence_event::{Effect, Outcome};
use ringfence_tests::text;
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use serde_json::json;

use crate::{progress, scene};

/// A folder in which one cannot be read, whoever asks, and one file cannot be named.
fn odd() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.txt", "m.txt", "sub/s.txt", "z.txt"] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "needle").unwrap();
    }
    fs::write(folder.path().join(OsStr::from_bytes(b"b\xff.txt")), "needle").unwrap();
    // Rights do not hold everybody back; a path that is too long does.
    let deep = folder.path().join("deep");
    fs::create_dir(&deep).unwrap();
    let flags = OFlags::DIRECTORY | OFlags::RDONLY;
    let mut at = openat(CWD, &deep, flags, Mode::empty()).unwrap();
    for _ in 0..18 {
        let name = "n".repeat(240);
        mkdirat(&at, &name, Mode::RWXU).unwrap();
        at = openat(&at, &name, flags, Mode::empty()).unwrap();
    }
    folder
}

#[tokio::test]
async fn what_cannot_be_read_is_named_and_the_rest_is_there() {
    let folder = odd();
    for (tool, function, arguments) in [
        ("files", "list", json!({ "depth": 32 })),
        ("files", "glob", json!({ "pattern": "**/*.txt" })),
        ("search", "search", json!({ "pattern": "needle" })),
    ] {
        let scene = scene(tool, Effect::Read).root("workspace", folder.path(), "read");
        let found = text_of(&scene.run(function, arguments).await);
        for name in ["a.txt", "m.txt", "sub/s.txt", "z.txt"] {
            assert!(found.contains(name), "{function} {name}: {found}");
        }
        assert!(found.contains("what has a name that is not UTF-8]"), "{function}: {found}");
        let unread = found.lines().filter(|line| {
            (line.starts_with("[not read: ") || line.starts_with("[not searched: "))
                && line.contains("deep/nnn")
        });
        assert_eq!(unread.count(), 1, "{function}: {found}");
    }
}

/// The content that a reader sees, whatever else a tool returns beside it.
fn text_of(ended: &ringfence_sandbox::Ended) -> String {
    let Outcome::Succeeded { .. } = &ended.outcome else { panic!("{ended:?}") };
    text(ended)
}

fn many(folder: &Path, count: usize) {
    fs::create_dir_all(folder).unwrap();
    for number in 0..count {
        fs::write(folder.join(format!("{number}.rs")), "nothing\n").unwrap();
    }
}

/// What a pattern costs is what it has to look at, not what lies below or is ignored.
#[tokio::test]
async fn a_pattern_looks_only_where_it_can_fit() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(".gitignore"), "/target\n").unwrap();
    fs::write(folder.path().join("README.md"), "").unwrap();
    many(&folder.path().join("target/deep"), 1_500);
    many(&folder.path().join("src"), 100);
    let scene = scene("files", Effect::Read)
        .root("workspace", folder.path(), "read")
        .grants("limits.fuel = \"20M\"");
    for (pattern, ignored, first) in [
        ("*.md", false, "/workspace/README.md"),
        ("*.md", true, "/workspace/README.md"),
        ("src/7.rs", true, "/workspace/src/7.rs"),
        ("**/*.md", false, "/workspace/README.md"),
    ] {
        let arguments = json!({ "pattern": pattern, "ignored": ignored });
        let ended = scene.run("glob", arguments).await;
        assert_eq!(text_of(&ended), first, "{pattern}: {:?}", ended.usage);
    }
    // It is the same folder that is dear to walk.
    let all = json!({ "pattern": "**/*.md", "ignored": true });
    let ended = scene.run("glob", all).await;
    assert!(matches!(ended.outcome, Outcome::LimitReached { .. }), "{:?}", ended.usage);
}

#[tokio::test]
async fn long_work_says_how_far_it_is() {
    let folder = tempfile::tempdir().unwrap();
    many(folder.path(), 1_100);
    for (tool, function, arguments, told) in [
        ("files", "glob", json!({ "pattern": "*.md" }), vec![1_000]),
        ("files", "glob", json!({ "pattern": "*" }), vec![1_000]),
        ("search", "search", json!({ "pattern": "x" }), vec![250, 500, 750, 1_000]),
    ] {
        let scene = scene(tool, Effect::Read).root("workspace", folder.path(), "read");
        let ended = scene.run(function, arguments.clone()).await;
        assert!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{ended:?}");
        let found: Vec<u64> = progress(&scene).iter().map(|(done, ..)| *done).collect();
        assert_eq!(found, told, "{function} {arguments}");
    }
}
