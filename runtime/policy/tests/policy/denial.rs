//! What a denial says: which wall, and each line that would open it.

use std::fmt::Write as _;

use ringfence_event::{Access, Denial, RootName};
use ringfence_policy::{Decision, FlagGrants, Full, Grants, Protocol};
use url::Url;

use crate::scene::{decide, grants, permit, policy};

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

[needs.http."http://10.0.0.5:8080"]

[needs.memory.user]
access = "write"

[needs.sockets."db.example:5432"]

[needs.sockets."cache.example:6379"]
protocol = "tcp"

[needs.sockets."10.0.0.5:53"]
protocol = "udp"

[function.look]
description = "Looks."

[needs.config]
keys = ["base-url", "region", "app.name"]
"#;

const GRANTS: &str = r#"[grant-set.shared]
fs.notes = { path = "/secret/notes" }
memory.user = "read"

[tenant.acme.tool.files]
use = ["shared"]
fs.workspace = { path = "/secret/work", access = "read" }
http = [
    { url = "https://api.example", methods = ["GET"], paths = ["/repos/acme/**"] },
    "http://10.0.0.5:8080",
    "https://*.wide.example",
]
config.region = "secret-region"
config.never = "secret value"
sockets = ["db.example:5432", "10.0.0.5:53", "other.example:1"]
"#;

fn sentences(grants: &Grants) -> String {
    let policy = policy(MANIFEST, grants);
    let mut shown = String::new();
    for function in ["send", "look", "add"] {
        let permit = permit(&policy, function);
        let _ = writeln!(shown, "# {function}: {}", permit.effect());
        let mut say = |denial: Denial| {
            let _ = writeln!(shown, "{:?}: {denial}\n", denial.code);
        };
        for (path, access) in [
            ("/workspace/a.txt", Access::Write),
            ("/notes/a.txt", Access::Read),
            ("/notes/a.txt", Access::Write),
            ("/etc/passwd", Access::Read),
        ] {
            let open = permit
                .roots()
                .iter()
                .any(|root| path[1..].starts_with(root.name.as_str()) && root.access >= access);
            if !open {
                say(permit.deny_file(path, access));
            }
        }
        for (method, url) in [
            ("GET", "https://api.example/repos/acme/x"),
            ("POST", "https://api.example/repos/acme/x"),
            ("DELETE", "https://api.example/repos/other"),
            ("GET", "https://user:pass@api.example/users?token=1#part"),
            ("GET", "https://elsewhere.example/"),
            ("PUT", "https://a.wide.example/"),
        ] {
            if let Err(denial) = permit.http(method, &Url::parse(url).unwrap()) {
                say(denial);
            }
        }
        for access in [Access::Read, Access::Write] {
            if let Err(denial) = permit.bucket("user", access) {
                say(denial);
            }
        }
        for key in ["base-url", "region", "never", "app.name", "other"] {
            if let Err(denial) = permit.config(key) {
                say(denial);
            }
        }
        if let Err(denial) = permit.config_all() {
            say(denial);
        }
        let open = |protocol, to: &str| {
            let mut passes = permit.sockets().iter();
            passes.any(|pass| pass.protocol == protocol && pass.to == to.parse().unwrap())
        };
        for (protocol, to, address) in [
            (Protocol::Tcp, "db.example:5432", "93.184.216.34:5432"),
            (Protocol::Tcp, "db.example:22", "93.184.216.34:22"),
            (Protocol::Tcp, "cache.example:6379", "93.184.216.35:6379"),
            (Protocol::Udp, "10.0.0.5:53", "10.0.0.5:53"),
            (Protocol::Tcp, "10.0.0.5:53", "10.0.0.5:53"),
            (Protocol::Tcp, "10.0.0.6:22", "10.0.0.6:22"),
        ] {
            if !open(protocol, to) {
                let name = to.rsplit_once(':').unwrap().0;
                let name = Some(name).filter(|name| name.ends_with("example"));
                say(permit.deny_socket(protocol, address.parse().unwrap(), name));
            }
        }
        for name in ["cache.example", "other.example", "exfil.example"] {
            say(permit.deny_name(name));
        }
        say(permit.deny_name_address("db.example"));
        if permit.sockets().is_empty() {
            say(permit.deny_sockets(Protocol::Udp));
            say(permit.deny_sockets(Protocol::Tcp));
        }
    }
    shown
}

#[test]
fn by_a_file() {
    let shown = sentences(&grants(GRANTS).unwrap());
    assert!(!shown.contains("secret"), "no path of the host and no value is in a denial");
    assert!(!shown.contains("pass@"), "no password is in a denial");
    insta::assert_snapshot!(shown);
}

#[test]
fn by_flags() {
    let flags = FlagGrants {
        fs: vec![("workspace".parse().unwrap(), "/secret".into(), Access::Read)],
        http: vec!["https://api.example".into()],
        ..FlagGrants::default()
    };
    insta::assert_snapshot!(sentences(&Grants::from_flags(flags).unwrap()));
}

