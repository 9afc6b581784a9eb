//! Requests: which of them leave, where to, and what of them is counted.

mod answer;
mod held;
mod hop;
mod name;
mod request;
mod shared;
mod shut;
mod sockets;
mod tls;

use ringfence_event::{DenialCode, Effect, FileOwner, Limit, Outcome};
use ringfence_sandbox::Ended;
use ringfence_tests::{
    Scene, text,
    web::{self, Web},
};
use serde_json::json;

fn scene(need: &str, grant: &str) -> Scene {
    let methods = "methods = [\"GET\", \"POST\", \"PUT\"]";
    Scene::new(Effect::Unsafe)
        .needs(&format!("[needs.http.\"{need}\"]\n{methods}"))
        .grants(&format!("http = [{grant}]"))
}

fn open(web: &Web) -> Scene {
    scene(&web.origin(), &format!("\"{}\"", web.origin()))
}

async fn get(scene: &Scene, url: &str) -> Ended {
    scene.run("http", json!({ "url": url })).await
}

/// Whether a request leaves is the word of need and grant; whether a connection is made, that of the
/// address. A name never opens an address that is not public, and a wildcard is a name.
#[tokio::test]
async fn an_address_that_is_not_public_is_opened_by_itself_alone() {
    let web = web::serve();
    let (origin, port) = (web.origin(), web.port());
    let by_name = format!("http://localhost:{port}");
    let exact = format!("\"{origin}\"");
    let wild = format!("http://*:{port}");
    let pinned = format!("{{ url = \"http://db.example:{port}\", address = \"127.0.0.1\" }}");
    let db = format!("http://db.example:{port}");
    for (need, grant, url, denied) in [
        (origin.as_str(), String::new(), &origin, Some(DenialCode::NotGranted)),
        (by_name.as_str(), exact.clone(), &origin, Some(DenialCode::NotNeeded)),
        (wild.as_str(), format!("\"{wild}\""), &origin, Some(DenialCode::AddressForbidden)),
        ("*", "\"*\"".to_owned(), &origin, Some(DenialCode::AddressForbidden)),
        (by_name.as_str(), format!("\"{by_name}\""), &by_name, Some(DenialCode::AddressForbidden)),
        (origin.as_str(), exact.clone(), &origin, None),
        (wild.as_str(), exact, &origin, None),
        (db.as_str(), pinned, &db, None),
    ] {
        let scene = scene(need, &grant);
        let ended = get(&scene, &format!("{url}/hello")).await;
        let said = text(&ended);
        match denied {
            None => {
                assert_eq!(
                    (said.as_str(), ended.denials.len()),
                    ("200 hello", 0),
                    "{need} {grant}"
                );
                let [request] = &web.take()[..] else { panic!("one request") };
                assert_eq!(request.header("host"), url.strip_prefix("http://"));
            }
            Some(code) => {
                assert!(said.starts_with("error: "), "{need} {grant}: {said}");
                let [denial] = &ended.denials[..] else { panic!("{need} {grant}: {ended:?}") };
                assert_eq!(denial.code, code, "{need} {grant}: {denial}");
                assert!(!denial.remedies.is_empty(), "{denial}");
                assert!(web.take().is_empty(), "{need} {grant}");
            }
        }
    }
}

/// N1: however it is spelled, it is the same address.
#[tokio::test]
async fn n1_spellings_of_an_address_are_that_address() {
    let web = web::serve();
    let port = web.port();
    let any = scene("*", "\"*\"");
    for host in [
        "127.1",
        "0x7f.1",
        "2130706433",
        "0177.0.0.1",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "0",
        "0.0.0.0",
    ] {
        let ended = get(&any, &format!("http://{host}:{port}/hello")).await;
        assert!(text(&ended).starts_with("error: "), "{host}: {ended:?}");
        let [denial] = &ended.denials[..] else { panic!("{host}: {ended:?}") };
        assert_eq!(denial.code, DenialCode::AddressForbidden, "{host}");
    }
    assert!(web.take().is_empty());
    let ended = get(&open(&web), &format!("http://127.1:{port}/hello")).await;
    assert_eq!(text(&ended), "200 hello");
}

