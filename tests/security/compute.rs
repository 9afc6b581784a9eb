//! Guests that do not come back: each is stopped by what it spends or by whoever asks, and the next
//! call finds everything well.

use std::{sync::mpsc, thread};

use ringfence_event::{Effect, Limit, Outcome, Usage};
use ringfence_sandbox::{Cancel, Tool};
use ringfence_tests::{ENGINE, START, Scene, Started, guest};
use serde_json::{Value, json};

/// C1: `loop {}` ends at its fuel limit, at the same count on every run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c1_a_spinning_guest_ends_at_its_fuel() {
    // Long enough for the engine to ask several times in between whether the call is cancelled.
    let tool = Tool::load(&ENGINE, &guest("spin")).unwrap();
    let spin = Scene::of(tool, Effect::Pure).grants("limits.fuel = \"1G\"");
    let ended = spin.run("spin", json!({})).await;
    assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Fuel });
    assert_eq!(ended.usage.fuel_total(), 1_000_000_000, "{:?}", ended.usage);
    for _ in 0..5 {
        let again = spin.run("spin", json!({})).await;
        let same = |usage: &Usage| (usage.fuel, usage.host_work, usage.host_calls);
        assert_eq!(same(&again.usage), same(&ended.usage));
    }
}

/// C3: bulk memory is charged by its size.
#[tokio::test]
async fn c3_filling_memory_is_charged_by_the_byte() {
    let scene = Scene::new(Effect::Read).grants("limits.fuel = \"100M\"");
    for how in ["fill", "copy"] {
        let ended = scene.run("hold", json!({ "how": how, "count": 8 })).await;
        assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Fuel }, "{how}");
        scene.works().await;
    }
}

/// C4: however deep a guest goes, its own stack ends first; the host's is never in danger.
#[tokio::test]
async fn c4_recursion_ends_at_the_guests_own_stack() {
    let scene = Scene::new(Effect::Read);
    let recurse = |count: u64| json!({ "how": "recurse", "count": count });
    let ended = scene.run("hold", recurse(1_000_000)).await;
    let Outcome::Trapped { message } = &ended.outcome else { panic!("{ended:?}") };
    assert!(message.contains("stack"), "{message}");
    scene.works().await;
    let ended = scene.run("hold", recurse(1_000)).await;
    assert!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{ended:?}");
}

/// C9: the same call sees the same clock and the same random bytes, whenever it is made.
#[tokio::test]
async fn c9_a_pure_call_sees_the_same_world_again() {
    let (first, second) = (seen().await, seen().await);
    assert_eq!(first, second);
    assert_eq!(first["wall_ms"], json!([START.0, START.0]));
    assert_eq!(first["monotonic_ns"], json!([0, 0]));
    let random = first["random"].as_array().unwrap();
    assert_ne!(random[0], random[1]);
    assert_ne!(random[0], first["insecure"]);
}

/// What a `pure` call sees unasked.
async fn seen() -> Value {
    let ended = Scene::new(Effect::Pure).run("ambient", json!({})).await;
    match ended.outcome {
        Outcome::Succeeded { output } => output.structured.unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Whatever a guest is doing, a cancel from another thread ends it: computing, waiting, in the
/// middle of bulk memory, or calling the host over and over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_call_is_cancelled_whatever_it_does() {
    let scene =
        Scene::new(Effect::Read).grants("limits.fuel = \"100G\"\nlimits.memory = \"256MiB\"");
    for (how, count) in [
        ("sleep", 3_600_000),
        ("poll-nothing", 0),
        ("spin", 0),
        ("fill", 64),
        ("copy", 64),
        ("host-calls", 0),
    ] {
        let (sender, receiver) = mpsc::channel();
        let cancel = Cancel::new();
        let of_thread = cancel.clone();
        let cancelling = thread::spawn(move || {
            receiver.recv().unwrap();
            of_thread.cancel();
        });
        let arguments = json!({ "how": how, "count": count });
        let sink = Started::new(sender);
        let ended = scene.run_until("hold", arguments, &cancel, sink).await;
        cancelling.join().unwrap();
        assert_eq!(ended.outcome, Outcome::Cancelled, "{how}");
        assert!(ended.usage.fuel > 0 && ended.usage.host_calls > 0, "{how}: {:?}", ended.usage);
        // Loose, for a machine that does other things too: the benchmark measures it.
        assert!(ended.usage.wall_us < 5_000_000, "{how}: {:?}", ended.usage);
        scene.works().await;
    }
}
