//! What belongs to the host and lies in a root: the store's folder, which no tool sees, and the
//! operator's files, which none changes.

use std::{fs, os::unix::fs::symlink, path::Path};

use ringfence_capability::{Host, fs::Kept};
use ringfence_event::{DenialCode, Effect};
use ringfence_tests::{Folders, Scene, text};
use serde_json::{Value, json};

/// A workspace as the program's own default makes it: the store and the operator's files lie in it.
fn workspace() -> (Folders, Host) {
    let folders = Folders::new();
    let inside = folders.workspace();
    fs::create_dir_all(inside.join(".ringfence/compiled")).unwrap();
    fs::write(inside.join(".ringfence/journal.db"), "journal").unwrap();
    fs::write(inside.join("ringfence.toml"), "grants").unwrap();
    fs::write(inside.join("ringfence.lock"), "lock").unwrap();
    fs::write(inside.join("mine.toml"), "grants by another name").unwrap();
    fs::hard_link(inside.join("mine.toml"), inside.join("twin.txt")).unwrap();
    symlink(".ringfence", inside.join("store")).unwrap();
    symlink("../.ringfence/journal.db", inside.join("sub/journal")).unwrap();
    symlink("ringfence.toml", inside.join("pointer")).unwrap();
    let kept = Kept {
        hidden: vec![inside.join(".ringfence")],
        sealed: vec![inside.join("mine.toml"), inside.join("ringfence.lock")],
    };
    let host = Host::keeping(&kept).unwrap();
    (folders, host)
}

