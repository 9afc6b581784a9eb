//! Configuration: the values that are both asked and set, and nothing else of the operator's.

use ringfence_event::{Asked, DenialCode, Effect, FileOwner};
use ringfence_sandbox::Ended;
use ringfence_tests::{Scene, text};
use serde_json::json;

fn scene(effect: Effect) -> Scene {
    Scene::new(effect).needs("[needs.config]\nkeys = [\"base-url\", \"region\", \"unset\"]").grants(
        "config.base-url = \"https://x\"\nconfig.region = \"\"\nconfig.not-asked = \"hidden\"",
    )
}

async fn get(scene: &Scene, key: &str) -> Ended {
    scene.run("shut", json!({ "what": "config", "name": key })).await
}

async fn all(scene: &Scene) -> Ended {
    scene.run("shut", json!({ "what": "all-config" })).await
}

#[tokio::test]
async fn a_value_is_open_as_far_as_need_grant_and_effect_go() {
    let (author, operator) = (FileOwner::ToolAuthor, FileOwner::Operator);
    for effect in [Effect::Read, Effect::Idempotent, Effect::Unsafe] {
        let scene = scene(effect);
        let ended = get(&scene, "base-url").await;
        assert_eq!((text(&ended).as_str(), ended.denials.len()), ("https://x", 0));
        assert_eq!(ended.usage.bytes_read, "https://x".len() as u64);
        assert_eq!(text(&get(&scene, "region").await), "");
        let ended = all(&scene).await;
        assert_eq!((text(&ended).as_str(), ended.denials.len()), ("base-url=https://x,region=", 0));
    }
    // What is missing is denied, never absent, and each line that is missing is named.
    for (scene, key, code, owners) in [
        (scene(Effect::Read), "unset", DenialCode::NotGranted, vec![operator]),
        (scene(Effect::Read), "not-asked", DenialCode::NotNeeded, vec![author]),
        (scene(Effect::Read), "other", DenialCode::NotNeeded, vec![author, operator]),
        (scene(Effect::Read), "", DenialCode::NeverOpen, vec![]),
        (scene(Effect::Read), "*", DenialCode::NeverOpen, vec![]),
        (scene(Effect::Pure), "base-url", DenialCode::EffectForbids, vec![author]),
        (Scene::new(Effect::Unsafe), "token", DenialCode::NotNeeded, vec![author, operator]),
    ] {
        let ended = get(&scene, key).await;
        let said = text(&ended);
        assert!(said.starts_with("error: the host denied"), "{key}: {said}");
        let [denial] = &ended.denials[..] else { panic!("{key}: {ended:?}") };
        assert_eq!((denial.code, &denial.asked), (code, &Asked::Config { key: key.to_owned() }));
        let found: Vec<_> = denial.remedies.iter().map(|remedy| remedy.owner).collect();
        assert_eq!(found, owners, "{denial}");
        assert!(!format!("{ended:?}").contains("hidden"));
    }
}

#[tokio::test]
async fn all_values_are_those_that_are_open_or_none() {
    for (scene, code) in [
        (Scene::new(Effect::Unsafe), DenialCode::NotNeeded),
        (scene(Effect::Pure), DenialCode::EffectForbids),
        (
            Scene::new(Effect::Read).needs("[needs.config]\nkeys = [\"unset\"]"),
            DenialCode::NotGranted,
        ),
    ] {
        let ended = all(&scene).await;
        assert!(text(&ended).starts_with("error: the host denied"), "{ended:?}");
        let [denial] = &ended.denials[..] else { panic!("{ended:?}") };
        assert_eq!((denial.code, &denial.asked), (code, &Asked::Config { key: "*".to_owned() }));
    }
}