/// N7: a method or a path that one side leaves out is not sent, however it is spelled.
#[tokio::test]
async fn n7_methods_and_paths_narrow_on_both_sides_and_so_does_the_effect() {
    let web = web::serve();
    let origin = web.origin();
    let needs = |lines: &str| format!("[needs.http.\"{origin}\"]\n{lines}");
    let wide = needs("methods = [\"GET\", \"POST\"]");
    let cases: [(Effect, String, String, &str, &str, Option<(DenialCode, FileOwner)>); 8] = [
        (Effect::Unsafe, wide.clone(), format!("\"{origin}\""), "POST", "/echo", None),
        (
            Effect::Read,
            wide.clone(),
            format!("\"{origin}\""),
            "POST",
            "/echo",
            Some((DenialCode::EffectForbids, FileOwner::ToolAuthor)),
        ),
        (
            Effect::Pure,
            wide.clone(),
            format!("\"{origin}\""),
            "GET",
            "/hello",
            Some((DenialCode::EffectForbids, FileOwner::ToolAuthor)),
        ),
        (
            Effect::Unsafe,
            needs("methods = [\"GET\"]"),
            format!("\"{origin}\""),
            "POST",
            "/echo",
            Some((DenialCode::NotNeeded, FileOwner::ToolAuthor)),
        ),
        (
            Effect::Unsafe,
            wide.clone(),
            format!("{{ url = \"{origin}\", methods = [\"GET\"] }}"),
            "POST",
            "/echo",
            Some((DenialCode::NotGranted, FileOwner::Operator)),
        ),
        (
            Effect::Unsafe,
            wide.clone(),
            format!("{{ url = \"{origin}\", paths = [\"/api/**\"] }}"),
            "GET",
            "/hello",
            Some((DenialCode::NotGranted, FileOwner::Operator)),
        ),
        (
            Effect::Unsafe,
            wide.clone(),
            format!("{{ url = \"{origin}\", paths = [\"/api/**\"] }}"),
            "GET",
            "/api/hello",
            None,
        ),
        // N7: a spelling that a server may read as another path is not sent at all.
        (
            Effect::Unsafe,
            wide,
            format!("{{ url = \"{origin}\", paths = [\"/api/**\"] }}"),
            "GET",
            "/api/..%2fhello",
            Some((DenialCode::NeverOpen, FileOwner::Operator)),
        ),
    ];
    for (effect, needs, grant, method, path, denied) in cases {
        let scene = Scene::new(effect).needs(&needs).grants(&format!("http = [{grant}]"));
        let arguments = json!({ "method": method, "url": format!("{origin}{path}"), "body": (method == "POST").then_some("words") });
        let ended = scene.run("http", arguments).await;
        let said = text(&ended);
        match denied {
            None => {
                assert!(said.starts_with("200 ") && ended.denials.is_empty(), "{path}: {ended:?}");
                assert_eq!(web.take().len(), 1);
            }
            Some((code, owner)) => {
                assert!(said.starts_with("error: "), "{method} {path}: {ended:?}");
                let [denial] = &ended.denials[..] else { panic!("{method} {path}: {ended:?}") };
                assert_eq!(denial.code, code, "{method} {path}: {denial}");
                let named = denial.remedies.iter().any(|remedy| remedy.owner == owner);
                assert!(named || code == DenialCode::NeverOpen, "{method} {path}: {denial}");
                assert!(web.take().is_empty(), "{method} {path}");
            }
        }
    }
}

/// N4: a redirect is an answer like any other; where it leads is the guest's next request.
#[tokio::test]
async fn n4_the_host_follows_no_redirect() {
    let web = web::serve();
    let ended = get(&open(&web), &format!("{}/redirect", web.origin())).await;
    assert_eq!(text(&ended), "302 /hello");
    assert_eq!(web.take().len(), 1);
    assert_eq!(ended.usage.requests, 1);
}

/// N8: who is asked stands in the URL, and nowhere else.
#[tokio::test]
async fn n8_host_and_connection_headers_are_not_the_guests() {
    let web = web::serve();
    let scene = open(&web);
    for (name, value) in [
        ("Host", "evil.example"),
        ("Connection", "close"),
        ("Transfer-Encoding", "chunked"),
        ("Proxy-Authorization", "Basic eA=="),
    ] {
        let arguments =
            json!({ "url": format!("{}/hello", web.origin()), "headers": [[name, value]] });
        let ended = scene.run("http", arguments).await;
        assert!(text(&ended).starts_with("error: "), "{name}: {ended:?}");
        assert!(web.take().is_empty(), "{name}");
    }
    let headers = json!([["X-Word", "one"], ["Accept-Encoding", "gzip"]]);
    let arguments = json!({ "url": format!("{}/hello", web.origin()), "headers": headers });
    let ended = scene.run("http", arguments).await;
    assert_eq!(text(&ended), "200 hello");
    let [request] = &web.take()[..] else { panic!("one request") };
    assert_eq!(request.header("x-word"), Some("one"));
    // N11: nothing is asked to be compressed, whatever the guest can undo.
    assert_eq!(request.header("accept-encoding"), Some("identity"));
    // User name and password are nothing that a URL may carry.
    let ended = get(&scene, &format!("http://me:word@127.0.0.1:{}/hello", web.port())).await;
    assert!(text(&ended).starts_with("error: "), "{ended:?}");
    assert!(web.take().is_empty());
}

/// N10: a server that does not answer, or not to the end, holds a call no longer than its time.
#[tokio::test]
async fn n10_a_server_that_keeps_silent_is_given_up() {
    let web = web::serve();
    for path in ["/silent", "/half"] {
        let scene = open(&web).grants("limits.time = \"100ms\"");
        let ended = get(&scene, &format!("{}{path}", web.origin())).await;
        assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Time }, "{path}");
        assert_eq!(ended.usage.requests, 1);
        scene.works().await;
    }
    let ended = get(&open(&web), &format!("{}/broken", web.origin())).await;
    assert!(text(&ended).starts_with("error: "), "{ended:?}");
    // Nobody is there at all.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let origin = format!("http://{closed}");
    let ended = get(&scene(&origin, &format!("\"{origin}\"")), &origin).await;
    assert!(text(&ended).starts_with("error: "), "{ended:?}");
}
