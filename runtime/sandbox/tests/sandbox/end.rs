//! How a guest can end badly by itself.

use ringfence_event::{Effect, Outcome};
use ringfence_tests::Scene;
use serde_json::json;

#[tokio::test]
async fn a_guest_that_fails_is_trapped_with_its_last_words() {
    let scene = Scene::new(Effect::Read);
    for (how, count, words) in [
        ("panic", 0, &["panicked", "the probe panics as it was told"][..]),
        ("abort", 0, &["unreachable"]),
        ("exit", 3, &["exited with code", "its last words: the probe leaves"]),
        // Leaving is no way to return from a call, whatever the code.
        ("exit-well", 0, &["exited with code 0"]),
    ] {
        let ended = scene.run("hold", json!({ "how": how, "count": count })).await;
        let Outcome::Trapped { message } = &ended.outcome else { panic!("{how}: {ended:?}") };
        for word in words {
            assert!(message.contains(word), "{how}: {message}");
        }
        assert!(ended.usage.fuel > 0 && ended.usage.memory_peak_bytes > 0, "{how}: {ended:?}");
        scene.works().await;
    }
}
