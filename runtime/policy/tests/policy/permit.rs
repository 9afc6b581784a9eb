//! What a permit opens: the least of need, grant and effect.

use ringfence_event::{Access, CallLimits, Digest, Money, RootName};
use ringfence_policy::{
    CallRequest, Decision, FlagGrants, Fuel, Grants, LimitTable, Quota, TenantQuota, ToolPolicy,
};
use url::Url;

use crate::scene::{decide, grants, permit, policy};

const MANIFEST: &str = r#"
[tool]
name = "files"
component = "files.wasm"
[needs.fs.workspace]
access = "write"
[needs.fs.notes]
access = "read"
[needs.fs.never]
access = "read"
[needs.http."https://api.example"]
methods = ["GET", "POST"]
[needs.http."http://*"]
[needs.memory.user]
access = "write"
[needs.config]
keys = ["base-url", "region", "unset"]
[limits]
fuel = "5M"
memory = "1GiB"
"#;

const GRANTS: &str = r#"
[defaults.limits]
memory = "64MiB"
time = "10s"
[tenant.acme.tool.files]
fs.workspace = { path = "work", access = "write" }
fs.notes = { path = "/srv/notes", access = "write" }
fs.extra = { path = "/srv/extra" }
http = ["https://api.example", "http://*", "http://127.1", { url = "http://db.example", address = "::ffff:10.0.0.5" }]
memory.user = "write"
config.base-url = "https://x"
config.region = ""
config.not-asked = "x"
limits.fuel = "2M"
"#;

#[test]
fn roots_are_the_least_of_three() {
    let policy = policy(MANIFEST, &grants(GRANTS).unwrap());
    for (function, expected) in [
        ("add", vec![]),
        (
            "look",
            vec![
                ("notes", "/srv/notes", Access::Read),
                ("workspace", "/etc/ringfence/work", Access::Read),
            ],
        ),
        (
            "write",
            vec![
                ("notes", "/srv/notes", Access::Read),
                ("workspace", "/etc/ringfence/work", Access::Write),
            ],
        ),
    ] {
        let permit = permit(&policy, function);
        let roots: Vec<_> = permit
            .roots()
            .iter()
            .map(|root| {
                let path = root.path.as_ref().unwrap();
                (root.name.as_str(), path.to_str().unwrap(), root.access)
            })
            .collect();
        assert_eq!(roots, expected, "{function}");
    }
}

#[test]
fn requests_pass_and_carry_the_granted_address() {
    let policy = policy(MANIFEST, &grants(GRANTS).unwrap());
    let check = |function: &str, method: &str, url: &str, expected: Option<Option<&str>>| {
        let permit = permit(&policy, function);
        let pass = permit.http(method, &Url::parse(url).unwrap()).ok();
        let address = pass.map(|pass| pass.address.map(|address| address.to_string()));
        let expected = expected.map(|address| address.map(str::to_owned));
        assert_eq!(address, expected, "{function} {method} {url}");
    };
    check("look", "GET", "https://api.example/x", Some(None));
    check("look", "POST", "https://api.example/x", None);
    check("send", "POST", "https://api.example/x", Some(None));
    check("send", "PUT", "https://api.example/x", None);
    check("add", "GET", "https://api.example/x", None);
    check("look", "GET", "http://127.0.0.1/", Some(Some("127.0.0.1")));
    check("look", "GET", "http://0x7f.1/", Some(Some("127.0.0.1")));
    check("look", "GET", "http://db.example/", Some(Some("10.0.0.5")));
    check("look", "GET", "http://10.0.0.6/", Some(None));
    check("look", "GET", "http://other.example/", Some(None));
}

#[test]
fn buckets_follow_the_effect() {
    let policy = policy(MANIFEST, &grants(GRANTS).unwrap());
    for (function, read, write) in
        [("add", false, false), ("look", true, false), ("send", true, true)]
    {
        let permit = permit(&policy, function);
        assert_eq!(permit.bucket("user", Access::Read).is_ok(), read, "{function}");
        assert_eq!(permit.bucket("user", Access::Write).is_ok(), write, "{function}");
        assert!(permit.bucket("tenant", Access::Read).is_err());
        assert!(permit.bucket("", Access::Read).is_err());
    }
}

#[test]
fn values_are_those_both_asked_and_set() {
    let policy = policy(MANIFEST, &grants(GRANTS).unwrap());
    for (function, open) in [("add", false), ("look", true), ("send", true)] {
        let permit = permit(&policy, function);
        let value = |key| permit.config(key).ok();
        assert_eq!(value("base-url"), open.then_some("https://x"), "{function}");
        assert_eq!(value("region"), open.then_some(""), "{function}");
        for key in ["unset", "not-asked", "BASE-URL", "base-url ", "", "*"] {
            assert_eq!(value(key), None, "{function} {key}");
        }
        let all = permit.config_all().ok();
        assert_eq!(all, open.then(|| vec![("base-url", "https://x"), ("region", "")]));
    }
    let nothing = grants("[tenant.acme.tool.files]").unwrap();
    let policy = crate::scene::policy(MANIFEST, &nothing);
    assert!(permit(&policy, "send").config_all().is_err());
}

