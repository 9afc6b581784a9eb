//! Clock, random bytes, environment: what a call has without asking.

use ringfence_event::{Effect, Outcome};
use serde_json::{Value, json};

use crate::support::{START, Scene};

async fn seen(effect: Effect) -> Value {
    let ended = Scene::new(effect).run("ambient", json!({})).await;
    assert!(ended.denials.is_empty(), "{ended:?}");
    match ended.outcome {
        Outcome::Succeeded { output } => output.structured.unwrap(),
        other => panic!("{other:?}"),
    }
}

/// C9: the same call sees the same clock and the same random bytes, whenever it is made.
#[tokio::test]
async fn c9_a_pure_call_sees_the_same_world_again() {
    let (first, second) = (seen(Effect::Pure).await, seen(Effect::Pure).await);
    assert_eq!(first, second);
    assert_eq!(first["wall_ms"], json!([START.0, START.0]));
    assert_eq!(first["monotonic_ns"], json!([0, 0]));
    let random = first["random"].as_array().unwrap();
    assert_ne!(random[0], random[1]);
    assert_ne!(random[0], first["insecure"]);
}

#[tokio::test]
async fn any_other_call_sees_the_time_and_draws_from_its_seed_all_the_same() {
    let (pure, read) = (seen(Effect::Pure).await, seen(Effect::Read).await);
    assert_eq!(pure["random"], read["random"]);
    assert_eq!(pure["seed"], read["seed"]);
    assert!(read["wall_ms"][0].as_u64() > Some(START.0), "{read}");
    assert!(read["monotonic_ns"][1].as_u64() > read["monotonic_ns"][0].as_u64(), "{read}");
}

/// S1: nothing of the host's own process is in there.
#[tokio::test]
async fn s1_arguments_and_environment_are_empty() {
    let seen = seen(Effect::Unsafe).await;
    assert_eq!((&seen["arguments"], &seen["environment"]), (&json!([]), &json!([])));
    assert_eq!(seen["key"], "key");
}
