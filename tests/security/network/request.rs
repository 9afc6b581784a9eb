//! Requests that are to be taken for others: by their path, by a header, by their length.

use ringfence_event::Effect;
use ringfence_tests::{Scene, text, web};
use serde_json::json;

use super::{get, open, scene};

/// N7: no spelling of a path leads past the permit.
#[tokio::test]
async fn n7_no_spelling_of_a_path_leads_to_another_one() {
    let web = web::serve();
    let origin = web.origin();
    let api = scene(&origin, &format!("{{ url = \"{origin}\", paths = [\"/api/**\"] }}"));
    for path in [
        "/api/../hello",
        "/api/..%2fhello",
        "/api/..%5chello",
        "/api/%2e%2e/hello",
        "/api/%2E%2E%2Fhello",
        "/api/.%2e/hello",
        "/api/%2e./hello",
        "/api/..;/hello",
        "/api/..;x=y/hello",
        "/api/..\\hello",
        "/api\\..\\hello",
        "/api/%252e%252e/hello",
        "/api/%252e%252e%252fhello",
        "/api/..%252fhello",
        "/api/%00/hello",
        "/api//../../hello",
        "//api/hello",
        "/;/api/hello",
        "/API/hello",
        "/hello?/api/",
        "/hello#/api/",
        "/hello?x=/../api/hello",
        "/apihello",
        "/api%2fhello",
    ] {
        let ended = get(&api, &format!("{origin}{path}")).await;
        assert!(text(&ended).starts_with("error: "), "{path}: {ended:?}");
        assert_eq!(ended.denials.len(), 1, "{path}: {ended:?}");
        assert_eq!(web.take().len(), 0, "{path}");
    }
    // What is sent is what was checked, not what was written.
    for (path, sent) in [
        ("/api/hello", "/api/hello"),
        ("/api", "/api"),
        ("/%61pi/hello", "/%61pi/hello"),
        ("/api/x/../hello", "/api/hello"),
        ("/hello/../api/x", "/api/x"),
        ("/api/hello?x=/../..%2f", "/api/hello?x=/../..%2f"),
    ] {
        let ended = get(&api, &format!("{origin}{path}")).await;
        assert_eq!((text(&ended).as_str(), ended.denials.len()), ("200 hello", 0), "{path}");
        let [request] = &web.take()[..] else { panic!("one request: {path}") };
        assert_eq!(request.path(), sent);
    }
}

/// N7: no header stands for another method, path or host.
#[tokio::test]
async fn n7_no_header_stands_for_another_method_path_or_host() {
    let web = web::serve();
    let origin = web.origin();
    let scene = Scene::new(Effect::Read)
        .needs(&format!("[needs.http.\"{origin}\"]\nmethods = [\"GET\"]"))
        .grants(&format!("http = [\"{origin}\"]"));
    for name in [
        "X-HTTP-Method-Override",
        "x-http-method",
        "X-METHOD-OVERRIDE",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Forwarded-Host",
        "X-Host",
        "Forwarded",
    ] {
        let headers = json!([[name, "DELETE"], [name, "/admin"], ["X-Word", "one"]]);
        let arguments = json!({ "url": format!("{origin}/hello"), "headers": headers });
        assert_eq!(text(&scene.run("http", arguments).await), "200 hello");
        let [request] = &web.take()[..] else { panic!("one request") };
        assert_eq!(request.header("x-word"), Some("one"), "what is the guest's is sent");
        assert_eq!(request.header(&name.to_ascii_lowercase()), None, "{name}");
    }
}

/// N8: what a guest writes into a header is that one header, and no other one and no other request.
#[tokio::test]
async fn n8_a_header_is_one_header() {
    let web = web::serve();
    let scene = open(&web);
    let url = format!("{}/echo", web.origin());
    for headers in [
        json!([["X-A", "b\r\nX-C: d"]]),
        json!([["X-A", "b\nX-C: d"]]),
        json!([["X-A", "b\r\n\r\nGET /admin HTTP/1.1\r\n\r\n"]]),
        json!([["X-A", "b\u{0}"]]),
        json!([["X-A\r\nX-C", "b"]]),
        json!([["X-A: b", "c"]]),
        json!([["X A", "b"]]),
        json!([["", "b"]]),
        json!([["Transfer-Encoding", "identity"], ["Content-Length", "5"]]),
        json!([["Upgrade", "h2c"], ["HTTP2-Settings", "AAMAAABk"]]),
        json!([["Keep-Alive", "timeout=1"]]),
    ] {
        let arguments =
            json!({ "method": "POST", "url": url, "headers": headers, "body": "words" });
        let ended = scene.run("http", arguments).await;
        assert!(text(&ended).starts_with("error: "), "{headers}: {ended:?}");
        assert_eq!(web.take().len(), 0, "{headers}");
    }
    // What is between two neighbours is the host's: taken out, and the rest is sent.
    let headers = json!([
        ["TE", "trailers, gzip"],
        ["Trailer", "X-C"],
        ["Expect", "100-continue"],
        ["Proxy-Whatever", "x"],
        ["X-A", "b"],
    ]);
    let arguments = json!({ "method": "POST", "url": url, "headers": headers, "body": "words" });
    assert_eq!(text(&scene.run("http", arguments).await), "200 words");
    let [request] = &web.take()[..] else { panic!("one request") };
    assert_eq!(request.header("x-a"), Some("b"));
    for name in ["te", "trailer", "expect", "proxy-whatever"] {
        assert_eq!(request.header(name), None, "{name}");
    }
}

/// N8: a body is as long as its head says, and the head says it once.
#[tokio::test]
async fn n8_a_body_that_is_not_as_long_as_was_said_is_an_error() {
    let web = web::serve();
    let scene = open(&web);
    let url = format!("{}/echo", web.origin());
    for headers in [
        json!([["Content-Length", "5"], ["Content-Length", "6"]]),
        json!([["Content-Length", "5"], ["Content-Length", "5"]]),
        json!([["Content-Length", "5, 6"]]),
        json!([["Content-Length", "-5"]]),
        json!([["Content-Length", "+5"]]),
        json!([["Content-Length", "0x5"]]),
        json!([["Content-Length", "500"]]),
        json!([["Content-Length", "6"]]),
        json!([["Content-Length", "4"]]),
    ] {
        let arguments =
            json!({ "method": "POST", "url": url, "headers": headers, "body": "words" });
        let ended = scene.run("http", arguments).await;
        assert!(text(&ended).starts_with("error: "), "{headers}: {ended:?}");
        // One that is too long may have begun; nothing of it went over what was said.
        assert!(web.take().iter().all(|request| request.body != "words"), "{headers}");
        scene.works().await;
    }
    for headers in [json!([]), json!([["Content-Length", "5"]])] {
        let arguments =
            json!({ "method": "POST", "url": url, "headers": headers, "body": "words" });
        assert_eq!(text(&scene.run("http", arguments).await), "200 words");
        let [request] = &web.take()[..] else { panic!("one request") };
        let said = [request.header("content-length"), request.header("transfer-encoding")];
        assert!(matches!(said, [Some("5"), None] | [None, Some("chunked")]), "{said:?}");
    }
}
