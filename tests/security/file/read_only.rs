//! A root that is open for reading: every way to change it is tried, and it is as before.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use ringfence_event::{Asked, DenialCode, Effect, FileOwner};
use ringfence_tests::{Folders, Scene, text};
use serde_json::{Value, json};

/// Every act that changes something, in an order in which all of them work where that is granted.
const CHANGES: &[(&str, &str, &str)] = &[
    ("write", "new.txt", ""),
    ("write", "a.txt", ""),
    ("append", "a.txt", ""),
    ("write-stream", "a.txt", ""),
    ("create", "created.txt", ""),
    ("set-size", "a.txt", ""),
    ("truncate", "a.txt", ""),
    ("set-times", "a.txt", ""),
    ("set-times", "sub", ""),
    ("make-folder", "folder", ""),
    ("rename", "folder", "moved"),
    ("remove-folder", "moved", ""),
    ("link", "a.txt", "second.txt"),
    ("symbolic-link", "pointer", "a.txt"),
    ("rename", "second.txt", "third.txt"),
    ("rename", "new.txt", "sub/new.txt"),
    ("remove-file", "third.txt", ""),
    ("remove-file", "pointer", ""),
];

fn arguments((act, path, to): (&str, &str, &str)) -> Value {
    json!({ "act": act, "path": path, "to": to, "text": "text" })
}

/// Names, bytes and times of everything in a folder.
fn state(folder: &Path) -> BTreeMap<PathBuf, (Option<Vec<u8>>, SystemTime, [i64; 2])> {
    let mut state = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                folders.push(entry.path());
            }
            let bytes = metadata.is_file().then(|| fs::read(entry.path()).unwrap());
            let changed = [metadata.ctime(), metadata.ctime_nsec()];
            state.insert(entry.path(), (bytes, metadata.modified().unwrap(), changed));
        }
    }
    state
}

/// F6: whatever is tried, nothing changes, and each try is a denial that says what would allow it.
#[tokio::test]
async fn f6_nothing_changes_what_is_open_for_reading() {
    let folders = Folders::new();
    let before = state(&folders.workspace());
    // Granted for reading; granted for writing to a function that only reads; needed for reading.
    let workspace = folders.workspace();
    let needs_reading =
        Scene::new(Effect::Unsafe).needs("[needs.fs.workspace]\naccess = \"read\"").grants(
            &format!("fs.workspace = {{ path = \"{}\", access = \"write\" }}", workspace.display()),
        );
    for (scene, code, owner, allow) in [
        (
            Scene::new(Effect::Unsafe).root("workspace", &workspace, "read"),
            DenialCode::NotGranted,
            FileOwner::Operator,
            "access = \"write\"",
        ),
        (
            Scene::new(Effect::Read).root("workspace", &workspace, "write"),
            DenialCode::EffectForbids,
            FileOwner::ToolAuthor,
            "effect = ",
        ),
        (needs_reading, DenialCode::NotNeeded, FileOwner::ToolAuthor, "access = \"write\""),
    ] {
        for change in CHANGES.iter().copied().chain([("set-times-open", "a.txt", "")]) {
            let ended = scene.run("file", arguments(change)).await;
            let said = text(&ended);
            // Writing a file that is not there is refused before anybody looks for it.
            assert_eq!(said, "error: read-only", "{change:?}");
            let [denial] = &ended.denials[..] else { panic!("{change:?}: {ended:?}") };
            assert_eq!(denial.code, code, "{change:?}: {denial}");
            let Asked::File { path, .. } = &denial.asked else { panic!("{denial:?}") };
            assert!(path.starts_with("/workspace/"), "{denial}");
            let named = denial
                .remedies
                .iter()
                .any(|remedy| remedy.owner == owner && remedy.allow.contains(allow));
            assert!(named, "{change:?}: {denial}");
            assert_eq!(state(&workspace), before, "{change:?}");
        }
        for (act, path, said) in [
            ("read", "a.txt", "hello"),
            ("list", "sub", "b.txt"),
            ("read-link", "link", "a.txt"),
            ("sync", "a.txt", "done"),
        ] {
            let ended = scene.file(act, path).await;
            assert_eq!((text(&ended).as_str(), ended.denials.len()), (said, 0), "{act} {path}");
        }
    }
}

#[tokio::test]
async fn all_of_it_works_where_it_is_granted() {
    let folders = Folders::new();
    let scene = Scene::new(Effect::Idempotent).root("workspace", &folders.workspace(), "write");
    for change in CHANGES {
        let ended = scene.run("file", arguments(*change)).await;
        assert!(["done", "wrote 4"].contains(&text(&ended).as_str()), "{change:?}: {ended:?}");
        assert!(ended.denials.is_empty(), "{change:?}: {ended:?}");
    }
    let inside = folders.workspace();
    assert_eq!(fs::read_to_string(inside.join("sub/new.txt")).unwrap(), "text");
    assert_eq!(fs::read_to_string(inside.join("a.txt")).unwrap(), "");
    assert!(!inside.join("third.txt").exists() && !inside.join("new.txt").exists());
    // A handle for reading sets no times, however far its root is open.
    let ended = scene.file("set-times-open", "a.txt").await;
    assert_eq!(text(&ended), "error: bad-descriptor");
}

/// F6: who may only look does not change the time of it. The same reads leave their trace where the
/// root is for writing, unless the file system keeps none at all.
#[tokio::test]
async fn f6_reading_leaves_no_trace() {
    let folders = Folders::new();
    let inside = folders.workspace();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let age = |path: &Path| {
        let times = fs::FileTimes::new().set_accessed(long_ago);
        fs::File::open(path).unwrap().set_times(times).unwrap();
    };
    let kept = |path: &Path| path.symlink_metadata().unwrap().accessed().unwrap() == long_ago;
    let (file, folder) = (inside.join("a.txt"), inside.join("sub"));
    age(&file);
    fs::read(&file).unwrap();
    let keeps_none = kept(&file);
    for (access, traceless) in [("read", true), ("write", keeps_none)] {
        let scene = Scene::new(Effect::Unsafe).root("workspace", &inside, access);
        age(&file);
        age(&folder);
        for (act, path, said) in [
            ("read", "a.txt", "hello"),
            ("list", "sub", "b.txt"),
            ("stat", "a.txt", "DescriptorType::RegularFile 5"),
        ] {
            assert_eq!(text(&scene.file(act, path).await), said);
        }
        assert_eq!((kept(&file), kept(&folder)), (traceless, traceless), "{access}");
    }
}
