//! Which request carries a secret, and where the operator keeps it.

use std::{fmt::Write as _, path::PathBuf};

use ringfence_event::{Denial, SecretFault, SecretPlace};
use ringfence_policy::{Answer, Grants, HttpPass, Manifest, Permit, Request};
use url::Url;

use crate::scene::{grants, permit, policy};

const MANIFEST: &str = r#"[tool]
name = "files"
component = "files.wasm"

[needs.http."https://api.example"]
methods = ["GET", "POST"]
paths = ["/repos/**"]
secret = [
    { header = "Authorization", value = "Bearer {TOKEN}" },
    { header = "x-key", value = "{KEY}" },
]

[needs.http."https://*"]

[needs.http."http://dev.example:8080"]
secret = { header = "x-key", value = "{KEY}" }
"#;

const GRANTS: &str = r#"[tenant.acme.tool.files]
http = ["https://api.example", "https://*", { url = "http://dev.example:8080", address = "127.0.0.1" }]
secret.TOKEN = { env = "ACME_TOKEN" }
secret.KEY = { file = "keys/{user}", user = true }
secret.UNUSED = { env = "UNUSED" }
"#;

fn names(pass: &HttpPass<'_>) -> Vec<String> {
    pass.secrets.iter().map(|secret| format!("{}={}", secret.header, secret.name)).collect()
}

fn send(permit: &Permit, method: &str, url: &str) -> Result<Vec<String>, Denial> {
    permit.http(method, &Url::parse(url).unwrap()).map(|pass| names(&pass))
}

/// S3: a secret goes with the requests of the need that names it, and with no other.
#[test]
fn s3_a_secret_goes_where_the_need_that_names_it_goes() {
    let policy = policy(MANIFEST, &grants(GRANTS).unwrap());
    let check = |function: &str, method: &str, url: &str, expected: Option<&[&str]>| {
        let sent = send(&permit(&policy, function), method, url).ok();
        let expected = expected.map(|names| names.iter().map(|n| (*n).to_owned()).collect());
        assert_eq!(sent, expected, "{function} {method} {url}");
    };
    let both: &[&str] = &["authorization=TOKEN", "x-key=KEY"];
    check("send", "GET", "https://api.example/repos/a", Some(both));
    check("send", "POST", "https://api.example/repos/a", Some(both));
    check("look", "GET", "https://api.example/repos/a", Some(both));
    check("look", "POST", "https://api.example/repos/a", None);
    check("add", "GET", "https://api.example/repos/a", None);
    // Other requests to the same host are the wildcard's.
    check("send", "GET", "https://api.example/users", Some(&[]));
    check("send", "GET", "https://api.example/repos/../users", Some(&[]));
    check("send", "GET", "https://api.example/repos/..%2fusers", None);
    check("send", "PUT", "https://api.example/repos/a", None);
    for url in [
        "https://other.example/repos/a",
        "https://api.example.evil.example/repos/a",
        "https://other.example/?to=https://api.example/repos/a",
    ] {
        check("send", "GET", url, Some(&[]));
    }
    check("send", "GET", "https://api.example:8443/repos/a", None);
    check("send", "GET", "http://api.example/repos/a", None);
    check("send", "GET", "http://dev.example:8080/x", Some(&["x-key=KEY"]));
}

#[test]
fn a_secret_is_kept_where_its_line_says() {
    let policy = policy(MANIFEST, &grants(GRANTS).unwrap());
    let permit = permit(&policy, "send");
    let place = |name: &str| permit.secret(&name.parse().unwrap());
    let variable = "ACME_TOKEN".to_owned();
    assert_eq!(place("TOKEN"), Some(SecretPlace::Environment { variable }));
    let path = PathBuf::from("/etc/ringfence/keys/ann@example.com");
    assert_eq!(place("KEY"), Some(SecretPlace::File { path }));
    assert_eq!(place("OTHER"), None);
    let mut all: Vec<String> = permit.secrets().map(ToString::to_string).collect();
    all.dedup();
    assert_eq!(all, ["TOKEN", "KEY"]);
    let keyring = GRANTS.replace(
        "{ env = \"ACME_TOKEN\" }",
        "{ keyring = \"api\", account = \"{user}-x\", user = true }",
    );
    let policy = crate::scene::policy(MANIFEST, &grants(&keyring).unwrap());
    let (service, account) = ("api".to_owned(), "ann@example.com-x".to_owned());
    let place = crate::scene::permit(&policy, "send").secret(&"TOKEN".parse().unwrap());
    assert_eq!(place, Some(SecretPlace::Keyring { service, account }));
}

