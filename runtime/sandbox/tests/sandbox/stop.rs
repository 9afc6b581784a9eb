//! Calls that are stopped from outside: cancelled, dropped, or many at once.

use std::{
    pin::pin,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use ringfence_capability::Random;
use ringfence_event::{Effect, Limit, Note, Outcome};
use ringfence_sandbox::{Cancel, Ended, Sink, Tool};
use serde_json::json;

use crate::{
    support::{SLOTS, Scene, engine, guest},
    web,
};

/// Tells when the call says its first word.
struct Started(Mutex<Option<mpsc::Sender<()>>>);

impl Sink for Started {
    fn note(&self, _: Note) {
        if let Some(sender) = self.0.lock().unwrap().take() {
            sender.send(()).unwrap();
        }
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
        let sink = Arc::new(Started(Mutex::new(Some(sender))));
        let ended = scene.run_until("hold", arguments, &cancel, sink).await;
        cancelling.join().unwrap();
        assert_eq!(ended.outcome, Outcome::Cancelled, "{how}");
        assert!(ended.usage.fuel > 0 && ended.usage.host_calls > 0, "{how}: {:?}", ended.usage);
        // Loose, for a machine that does other things too: the benchmark measures it.
        assert!(ended.usage.wall_us < 5_000_000, "{how}: {:?}", ended.usage);
        scene.works().await;
    }
}

/// H10: the future of a call is dropped at any moment; nothing is left of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h10_a_call_that_is_dropped_leaves_nothing() {
    let web = web::serve();
    let engine = engine();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "hello").unwrap();
    std::fs::write(folder.path().join("b.txt"), "").unwrap();
    let origin = web.origin();
    let scene = Scene::of(Tool::load(&engine, &guest("probe")).unwrap(), Effect::Unsafe)
        .needs(&format!("[needs.http.\"{origin}\"]\nmethods = [\"GET\"]"))
        .grants(&format!("http = [\"{origin}\"]"))
        .root("workspace", folder.path(), "write");
    let kinds = [
        ("hold", json!({ "how": "sleep", "count": 3_600_000 })),
        ("hold", json!({ "how": "spin" })),
        ("hold", json!({ "how": "host-calls" })),
        ("http", json!({ "url": format!("{origin}/hello"), "times": 30 })),
        ("http", json!({ "url": format!("{origin}/silent") })),
        ("repeat", json!({ "act": "sync", "times": 1_000 })),
        ("repeat", json!({ "act": "path-open", "times": 1_000_000 })),
    ];
    let mut random = Random::new(20_261_123, "when to drop");
    for turn in 0..210 {
        let (function, arguments) = &kinds[turn % kinds.len()];
        let (opened, call) = scene.open(function, arguments);
        let after = Duration::from_micros(random.next_u64() % 4_000);
        let cancel = Cancel::new();
        let tool = scene.tool();
        let running = pin!(tool.run(opened, call, &cancel, scene.notes.clone()));
        // What ends before is no less a try.
        let _ = tokio::time::timeout(after, running).await;
    }
    // All slots are free: so many calls run at one time.
    Holders::fill(&scene).await.release().await;
}

/// As many calls as there are slots, all of them running.
struct Holders {
    cancel: Cancel,
    calls: Vec<tokio::task::JoinHandle<Ended>>,
}

impl Holders {
    /// Comes back when every one of them has said its first word.
    async fn fill(scene: &Scene) -> Self {
        let (sender, receiver) = mpsc::channel();
        let cancel = Cancel::new();
        let call = |_| {
            let (opened, call) = scene.open("hold", &json!({ "how": "sleep", "count": 3_600_000 }));
            let (tool, cancel) = (scene.tool().clone(), cancel.clone());
            let sink = Arc::new(Started(Mutex::new(Some(sender.clone()))));
            tokio::spawn(async move { tool.run(opened, call, &cancel, sink).await })
        };
        let calls = (0..SLOTS).map(call).collect();
        let all = move || (0..SLOTS).for_each(|_| receiver.recv().unwrap());
        tokio::task::spawn_blocking(all).await.unwrap();
        Self { cancel, calls }
    }

    /// One request stops them all.
    async fn release(self) {
        self.cancel.cancel();
        for call in self.calls {
            assert_eq!(call.await.unwrap().outcome, Outcome::Cancelled);
        }
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
