//! What is open, and by which lines; decided by the same code as a call.

use std::{fmt::Write as _, net::IpAddr};

use ringfence_event::Access;
use ringfence_policy::{Answer, Grants, Request};
use url::Url;

use crate::scene::{grants, permit, policy};

const MANIFEST: &str = r#"[tool]
name = "files"
component = "files.wasm"

[needs.fs.workspace]
access = "write"

[needs.fs.notes]
access = "read"

[needs.http."https://api.example"]
methods = ["GET", "POST"]
paths = ["/repos/**"]

[needs.http."https://*.wide.example"]

[needs.http."https://absent.example"]
methods = ["PUT"]

[needs.memory.user]
access = "write"

[needs.config]
keys = ["base-url", "unset"]

[needs.sockets."db.example:5432"]

[needs.sockets."cache.example:6379"]

[needs.sockets."192.0.2.1:53"]
protocol = "udp"

[function.look]
effect = "read"
"#;

const GRANTS: &str = r#"[grant-set.shared]
fs.notes = { path = "/secret/notes" }
memory.user = "read"
config.base-url = "secret"

[tenant.acme.tool.files]
functions = ["add", "look", "send"]
use = ["shared"]
fs.workspace = { path = "/secret/work", access = "read" }
fs.extra = { path = "/secret/extra" }
http = [
    { url = "https://api.example", methods = ["GET"], paths = ["/repos/acme/**"] },
    "https://*",
    { url = "http://db.example", address = "10.0.0.5" },
]
config.not-asked = "secret"
sockets = [
    "db.example:5432",
    { to = "cache.example:6379", address = "10.0.0.6" },
    "192.0.2.1:53",
    "other.example:1",
]
"#;

/// The documentation's addresses stand for public ones.
fn is_public(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.is_documentation())
}

fn explain(grants: &Grants, function: &str, request: Option<&Request>) -> String {
    let policy = policy(MANIFEST, grants);
    let (user, function) = ("ann".parse().unwrap(), function.parse().unwrap());
    let explained = policy.explain(&user, &function, request, is_public);
    let mut shown = String::new();
    let mut say = |what: &str, answer: &Answer| match answer {
        Answer::Denied(denial) => shown += &format!("{denial}\n"),
        Answer::Allowed { by, provided } => {
            shown += &format!("{what}, provided {provided:?}\n");
            by.iter().for_each(|line| shown += &format!("  by {line}\n"));
        }
    };
    match &explained.asked {
        Some(answer) => say("allowed", answer),
        None => say("call", &explained.call),
    }
    for opening in &explained.open {
        let _ = writeln!(shown, "{}", opening.what);
        opening.by.iter().for_each(|line| shown += &format!("  by {line}\n"));
    }
    for denial in &explained.shut {
        let _ = writeln!(shown, "{denial}");
    }
    shown
}

#[test]
fn everything_a_function_may_do() {
    let mut shown = String::new();
    for (text, function) in [
        (GRANTS, "look"),
        (GRANTS, "send"),
        (GRANTS, "add"),
        (GRANTS, "write"),
        (GRANTS, "none"),
        ("", "look"),
    ] {
        let said = explain(&grants(text).unwrap(), function, None);
        let _ = writeln!(shown, "# {function}\n{said}");
    }
    assert!(!shown.contains("secret"), "no path and no value of the operator's");
    insta::assert_snapshot!(shown);
}

fn requests() -> Vec<Request> {
    let file = |path: &str, access| Request::File { path: path.to_owned(), access };
    let http = |method: &str, url: &str| Request::Http {
        method: method.to_owned(),
        url: Url::parse(url).unwrap(),
    };
    let memory = |bucket: &str, access| Request::Memory { bucket: bucket.to_owned(), access };
    let config = |key: &str| Request::Config { key: key.to_owned() };
    let socket = |to: &str| Request::Socket { to: to.parse().unwrap() };
    vec![
        file("/", Access::Read),
        file("/", Access::Write),
        file("/workspace", Access::Read),
        file("/workspace/a/../b.txt", Access::Read),
        file("/workspace/a/../../notes/b", Access::Read),
        file("/workspace/a.txt", Access::Write),
        file("/notes", Access::Read),
        file("/etc/passwd", Access::Read),
        file("workspace/a", Access::Read),
        http("GET", "https://api.example/repos/acme/x"),
        http("GET", "https://api.example/repos/other"),
        http("POST", "https://api.example/repos/acme/x"),
        http("GET", "https://a.wide.example/"),
        http("GET", "https://elsewhere.example/"),
        memory("user", Access::Read),
        memory("user", Access::Write),
        memory("world", Access::Read),
        config("base-url"),
        config("unset"),
        config("not-asked"),
        socket("db.example:5432"),
        socket("db.example:22"),
        socket("cache.example:6379"),
        socket("10.0.0.6:6379"),
        socket("192.0.2.1:53"),
        socket("192.0.2.2:53"),
        socket("other.example:1"),
    ]
}

