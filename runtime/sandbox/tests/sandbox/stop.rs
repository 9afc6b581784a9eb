//! Calls that are stopped from outside, and many at once.

use std::sync::Arc;

use ringfence_event::{Effect, Limit, Outcome};
use ringfence_sandbox::{Cancel, Tool};
use ringfence_tests::{ENGINE, Holders, Scene, engine, guest};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_to_stop_may_come_before_the_call() {
    let tool = Tool::load(&ENGINE, &guest("spin")).unwrap();
    let spin =
        Scene::of(tool, Effect::Pure).grants("limits.time = \"20s\"\nlimits.fuel = \"100G\"");
    for before in [true, false] {
        let cancel = Cancel::new();
        if before {
            cancel.cancel();
        }
        let from_outside = cancel.clone();
        let cancelling = std::thread::spawn(move || from_outside.cancel());
        let ended = spin.run_until("spin", json!({}), &cancel, spin.notes.clone()).await;
        cancelling.join().unwrap();
        assert_eq!(ended.outcome, Outcome::Cancelled, "before: {before}");
    }
}

/// More calls than slots: the rest wait their turn, and none fails for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_calls_share_eight_slots() {
    let scene = Arc::new(Scene::new(Effect::Read));
    let calls: Vec<_> = (0..100)
        .map(|turn| {
            let scene = scene.clone();
            tokio::spawn(async move {
                let arguments = match turn % 3 {
                    0 => json!({ "how": "sleep", "count": 5 }),
                    1 => json!({ "how": "recurse", "count": 100 }),
                    _ => json!({ "how": "panic" }),
                };
                (turn, scene.run("hold", arguments).await)
            })
        })
        .collect();
    for call in calls {
        let (turn, ended) = call.await.unwrap();
        let as_told = match turn % 3 {
            2 => matches!(ended.outcome, Outcome::Trapped { .. }),
            _ => matches!(ended.outcome, Outcome::Succeeded { .. }),
        };
        assert!(as_told, "{turn}: {ended:?}");
    }
}

/// A call that waits for a slot can be cancelled and runs out of time like one that has one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_slot_is_part_of_the_call() {
    let tool = Tool::load(&engine(), &guest("probe")).unwrap();
    let hold = json!({ "how": "sleep", "count": 3_600_000 });
    let holding = Scene::of(tool.clone(), Effect::Read);
    let holders = Holders::fill(&holding).await;

    let short = Scene::of(tool, Effect::Read).grants("limits.time = \"50ms\"");
    let ended = short.run("hold", hold.clone()).await;
    assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Time });
    assert_eq!(ended.usage.fuel, 0, "it never ran: {:?}", ended.usage);
    let stopped = Cancel::new();
    stopped.cancel();
    let ended = holding.run_until("hold", hold, &stopped, holding.notes.clone()).await;
    assert_eq!(ended.outcome, Outcome::Cancelled);
    holders.release().await;
    holding.works().await;
}
