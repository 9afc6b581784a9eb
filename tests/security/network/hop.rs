//! Redirects, followed by the one tool that follows them: each hop is a request of its own.

use ringfence_event::{DenialCode, Effect, Limit, Outcome};
use ringfence_sandbox::{Ended, Tool};
use ringfence_tests::{
    ENGINE, Scene, guest, text,
    web::{self, Web, say},
};
use ringfence_vault::{Environment, Vault};
use serde_json::json;

const TOKEN: &str = "a-token-for-one-origin";

/// `fetch` as it is given to agents.
fn fetch() -> Scene {
    Scene::of(Tool::load(&ENGINE, &guest("fetch")).unwrap(), Effect::Read)
}

async fn go(scene: &Scene, url: &str) -> Ended {
    scene.run("get", json!({ "url": url })).await
}

/// A server that leads from `/to/URL` to that URL, and has a page at every other place.
fn server() -> Web {
    Web::new(|request, stream| match request.path().strip_prefix("/to/") {
        Some(url) => say(stream, "302 Found", &format!("location: {url}\r\n"), b""),
        None => say(stream, "200 OK", "content-type: text/plain\r\n", b"the page"),
    })
}

/// What it was asked for.
fn asked(web: &Web) -> Vec<String> {
    web.take().iter().map(|request| request.path().to_owned()).collect()
}

/// N4: a tool that follows is held to its permit at each hop, and ends at a number of them.
#[tokio::test]
async fn n4_each_hop_of_a_redirect_is_asked_for() {
    let (web, private) = (server(), web::serve());
    let (origin, port) = (web.origin(), private.port());
    let follow = |limits: &str| {
        fetch()
            .needs(&format!("[needs.http.\"{origin}\"]\n[needs.http.\"http://*:{port}\"]"))
            .grants(&format!(
                "http = [{{ url = \"{origin}\", paths = [\"/to/**\", \"/page\"] }}, \"http://*:{port}\"]"
            ))
            .grants(limits)
    };
    let scene = follow("");
    for (to, hops) in [("/page", 2), ("/to//page", 3)] {
        let ended = go(&scene, &format!("{origin}/to/{to}")).await;
        assert!(text(&ended).contains("the page") && ended.denials.is_empty(), "{to}: {ended:?}");
        assert_eq!((ended.usage.requests, web.take().len()), (hops, hops as usize), "{to}");
    }
    for (to, code) in [
        // Another port, another scheme, another path, and names and addresses of what is private.
        (format!("http://127.0.0.1:{}/", port ^ 1), DenialCode::NotNeeded),
        (origin.replace("http:", "https:"), DenialCode::NotNeeded),
        ("/admin".to_owned(), DenialCode::NotGranted),
        ("http://169.254.169.254/latest/meta-data".to_owned(), DenialCode::NotNeeded),
        (format!("http://localhost:{port}/"), DenialCode::AddressForbidden),
        (format!("//127.0.0.1:{port}/"), DenialCode::AddressForbidden),
        (format!("http://[::ffff:127.0.0.1]:{port}/"), DenialCode::AddressForbidden),
        (format!("http://2130706433:{port}/"), DenialCode::AddressForbidden),
    ] {
        let ended = go(&scene, &format!("{origin}/to/{to}")).await;
        assert!(matches!(ended.outcome, Outcome::Failed { .. }), "{to}: {ended:?}");
        let [denial] = &ended.denials[..] else { panic!("{to}: {ended:?}") };
        assert_eq!(denial.code, code, "{to}: {denial}");
        assert_eq!(asked(&web), [format!("/to/{to}")]);
    }
    assert_eq!(private.connections(), 0);
    // What is no web address at all is not even asked for.
    for to in ["file:///etc/passwd", "javascript:alert(1)", "http://"] {
        let ended = go(&scene, &format!("{origin}/to/{to}")).await;
        assert!(matches!(ended.outcome, Outcome::Failed { .. }), "{to}: {ended:?}");
        assert_eq!((ended.denials.len(), web.take().len()), (0, 1), "{to}");
    }
}

/// N4: whoever redirects for ever is left after a number of hops, which is the tool's, or at its limit
/// of requests, which is the host's.
#[tokio::test]
async fn n4_endless_redirects_come_to_an_end() {
    let web = Web::new(|request, stream| {
        say(stream, "307 Temporary Redirect", &format!("location: {}x\r\n", request.path()), b"")
    });
    let origin = web.origin();
    let scene = |limits: &str| {
        fetch()
            .needs(&format!("[needs.http.\"{origin}\"]"))
            .grants(&format!("http = [\"{origin}\"]\n{limits}"))
    };
    let ended = go(&scene(""), &origin).await;
    assert!(matches!(ended.outcome, Outcome::Failed { .. }), "{ended:?}");
    assert_eq!((ended.usage.requests, web.take().len()), (6, 6));
    let ended = go(&scene("limits.requests = 3"), &origin).await;
    assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Requests });
    assert_eq!(web.take().len(), 3);
}

/// N5: a credential goes with each hop to its own origin and with none to another; nothing else of one
/// request goes along with the next.
#[tokio::test]
async fn n5_no_credential_goes_along_to_another_origin() {
    let (web, other) = (server(), server());
    let (origin, elsewhere) = (web.origin(), other.origin());
    let look_up = |name: &str| (name == "HOST_TOKEN").then(|| TOKEN.into());
    let scene = fetch()
        .vault(Vault::new().with_environment(Environment::new(look_up)))
        .needs(&format!("[needs.http.\"{origin}\"]"))
        .needs("secret = { header = \"Authorization\", value = \"Bearer {TOKEN}\" }")
        .needs(&format!("[needs.http.\"{elsewhere}\"]"))
        .grants(&format!("http = [\"{origin}\", \"{elsewhere}\"]"))
        .grants("secret.TOKEN = { env = \"HOST_TOKEN\" }");
    let sent = |web: &Web| -> Vec<Option<String>> {
        let requests = web.take();
        requests.iter().map(|request| request.header("authorization").map(str::to_owned)).collect()
    };
    let own = Some(format!("Bearer {TOKEN}"));
    for (url, to_own, to_other) in [
        (format!("{origin}/to//page"), vec![own.clone(); 2], vec![]),
        (format!("{origin}/to/{elsewhere}/page"), vec![own.clone()], vec![None]),
        // There and back: the host puts it in again where it belongs.
        (format!("{elsewhere}/to/{origin}/page"), vec![own.clone()], vec![None]),
        (format!("{origin}/to/{elsewhere}/to/{origin}/page"), vec![own.clone(); 2], vec![None]),
    ] {
        let ended = go(&scene, &url).await;
        assert!(text(&ended).contains("the page"), "{url}: {ended:?}");
        assert_eq!((sent(&web), sent(&other)), (to_own, to_other), "{url}");
    }
    let ended = go(&scene, &format!("{origin}/to/{elsewhere}/page")).await;
    assert!(text(&ended).contains("the page"));
    let [request] = &other.take()[..] else { panic!("one request") };
    let mut names: Vec<&str> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "accept-encoding", "host", "user-agent"]);
}
