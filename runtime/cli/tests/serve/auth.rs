use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{client::Client, service::Service};

const GREET: &str = "/v1/tools/hello/functions/greet/call";

#[test]
fn s5_nobody_is_let_in_without_a_key() {
    let service = Service::new();
    let nobody = service.nobody();
    for path in ["/v1/sessions", "/v1/tools", "/v1/events", "/v1/usage", "/v1/keys", "/v1/grants"] {
        let refused = nobody.get(path).fails(401, "unauthenticated");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"ringfence\""));
    }
    nobody.post(GREET, json!({ "arguments": { "name": "x" } })).fails(401, "unauthenticated");
    let wrong =
        Client { key: Some("rfk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into()), ..nobody };
    wrong.get("/v1/tools").fails(401, "unauthenticated");
    service.client("acme", "", "read").get("/v1/tools").expect(200);
    // Beside the operations nothing is anybody's.
    for path in ["/healthz", "/readyz", "/v1/openapi.json"] {
        service.nobody().get(path).expect(200);
    }
}

#[test]
fn a_key_is_for_what_it_says() {
    let service = Service::new();
    let greet = json!({ "arguments": { "name": "x" } });
    for (scopes, read, run, keys) in [
        ("read", 200, 403, 403),
        ("run", 403, 200, 403),
        ("approve", 403, 403, 403),
        ("read,run", 200, 200, 403),
        ("admin", 200, 200, 200),
    ] {
        let client = service.client("acme", "ann", scopes);
        assert_eq!(client.get("/v1/tools").status, read, "{scopes}");
        assert_eq!(client.post(GREET, greet.clone()).status, run, "{scopes}");
        assert_eq!(client.get("/v1/keys").status, keys, "{scopes}");
    }
    let ann = service.client("acme", "ann", "read");
    ann.post(GREET, greet).fails(403, "out-of-scope");
}

/// Ended by another process, while a call runs by it.
#[test]
fn s5_a_revoked_key_ends_what_runs_by_it_within_a_second() {
    let service = Service::new();
    let (id, secret) = service.key("acme", "ann", "run,read");
    let ann = Client { address: service.address(), key: Some(secret) };
    let bob = service.client("acme", "bob", "run,read");
    let hold = "/v1/tools/probe/functions/hold/call";
    let spin = || json!({ "arguments": { "how": "spin" } });
    let calling = {
        let ann = ann.clone();
        thread::spawn(move || ann.post(hold, spin()).expect(200).json())
    };
    let other = {
        let bob = bob.clone();
        thread::spawn(move || {
            bob.post(hold, json!({ "arguments": { "how": "sleep", "count": 3000 } }))
                .expect(200)
                .json()
        })
    };
    let mut stream = ann.stream("/v1/events", &[]);
    assert_eq!(stream.status, 200);
    ann.get("/v1/tools").expect(200);
    // Until it runs.
    let mut watch = service.client("acme", "", "read").stream("/v1/events?after=0", &[]);
    watch.until("call.started");
    watch.until("call.started");
    service.run(&["--tenant", "acme", "key", "revoke", &id]);
    let revoked = Instant::now();
    let ended = calling.join().unwrap();
    assert_eq!(ended["outcome"], "cancelled", "{ended}");
    assert!(revoked.elapsed() < Duration::from_secs(1), "{:?}", revoked.elapsed());
    ann.get("/v1/tools").fails(401, "unauthenticated");
    // What is told by then is read to its end.
    while stream.next().is_some() {}
    assert_eq!(other.join().unwrap()["outcome"], "succeeded", "and nobody else's");
    watch.until("key.revoked");
}

/// Begins a run that does not end by itself; the path of its session.
fn spin(client: &Client) -> String {
    let new = json!({ "agent": "spinner", "input": "Spin." });
    client.post("/v1/sessions", new).expect(201).header("location").unwrap().to_owned()
}

fn status(client: &Client, session: &str) -> serde_json::Value {
    client.get(&format!("{session}/runs/1")).expect(200).json()["status"].clone()
}

/// Also when the process that began them has died, and another one goes on with them.
#[test]
fn s5_a_revoked_key_ends_the_runs_that_were_begun_with_it_after_a_restart_too() {
    let mut service = Service::spinning();
    let (id, secret) = service.key("acme", "ann", "run,read");
    let ann = Client { address: service.address(), key: Some(secret) };
    let all = service.client("acme", "", "run,read");
    let (mine, others) = (spin(&ann), spin(&all));
    for session in [&mine, &others] {
        all.stream(&format!("{session}/events"), &[]).until("call.started");
    }
    service.kill();
    service.start();
    let all = Client { address: service.address(), ..all };
    let mut told = [&mine, &others].map(|session| {
        let mut stream = all.stream(&format!("{session}/events"), &[]);
        stream.until("run.resumed");
        stream.until("call.started");
        stream
    });
    service.run(&["--tenant", "acme", "key", "revoke", &id]);
    let revoked = Instant::now();
    told[0].until("run.cancelled");
    assert!(revoked.elapsed() < Duration::from_secs(1), "{:?}", revoked.elapsed());
    assert_eq!(status(&all, &others), "running", "and nobody else's");
}

/// Who lets a call run has not begun its run.
#[test]
fn s5_a_revoked_key_of_an_approver_ends_nobody_elses_run() {
    let service = Service::spinning();
    let (began, secret) = service.key("globex", "", "run,read");
    let ann = Client { address: service.address(), key: Some(secret) };
    let (approved, secret) = service.key("globex", "", "approve,read");
    let boss = Client { address: service.address(), key: Some(secret) };
    let session = spin(&ann);
    let mut told = ann.stream(&format!("{session}/events"), &[]);
    told.until("run.waiting");
    let yes = json!({ "decision": "approve" });
    boss.post(&format!("{session}/calls/r1.s1.c1/approval"), yes).expect(200);
    told.until("call.started");
    let mut ends = boss.stream("/v1/events", &[]);
    service.run(&["--tenant", "globex", "key", "revoke", &approved]);
    // What runs by that key has ended then.
    while ends.next().is_some() {}
    boss.get("/v1/tools").fails(401, "unauthenticated");
    let greet = json!({ "arguments": { "name": "x" } });
    service.client("acme", "", "run").post(GREET, greet).expect(200);
    assert_eq!(status(&ann, &session), "running");
    let all = service.client("globex", "", "read");
    let mut told = all.stream(&format!("{session}/events"), &[]);
    service.run(&["--tenant", "globex", "key", "revoke", &began]);
    told.until("run.cancelled");
}

/// Revoked while nobody served: whoever goes on with the run ends it.
#[test]
fn s5_what_was_begun_with_a_revoked_key_is_not_gone_on_with() {
    let mut service = Service::spinning();
    let (began, secret) = service.key("globex", "", "run,read");
    let ann = Client { address: service.address(), key: Some(secret) };
    let all = service.client("globex", "", "approve,run,read");
    let sessions = [spin(&ann), spin(&all)];
    for session in &sessions {
        all.stream(&format!("{session}/events"), &[]).until("run.waiting");
    }
    service.kill();
    service.run(&["--tenant", "globex", "key", "revoke", &began]);
    service.start();
    let all = Client { address: service.address(), ..all };
    let [(mine, mut told), (_, mut others)] = sessions.map(|session| {
        let yes = json!({ "decision": "approve" });
        all.post(&format!("{session}/calls/r1.s1.c1/approval"), yes).expect(200);
        let stream = all.stream(&format!("{session}/events"), &[]);
        (session, stream)
    });
    let kinds: Vec<_> = told.until("run.cancelled").into_iter().map(|told| told.kind).collect();
    assert!(!kinds.iter().any(|kind| kind == "call.started"), "{mine}: {kinds:?}");
    others.until("call.started");
}

#[test]
fn s5_a_key_is_replaced_with_an_overlap_and_ends_by_itself() {
    let service = Service::new();
    let (id, secret) = service.key("acme", "ann", "read");
    let old = Client { address: service.address(), key: Some(secret.clone()) };
    let output =
        service.run(&["--json", "--tenant", "acme", "key", "rotate", &id, "--overlap", "1h"]);
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let new = Client { key: made["secret"].as_str().map(str::to_owned), ..old.clone() };
    old.get("/v1/tools").expect(200);
    new.get("/v1/tools").expect(200);
    assert_eq!(made["key"]["replaces"], id.as_str());
    assert_eq!(made["key"]["user"], "ann");
    let id = made["key"]["id"].as_str().unwrap();
    service.run(&["--tenant", "acme", "key", "rotate", id, "--overlap", "1ms"]);
    let ended = Instant::now();
    while new.get("/v1/tools").status == 200 {
        assert!(ended.elapsed() < Duration::from_secs(1), "what another process did is heard of");
    }
    new.get("/v1/tools").fails(401, "unauthenticated");
    // Nothing in the folder says a secret.
    for entry in std::fs::read_dir(service.path(".ringfence")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let secret = &secret.as_bytes()[4..];
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{path:?}");
        }
    }
    let listed = service.run(&["--tenant", "acme", "key", "list"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("ann") && !listed.contains(&secret[4..]), "{listed}");
    let gone = service.command(&["--tenant", "acme", "key", "revoke", id]).output().unwrap();
    assert_eq!(gone.status.code(), Some(2), "it has expired");
    let others = service.command(&["--tenant", "globex", "key", "rotate", id]).output().unwrap();
    assert_eq!(others.status.code(), Some(2));
}
