//! `fetch` from a server on loopback.

use ringfence_event::Effect;
use ringfence_tests::{text, web};
use serde_json::json;

use crate::{progress, scene};

#[tokio::test]
async fn a_page_that_takes_long_says_how_far_it_is() {
    let web = web::serve();
    let origin = web.origin();
    let get = async |path: &str| {
        let scene = scene("fetch", Effect::Read)
            .needs("[needs.http.\"*\"]\nmethods = [\"GET\"]")
            .grants(&format!("http = [\"{origin}\"]"));
        let url = format!("{origin}{path}");
        let ended = scene.run("get", json!({ "url": url, "chars_max": 5 })).await;
        (text(&ended), progress(&scene))
    };
    let (page, told) = get("/hello").await;
    assert!(page.contains("hello"), "{page}");
    assert_eq!(told, [(0, None, "asking 127.0.0.1".to_owned())]);

    let (page, told) = get("/large").await;
    assert!(page.contains("[truncated: "), "{page}");
    let received = &told[1..];
    assert_eq!(received.len(), 3, "{told:?}");
    assert!(received.is_sorted());
    for (done, total, what) in received {
        assert!(*done >= 256 << 10 && *total == Some(1_000_000), "{told:?}");
        assert_eq!(what, "bytes received");
    }
}