#[test]
fn single_requests() {
    let grants = grants(GRANTS).unwrap();
    let mut shown = String::new();
    for request in requests() {
        let said = explain(&grants, "look", Some(&request));
        let _ = writeln!(shown, "{request:?}\n{said}");
    }
    // What only reads has no sockets.
    for request in requests().iter().filter(|request| matches!(request, Request::Socket { .. })) {
        let said = explain(&grants, "send", Some(request));
        let _ = writeln!(shown, "{request:?}\n{said}");
    }
    assert!(!shown.contains("secret"));
    insta::assert_snapshot!(shown);
}

/// What is explained is what a guest would meet.
#[test]
fn an_answer_is_the_permits() {
    let grants = grants(GRANTS).unwrap();
    let policy = policy(MANIFEST, &grants);
    let user = "ann".parse().unwrap();
    for function in ["look", "send", "add"] {
        let permit = permit(&policy, function);
        for request in requests() {
            let allowed = match &request {
                Request::File { path, access: Access::Read } if path == "/" => true,
                Request::File { path, access } => permit.file(path, *access).is_ok(),
                Request::Http { method, url } => permit.http(method, url).is_ok(),
                Request::Memory { bucket, access } => permit.bucket(bucket, *access).is_ok(),
                Request::Config { key } => permit.config(key).is_ok(),
                Request::Socket { to } => permit.sockets().iter().any(|pass| {
                    let granted = pass.address.is_some() && pass.address == to.address();
                    pass.to == *to || pass.to.port() == to.port() && granted
                }),
            };
            let function = function.parse().unwrap();
            let explained = policy.explain(&user, &function, Some(&request), is_public);
            let answer = explained.asked.unwrap();
            assert_eq!(answer.is_allowed(), allowed, "{function} {request:?}");
            // Each side that allows it is named.
            if let (Answer::Allowed { by, .. }, false) =
                (&answer, matches!(&request, Request::File { path, .. } if path == "/"))
            {
                assert_eq!(by.len(), 2, "{by:?}");
            }
        }
    }
}

/// A name may lead to any address; one that is written out is judged at once.
#[test]
fn an_address_that_is_not_public_is_denied_as_it_would_be() {
    let manifest = "[tool]\nname = \"files\"\ncomponent = \"x.wasm\"\n[needs.http.\"*\"]\n";
    for (granted, url, allowed) in [
        ("\"*\"", "http://10.0.0.5/", false),
        ("\"*\"", "http://[::ffff:10.0.0.5]/", false),
        ("\"*\"", "http://192.0.2.1/", true),
        ("\"*\"", "http://name.example/", true),
        ("\"*\", \"http://10.0.0.5\"", "http://10.0.0.5/", true),
    ] {
        let grants = grants(&format!("[tenant.acme.tool.files]\nhttp = [{granted}]\n")).unwrap();
        let request = Request::Http { method: "GET".to_owned(), url: Url::parse(url).unwrap() };
        let policy = policy(manifest, &grants);
        let (user, function) = ("ann".parse().unwrap(), "look".parse().unwrap());
        let explained = policy.explain(&user, &function, Some(&request), is_public);
        assert_eq!(explained.asked.unwrap().is_allowed(), allowed, "{granted} {url}");
    }
}

/// `scratch` is explained as any other root, by lines that have no folder.
#[test]
fn scratch_is_opened_by_both_sides() {
    let manifest = "[tool]\nname = \"files\"\ncomponent = \"x.wasm\"\n\
        [needs.fs.scratch]\naccess = \"write\"\n";
    let grants = grants("[tenant.acme.tool.files]\nfs.scratch = { access = \"write\" }\n").unwrap();
    let policy = policy(manifest, &grants);
    let (user, function) = ("ann".parse().unwrap(), "send".parse().unwrap());
    let explained = policy.explain(&user, &function, None, is_public);
    let [opening] = &explained.open[..] else { panic!("{:?}", explained.open) };
    assert_eq!((opening.what.as_str(), explained.shut.len()), ("write /scratch", 0));
    let by: Vec<&str> = opening.by.iter().map(|line| line.allow.as_str()).collect();
    assert_eq!(by, ["access = \"write\"", "fs.scratch = { access = \"write\" }"]);
    // Nothing about it is strange, wherever the home folder of whoever asks is.
    assert_eq!(policy.review(Some("/".as_ref())), []);
}
