//! Guests that wait in the host: they hold neither a thread nor anybody else up.

use std::{
    fs,
    sync::{Arc, mpsc},
};

use ringfence_event::{Effect, Limit, Outcome};
use ringfence_sandbox::{Cancel, Engine, EngineConfig, Tool};
use ringfence_tests::{Scene, Slow, Started, guest, text};
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

/// H2: a file system whose server does not answer keeps nobody but those who asked it, and them until
/// their time is up or somebody cancels. All of this has one thread.
#[tokio::test]
async fn h2_a_file_system_that_hangs_holds_no_thread() {
    let slow = match Slow::mount() {
        Ok(slow) => Arc::new(slow),
        Err(why) => {
            eprintln!("not tried: {why}");
            return;
        }
    };
    let scene = |time: &str| {
        Scene::new(Effect::Unsafe)
            .root("workspace", slow.path(), "write")
            .grants(&format!("limits.time = \"{time}\""))
    };
    // What it answers, it is asked for as any other.
    let patient = scene("20s");
    for (act, path, given, said) in [
        ("list", ".", "", "a.txt,hangs.txt"),
        ("read", "a.txt", "", "hello"),
        ("stat", "a.txt", "", "DescriptorType::RegularFile 5"),
        ("write", "a.txt", "HELLO!", "wrote 6"),
        ("read", "a.txt", "", "HELLO!"),
        ("set-size", "a.txt", "", "done"),
        ("read", "a.txt", "", "H"),
        ("write-stream", "a.txt", "i", "done"),
        ("append", "a.txt", "!", "done"),
        ("read", "a.txt", "", "Hi!"),
        ("sync", "a.txt", "", "done"),
        ("read", "b.txt", "", "error: no-entry"),
    ] {
        let arguments = json!({ "act": act, "path": path, "text": given });
        assert_eq!(text(&patient.run("file", arguments).await), said, "{act} {path}");
    }
    let begin = |scene: &Scene, cancel: &Cancel| {
        let (opened, call) = scene.open("file", &json!({ "act": "read", "path": "hangs.txt" }));
        let (tool, cancel, notes) = (scene.tool().clone(), cancel.clone(), scene.notes.clone());
        tokio::spawn(async move { tool.run(opened, call, &cancel, notes).await })
    };
    let hasty = scene("300ms");
    let cancel = Cancel::new();
    let late: Vec<_> = (0..10).map(|_| begin(&hasty, &Cancel::new())).collect();
    let cancelled = begin(&patient, &cancel);
    let waits = slow.clone();
    tokio::task::spawn_blocking(move || waits.holds()).await.unwrap();
    Scene::new(Effect::Read).works().await;
    for call in late {
        let outcome = call.await.unwrap().outcome;
        assert_eq!(outcome, Outcome::LimitReached { limit: Limit::Time });
    }
    cancel.cancel();
    assert_eq!(cancelled.await.unwrap().outcome, Outcome::Cancelled);
    slow.answer();
    assert_eq!(
        text(&patient.run("file", json!({ "act": "read", "path": "hangs.txt" })).await),
        "late"
    );
}
