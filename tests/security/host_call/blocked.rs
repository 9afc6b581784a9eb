//! Guests that wait in the host: they hold neither a thread nor anybody else up.

use std::{fs, sync::mpsc};

use ringfence_event::{Effect, Limit, Outcome};
use ringfence_sandbox::{Cancel, Engine, EngineConfig, Tool};
use ringfence_tests::{Scene, Started, guest};
use serde_json::json;

/// H2: a guest that waits, or polls what never happens, is over at its deadline.
#[tokio::test]
async fn h2_time_ends_a_guest_that_waits() {
    let scene = |time: &str| Scene::new(Effect::Read).grants(&format!("limits.time = \"{time}\""));
    for (how, count) in [("sleep", 3_600_000), ("poll-nothing", 0), ("spin", 0)] {
        let ended = scene("50ms").run("hold", json!({ "how": how, "count": count })).await;
        assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Time }, "{how}");
        assert!(ended.usage.wall_us >= 50_000, "{how}: {:?}", ended.usage);
        scene("20s").works().await;
    }
}

/// H3: ten thousand calls that wait for an hour, two hundred of them in the host: that takes not one
/// thread more, and a call beside them comes to its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h3_calls_that_wait_take_no_thread() {
    const CALLS: u32 = 10_000;
    const SLOTS: u32 = 200;
    let config = EngineConfig {
        concurrent_calls: SLOTS,
        memory: Some(u64::from(SLOTS) * (4 << 20)),
        ..EngineConfig::default()
    };
    let engine = Engine::new(&config).unwrap();
    let scene = Scene::of(Tool::load(&engine, &guest("probe")).unwrap(), Effect::Read)
        .grants("limits.memory = \"4MiB\"\nlimits.time = \"2h\"");
    // One that has everything started that there is to start.
    scene.works().await;
    let beside = Scene::new(Effect::Read);
    beside.works().await;
    let threads = || fs::read_dir("/proc/self/task").unwrap().count();
    // The one that waits for the calls below is started now as well.
    tokio::task::spawn_blocking(|| ()).await.unwrap();
    let before = threads();

    let cancel = Cancel::new();
    let (sender, receiver) = mpsc::channel();
    let calls: Vec<_> = (0..CALLS)
        .map(|_| {
            let (opened, call) = scene.open("hold", &json!({ "how": "sleep", "count": 3_600_000 }));
            let (tool, cancel, sink) =
                (scene.tool().clone(), cancel.clone(), Started::new(sender.clone()));
            tokio::spawn(async move { tool.run(opened, call, &cancel, sink).await })
        })
        .collect();
    let all = move || (0..SLOTS).for_each(|_| receiver.recv().unwrap());
    tokio::task::spawn_blocking(all).await.unwrap();
    assert!(threads() <= before, "{before} before, {} now", threads());
    beside.works().await;
    cancel.cancel();
    for call in calls {
        assert_eq!(call.await.unwrap().outcome, Outcome::Cancelled);
    }
    scene.works().await;
}
