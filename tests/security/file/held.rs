//! What a hold rule shuts by its path, in a call that nobody said yes to: whatever leads there is
//! denied by the rule, and the same is open to a call that somebody said yes to.

use std::{
    fs,
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
};

use ringfence_event::{DenialCode, Effect, Outcome};
use ringfence_tests::{Folders, Scene, text};
use serde_json::{Value, json};

/// A folder whose part is shut, with links to it and in it.
fn folders() -> Folders {
    let folders = Folders::new();
    let top = folders.workspace();
    fs::create_dir_all(top.join("keys/deep")).unwrap();
    fs::write(top.join("keys/deep/key"), "key").unwrap();
    for (target, name) in [
        ("keys", "alias"),
        ("keys/deep/key", "straight"),
        ("alias/deep", "twice"),
        ("../keys/deep/key", "sub/round"),
        ("../../a.txt", "keys/deep/out"),
        ("keys/gone", "dangling"),
        ("sub", "other"),
    ] {
        symlink(target, top.join(name)).unwrap();
    }
    folders
}

fn scene(folders: &Folders) -> Scene {
    Scene::new(Effect::Unsafe)
        .root("workspace", &folders.workspace(), "write")
        .untold()
        .tenant_lines("[[tenant.local.hold]]\npath = \"/workspace/keys/**\"")
}

fn act(act: &str, path: &str, to: &str) -> Value {
    json!({ "act": act, "path": path, "to": to, "text": "new text", "to_root": "/workspace" })
}

/// F16: each way to a shut file or folder, through each interface. The control is the same call once
/// a person said yes to it.
#[tokio::test]
async fn f16_no_way_leads_to_what_a_rule_shuts() {
    let files = [
        "keys/deep/key",
        "./keys//deep/./key",
        "sub/../keys/deep/key",
        "keys/deep/../deep/key",
        "alias/deep/key",
        "twice/key",
        "other/../alias/deep/key",
    ];
    let mut cases = vec![];
    for path in files {
        for name in ["read", "read-no-follow", "stat", "hash", "append", "truncate", "set-times"] {
            cases.push((name, path, ""));
        }
        cases.push(("write", path, ""));
        cases.push(("remove-file", path, ""));
        cases.push(("link", path, "sub/stolen"));
        cases.push(("rename", path, "sub/stolen"));
    }
    for path in ["straight", "sub/round", "other/round"] {
        cases.extend(["read", "stat", "hash", "append", "set-times"].map(|name| (name, path, "")));
    }
    for path in ["keys", "alias/.", "alias/", "keys/deep", "twice/", "sub/../keys"] {
        cases.extend([("list", path, ""), ("stat", path, "")]);
    }
    cases.extend([
        ("rename", "keys", "sub/keys"),
        ("rename", "a.txt", "keys/a.txt"),
        ("rename", "sub", "alias/sub"),
        ("link", "a.txt", "alias/a.txt"),
        ("make-folder", "keys/new", ""),
        ("make-folder", "twice/new", ""),
        ("symbolic-link", "alias/new", "a.txt"),
        ("read-link", "alias/deep/out", ""),
        ("write", "twice/new", ""),
    ]);
    for (name, path, to) in cases {
        let folders = folders();
        let ended = scene(&folders).run("file", act(name, path, to)).await;
        assert_eq!(text(&ended), "error: not-permitted", "{name} {path} {to}: {ended:?}");
        let [denial] = &ended.denials[..] else { panic!("{name} {path} {to}: {ended:?}") };
        assert_eq!(denial.code, DenialCode::NeedsApproval, "{name} {path} {to}: {denial}");
        let [rule] = &denial.remedies[..] else { panic!("{denial:?}") };
        assert!(rule.line.is_some() && rule.allow.contains("/workspace/keys/**"), "{denial}");
        assert_eq!(fs::read_to_string(folders.workspace().join("keys/deep/key")).unwrap(), "key");
        assert!(!folders.workspace().join("sub/stolen").exists());

        let ended = scene(&folders).approved().run("file", act(name, path, to)).await;
        assert!(ended.denials.is_empty(), "{name} {path} {to}: {ended:?}");
        let Outcome::Succeeded { .. } = ended.outcome else { panic!("{name} {path}: {ended:?}") };
        assert!(!text(&ended).contains("not-permitted"), "{name} {path} {to}: {ended:?}");
    }
}

/// F16: what is not there is denied like what is, and what is not shut stays open beside it,
/// through links too.
#[tokio::test]
async fn f16_a_rule_shuts_what_it_names_and_tells_nothing_of_it() {
    let folders = folders();
    let scene = scene(&folders);
    for path in ["keys/gone", "keys/gone/x", "alias/gone/x", "dangling", "twice/gone", "dangling/x"]
    {
        let ended = scene.file("read", path).await;
        assert_eq!(text(&ended), "error: not-permitted", "{path}");
        assert_eq!(ended.denials[0].code, DenialCode::NeedsApproval, "{path}");
    }
    for (name, path, said) in [
        ("read", "a.txt", "hello"),
        ("read", "link", "hello"),
        ("read", "other/b.txt", "below"),
        ("read", "sub/../other/../a.txt", "hello"),
        ("read-link", "alias", "keys"),
        ("read", "gone", "error: no-entry"),
        ("list", "sub", "b.txt"),
    ] {
        let ended = scene.file(name, path).await;
        assert!(text(&ended).contains(said), "{name} {path}: {ended:?}");
        assert!(ended.denials.is_empty(), "{name} {path}: {ended:?}");
    }
    // A listing of the folder around it shows that it is there, and no more.
    assert!(text(&scene.file("list", ".").await).contains("keys"));
    let ended = scene.file("read", "../outside/secret.txt").await;
    assert_eq!(ended.denials[0].code, DenialCode::OutsideRoot, "{ended:?}");
}

/// F16: a link that is turned to and fro between what is open and what is shut, while it is
/// followed: what is read is what was decided on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f16_a_link_that_turns_while_it_is_followed_opens_nothing() {
    let folders = folders();
    let top = folders.workspace();
    fs::create_dir_all(top.join("open/deep")).unwrap();
    fs::write(top.join("open/deep/key"), "open").unwrap();
    let scene = scene(&folders);
    let (stop, turns) = (AtomicBool::new(false), AtomicU32::new(0));
    let (mut read, mut denied) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for target in ["open", "keys"].iter().cycle() {
                if stop.load(Relaxed) {
                    break;
                }
                symlink(target, top.join("next")).unwrap();
                fs::rename(top.join("next"), top.join("turning")).unwrap();
                turns.fetch_add(1, Relaxed);
            }
        });
        tokio::task::block_in_place(|| {
            let runtime = tokio::runtime::Handle::current();
            for _ in 0..2_000 {
                let ended = runtime.block_on(scene.file("read", "turning/deep/key"));
                match text(&ended).as_str() {
                    "open" => read += 1,
                    "error: not-permitted" => denied += 1,
                    "error: no-entry" => {}
                    other => panic!("{other}"),
                }
            }
        });
        stop.store(true, Relaxed);
    });
    assert!(turns.load(Relaxed) > 10 && read + denied > 0, "{turns:?} {read} {denied}");
}
