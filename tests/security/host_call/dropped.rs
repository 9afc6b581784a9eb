//! Calls whose end is not their own: a host function breaks, or whoever waits for them goes away.

use std::{
    fs,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use ringfence_capability::Random;
use ringfence_event::{Effect, Note, Outcome, Scope};
use ringfence_sandbox::{Cancel, Sink, Tool};
use ringfence_tests::{Holders, Scene, engine, guest, text, web};
use serde_json::json;

use crate::raw;

/// Breaks where the host is called.
struct Broken;

impl Sink for Broken {
    fn note(&self, _: Note) {
        panic!("the sink breaks as it was told");
    }
}

/// H9: a panic of the host's own ends that call and nothing else: in whatever it is said, while the
/// call runs or when the last of it is put away.
#[tokio::test]
async fn h9_a_host_function_that_panics_ends_one_call() {
    let scene = Scene::new(Effect::Read);
    for (function, arguments) in [
        ("hold", json!({ "how": "sleep", "count": 1 })),
        ("flood", json!({ "what": "stdout", "bytes": 10 })),
        // A line without an end is said when the call is over.
        ("flood", json!({ "what": "stderr", "bytes": 10 })),
        ("flood", json!({ "what": "progress", "bytes": 10 })),
        ("flood", json!({ "what": "emit", "bytes": 10 })),
    ] {
        for _ in 0..10 {
            let sink = Arc::new(Broken);
            let ended = scene.run_until(function, arguments.clone(), &Cancel::new(), sink).await;
            assert!(matches!(ended.outcome, Outcome::HostError { .. }), "{arguments}: {ended:?}");
            scene.works().await;
        }
        let ended = scene.run(function, arguments.clone()).await;
        assert!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{arguments}: {ended:?}");
    }
}

/// H9: the same in a host function that waits.
#[tokio::test]
async fn h9_memory_that_panics_ends_one_call() {
    let scene = || {
        Scene::new(Effect::Unsafe)
            .needs("[needs.memory.user]\naccess = \"write\"")
            .grants("memory.user = \"write\"")
    };
    let act = json!({ "scope": "user", "acts": [{ "set": ["a", "b"] }, { "get": "city" }] });
    let broken = scene();
    let stored = broken.stored.clone();
    let poisoned = std::thread::spawn(move || {
        let _held = stored.0.lock().unwrap();
        panic!("the memory breaks as it was told");
    });
    assert!(poisoned.join().is_err());
    for _ in 0..20 {
        let ended = broken.run("memory", act.clone()).await;
        assert!(matches!(ended.outcome, Outcome::HostError { .. }), "{ended:?}");
        assert!(ended.writes.is_empty(), "{ended:?}");
        broken.works().await;
    }
    let well = scene();
    well.stored.0.lock().unwrap().insert((Scope::User, "city".into()), b"Jena".to_vec());
    assert_eq!(text(&well.run("memory", act).await), "set; Jena");
}

/// Polls a future so many times and then drops it; `None` if that was too early.
async fn polled<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// A tool with everything that is waited for.
fn scene(origin: &str, folder: &std::path::Path) -> Scene {
    fs::write(folder.join("a.txt"), "hello").unwrap();
    fs::write(folder.join("b.txt"), "").unwrap();
    Scene::of(Tool::load(&engine(), &guest("probe")).unwrap(), Effect::Unsafe)
        .needs(&format!("[needs.http.\"{origin}\"]\nmethods = [\"GET\"]"))
        .grants(&format!("http = [\"{origin}\"]"))
        .needs("[needs.memory.user]\naccess = \"write\"")
        .grants("memory.user = \"write\"")
        .root("workspace", folder, "write")
}

/// H10: whoever waits goes away after the first, the second, … each single time that the call had to
/// wait, until it is over before that; all slots are free then, and no file is open any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h10_a_call_is_dropped_wherever_it_waits() {
    let (web, folder) = (web::serve(), tempfile::tempdir().unwrap());
    let scene = scene(&web.origin(), folder.path());
    scene.works().await;
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    // How often each waits at least; how often it does depends on who else runs.
    for (function, arguments, least) in [
        ("hold", json!({ "how": "sleep", "count": 1 }), 1),
        ("http", json!({ "url": format!("{}/hello", web.origin()), "times": 2 }), 1),
        ("repeat", json!({ "act": "sync", "times": 3 }), 1),
        ("repeat", json!({ "act": "compute", "times": 30_000_000 }), 0),
        ("memory", json!({ "scope": "user", "acts": [{ "set": ["a", "b"] }, "list"] }), 0),
    ] {
        let mut times = 0;
        let ended = loop {
            let (opened, call) = scene.open(function, &arguments);
            let cancel = Cancel::new();
            let running = scene.tool().run(opened, call, &cancel, scene.notes.clone());
            if let Some(ended) = polled(running, times).await {
                break ended;
            }
            times += 1;
            assert!(times < 1_000, "{arguments}: it never comes to its end");
        };
        assert!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{arguments}: {ended:?}");
        assert!(times >= least, "{arguments}: over after {times} polls");
        Holders::fill(&scene).await.release().await;
    }
    // Connections that are kept for the next request, and no more.
    assert!(open() <= before + 20, "{before} before, {} after", open());
}

/// H10: the same at moments that are nobody's choice, also in the middle of what it computes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h10_a_call_that_is_dropped_leaves_nothing() {
    let (web, folder) = (web::serve(), tempfile::tempdir().unwrap());
    let (origin, scene) = (web.origin(), scene(&web.origin(), folder.path()));
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
        let running = pin!(scene.tool().run(opened, call, &cancel, scene.notes.clone()));
        // What ends before is no less a try.
        let _ = tokio::time::timeout(after, running).await;
    }
    // All slots are free: so many calls run at one time.
    Holders::fill(&scene).await.release().await;
}

/// H11: a guest that the host asks for memory, in the middle of a host call, cannot call the host:
/// that is a trap, and neither a lock that is held twice nor a borrow.
#[tokio::test]
async fn h11_a_guest_cannot_enter_the_host_while_it_is_in_it() {
    let random = "(import \"wasi:random/random@0.2.12\" \"get-random-bytes\" \
         (func $random (param i64 i32)))";
    let body = |hook: &str| {
        format!(
            r#"
            (global $inside (mut i32) (i32.const 0))
            (func $allocated {hook})
            (func $act (param $n i64) (result i64)
              (global.set $inside (i32.const 1))
              (call $random (i64.const 8) (i32.const 1024))
              (global.set $inside (i32.const 0))
              (i64.const 1))
            "#
        )
    };
    let engine = engine();
    for (hook, traps) in [
        ("", false),
        ("(if (global.get $inside) (then (call $say)))", true),
        ("(if (global.get $inside) (then (call $random (i64.const 8) (i32.const 1024))))", true),
        ("(drop (memory.grow (i32.const 1)))", false),
    ] {
        let scene = Scene::of(raw::tool(&engine, random, &body(hook)), Effect::Pure);
        let ended = scene.run("act", json!({})).await;
        match &ended.outcome {
            Outcome::Succeeded { .. } => assert!(!traps, "{hook}: {ended:?}"),
            Outcome::Trapped { message } => {
                assert!(traps && message.contains("leave"), "{hook}: {message}");
            }
            other => panic!("{hook}: {other:?}"),
        }
    }
    let probe = Tool::load(&engine, &guest("probe")).unwrap();
    Holders::fill(&Scene::of(probe, Effect::Read)).await.release().await;
}
