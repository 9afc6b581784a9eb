//! Memory buckets: seen by the call at once, by others only when it ended by itself.

use ringfence_capability::memory::Change;
use ringfence_event::{DenialCode, Effect, Limit, Outcome, Scope};
use ringfence_sandbox::Ended;
use ringfence_tests::{Scene, text};
use serde_json::{Value, json};

fn scene(effect: Effect) -> Scene {
    let scene = Scene::new(effect)
        .needs("[needs.memory.user]\naccess = \"write\"")
        .grants("memory.user = \"write\"");
    let before = [("city", "Potsdam"), ("count", "41"), ("word", "x"), ("gone", "soon")];
    for (key, value) in before {
        scene.stored.0.lock().unwrap().insert((Scope::User, key.into()), value.into());
    }
    scene
}

async fn acts(scene: &Scene, acts: Value, end: &str) -> Ended {
    scene.run("memory", json!({ "scope": "user", "acts": acts, "end": end })).await
}

#[tokio::test]
async fn a_call_sees_its_own_writes_over_what_is_stored() {
    let scene = scene(Effect::Unsafe);
    for (tried, said) in [
        (json!([{ "get": "city" }]), "Potsdam"),
        (json!([{ "get": "nothing" }]), "none"),
        (json!([{ "set": ["city", "Jena"] }, { "get": "city" }]), "set; Jena"),
        (
            json!([{ "delete": "city" }, { "get": "city" }, { "exists": "city" }]),
            "deleted; none; false",
        ),
        (json!([{ "increment": ["count", 1] }, { "increment": ["count", 2] }]), "42; 44"),
        (json!([{ "increment": ["fresh", 5] }]), "5"),
        (
            json!([{ "increment": ["count", 1] }, { "get": "count" }, { "exists": "count" }]),
            "42; 42; true",
        ),
        (json!([{ "increment": ["fresh", 5] }, "list"]), "5; city,count,fresh,gone,word"),
        (json!([{ "set": ["count", "7"] }, { "increment": ["count", 1] }]), "set; 8"),
        (json!([{ "delete": "count" }, { "increment": ["count", 1] }]), "deleted; 1"),
        (
            json!([{ "increment": ["count", 1] }, { "delete": "count" }, { "get": "count" }]),
            "42; deleted; none",
        ),
        (json!(["list"]), "city,count,gone,word"),
        (
            json!([{ "set": ["new", "1"] }, { "delete": "gone" }, "list"]),
            "set; deleted; city,count,new,word",
        ),
        (json!([{ "get-many": ["city", "nothing", "word"] }]), "Potsdam,none,x"),
        (json!([{ "increment": ["word", 1] }]), "error: memory: the value is not a number"),
        (json!([{ "get": "" }]), "error: memory: a key is 1 to 256 bytes"),
    ] {
        let ended = acts(&scene, tried.clone(), "return").await;
        assert_eq!(text(&ended), said, "{tried}");
    }
    assert_eq!(scene.stored.0.lock().unwrap().len(), 4, "a call writes nothing itself");
}

/// What is handed over for the commit: an increment as what it adds, so that none is lost beside
/// another call's, unless the call knows the value whatever is stored.
#[tokio::test]
async fn an_increment_is_handed_over_as_what_it_adds() {
    let scene = scene(Effect::Unsafe);
    let set = |value: &str| Change::Set(value.into());
    for (tried, change) in [
        (json!([{ "increment": ["count", 1] }]), Change::Increment { by: 1, sum: 42 }),
        (
            json!([{ "increment": ["count", 1] }, { "increment": ["count", 2] }]),
            Change::Increment { by: 3, sum: 44 },
        ),
        (json!([{ "set": ["count", "7"] }, { "increment": ["count", 1] }]), set("8")),
        (json!([{ "delete": "count" }, { "increment": ["count", 1] }]), set("1")),
        (json!([{ "increment": ["count", 1] }, { "set": ["count", "x"] }]), set("x")),
        (json!([{ "increment": ["count", 1] }, { "delete": "count" }]), Change::Delete),
    ] {
        let ended = acts(&scene, tried.clone(), "return").await;
        let written: Vec<_> = ended.writes.into_iter().collect();
        assert_eq!(written, [((Scope::User, "count".to_owned()), change)], "{tried}");
    }
}

/// More keys than a page holds, with some of this call's own in between and behind.
#[tokio::test]
async fn a_long_listing_goes_on_page_after_page() {
    let scene = scene(Effect::Unsafe);
    for number in 0..600 {
        scene.stored.0.lock().unwrap().insert((Scope::User, format!("k{number:04}")), vec![]);
    }
    let own =
        json!([{ "set": ["k0300a", ""] }, { "set": ["zzz", ""] }, { "delete": "k0256" }, "list"]);
    let ended = acts(&scene, own, "return").await;
    let said = text(&ended);
    let keys: Vec<&str> = said.rsplit("; ").next().unwrap().split(',').collect();
    assert_eq!(keys.len(), 604 + 2 - 1);
    assert!(keys.is_sorted() && keys.contains(&"k0300a") && keys.last() == Some(&"zzz"));
}

