//! What a call cost, to the byte where bytes are counted.

use ringfence_event::{Effect, Usage};
use serde_json::{Value, json};

use crate::support::{Folders, Scene, text};

async fn usage(function: &str, arguments: Value) -> Usage {
    let folders = Folders::new();
    let scene = Scene::new(Effect::Unsafe)
        .root("workspace", &folders.workspace(), "write")
        .needs("[needs.memory.user]\naccess = \"write\"")
        .grants("memory.user = \"write\"");
    let ended = scene.run(function, arguments).await;
    text(&ended);
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
        assert!(usage.host_calls > 0 && usage.host_work > 0 && usage.wall_us > 0, "{usage:?}");
        assert_eq!((usage.requests, usage.egress_bytes), (0, 0), "{usage:?}");
    }
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
        ("bucket-get", 0, 1, cost::HOST_CALL + cost::BUCKET_CALL),
    ] {
        let few = usage("repeat", json!({ "act": act, "times": 10, "bytes": bytes })).await;
        let many = usage("repeat", json!({ "act": act, "times": 110, "bytes": bytes })).await;
        assert_eq!(many.host_calls - few.host_calls, 100 * calls, "{act}");
        assert_eq!(many.host_work - few.host_work, 100 * price, "{act}");
    }
}
