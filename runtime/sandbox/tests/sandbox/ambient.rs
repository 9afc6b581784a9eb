//! Clock and random bytes: what a call has without asking.

use ringfence_event::{Effect, Outcome};
use ringfence_tests::{START, Scene};
use serde_json::{Value, json};

async fn seen(effect: Effect) -> Value {
    let ended = Scene::new(effect).run("ambient", json!({})).await;
    assert!(ended.denials.is_empty(), "{ended:?}");
    match ended.outcome {
        Outcome::Succeeded { output } => output.structured.unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn any_other_call_sees_the_time_and_draws_from_its_seed_all_the_same() {
    let (pure, read) = (seen(Effect::Pure).await, seen(Effect::Read).await);
    assert_eq!(pure["random"], read["random"]);
    assert_eq!(pure["seed"], read["seed"]);
    assert!(read["wall_ms"][0].as_u64() > Some(START.0), "{read}");
    assert!(read["monotonic_ns"][1].as_u64() > read["monotonic_ns"][0].as_u64(), "{read}");
}
