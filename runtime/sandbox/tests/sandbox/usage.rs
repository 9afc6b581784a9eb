//! What a call cost, to the byte where bytes are counted.

use ringfence_event::{Effect, Outcome, Usage};
use ringfence_tests::{Folders, Scene, text, web};
use serde_json::{Value, json};

async fn usage(function: &str, arguments: Value) -> Usage {
    let folders = Folders::new();
    let scene = Scene::new(Effect::Unsafe)
        .root("workspace", &folders.workspace(), "write")
        .needs("[needs.memory.user]\naccess = \"write\"")
        .grants("memory.user = \"write\"");
    let ended = scene.run(function, arguments).await;
    assert!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{ended:?}");
    assert!(ended.denials.is_empty(), "{ended:?}");
    ended.usage
}

#[tokio::test]
async fn bytes_are_counted_where_they_pass() {
    let file =
        |act: &str, path: &str, words: &str| json!({ "act": act, "path": path, "text": words });
    let bucket = |acts: Value| json!({ "scope": "user", "acts": acts });
    for (function, arguments, read, written) in [
        ("file", file("read", "a.txt", ""), 5, 0),
        ("file", file("write", "new.txt", "four words of text"), 0, 18),
        ("file", file("append", "a.txt", " you"), 0, 4),
        ("file", file("stat", "a.txt", ""), 0, 0),
        // Key and value.
        ("memory", bucket(json!([{ "set": ["city", "Potsdam"] }])), 0, 11),
        ("memory", bucket(json!([{ "set": ["city", "Potsdam"] }, { "get": "city" }])), 7, 11),
        ("memory", bucket(json!([{ "get": "nothing" }])), 0, 0),
    ] {
        let usage = usage(function, arguments.clone()).await;
        assert_eq!((usage.bytes_read, usage.bytes_written), (read, written), "{arguments}");
        let stored = if function == "memory" { written } else { 0 };
        assert_eq!(usage.storage_bytes, stored, "{arguments}");
        assert!(usage.host_calls > 0 && usage.host_work > 0 && usage.wall_us > 0, "{usage:?}");
        assert_eq!((usage.requests, usage.egress_bytes), (0, 0), "{usage:?}");
    }
}

/// The peak of handles is what was held at one time, not what was opened in all.
#[tokio::test]
async fn the_peak_of_handles_is_what_was_held_at_one_time() {
    let hold = |count: u64| usage("hold", json!({ "how": "handles", "count": count }));
    let few = hold(10).await.handles_peak;
    assert!(few >= 10, "{few}");
    assert_eq!(hold(60).await.handles_peak, few + 50);
    // Each of these opens a descriptor and drops it.
    let opens = |times: u64| usage("repeat", json!({ "act": "path-open", "times": times }));
    assert_eq!(opens(100).await.handles_peak, opens(1).await.handles_peak);
}

/// A thousand more of an act cost a thousand more of its price, and as many host calls.
#[tokio::test]
async fn host_work_is_the_price_of_each_act() {
    use ringfence_capability::cost;
    for (act, bytes, calls, price) in [
        ("host-call", 0, 1, cost::HOST_CALL),
        ("file-stat", 0, 1, cost::HOST_CALL + cost::FILE_CALL),
        ("file-read", 5, 1, cost::HOST_CALL + cost::FILE_CALL + 5 * cost::BYTE),
        ("path-stat", 0, 1, cost::HOST_CALL + cost::PATH_CALL + 5 * cost::BYTE),
        ("random", 100, 1, cost::HOST_CALL + 100 * cost::RANDOM_BYTE),
        ("bucket-get", 0, 1, cost::HOST_CALL + cost::BUCKET_CALL + 3 * cost::BYTE),
    ] {
        let few = usage("repeat", json!({ "act": act, "times": 10, "bytes": bytes })).await;
        let many = usage("repeat", json!({ "act": act, "times": 110, "bytes": bytes })).await;
        assert_eq!(many.host_calls - few.host_calls, 100 * calls, "{act}");
        assert_eq!(many.host_work - few.host_work, 100 * price, "{act}");
    }
}

/// What is counted is what was asked for, to the byte.
#[tokio::test]
async fn counters_count_what_was_asked() {
    for (what, count) in [
        ("stdout", (|u| u.log_bytes) as fn(&Usage) -> u64),
        ("stderr", |u| u.log_bytes),
        ("log", |u| u.log_bytes),
        ("progress", |u| u.log_bytes),
        ("emit", |u| u.output_bytes),
        ("output", |u| u.output_bytes),
        ("random", |u| u.random_bytes),
        ("insecure", |u| u.random_bytes),
    ] {
        let arguments = json!({ "what": what, "bytes": 12_345 });
        let ended = Scene::new(Effect::Pure).run("flood", arguments).await;
        let said = if what == "output" || what == "emit" { 0 } else { "done".len() as u64 };
        assert_eq!(count(&ended.usage), 12_345, "{what}: {ended:?}");
        let rest = ended.usage.log_bytes + ended.usage.output_bytes + ended.usage.random_bytes;
        assert_eq!(rest, 12_345 + said, "{what}: {ended:?}");
    }
}

#[tokio::test]
async fn requests_and_responses_are_counted() {
    let web = web::serve();
    let origin = web.origin();
    let scene = Scene::new(Effect::Unsafe)
        .needs(&format!("[needs.http.\"{origin}\"]\nmethods = [\"POST\"]"))
        .grants(&format!("http = [\"{origin}\"]"));
    let send = |body: Value| json!({ "method": "POST", "url": format!("{}/echo", web.origin()), "body": body });
    let small = scene.run("http", send(json!("x"))).await.usage;
    let large = scene.run("http", send(json!("x".repeat(5_001)))).await;
    assert_eq!(text(&large).len(), "200 ".len() + 5_001);
    let large = large.usage;
    assert_eq!(large.egress_bytes - small.egress_bytes, 5_000);
    // The length is a header, and has more digits.
    let grown = large.bytes_read - small.bytes_read;
    assert!((5_000..5_010).contains(&grown), "{grown}");
    assert!(small.egress_bytes > "POST /echo HTTP/1.1".len() as u64, "{small:?}");
    assert_eq!((small.requests, large.requests), (1, 1));
}