#[test]
fn whatever_is_written() {
    let policy = policy(MANIFEST, &grants(GRANTS).unwrap());
    let permit = permit(&policy, "send");
    let url = |text: &str| Url::parse(text).unwrap();
    let mut shown = String::new();
    for denial in [
        permit.deny_file("", Access::Read),
        permit.deny_file("/", Access::Read),
        permit.deny_file("workspace/a", Access::Read),
        permit.deny_file("/.ssh/id", Access::Read),
        permit.deny_file("/workspace/fifo", Access::Read),
        permit.deny_file("/work\u{202e}\nspace", Access::Read),
        permit.deny_outside("/workspace/../etc/passwd", Access::Write),
        permit.deny_protected("/workspace/ringfence.toml", Access::Write),
        permit.config("no key\u{202e}").unwrap_err(),
        permit.config("*").unwrap_err(),
        permit.deny_bind(Protocol::Tcp, "0.0.0.0:80".parse().unwrap()),
        permit.deny_socket(Protocol::Udp, "224.0.0.1:5353".parse().unwrap(), None),
        permit.deny_name("exfil\u{202e}.example"),
        permit.deny_name("db.example."),
        permit.deny_url("GET", "not a url\u{1b}[31m"),
        permit.deny_address("GET", &url("https://a.wide.example/")),
        permit.deny_address("GET", &url("https://api.example/repos/x")),
        permit.deny_address("GET", &url("http://127.0.0.1:9/")),
        permit.http("GET", &url("https://api.example/repos/..%2fadmin")).unwrap_err(),
        permit.http("CONNECT", &url("https://api.example/repos/x")).unwrap_err(),
        permit.http("get", &url("https://api.example/repos/x")).unwrap_err(),
        permit.http("GET", &url("ftp://api.example/repos/x")).unwrap_err(),
        permit.bucket("default", Access::Read).unwrap_err(),
        permit.bucket("tenant", Access::Write).unwrap_err(),
    ] {
        let _ = writeln!(shown, "{:?}: {denial}\n", denial.code);
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn of_whole_calls() {
    let tool = "[tenant.acme.tool.files]\n";
    let pin = format!("digest = \"sha256:{}\"", "0".repeat(64));
    let mut shown = String::new();
    for (text, function) in [
        ("", "look"),
        ("[tenant.other.tool.files]", "look"),
        ("[tenant.acme.tool.other]", "look"),
        (tool, "none"),
        (&format!("{tool}{pin}"), "look"),
        (&format!("{tool}functions = [\"send\"]"), "look"),
    ] {
        match decide(&policy(MANIFEST, &grants(text).unwrap()), function) {
            Decision::Denial(denial) => {
                let _ = writeln!(shown, "{:?}: {denial}\n", denial.code);
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    insta::assert_snapshot!(shown);
}

/// What is full, and the line that bounds it: the root's where it stands, or the tenant's.
#[test]
fn by_a_quota() {
    let quota = "[tenant.acme.quota]\nbytes = \"1GiB\"\nhandles = 10\n\n";
    let text = GRANTS.replace("access = \"read\"", "access = \"write\", bytes = \"1MiB\"");
    let text = format!("{quota}{}", text.replace("/secret/notes\"", "/secret/notes\", files = 3"));
    let fulls =
        [Full::RootBytes, Full::RootFiles, Full::TenantBytes, Full::TenantFiles, Full::Handles];
    let mut shown = String::new();
    for grants in [grants(&text).unwrap(), Grants::from_flags(FlagGrants::default()).unwrap()] {
        let permit = permit(&policy(MANIFEST, &grants), "send");
        for root in ["workspace", "notes"] {
            for full in fulls {
                let (root, path) = (root.parse().unwrap(), format!("/{root}/a.txt"));
                let denial = permit.deny_quota(&root, &path, Access::Write, full);
                let _ = writeln!(shown, "{full:?}: {denial}\n");
            }
        }
    }
    insta::assert_snapshot!(shown);
}

/// The root `scratch` has no folder, so no line and no flag names one.
#[test]
fn of_scratch() {
    let manifest = format!("{MANIFEST}\n[needs.fs.scratch]\naccess = \"write\"\n");
    let flags = |scratch| Grants::from_flags(FlagGrants { scratch, ..FlagGrants::default() });
    let file = format!("{GRANTS}fs.scratch = {{ access = \"read\" }}\n");
    let mut shown = String::new();
    for granted in [
        grants(GRANTS).unwrap(),
        grants(&file).unwrap(),
        flags(None).unwrap(),
        flags(Some(Access::Read)).unwrap(),
    ] {
        let permit = permit(&policy(&manifest, &granted), "send");
        for denial in [
            permit.file("/scratch/a.txt", Access::Write).unwrap_err(),
            permit.deny_quota(
                &RootName::scratch(),
                "/scratch/a.txt",
                Access::Write,
                Full::RootBytes,
            ),
        ] {
            let _ = writeln!(shown, "{:?}: {denial}\n", denial.code);
        }
    }
    insta::assert_snapshot!(shown);
}