#[test]
fn what_a_secret_lacks_is_named() {
    let mut shown = String::new();
    let mut say = |what: &str, denial: Denial| {
        let _ = writeln!(shown, "# {what}\n{:?}: {denial}\n", denial.code);
    };
    let denied = |grants: &Grants, url: &str| {
        send(&permit(&policy(MANIFEST, grants), "send"), "GET", url).unwrap_err()
    };
    let without = |part: &str| {
        assert!(GRANTS.contains(part), "{part}");
        grants(&GRANTS.replace(part, "")).unwrap()
    };
    let url = "https://api.example/repos/a";
    say("one secret", denied(&without("secret.TOKEN = { env = \"ACME_TOKEN\" }\n"), url));
    let neither = grants("[tenant.acme.tool.files]\nhttp = [\"https://api.example\"]\n").unwrap();
    say("both secrets", denied(&neither, url));
    say("the origin by its name", denied(&without("\"https://api.example\", "), url));
    let nothing = grants("[tenant.acme.tool.files]\nhttp = [\"https://*\"]\n").unwrap();
    say("all of them", denied(&nothing, url));
    let flags = ringfence_policy::FlagGrants {
        http: vec!["https://api.example".into()],
        ..ringfence_policy::FlagGrants::default()
    };
    say("flags alone", denied(&Grants::from_flags(flags).unwrap(), url));
    let clear = without(", address = \"127.0.0.1\"");
    say("no address", denied(&clear, "http://dev.example:8080/x"));
    let private = grants(&GRANTS.replace("127.0.0.1", "10.0.0.5")).unwrap();
    say("another machine", denied(&private, "http://me:pw@dev.example:8080/x?a=1#b"));
    let given = policy(MANIFEST, &grants(GRANTS).unwrap());
    let url = Url::parse("https://me:pw@api.example/repos/a#part").unwrap();
    for (name, fault) in [("TOKEN", SecretFault::Missing), ("KEY", SecretFault::Exposed)] {
        let name = name.parse().unwrap();
        say("a fault", permit(&given, "send").deny_fault(&name, "GET", &url, fault));
    }
    assert!(!shown.contains("ACME_TOKEN") && !shown.contains("keys/"), "{shown}");
    assert!(!shown.contains("pw@"), "{shown}");
    insta::assert_snapshot!(shown);
}

#[test]
fn a_secret_is_part_of_what_is_asked_and_decided() {
    let asks = |text: &str| Manifest::parse("tool.toml", text).unwrap().asks();
    insta::assert_snapshot!(asks(MANIFEST).join("\n"));
    for (from, to) in [
        ("{TOKEN}", "{TOKEN2}"),
        ("Bearer", "Basic"),
        ("\"x-key\", value = \"{KEY}\" },\n]", "\"x-kex\", value = \"{KEY}\" },\n]"),
    ] {
        assert_ne!(asks(MANIFEST), asks(&MANIFEST.replace(from, to)), "{from}");
    }
    // The order of a list and the case of a header mean nothing.
    assert_eq!(asks(MANIFEST), asks(&MANIFEST.replace("Authorization", "authorization")));
    let version = |text: &str| policy(MANIFEST, &grants(text).unwrap()).version();
    for (from, to) in [
        ("ACME_TOKEN", "OTHER_TOKEN"),
        ("{ env = \"ACME_TOKEN\" }", "{ file = \"ACME_TOKEN\" }"),
        ("{ file = \"keys/{user}\", user = true }", "{ file = \"keys/user\" }"),
        ("secret.TOKEN = { env = \"ACME_TOKEN\" }\n", ""),
    ] {
        assert_ne!(version(GRANTS), version(&GRANTS.replace(from, to)), "{from}");
    }
}

/// What is explained is what is decided, with the secret's own line beside the others.
#[test]
fn a_secret_is_explained() {
    let look = |text: &str, request: Option<&Request>| {
        let (user, function) = ("ann".parse().unwrap(), "look".parse().unwrap());
        policy(MANIFEST, &grants(text).unwrap()).explain(&user, &function, request, |_| true)
    };
    let url = Url::parse("https://api.example/repos/a").unwrap();
    let request = Request::Http { method: "GET".into(), url };
    let line = "secret.KEY = { file = \"…\", user = true }";
    let allowed = look(GRANTS, Some(&request)).asked.unwrap();
    let Answer::Allowed { by, .. } = allowed else { panic!("{allowed:?}") };
    assert!(by.iter().any(|remedy| remedy.allow == line), "{by:?}");
    let missing = GRANTS.replace("secret.TOKEN", "secret.TOKEN2");
    let denied = look(&missing, Some(&request)).asked.unwrap();
    let Answer::Denied(denial) = denied else { panic!("{denied:?}") };
    assert!(denial.to_string().contains("secret.TOKEN = "), "{denial}");
    // In the list of everything too.
    let opens = |text: &str| {
        let explained = look(text, None);
        let open = explained.open.iter().any(|opening| {
            opening.what.contains("https://api.example at /repos/**")
                && opening.by.iter().any(|remedy| remedy.allow == line)
        });
        (open, explained.shut.iter().any(|denial| denial.to_string().contains("secret TOKEN")))
    };
    assert_eq!(opens(GRANTS), (true, true), "by its name and not by the wildcard");
    assert_eq!(opens(&missing), (false, true));
}