#[test]
fn limits_are_the_least() {
    let granted = grants(GRANTS).unwrap();
    let policy = policy(MANIFEST, &granted);
    let expected =
        CallLimits { fuel: 2_000_000, memory: 64 << 20, time: 10_000, ..CallLimits::DEFAULT };
    assert_eq!(permit(&policy, "look").limits(), &expected);
    let left = CallLimits { fuel: 7, ..CallLimits::DEFAULT };
    let (user, function) = ("ann".parse().unwrap(), "look".parse().unwrap());
    let arguments = Digest::of(b"x");
    let request = CallRequest {
        user: &user,
        function: &function,
        arguments,
        arguments_text: "{}",
        limits: Some(&left),
        rules: None,
        spent: Money::ZERO,
        approval: None,
    };
    let Decision::Permit(permit) = policy.decide(&request) else { panic!("denied") };
    assert_eq!(permit.limits(), &CallLimits { fuel: 7, ..expected });
    assert_eq!(permit.arguments(), arguments);

    let flags = FlagGrants {
        limits: LimitTable { fuel: Some(Fuel(3)), ..LimitTable::default() },
        ..FlagGrants::default()
    };
    let policy = crate::scene::policy(MANIFEST, &granted.with_flags(flags).unwrap());
    assert_eq!(policy.limits(), &CallLimits { fuel: 3, ..expected });
}

#[test]
fn flags_add_to_a_file() {
    let flags = || FlagGrants {
        fs: vec![("never".parse().unwrap(), "/flag".into(), Access::Read)],
        ..FlagGrants::default()
    };
    let both = policy(MANIFEST, &grants(GRANTS).unwrap().with_flags(flags()).unwrap());
    assert_eq!(permit(&both, "look").roots().len(), 3);
    let alone = policy(MANIFEST, &Grants::from_flags(flags()).unwrap());
    assert_eq!(permit(&alone, "look").roots().len(), 1);
    let bad = FlagGrants { http: vec!["https://x/y".into()], ..FlagGrants::default() };
    assert_eq!(
        Grants::from_flags(bad).unwrap_err().to_string(),
        "command line: --http: `https://x/y` is no origin: it ends after host and port; a path goes into `paths`"
    );
}

/// A quota is of the grant that states it, and the tenant's of all its tools, whoever calls.
#[test]
fn quotas_are_what_the_operator_wrote() {
    let text =
        GRANTS.replace("path = \"work\"", "path = \"work\", bytes = \"1GiB\", files = \"10k\"");
    let text = format!("[tenant.acme.quota]\nbytes = \"2GiB\"\nfiles = 7\nhandles = 9\n\n{text}");
    let granted = grants(&text).unwrap();
    let flags = || FlagGrants {
        fs: vec![("never".parse().unwrap(), "/flag".into(), Access::Write)],
        ..FlagGrants::default()
    };
    for granted in [granted.clone(), granted.with_flags(flags()).unwrap()] {
        let permit = permit(&policy(MANIFEST, &granted), "send");
        let tenant =
            TenantQuota { held: Quota { bytes: Some(2 << 30), files: Some(7) }, handles: Some(9) };
        assert_eq!(*permit.tenant_quota(), tenant);
        for root in permit.roots() {
            let expected = match root.path.as_ref().unwrap().ends_with("work") {
                true => Quota { bytes: Some(1 << 30), files: Some(10_000) },
                false => Quota::default(),
            };
            assert_eq!(root.quota, expected, "{}", root.name);
        }
    }
    let alone = policy(MANIFEST, &Grants::from_flags(flags()).unwrap());
    assert_eq!(*permit(&alone, "send").tenant_quota(), TenantQuota::default());
}

#[test]
fn the_version_is_of_the_meaning() {
    let version = |manifest: &str, text: &str| policy(manifest, &grants(text).unwrap()).version();
    let first = version(MANIFEST, GRANTS);
    assert_eq!(
        first,
        version(&format!("# remark\n{MANIFEST}"), &format!("\n\n# remark\n{GRANTS}"))
    );
    for (from, to) in [
        ("path = \"work\"", "path = \"other\""),
        ("path = \"work\", access = \"write\"", "path = \"work\""),
        ("path = \"work\"", "path = \"work\", bytes = \"1GiB\""),
        ("path = \"work\"", "path = \"work\", files = \"10k\""),
        ("[tenant.acme.tool", "[tenant.acme.quota]\nhandles = 7\n[tenant.acme.tool"),
        ("\"http://127.1\", ", ""),
        ("memory.user = \"write\"", "memory.user = \"read\""),
        ("config.region = \"\"", "config.region = \"eu\""),
        ("limits.fuel = \"2M\"", ""),
        ("time = \"10s\"", "time = \"11s\""),
        ("limits.fuel", "functions = [\"look\"]\nlimits.fuel"),
    ] {
        assert_ne!(GRANTS, GRANTS.replace(from, to));
        assert_ne!(first, version(MANIFEST, &GRANTS.replace(from, to)), "{from}");
    }
    assert_ne!(
        first,
        version(&MANIFEST.replace("[needs.fs.never]\naccess = \"read\"", ""), GRANTS)
    );
    assert_ne!(first, version(&format!("{MANIFEST}[function.look]\neffect = \"pure\""), GRANTS));
}

