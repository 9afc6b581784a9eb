//! Mistakes in files, and what people are told.

use ringfence_event::Limit;
use ringfence_policy::{BudgetEntry, Manifest, Window};

use crate::scene::grants;

fn secret(origin: &str, header: &str, value: &str) -> String {
    let secret = format!("{{ header = \"{header}\", value = \"{value}\" }}");
    format!("[needs.http.\"{origin}\"]\nsecret = {secret}")
}

#[test]
fn mistakes_in_manifests() {
    let good = "[tool]\nname = \"files\"\ncomponent = \"files.wasm\"\n";
    let mut shown = String::new();
    for text in [
        "",
        "[tool]\nname = \"files\"",
        "[tool]\nname = \"my_files\"\ncomponent = \"x.wasm\"",
        "[tool]\nname = \"files\"\ncomponent = \"/x.wasm\"",
        "[tool]\nname = \"files\"\ncomponent = \"a//x.wasm\"",
        "[tool]\nname = \"files\"\ncomponent = \"x.wasm\"\nversion = 1",
        &format!("{good}[needs.fs.workspace]\nacess = \"read\""),
        &format!("{good}[needs.fs.workspace]\naccess = \"rw\""),
        &format!("{good}[needs.fs.workspace]\nreason = \"x\""),
        &format!("{good}[needs.fs.\"../etc\"]\naccess = \"read\""),
        &format!("{good}[needs]\nfs.workspace = \"read\""),
        &format!("{good}[needs.http.\"https://a/b\"]\n"),
        &format!("{good}[needs.http.\"https://u:p@a\"]\n"),
        &format!("{good}[needs.http.\"https://a\"]\nmethods = [\"get\"]"),
        &format!("{good}[needs.http.\"https://a\"]\nmethods = [\"CONNECT\"]"),
        &format!("{good}[needs.http.\"https://a\"]\npaths = [\"/a/../b\"]"),
        &format!("{good}[needs.http.\"https://a\"]\nsecret = {{ header = \"authorization\" }}"),
        &format!("{good}{}", secret("https://a", "x-key", "Bearer TOKEN")),
        &format!("{good}{}", secret("https://a", "x-key", "{TOKEN}:{OTHER}")),
        &format!("{good}{}", secret("https://a", "x-key", "Bearer {token}")),
        &format!("{good}{}", secret("https://a", "x-key", "Bearer\\n {TOKEN}")),
        &format!("{good}{}", secret("https://a", "Host", "{TOKEN}")),
        &format!("{good}{}", secret("https://a", "Content-Length", "{TOKEN}")),
        &format!("{good}{}", secret("https://a", "x key", "{TOKEN}")),
        &format!("{good}{}", secret("https://*.a", "x-key", "{TOKEN}")),
        &format!("{good}{}", secret("*", "x-key", "{TOKEN}")),
        &format!(
            "{good}[needs.http.\"https://a\"]\nsecret = [{{ header = \"a\", value = \"{{A}}\" }}, {{ header = \"A\", value = \"{{B}}\" }}]"
        ),
        &format!("{good}[needs.http.\"https://a\"]\nsecret = \"TOKEN\""),
        &format!("{good}[needs.http.\"https://a\"]\n[needs.http.\"https://A:443\"]"),
        &format!("{good}[needs.memory.world]\naccess = \"read\""),
        &format!("{good}[needs.sockets.\"a\"]"),
        &format!("{good}[needs.sockets.\"*:1\"]"),
        &format!("{good}[needs.sockets.\"a:1\"]\nprotocol = \"icmp\""),
        &format!("{good}[needs.sockets.\"a:1\"]\naccess = \"read\""),
        &format!("{good}[needs.sockets.\"a:1\"]\n[needs.sockets.\"A:01\"]"),
        &format!("{good}[needs.config]"),
        &format!("{good}[needs.config]\nkeys = \"a\""),
        &format!("{good}[needs.config]\nkeys = [\"a b\"]"),
        &format!("{good}[limits]\nfuel = 200"),
        &format!("{good}[limits]\nfuel = \"200m\""),
        &format!("{good}[limits]\nmemory = \"64MB\""),
        &format!("{good}[limits]\ntime = \"5\""),
        &format!("{good}[limits]\nrequests = \"5\""),
        &format!("{good}[limits]\nsteps = 5"),
        &format!("{good}[function.read]\neffect = \"harmless\""),
        &format!("{good}[[hold]]\neffect = \"unsafe\""),
        &format!("{good}[tool]\n"),
        "tool = \u{202e}",
    ] {
        let error = Manifest::parse("tool.toml", text).map(|_| "ACCEPTED");
        shown += &format!("{}\n", error.map_or_else(|error| error.render(), ToString::to_string));
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn mistakes_in_grants() {
    let tool = "[tenant.acme.tool.files]\n";
    let mut shown = String::new();
    for text in [
        "[tenant.Acme]",
        "[tenant.acme]\nmodels = [\"x\"]",
        "[[tenant.acme.hold]]",
        "[[tenant.acme.hold]]\nanswer = \"call\"",
        "[[tenant.acme.hold]]\nfunction = \"send\"",
        "[[tenant.acme.hold]]\ntool = \"mail_out\"",
        "[[tenant.acme.hold]]\neffect = \"harmful\"",
        "[[tenant.acme.hold]]\neffect = []",
        "[[tenant.acme.hold]]\neffect = 7",
        "[[tenant.acme.hold]]\nhost = \"https://pay.example\"",
        "[[tenant.acme.hold]]\nhost = \"*\"",
        "[[tenant.acme.hold]]\npath = \"secrets/**\"",
        "[[tenant.acme.hold]]\npath = \"/workspace/../x\"",
        "[[tenant.acme.hold]]\nhost = \"a\"\npath = \"/a\"",
        "[[tenant.acme.hold]]\nargument = \"/a\"",
        "[[tenant.acme.hold]]\nargument = { at = \"/a\" }",
        "[[tenant.acme.hold]]\nargument = { matches = \"*\" }",
        "[[tenant.acme.hold]]\nargument = { at = \"a\", matches = \"*\" }",
        "[[tenant.acme.hold]]\nargument = { at = \"/a~2\", matches = \"*\" }",
        "[[tenant.acme.hold]]\nspent = 0.2",
        "[[tenant.acme.hold]]\nspent = \"$1\"",
        "[[tenant.acme.hold]]\neffect = \"unsafe\"\non-expiry = \"approve\"",
        "[[tenant.acme.hold]]\neffect = \"unsafe\"\nexpires = \"0s\"",
        "[[tenant.acme.hold]]\neffect = \"unsafe\"\nexpires = \"1h\"\non-expiry = \"ask\"",
        "[[tenant.acme.hold]]\neffect = \"unsafe\"\nanswer = \"always\"",
        "[[tenant.acme.hold]]\neffects = \"unsafe\"",
        "[tenant.acme]\nhold = { effect = \"unsafe\" }",
        "[tenant.acme.budget]\nusd = 5",
        "[tenant.acme.budget]\nusd = \"5\"",
        "[tenant.acme.budget]\nusd = \"$5 per day\"",
        "[tenant.acme.budget]\nusd = \"5 per year\"",
        "[tenant.acme.budget]\nusd = \"0 per day\"",
        "[tenant.acme.budget]\nfuel = \"5g per day\"",
        "[tenant.acme.budget]\ncalls = \"ten per hour\"",
        "[tenant.acme.budget]\nsteps = \"10 per hour\"",
        "[tenant.acme.tool.my_files]",
        "[defaults]\nlimit.fuel = \"1G\"",
        &format!("{tool}use = [\"web\"]"),
        &format!("[grant-set.net]\n{tool}use = [\"web\"]"),
        &format!("{tool}digest = \"sha256:00\""),
        &format!("{tool}functions = [\"Read\"]"),
        &format!("{tool}fs.workspace = \"/srv\""),
        &format!("{tool}fs.workspace = {{ path = \"\" }}"),
        &format!("{tool}fs.workspace = {{ access = \"read\" }}"),
        &format!("{tool}fs.scratch = {{ path = \"a\", access = \"write\" }}"),
        &format!("{tool}fs.scratch = {{ path = \"\" }}"),
        "[grant-set.x]\nfs.workspace = { access = \"write\" }",
        "[grant-set.x]\nfs.scratch = { path = \"a\" }",
        &format!("{tool}fs.workspace = {{ path = \"a\", acces = \"read\" }}"),
        &format!("{tool}fs.workspace = {{ path = \"a\", bytes = 100 }}"),
        &format!("{tool}fs.workspace = {{ path = \"a\", files = \"10\" }}"),
        "[tenant.acme.quota]\nbyte = \"1GiB\"",
        "[tenant.acme.quota]\nfiles = -1",
        &format!(
            "[grant-set.x]\nfs.a = {{ path = \"1\" }}\n{tool}use = [\"x\"]\nfs.a = {{ path = \"2\" }}"
        ),
        &format!("{tool}http = \"https://a\""),
        &format!("{tool}http = [\"https://a/b\"]"),
        &format!("{tool}http = [7]"),
        &format!("{tool}http = [{{ url = \"https://a\", adress = \"10.0.0.5\" }}]"),
        &format!("{tool}http = [{{ url = \"https://a\", address = \"ten\" }}]"),
        &format!("{tool}http = [{{ url = \"https://*.a\", address = \"10.0.0.5\" }}]"),
        &format!("{tool}http = [{{ methods = [\"GET\"] }}]"),
        &format!("{tool}memory.user = \"all\""),
        &format!("{tool}config.a = 7"),
        &format!("{tool}config.\"a b\" = \"x\""),
        &format!("[grant-set.x]\nconfig.a = \"1\"\n{tool}use = [\"x\"]\nconfig.a = \"2\""),
        &format!("{tool}secret.TOKEN = \"X\""),
        &format!("{tool}secret.token = {{ env = \"X\" }}"),
        &format!("{tool}secret.TOKEN = {{ }}"),
        &format!("{tool}secret.TOKEN = {{ env = \"X\", file = \"x\" }}"),
        &format!("{tool}secret.TOKEN = {{ env = \"A=B\" }}"),
        &format!("{tool}secret.TOKEN = {{ environment = \"X\" }}"),
        &format!("{tool}secret.TOKEN = {{ file = \"\" }}"),
        &format!("{tool}secret.TOKEN = {{ keyring = \"service\" }}"),
        &format!("{tool}secret.TOKEN = {{ keyring = \"a@b\", account = \"c\" }}"),
        &format!("{tool}secret.TOKEN = {{ keyring = \"{{user}}\", account = \"c\" }}"),
        &format!("{tool}secret.TOKEN = {{ env = \"X\", user = true }}"),
        &format!("{tool}secret.TOKEN = {{ env = \"X_{{user}}\" }}"),
        &format!("[grant-set.x]\nsecret.TOKEN = {{ env = \"X\" }}\n{tool}"),
        &format!("{tool}sockets = \"a:1\""),
        &format!("{tool}sockets = [\"a\"]"),
        &format!("{tool}sockets = [7]"),
        &format!("{tool}sockets = [{{ to = \"a:1\", adress = \"10.0.0.5\" }}]"),
        &format!("{tool}sockets = [{{ to = \"a:1\", address = \"ten\" }}]"),
        &format!("{tool}sockets = [{{ to = \"a:1\", address = \"0.0.0.0\" }}]"),
        &format!("{tool}sockets = [{{ to = \"127.0.0.1:1\", address = \"10.0.0.5\" }}]"),
        &format!("{tool}limits.fuel = 5"),
    ] {
        let error = grants(text).map(|_| "ACCEPTED");
        shown += &format!("{}\n", error.map_or_else(|error| error.render(), ToString::to_string));
    }
    insta::assert_snapshot!(shown);
}

/// What a tenant may spend is what is written, in its unit and its window; what is not written is not
/// counted.
#[test]
fn a_budget_is_what_is_written() {
    let check = |lines: &str, expected: &[(Limit, u64, Window, u32)]| {
        let read = grants(&format!("[tenant.acme.budget]\n{lines}\n")).unwrap();
        let budget = read.tenant_budget(&"acme".parse().unwrap()).expect("a table");
        let entry = |(limit, of, window, line): &(_, _, _, _)| BudgetEntry {
            limit: *limit,
            of: *of,
            window: *window,
            line: *line,
        };
        assert_eq!(budget.entries, expected.iter().map(entry).collect::<Vec<_>>(), "{lines}");
        assert!(read.tenant_budget(&"other".parse().unwrap()).is_none());
    };
    check("calls = \"10k per hour\"", &[(Limit::Calls, 10_000, Window::Hour, 2)]);
    check("tokens = \"5M per week\"", &[(Limit::Tokens, 5_000_000, Window::Week, 2)]);
    check(
        "# what a month may cost\nusd = \"12.50 per month\"\nfuel = \"3G per day\"",
        &[
            (Limit::Fuel, 3_000_000_000, Window::Day, 4),
            (Limit::Money, 12_500_000_000, Window::Month, 3),
        ],
    );
    check("", &[]);
}

/// A tenant's table with a sink of these lines.
fn with_sink(lines: &str) -> String {
    format!("[[tenant.acme.sink]]\n{lines}\n")
}

#[test]
fn mistakes_in_sinks() {
    let file = "name = \"audit\"\nfile = \"audit.jsonl\"\n";
    let hook = "name = \"hook\"\nurl = \"https://hooks.example/a\"\nsecret = { env = \"HOOK\" }\n";
    let mut shown = String::new();
    for text in [
        with_sink("file = \"audit.jsonl\""),
        with_sink("name = \"Audit\"\nfile = \"audit.jsonl\""),
        with_sink("name = \"../x\"\nfile = \"audit.jsonl\""),
        with_sink("name = \"audit\""),
        with_sink("name = \"audit\"\nfile = \"\""),
        with_sink(&format!("{file}url = \"https://a\"")),
        with_sink(&format!("{file}secret = {{ env = \"A\" }}")),
        with_sink(&format!("{file}old-secret = {{ env = \"A\" }}")),
        with_sink(&format!("{file}timeout = \"5s\"")),
        with_sink(&format!("{file}give-up = \"5s\"")),
        with_sink(&format!("{file}keep = 3")),
        with_sink(&format!("{file}rotate = \"1KiB\"")),
        with_sink(&format!("{file}rotate = \"1MiB\"\nkeep = 100000")),
        with_sink(&format!("{file}events = [\"run.complete\"]")),
        with_sink(&format!("{file}events = [\"run.*\", \"sing.*\"]")),
        with_sink(&format!("{file}require = true")),
        with_sink(&format!("{file}\n[[tenant.acme.sink]]\n{file}")),
        with_sink("name = \"hook\"\nurl = \"https://hooks.example/a\""),
        with_sink("name = \"hook\"\nurl = \"http://8.8.8.8/a\"\nsecret = { env = \"A\" }"),
        with_sink("name = \"hook\"\nurl = \"https://u:p@a/\"\nsecret = { env = \"A\" }"),
        with_sink("name = \"hook\"\nurl = \"mailto:a\"\nsecret = { env = \"A\" }"),
        with_sink(
            "name = \"hook\"\nurl = \"https://a/\"\nsecret = { env = \"A_{user}\", user = true }",
        ),
        with_sink(&format!("{hook}timeout = \"0s\"")),
        with_sink(&format!("{hook}give-up = \"0s\"")),
        with_sink(&format!("{hook}sync = true")),
        with_sink(&format!("{hook}rotate = \"1MiB\"")),
    ] {
        let error = grants(&text).unwrap_err();
        shown += &format!("{text}---\n{}\n", error.render());
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn sinks_are_what_their_lines_say() {
    let text = with_sink("name = \"plain\"\nfile = \"plain.jsonl\"")
        + &with_sink(
            "name = \"audit\"\nfile = \"/var/audit.jsonl\"\nevents = [\"run.*\", \"call.denied\"]\n\
             required = true\nsync = false\nrotate = \"64MiB\"\nkeep = 2",
        )
        + &with_sink(
            "name = \"hook\"\nurl = \"http://127.0.0.1:8080/a\"\nsecret = { file = \"key\" }",
        )
        + &with_sink(
            "name = \"slow\"\nurl = \"https://hooks.example/a\"\nsecret = { env = \"A\" }\n\
             old-secret = { env = \"B\" }\ntimeout = \"30s\"\ngive-up = \"10min\"",
        );
    let grants = grants(&text).unwrap();
    let shown: Vec<String> =
        grants.sinks().map(|(tenant, sink)| format!("{tenant} {sink:#?}")).collect();
    insta::assert_snapshot!(shown.join("\n"));
}
