//! `files` writes into what is there, and leaves nothing beside it.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

use ringfence_event::{Effect, Limit, Outcome};
use ringfence_tests::text;
use serde_json::json;

use crate::scene;

#[tokio::test]
async fn a_file_that_is_written_keeps_its_mode_and_its_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.sh");
    fs::write(&path, "#!/bin/sh\necho one\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    fs::hard_link(&path, folder.path().join("other")).unwrap();
    let before = fs::metadata(&path).unwrap();
    let scene = scene("files", Effect::Unsafe).root("workspace", folder.path(), "write");
    for (function, arguments, expected) in [
        ("edit", json!({ "path": "run.sh", "old": "one", "new": "two" }), "#!/bin/sh\necho two\n"),
        ("write", json!({ "path": "run.sh", "text": "short" }), "short"),
        ("write", json!({ "path": "new/deep.txt", "text": "new" }), "short"),
    ] {
        let ended = scene.run(function, arguments).await;
        assert!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{function}: {ended:?}");
        assert_eq!(fs::read_to_string(folder.path().join("other")).unwrap(), expected);
        let after = fs::metadata(&path).unwrap();
        assert_eq!((after.ino(), after.mode()), (before.ino(), before.mode()), "{function}");
    }
    assert_eq!(fs::read_to_string(folder.path().join("new/deep.txt")).unwrap(), "new");
    let names = |path: &str| fs::read_dir(folder.path().join(path)).unwrap().count();
    assert_eq!((names("."), names("new")), (3, 1), "nothing is left beside what was written");
}

/// What the README says of a call that is stopped: wherever that is, a file that was there is never
/// gone, and a new one is whole or not there.
#[tokio::test]
async fn a_write_that_is_stopped_leaves_what_the_readme_says() {
    let long = "y".repeat(300 << 10);
    let mut stopped = 0;
    for fuel in (1..40).map(|step| format!("limits.fuel = \"{}\"", step * 100_000)) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("old"), "x".repeat(200 << 10)).unwrap();
        let scene = scene("files", Effect::Idempotent)
            .root("workspace", folder.path(), "write")
            .grants(&fuel);
        for name in ["old", "new"] {
            let ended = scene.run("write", json!({ "path": name, "text": long })).await;
            let written = fs::read_to_string(folder.path().join(name));
            if matches!(ended.outcome, Outcome::Succeeded { .. }) {
                assert_eq!(text(&ended).matches("307200 bytes").count(), 1);
                assert_eq!(written.unwrap(), long);
                continue;
            }
            stopped += 1;
            assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Fuel });
            match (name, written) {
                ("old", Ok(written)) => {
                    assert!(written.len() >= 200 << 10, "{fuel}");
                    assert!(written.trim_start_matches('y').chars().all(|letter| letter == 'x'));
                }
                ("new", Err(_)) => {}
                (name, written) => panic!("{fuel} {name}: {}", written.is_ok()),
            }
        }
        for entry in fs::read_dir(folder.path()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let is_named = ["old", "new"].contains(&name.as_str());
            assert!(is_named || name.starts_with(".ringfence-"), "{name}");
        }
    }
    assert!(stopped > 10, "{stopped}");
}
