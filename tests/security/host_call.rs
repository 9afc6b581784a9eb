//! Every limit of a call: what fits exactly is done, one more ends the call with the limit's name,
//! and the next call finds everything well.

use std::{pin::pin, sync::Arc, time::Duration};

use ringfence_capability::Random;
use ringfence_event::{Effect, Limit, Note, Outcome, Usage};
use ringfence_sandbox::{Cancel, Sink, Tool};
use ringfence_tests::{Holders, Scene, engine, guest, web};
use serde_json::{Value, json};

struct Case {
    limit: Limit,
    function: &'static str,
    arguments: Value,
    /// What of the limit a call takes that is not held back, in the limit's unit.
    takes: fn(&Usage) -> u64,
}

fn scene(limit: Limit, amount: Option<u64>) -> Scene {
    let unit = match limit {
        Limit::Fuel | Limit::Handles | Limit::Requests => "",
        Limit::Time => "ms",
        _ => "B",
    };
    let scene = Scene::new(Effect::Unsafe)
        .needs("[needs.memory.user]\naccess = \"write\"")
        .grants("memory.user = \"write\"");
    match (amount, unit) {
        (None, _) => scene,
        // Numbers without a unit stand alone, fuel in quotes like every quantity.
        (Some(amount), "") if limit != Limit::Fuel => {
            scene.grants(&format!("limits.{limit} = {amount}"))
        }
        (Some(amount), unit) => scene.grants(&format!("limits.{limit} = \"{amount}{unit}\"")),
    }
}

async fn check(case: Case) {
    let Case { limit, function, arguments, takes } = case;
    let free = scene(limit, None).run(function, arguments.clone()).await;
    assert!(matches!(free.outcome, Outcome::Succeeded { .. }), "{limit} {arguments}: {free:?}");
    let taken = takes(&free.usage);
    assert!(taken > 0, "{limit} {arguments}: {free:?}");

    let fits = scene(limit, Some(taken));
    let ended = fits.run(function, arguments.clone()).await;
    assert!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{limit} {arguments}: {ended:?}");

    let short = scene(limit, Some(taken - 1));
    let ended = short.run(function, arguments.clone()).await;
    assert_eq!(ended.outcome, Outcome::LimitReached { limit }, "{arguments}: {ended:?}");
    assert!(takes(&ended.usage) <= taken, "{limit} {arguments}: {ended:?}");
    assert!(ended.writes.is_empty(), "{limit} {arguments}: {ended:?}");
    let again = scene(limit, Some(taken)).run(function, arguments.clone()).await;
    assert!(matches!(again.outcome, Outcome::Succeeded { .. }), "{limit} {arguments}: {again:?}");
}

fn flood(what: &str, bytes: u64) -> (&'static str, Value) {
    ("flood", json!({ "what": what, "bytes": bytes }))
}

/// C1, M1, H6 and their like: each counter ends the call at exactly its limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_end_the_call_at_exactly_their_limit() {
    let cases: [(Limit, (&str, Value), fn(&Usage) -> u64); 14] = [
        // One more than was spent: nothing may be left of fuel that is not paid for.
        (Limit::Fuel, ("repeat", json!({ "act": "compute", "times": 1_000 })), |u| {
            u.fuel_total() + 1
        }),
        (Limit::Fuel, ("repeat", json!({ "act": "host-call", "times": 1_000 })), |u| {
            u.fuel_total() + 1
        }),
        (Limit::Memory, flood("memory", 4 << 20), |u| u.memory_peak_bytes),
        (Limit::Output, flood("output", 100_000), |u| u.output_bytes),
        (Limit::Output, flood("emit", 100_000), |u| u.output_bytes),
        (Limit::Output, flood("structured", 100_000), |u| u.output_bytes),
        (Limit::Logs, flood("stdout", 100_000), |u| u.log_bytes),
        (Limit::Logs, flood("stderr", 100_000), |u| u.log_bytes),
        (Limit::Logs, flood("log", 100_000), |u| u.log_bytes),
        (Limit::Logs, flood("progress", 100_000), |u| u.log_bytes),
        (Limit::Random, flood("random", 100_000), |u| u.random_bytes),
        (Limit::Random, flood("insecure", 100_000), |u| u.random_bytes),
        (
            Limit::Storage,
            ("memory", json!({ "scope": "user", "acts": [{ "fill": ["key", 5_000] }] })),
            |u| u.bytes_written,
        ),
        (
            Limit::Storage,
            (
                "memory",
                json!({ "scope": "user", "acts": [{ "set": ["a", "b"] }, { "increment": ["n", 1] }, { "delete": "a" }] }),
            ),
            |u| u.bytes_written,
        ),
    ];
    for (limit, (function, arguments), takes) in cases {
        check(Case { limit, function, arguments, takes }).await;
    }
}