/// What a call wrote is handed over when the tool itself ended it, and only then.
#[tokio::test]
async fn writes_stand_only_if_the_tool_ended_the_call() {
    let writing = json!([{ "set": ["city", "Jena"] }, { "delete": "gone" }]);
    for (end, limits, kept, outcome) in [
        ("return", "", true, (|o| matches!(o, Outcome::Succeeded { .. })) as fn(&Outcome) -> bool),
        ("fail", "", true, |o| matches!(o, Outcome::Failed { .. })),
        ("panic", "", false, |o| matches!(o, Outcome::Trapped { .. })),
        ("spin", "limits.fuel = \"20M\"", false, |o| {
            *o == Outcome::LimitReached { limit: Limit::Fuel }
        }),
        ("return", "limits.output = \"2B\"", false, |o| {
            *o == Outcome::LimitReached { limit: Limit::Output }
        }),
    ] {
        let scene = scene(Effect::Unsafe).grants(limits);
        let ended = acts(&scene, writing.clone(), end).await;
        assert!(outcome(&ended.outcome), "{end}: {ended:?}");
        assert_eq!(ended.usage.bytes_written, 12, "{end}: {:?}", ended.usage);
        let written: Vec<_> = ended.writes.into_iter().collect();
        let expected = [
            ((Scope::User, "city".to_owned()), Change::Set(b"Jena".to_vec())),
            ((Scope::User, "gone".to_owned()), Change::Delete),
        ];
        assert_eq!(written, if kept { expected.to_vec() } else { vec![] }, "{end}");
    }
}

/// What a bucket and the tenant may hold is checked with every act, over what this call has written
/// itself; what does not fit is told to the guest, and is on record with the line that bounds it.
#[tokio::test]
async fn what_does_not_fit_is_refused_before_it_lands() {
    // A quarter for one bucket: 512 bytes, and two keys.
    let quota = "[tenant.local.quota]\nmemory = \"2KiB\"";
    let scene = || {
        let scene = Scene::new(Effect::Unsafe)
            .needs("[needs.memory.user]\naccess = \"write\"\n[needs.memory.tenant]\naccess = \"write\"")
            .grants("memory.user = \"write\"\nmemory.tenant = \"write\"")
            .grants(quota);
        scene.stored.0.lock().unwrap().insert((Scope::User, "a".into()), vec![b'x'; 99]);
        scene
    };
    let full = "error: memory: the memory is full";
    for (tried, said) in [
        (json!([{ "fill": ["b", 411] }]), "set".to_owned()),
        (json!([{ "fill": ["b", 412] }]), full.to_owned()),
        // Its own writes count, and what they replace does not.
        (json!([{ "fill": ["b", 300] }, { "fill": ["a", 300] }]), format!("set; {full}")),
        (json!([{ "fill": ["b", 300] }, { "fill": ["b", 411] }]), "set; set".to_owned()),
        (json!([{ "delete": "a" }, { "fill": ["b", 511] }]), "deleted; set".to_owned()),
        (
            json!([{ "fill": ["b", 411] }, { "increment": ["a", 1] }]),
            "set; error: memory: the value is not a number".to_owned(),
        ),
        // Keys.
        (json!([{ "fill": ["b", 0] }, { "fill": ["c", 0] }]), format!("set; {full}")),
        (json!([{ "fill": ["b", 0] }, { "increment": ["c", 1] }]), format!("set; {full}")),
        (
            json!([{ "fill": ["b", 0] }, { "delete": "a" }, { "fill": ["c", 0] }]),
            "set; deleted; set".to_owned(),
        ),
    ] {
        let ended = acts(&scene(), tried.clone(), "return").await;
        assert_eq!(text(&ended), said, "{tried}");
        let refused = said.contains(full);
        assert_eq!(ended.denials.len(), usize::from(refused), "{ended:?}");
        if refused {
            let denial = &ended.denials[0];
            assert_eq!(denial.code, DenialCode::QuotaFull);
            let line = &denial.remedies[0];
            assert_eq!(
                (line.table.as_str(), line.allow.as_str()),
                ("[tenant.local.quota]", "memory = \"…\"")
            );
            assert_eq!(line.line, Some(6), "{line}");
        }
    }
    // All of the tenant's together: others have left 29 bytes.
    let scene = scene();
    for scope in [Scope::Session, Scope::Agent, Scope::Tenant] {
        scene.stored.0.lock().unwrap().insert((scope, "k".into()), vec![b'x'; 639]);
    }
    let ended = acts(&scene, json!([{ "fill": ["b", 27] }, { "fill": ["b", 28] }]), "return").await;
    assert_eq!(text(&ended), format!("set; {full}"));
    // Without a quota the built-in one: far more than notes take.
    let generous = Scene::new(Effect::Unsafe)
        .needs("[needs.memory.user]\naccess = \"write\"")
        .grants("memory.user = \"write\"\nlimits.storage = \"64MiB\"\nlimits.lift = \"64MiB\"");
    let most = 16 << 20;
    for (bytes, said) in [(most - 1, "set"), (most, full)] {
        let ended = acts(&generous, json!([{ "fill": ["b", bytes] }]), "return").await;
        assert_eq!(text(&ended), said, "{bytes}");
    }
}
