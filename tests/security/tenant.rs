//! Two tenants, two users: nothing of one reaches the other.

mod library;
mod scratch;

use ringfence_event::{DenialCode, Effect, FileOwner, Scope};
use ringfence_sandbox::{Ended, Error, Refusal, Tool};
use ringfence_tests::{ENGINE, Scene, text};
use serde_json::{Value, json};

/// A user's bucket with one entry, granted for writing.
fn scene(effect: Effect) -> Scene {
    let scene = Scene::new(effect)
        .needs("[needs.memory.user]\naccess = \"write\"")
        .grants("memory.user = \"write\"");
    let (key, value) = ((Scope::User, "city".to_owned()), b"Potsdam".to_vec());
    scene.stored.0.lock().unwrap().insert(key, value);
    scene
}

async fn acts(scene: &Scene, acts: Value) -> Ended {
    scene.run("memory", json!({ "scope": "user", "acts": acts })).await
}

/// S4: a bucket that is another's answers like one that does not exist.
#[tokio::test]
async fn s4_a_bucket_is_open_as_far_as_need_grant_and_effect_go() {
    let get = json!([{ "get": "city" }]);
    let set = json!([{ "set": ["city", "Jena"] }]);
    let bare = || Scene::new(Effect::Unsafe);
    let needing =
        |access: &str| bare().needs(&format!("[needs.memory.user]\naccess = \"{access}\""));
    for (scene, acts_tried, said, code, owner) in [
        (bare(), &get, "error: the host denied", DenialCode::NotNeeded, FileOwner::ToolAuthor),
        (
            needing("write"),
            &get,
            "error: the host denied",
            DenialCode::NotGranted,
            FileOwner::Operator,
        ),
        (
            needing("write").grants("memory.user = \"read\""),
            &set,
            "error: the host denied",
            DenialCode::NotGranted,
            FileOwner::Operator,
        ),
        (
            needing("read").grants("memory.user = \"write\""),
            &set,
            "error: the host denied",
            DenialCode::NotNeeded,
            FileOwner::ToolAuthor,
        ),
        (
            scene(Effect::Read),
            &set,
            "error: the host denied",
            DenialCode::EffectForbids,
            FileOwner::ToolAuthor,
        ),
        (
            scene(Effect::Pure),
            &get,
            "error: the host denied",
            DenialCode::EffectForbids,
            FileOwner::ToolAuthor,
        ),
    ] {
        let ended = acts(&scene, acts_tried.clone()).await;
        assert!(text(&ended).starts_with(said), "{ended:?}");
        let [denial] = &ended.denials[..] else { panic!("{ended:?}") };
        assert_eq!(denial.code, code, "{denial}");
        assert!(denial.remedies.iter().any(|remedy| remedy.owner == owner), "{denial}");
        assert!(ended.writes.is_empty());
    }
    for (effect, acts_tried, said) in
        [(Effect::Read, &get, "Potsdam"), (Effect::Idempotent, &set, "set")]
    {
        let ended = acts(&scene(effect), acts_tried.clone()).await;
        assert_eq!((text(&ended).as_str(), ended.denials.len()), (said, 0));
    }
    // S4: a bucket that was not granted, and one that does not exist.
    for bucket in ["tenant", "user:bob", ""] {
        let arguments = json!({ "scope": bucket, "acts": [] });
        let ended = scene(Effect::Unsafe).run("memory", arguments).await;
        assert!(text(&ended).starts_with("error: the host denied"), "{bucket}: {ended:?}");
        assert_eq!(ended.denials.len(), 1, "{bucket}");
    }
}

/// S6: what a tool exports is nothing that another can import, under this name or beside it.
#[test]
fn s6_no_tool_reaches_another() {
    let load = |name: &str| {
        let text = format!("(component (import \"{name}\" (instance)))");
        Tool::load(&ENGINE, &wat::parse_str(&text).unwrap())
    };
    for name in [
        "ringfence:tool/tools@0.1.0",
        "ringfence:tool/tool@0.1.0",
        "ringfence:tool/agents@0.1.0",
        "ringfence:tool/calls@0.1.0",
        "wasi:cli/run@0.2.12",
        "wasi:http/incoming-handler@0.2.12",
    ] {
        match load(name) {
            Err(Error::Refused(Refusal::UnknownImports { imports })) => {
                assert_eq!(imports, [name]);
            }
            other => panic!("{name}: {:?}", other.err()),
        }
    }
    // What a tool is offered gets as far as to its own exports.
    match load("ringfence:tool/context@0.1.0") {
        Err(Error::Refused(Refusal::NoTools { .. })) => {}
        other => panic!("{:?}", other.err()),
    }
}