#[test]
fn a_manifest_has_the_last_word_on_effects() {
    let manifest = format!("{MANIFEST}[function.send]\neffect = \"read\"\n");
    let policy = policy(&manifest, &grants(GRANTS).unwrap());
    assert!(permit(&policy, "send").roots().iter().all(|root| root.access == Access::Read));
    assert!(matches!(decide(&policy, "none"), Decision::Denial(_)));
}

#[test]
fn flags_speak_for_a_component_without_a_manifest() {
    let flags = FlagGrants {
        fs: vec![("workspace".parse().unwrap(), "/work".into(), Access::Read)],
        http: vec!["https://api.example".into()],
        ..FlagGrants::default()
    };
    let grants = Grants::from_flags(flags).unwrap();
    let facts = crate::scene::facts();
    let manifest = grants.bare_manifest(facts.name.clone());
    let policy = ToolPolicy::compile(&"acme".parse().unwrap(), &facts, &manifest, &grants);
    let permit = permit(&policy, "send");
    assert_eq!(permit.roots().len(), 1);
    assert!(permit.http("POST", &Url::parse("https://api.example/x").unwrap()).is_ok());
    let denial = permit.http("GET", &Url::parse("https://other.example/").unwrap()).unwrap_err();
    let remedies: Vec<_> = denial.remedies.iter().map(|remedy| remedy.allow.as_str()).collect();
    assert_eq!(remedies, ["--http https://other.example"]);
    let denial = permit.deny_file("/workspace/a", Access::Write);
    assert_eq!(denial.remedies.len(), 1, "{denial}");
}

/// `scratch` is given without a folder, by a file, a set or a flag, and is no folder of anybody's.
#[test]
fn scratch_is_given_without_a_folder() {
    let manifest = format!("{MANIFEST}[needs.fs.scratch]\naccess = \"write\"\n");
    let tool = "[tenant.acme.tool.files]\n";
    let flags = |access| FlagGrants { scratch: access, ..FlagGrants::default() };
    let by_flag = |access| Grants::from_flags(flags(Some(access))).unwrap();
    let given = format!("{tool}fs.scratch = {{ access = \"write\", files = 7 }}\n");
    let set = format!("[grant-set.x]\nfs.scratch = {{ bytes = \"1KiB\" }}\n{tool}use = [\"x\"]\n");
    let none = Quota::default();
    for (granted, access, quota) in [
        (grants(&given).unwrap(), Access::Write, Quota { files: Some(7), ..none }),
        (grants(&set).unwrap(), Access::Read, Quota { bytes: Some(1024), ..none }),
        (by_flag(Access::Read), Access::Read, none),
        (by_flag(Access::Write), Access::Write, none),
        (
            grants(&given).unwrap().with_flags(flags(Some(Access::Read))).unwrap(),
            Access::Read,
            none,
        ),
    ] {
        assert_eq!(granted.roots().count(), 0);
        let permit = permit(&policy(&manifest, &granted), "send");
        let [root] = permit.roots() else { panic!("{:?}", permit.roots()) };
        assert_eq!((root.name.as_str(), &root.path), ("scratch", &None));
        assert_eq!((root.access, root.quota), (access, quota));
        assert!(permit.file("/scratch/a", access).is_ok());
    }
    // Neither side alone opens it, and an effect narrows it.
    assert_eq!(permit(&policy(MANIFEST, &grants(&given).unwrap()), "send").roots(), []);
    assert_eq!(permit(&policy(&manifest, &grants(tool).unwrap()), "send").roots(), []);
    let look = permit(&policy(&manifest, &grants(&given).unwrap()), "look");
    assert_eq!(look.roots()[0].access, Access::Read);
    let named = FlagGrants {
        fs: vec![(RootName::scratch(), "/flag".into(), Access::Write)],
        ..FlagGrants::default()
    };
    assert_eq!(
        Grants::from_flags(named).unwrap_err().to_string(),
        "command line: the root `scratch` is the call's own and no folder of the host's; write \
         `--fs scratch`, or `--fs scratch:rw` for writing"
    );
}