#[tokio::test]
async fn requests_and_what_they_send_are_limited() {
    let web = web::serve();
    let origin = web.origin();
    let scene = |limits: &str| {
        Scene::new(Effect::Read)
            .needs(&format!("[needs.http.\"{origin}\"]\nmethods = [\"GET\"]"))
            .grants(&format!("http = [\"{origin}\"]\n{limits}"))
    };
    let arguments = json!({ "url": format!("{origin}/hello"), "times": 3 });
    let ended = scene("limits.requests = 3").run("http", arguments.clone()).await;
    assert!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{ended:?}");
    let sent = ended.usage.egress_bytes;
    assert!(ended.usage.requests == 3 && sent > 100, "{ended:?}");

    let ended = scene("limits.requests = 2").run("http", arguments.clone()).await;
    assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Requests });
    assert_eq!(ended.usage.requests, 2);
    let egress = |bytes| format!("limits.egress = \"{bytes}B\"");
    let ended = scene(&egress(sent)).run("http", arguments.clone()).await;
    assert!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{ended:?}");
    let ended = scene(&egress(sent - 1)).run("http", arguments).await;
    assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Egress });
}

/// Gauges: what is held at one time.
#[tokio::test]
async fn h4_handles_are_limited_by_what_is_held() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "hello").unwrap();
    let scene = Scene::new(Effect::Read)
        .root("workspace", folder.path(), "read")
        .grants("limits.handles = 40");
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    scene.works().await;
    let before = open();
    for how in ["handles", "pollables"] {
        let ended = scene.run("hold", json!({ "how": how, "count": 20 })).await;
        assert!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{how}: {ended:?}");
        let ended = scene.run("hold", json!({ "how": how, "count": 100 })).await;
        assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Handles }, "{how}");
        scene.works().await;
    }
    // Other tests open files beside this one, so not to the last one: 200 would be a leak.
    assert!(open() < before + 50, "{before} before, {} after", open());
}

/// H1: what a guest hands over in one call is bounded before it is copied.
#[tokio::test]
async fn h1_what_one_host_call_lifts_is_limited() {
    let scene = |lift: &str| {
        Scene::new(Effect::Unsafe)
            .needs("[needs.memory.user]\naccess = \"write\"")
            .grants("memory.user = \"write\"\nlimits.storage = \"8MiB\"\nlimits.output = \"8MiB\"")
            .grants(&format!("limits.lift = \"{lift}\""))
    };
    let fill = json!({ "scope": "user", "acts": [{ "fill": ["key", 2 << 20] }] });
    for (function, arguments) in [("memory", fill), flood("output", 2 << 20)] {
        let ended = scene("4MiB").run(function, arguments.clone()).await;
        assert!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{function}: {ended:?}");
        let ended = scene("1MiB").run(function, arguments.clone()).await;
        assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Lift }, "{function}");
    }
}

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

/// H7: header fields are bounded, and too many of them are an error and no panic.
#[tokio::test]
async fn h7_header_fields_are_bounded() {
    let web = web::serve();
    let url = format!("{}/fields", web.origin());
    let origin = web.origin();
    let scene = Scene::new(Effect::Unsafe)
        .needs(&format!("[needs.http.\"{origin}\"]\nmethods = [\"GET\"]"))
        .grants(&format!("http = [\"{origin}\"]"));
    let ended = scene.run("http", json!({ "url": url })).await;
    assert!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{ended:?}");
    assert_eq!(ended.usage.requests, 1, "{ended:?}");
    let headers: Vec<_> = (0..40_000).map(|n| (format!("x-{n}"), "y")).collect();
    let arguments = json!({ "url": url, "headers": headers });
    let ended = scene.run("http", arguments).await;
    assert!(!matches!(ended.outcome, Outcome::HostError { .. }), "{ended:?}");
    assert_eq!(ended.usage.requests, 0, "{ended:?}");
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
