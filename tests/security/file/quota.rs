//! A full root: what does not fit is stopped before it lands there, and the host goes on.

use std::{fs, path::Path};

use ringfence_event::{DenialCode, Effect};
use ringfence_tests::{Folders, Scene, text};
use serde_json::{Value, json};

fn scene(folder: &Path, root: &str, tenant: &str) -> Scene {
    Scene::new(Effect::Unsafe)
        .needs("[needs.fs.workspace]\naccess = \"write\"")
        .tenant_lines(tenant)
        .grants(&format!(
            "fs.workspace = {{ path = \"{}\", access = \"write\"{root} }}",
            folder.display()
        ))
}

/// F10: a terabyte that is not there, and what comes in through every way that adds something.
#[tokio::test]
async fn f10_what_does_not_fit_is_stopped_before_it_lands() {
    for (root, tenant, line) in [
        (", bytes = \"100B\"", "", "bytes"),
        ("", "quota.bytes = \"100B\"", "[tenant.local.quota]"),
    ] {
        let folders = Folders::new();
        let inside = folders.workspace();
        for name in ["up", "absolute", "secret", "link", "loop", "sub/b.txt"] {
            fs::remove_file(inside.join(name)).unwrap();
        }
        let scene = scene(&inside, root, tenant);
        let many = "x".repeat(96);
        for arguments in [
            json!({ "act": "set-size", "path": "a.txt", "size": 1_u64 << 40 }),
            json!({ "act": "set-size", "path": "a.txt", "size": 101 }),
            json!({ "act": "append", "path": "a.txt", "text": many }),
            json!({ "act": "write", "path": "new.txt", "text": many }),
            json!({ "act": "write-stream", "path": "a.txt", "size": 96, "text": "12345" }),
            json!({ "act": "write-stream", "path": "a.txt", "size": u64::MAX / 4, "text": "1" }),
            json!({ "act": "symbolic-link", "path": "new", "to": many }),
        ] {
            let ended = scene.run("file", arguments.clone()).await;
            assert_eq!(text(&ended), "error: quota", "{arguments}");
            let [denial] = &ended.denials[..] else { panic!("{arguments}: {ended:?}") };
            assert_eq!(denial.code, DenialCode::QuotaFull, "{arguments}");
            assert!(denial.to_string().contains(line), "{denial}");
        }
        assert_eq!(fs::read_to_string(inside.join("a.txt")).unwrap(), "hello");
        assert!(inside.join("new").symlink_metadata().is_err());
        // What fits is done, and what is removed makes room.
        for (arguments, said) in [
            (json!({ "act": "set-size", "path": "a.txt", "size": 100 }), "done"),
            (json!({ "act": "append", "path": "a.txt", "text": "x" }), "error: quota"),
            (json!({ "act": "truncate", "path": "a.txt" }), "done"),
            (json!({ "act": "write", "path": "a.txt", "text": many }), "wrote 96"),
            (json!({ "act": "write", "path": "new.txt", "text": "12345" }), "error: quota"),
            (json!({ "act": "remove-file", "path": "a.txt" }), "done"),
            (json!({ "act": "write", "path": "new.txt", "text": "12345" }), "wrote 5"),
        ] {
            assert_eq!(text(&scene.run("file", arguments.clone()).await), said, "{arguments}");
        }
        let held = scene.host().held(&"local".parse().unwrap(), &inside).unwrap();
        assert_eq!(held.bytes, 5);
    }
}

/// F10: inodes are as scarce as bytes.
#[tokio::test]
async fn f10_files_without_end_are_stopped() {
    for (root, tenant) in [(", files = 10", ""), ("", "quota.files = 10")] {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("many")).unwrap();
        let scene = scene(folder.path(), root, tenant);
        let fill = json!({ "act": "fill", "path": "many", "size": 1_000_000 });
        let ended = scene.run("file", fill).await;
        assert_eq!(text(&ended), "9, then quota", "{ended:?}");
        for act in ["make-folder", "create"] {
            assert_eq!(text(&scene.file(act, "one-more").await), "error: quota", "{act}");
        }
        let link = |act: &str, path: &str, to: &str| json!({ "act": act, "path": path, "to": to });
        for arguments in
            [link("link", "many/1", "one-more"), link("symbolic-link", "one-more", "many/1")]
        {
            assert_eq!(text(&scene.run("file", arguments).await), "error: quota");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(text(&scene.run("file", link("rename", "many/1", "one-more")).await), "done");
        assert_eq!(text(&scene.file("remove-file", "one-more").await), "done");
        assert_eq!(text(&scene.file("create", "one-more").await), "done");
    }
}

