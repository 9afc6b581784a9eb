//! Secrets: none of them is anywhere that a guest or a reader of its traces could look.

use ringfence_event::{Effect, Outcome};
use ringfence_tests::Scene;
use serde_json::json;

/// S1: nothing of the host's own process is in there.
#[tokio::test]
async fn s1_arguments_and_environment_are_empty() {
    let ended = Scene::new(Effect::Unsafe).run("ambient", json!({})).await;
    let Outcome::Succeeded { output } = ended.outcome else { panic!("{ended:?}") };
    let seen = output.structured.unwrap();
    assert_eq!((&seen["arguments"], &seen["environment"]), (&json!([]), &json!([])));
    assert_eq!(seen["key"], "key");
}
