//! How a guest can end badly, and that nothing of it is left for the next call.

use std::sync::Arc;

use ringfence_event::{Effect, Limit, Note, Outcome};
use ringfence_sandbox::{Cancel, Engine, EngineConfig, Sink, Tool};
use serde_json::json;

use crate::support::{Scene, guest, text};

#[tokio::test]
async fn a_guest_that_fails_is_trapped_with_its_last_words() {
    let scene = Scene::new(Effect::Read);
    for (how, count, words) in [
        ("panic", 0, &["panicked", "the probe panics as it was told"][..]),
        ("abort", 0, &["unreachable"]),
        ("exit", 3, &["exited with code", "its last words: the probe leaves"]),
        // Leaving is no way to return from a call, whatever the code.
        ("exit-well", 0, &["exited with code 0"]),
        // C4: the host's own stack is never in danger.
        ("recurse", 1_000_000, &["stack"]),
    ] {
        let ended = scene.run("hold", json!({ "how": how, "count": count })).await;
        let Outcome::Trapped { message } = &ended.outcome else { panic!("{how}: {ended:?}") };
        for word in words {
            assert!(message.contains(word), "{how}: {message}");
        }
        assert!(ended.usage.fuel > 0 && ended.usage.memory_peak_bytes > 0, "{how}: {ended:?}");
        scene.works().await;
    }
    let ended = scene.run("hold", json!({ "how": "recurse", "count": 1_000 })).await;
    assert!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{ended:?}");
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

/// H5: the time of the host is paid for: a loop of cheap host calls ends at its fuel.
#[tokio::test]
async fn h5_host_calls_are_paid_for() {
    let scene = Scene::new(Effect::Read).grants("limits.fuel = \"50M\"");
    let ended = scene.run("hold", json!({ "how": "host-calls" })).await;
    assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Fuel });
    let usage = ended.usage;
    assert!(usage.host_calls > 1_000 && usage.host_work > usage.fuel, "{usage:?}");
    assert!(usage.fuel_total() <= 50_000_000, "{usage:?}");
}

/// M3: what one call leaves in its memory, the next one in the same slot does not find: not where the
/// memory is cleared in place, nor in the pages that are given back.
#[tokio::test]
async fn m3_nothing_of_one_calls_memory_is_left_for_the_next() {
    let config = EngineConfig { concurrent_calls: 1, cache: None };
    let engine = Engine::new(&config).unwrap();
    let scene = Scene::of(Tool::load(&engine, &guest("probe")).unwrap(), Effect::Read);
    let marks = |how: &str, mib: u64| json!({ "how": how, "count": mib });
    for mib in [1, 16, 64] {
        for how in ["mark", "mark-and-panic"] {
            let ended = scene.run("hold", marks(how, mib)).await;
            assert!(format!("{ended:?}").contains(&(mib << 17).to_string()), "{how}: {ended:?}");
            for searched in [1, 64, 100] {
                let ended = scene.run("hold", marks("search", searched)).await;
                assert_eq!(text(&ended), "0", "{searched} MiB after {how} of {mib}");
            }
        }
    }
}

/// Breaks where the host is called.
struct Broken;

impl Sink for Broken {
    fn note(&self, _: Note) {
        panic!("the sink breaks as it was told");
    }
}

/// H9: a panic of the host's own ends that call and nothing else.
#[tokio::test]
async fn h9_a_host_function_that_panics_ends_one_call() {
    let scene = Scene::new(Effect::Read);
    for _ in 0..20 {
        let arguments = json!({ "how": "sleep", "count": 1 });
        let sink = Arc::new(Broken);
        let ended = scene.run_until("hold", arguments, &Cancel::new(), sink).await;
        assert!(matches!(ended.outcome, Outcome::HostError { .. }), "{ended:?}");
        scene.works().await;
    }
}