/// F10: a file that lost its name while it was open takes room until it is closed.
#[tokio::test]
async fn f10_a_removed_file_that_is_open_still_takes_room() {
    let folder = tempfile::tempdir().unwrap();
    let scene = scene(folder.path(), ", bytes = \"10B\"", "");
    let done =
        scene.run("file", json!({ "act": "orphan", "path": "a", "text": "1234567890" })).await;
    assert_eq!(text(&done), "quota, then done");
}

/// F9: handles are the process's, and no tool gets so many that nothing is left for others.
#[tokio::test]
async fn f9_open_files_are_shared_out() {
    let folders = Folders::new();
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let hoard = |path: &str, size: u64| json!({ "act": "hoard", "path": path, "size": size });
    let handles =
        |quota: &str| scene(&folders.workspace(), "", quota).grants("limits.handles = 100000");
    let scene = handles("quota.handles = 20");
    scene.works().await;
    let before = open();
    for path in ["a.txt", "sub"] {
        let ended = scene.run("file", hoard(path, 100)).await;
        assert_eq!(text(&ended), "20, then quota", "{ended:?}");
        let [denial] = &ended.denials[..] else { panic!("{ended:?}") };
        assert_eq!(denial.code, DenialCode::QuotaFull, "{denial}");
        assert!(denial.to_string().contains("handles"), "{denial}");
        assert_eq!(text(&scene.run("file", hoard(path, 20)).await), "20");
    }
    // What nobody bounded is bounded all the same: something is left to open for everybody else.
    let scene = handles("");
    let ended = scene.run("file", hoard("a.txt", 99_000)).await;
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let held: u64 = text(&ended).split(',').next().unwrap().parse().unwrap();
    assert!(most.is_none_or(|most| held <= most / 4), "{held} of {most:?}");
    assert_eq!(ended.denials[0].code, DenialCode::QuotaFull, "{ended:?}");
    scene.works().await;
    // Other tests open files beside this one.
    assert!(open() < before + 50, "{before} before, {} after", open());
}

/// F11: a folder of a hundred thousand files is read as it is asked for, also while it is emptied.
#[tokio::test]
async fn f11_a_large_folder_is_streamed() {
    let folder = tempfile::tempdir().unwrap();
    let many = folder.path().join("many");
    fs::create_dir(&many).unwrap();
    (0..100_000).for_each(|n| drop(fs::File::create(many.join(n.to_string())).unwrap()));
    let scene = scene(folder.path(), "", "");
    let ended = scene.file("count", "many").await;
    assert_eq!(text(&ended), "100000");
    assert!(ended.usage.memory_peak_bytes < 4 << 20, "{:?}", ended.usage);
    let first = scene.run("file", json!({ "act": "count", "path": "many", "size": 1 })).await;
    assert_eq!(text(&first), "100000");
    let ended = scene.file("empty", "many").await;
    assert_eq!(text(&ended), "100000");
    assert_eq!(fs::read_dir(&many).unwrap().count(), 0);
    let short = scene.grants("limits.fuel = \"1M\"");
    (0..1_000).for_each(|n| drop(fs::File::create(many.join(n.to_string())).unwrap()));
    let ended = short.file("count", "many").await;
    assert_eq!(
        ended.outcome,
        ringfence_event::Outcome::LimitReached { limit: ringfence_event::Limit::Fuel },
        "each entry has its price: {ended:?}"
    );
}

/// What two calls of a tenant add at one time is counted together.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f10_calls_at_one_time_share_one_quota() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["one", "two"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    let scene = std::sync::Arc::new(scene(folder.path(), "", "quota.files = 102"));
    let fill = |path: &str| -> Value { json!({ "act": "fill", "path": path, "size": 1_000 }) };
    let tasks = ["one", "two"].map(|path| {
        let (scene, fill) = (scene.clone(), fill(path));
        tokio::spawn(async move { text(&scene.run("file", fill).await) })
    });
    let mut made = 0;
    for task in tasks {
        let said = task.await.unwrap();
        made += said.strip_suffix(", then quota").unwrap().parse::<u32>().unwrap();
    }
    assert_eq!(made, 100);
}