fn act(act: &str, path: &str, to: &str) -> Value {
    json!({ "act": act, "path": path, "to": to, "text": "new" })
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mut names: Vec<_> = entries.map(|e| e.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn check(scene: &Scene, arguments: Value, said: &str) {
    let ended = scene.run("file", arguments.clone()).await;
    assert_eq!(text(&ended), said, "{arguments}");
    let [denial] = &ended.denials[..] else { panic!("{arguments}: {ended:?}") };
    assert_eq!(denial.code, DenialCode::Protected, "{arguments}: {denial}");
}

/// F12: compared by handle: whatever leads to the store's folder finds nothing there, and what is
/// only spelled like it is a folder like any other.
#[tokio::test]
async fn f12_no_spelling_leads_to_the_store() {
    let (folders, host) = workspace();
    let scene =
        Scene::new(Effect::Unsafe).root("workspace", &folders.workspace(), "write").with_host(host);
    let ended = scene.run("file", act("list", ".", "")).await;
    assert!(!text(&ended).split(',').any(|name| name == ".ringfence"), "{ended:?}");
    let below = [
        ".ringfence/journal.db",
        "./.ringfence/./journal.db",
        "sub/../.ringfence/journal.db",
        ".ringfence/compiled/../journal.db",
        "store/journal.db",
        "sub/journal",
    ];
    for path in below {
        for looking in ["read", "stat", "hash"] {
            check(&scene, act(looking, path, ""), "error: no-entry").await;
        }
        for changing in ["append", "truncate", "set-size", "set-times"] {
            check(&scene, act(changing, path, ""), "error: not-permitted").await;
        }
    }
    for path in [".ringfence", ".ringfence/", ".ringfence/.", "store/", "store/.", "store"] {
        for looking in ["list", "stat", "hash"] {
            check(&scene, act(looking, path, ""), "error: no-entry").await;
        }
    }
    for (changing, path, to) in [
        ("write", ".ringfence/new", ""),
        ("write", "store/new", ""),
        ("make-folder", ".ringfence/new", ""),
        ("make-folder", ".ringfence", ""),
        ("remove-folder", ".ringfence/compiled", ""),
        ("remove-file", "store/journal.db", ""),
        ("symbolic-link", ".ringfence/new", "a.txt"),
        ("rename", ".ringfence", "mine"),
        ("rename", ".ringfence/journal.db", "mine"),
        ("rename", "sub", ".ringfence"),
        ("rename", "a.txt", ".ringfence/journal.db"),
        ("link", ".ringfence/journal.db", "mine"),
        ("link", "a.txt", "store/mine"),
    ] {
        check(&scene, act(changing, path, to), "error: not-permitted").await;
    }
    let store = folders.workspace().join(".ringfence");
    assert_eq!(names(&store), ["compiled", "journal.db"]);
    assert_eq!(fs::read_to_string(store.join("journal.db")).unwrap(), "journal");
    // Spelled in another way it is another folder, and the guest's.
    for twin in [".Ringfence", ".ringfence\u{301}", ".ring\u{200d}fence"] {
        assert_eq!(text(&scene.run("file", act("make-folder", twin, "")).await), "done");
        let path = format!("{twin}/a.txt");
        assert_eq!(text(&scene.run("file", act("write", &path, "")).await), "wrote 3");
        assert_eq!(text(&scene.run("file", act("read", &path, "")).await), "new");
    }
}

/// No tool widens a grant: the files that say what tools may do are read and nothing else, under
/// whatever name they are met.
#[tokio::test]
async fn f12_the_operators_files_are_read_and_not_changed() {
    let (folders, host) = workspace();
    let scene =
        Scene::new(Effect::Unsafe).root("workspace", &folders.workspace(), "write").with_host(host);
    for (path, said) in [
        ("ringfence.toml", "grants"),
        ("ringfence.lock", "lock"),
        ("pointer", "grants"),
        ("mine.toml", "grants by another name"),
    ] {
        let ended = scene.run("file", act("read", path, "")).await;
        assert_eq!((text(&ended).as_str(), ended.denials.len()), (said, 0), "{path}");
    }
    for path in ["ringfence.toml", "./ringfence.lock", "sub/../ringfence.toml", "pointer"] {
        for changing in ["write", "append", "truncate", "set-size", "set-times"] {
            check(&scene, act(changing, path, ""), "error: not-permitted").await;
        }
    }
    for path in ["mine.toml", "twin.txt"] {
        for changing in ["write", "append", "truncate", "set-size"] {
            check(&scene, act(changing, path, ""), "error: not-permitted").await;
        }
    }
    for (changing, path, to) in [
        ("remove-file", "ringfence.toml", ""),
        ("remove-file", "mine.toml", ""),
        ("rename", "ringfence.toml", "gone"),
        ("rename", "mine.toml", "gone"),
        ("rename", "a.txt", "ringfence.toml"),
        ("rename", "a.txt", "ringfence.lock"),
        ("rename", "a.txt", "mine.toml"),
        ("link", "ringfence.toml", "other.txt"),
        ("link", "a.txt", "sub/ringfence.toml"),
        // Where none is yet, none is made: a program that is started there would believe it.
        ("write", "sub/ringfence.toml", ""),
        ("create", "sub/Ringfence.Lock", ""),
        ("create", "sub/ringfence.loc\u{212a}", ""),
        ("make-folder", "sub/ringfence.toml", ""),
        ("symbolic-link", "sub/ringfence.toml", "a.txt"),
    ] {
        check(&scene, act(changing, path, to), "error: not-permitted").await;
    }
    // A link that leads to a name which must not be made does not help.
    assert_eq!(
        text(&scene.run("file", act("symbolic-link", "way", "sub/ringfence.toml")).await),
        "done"
    );
    check(&scene, act("write", "way", ""), "error: not-permitted").await;
    let inside = folders.workspace();
    assert_eq!(fs::read_to_string(inside.join("ringfence.toml")).unwrap(), "grants");
    assert_eq!(fs::read_to_string(inside.join("twin.txt")).unwrap(), "grants by another name");
    assert!(!inside.join("sub/ringfence.toml").exists());
    // What is named nearly so is the guest's.
    for (changing, path) in [("write", "sub/ringfence.toml.bak"), ("write", "tool.toml")] {
        assert_eq!(text(&scene.run("file", act(changing, path, "")).await), "wrote 3", "{path}");
    }
}

/// What a path of the host leads through stays where it is: or the host would find there, when it
/// looks next, what a guest put in its place.
#[tokio::test]
async fn f14_no_guest_moves_what_the_hosts_paths_lead_through() {
    let folders = Folders::new();
    let inside = folders.workspace();
    fs::create_dir_all(inside.join("project/state")).unwrap();
    fs::create_dir(inside.join("data")).unwrap();
    symlink("project", inside.join("way")).unwrap();
    let kept = Kept { hidden: vec![inside.join("way/state")], sealed: vec![] };
    let scene = Scene::new(Effect::Unsafe)
        .root("workspace", &inside, "write")
        .root("data", &inside.join("data"), "read")
        .with_host(Host::keeping(&kept).unwrap());
    for (changing, path, to) in [
        ("rename", "project", "moved"),
        ("rename", "project/", "moved"),
        ("rename", "way", "moved"),
        ("remove-file", "way", ""),
        ("rename", "a.txt", "way"),
        // Another root of the same tool is opened again by its path, too.
        ("rename", "data", "moved"),
        ("remove-folder", "data", ""),
    ] {
        check(&scene, act(changing, path, to), "error: not-permitted").await;
    }
    // A root that is not there yet is not made by a tool either: what is there when the host looks
    // next would be the root.
    let claim = ringfence_capability::fs::Claim {
        tenant: &"local".parse().unwrap(),
        path: &inside.join("later"),
        access: ringfence_event::Access::Read,
        quota: ringfence_policy::Quota::default(),
    };
    assert!(scene.host().register(&claim).is_err());
    check(&scene, act("symbolic-link", "later", "../outside"), "error: not-permitted").await;
    check(&scene, act("make-folder", "later", ""), "error: not-permitted").await;
    for (changing, path, to) in
        [("rename", "sub", "moved"), ("make-folder", "data2", ""), ("symbolic-link", "l", "sub")]
    {
        assert_eq!(text(&scene.run("file", act(changing, path, to)).await), "done", "{path}");
    }
}
