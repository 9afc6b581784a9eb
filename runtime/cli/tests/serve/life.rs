//! How the service starts, ends, and says how it is.

use std::thread;

use serde_json::{Value, json};

use crate::service::Service;

#[test]
fn o7_asked_to_end_it_ends_what_is_under_way_and_exits_well() {
    let mut service = Service::new();
    let ann = service.client("acme", "ann", "run,read");
    let hold = "/v1/tools/probe/functions/hold/call";
    let calling = {
        let ann = ann.clone();
        let sleep = json!({ "arguments": { "how": "sleep", "count": 1500 } });
        thread::spawn(move || ann.post(hold, sleep).expect(200).json())
    };
    let mut stream = ann.stream("/v1/events?after=0", &[]);
    stream.until("call.started");
    service.terminate();
    // Readers are sent away at once, to come back with their place.
    while stream.next().is_some() {}
    assert_eq!(calling.join().unwrap()["outcome"], "succeeded");
    assert_eq!(service.ended(), Some(0));
}

#[test]
fn o7_a_drain_has_a_deadline_and_a_second_request_has_none() {
    let mut service = Service::with("drain = \"300ms\"");
    let ann = service.client("acme", "ann", "run,read");
    let hold = "/v1/tools/probe/functions/hold/call";
    let begin = |service: &Service| {
        let ann = service.client("acme", "ann", "run,read");
        let body = json!({ "arguments": { "how": "spin" } }).to_string();
        let calling = ann.open("POST", hold, &[], Some(body.as_bytes()));
        let mut stream = service.client("acme", "ann", "read").stream("/v1/events?after=0", &[]);
        stream.until("call.started");
        calling
    };
    let calling = begin(&service);
    service.terminate();
    assert_eq!(service.ended(), Some(0), "at the deadline");
    drop(calling);
    // What was cut short is told as what it was.
    service.start();
    let ann = crate::client::Client { address: service.address(), ..ann };
    let mut stream = ann.stream("/v1/events?follow=false&after=0", &[]);
    let finished = std::iter::from_fn(|| stream.next()).find(|told| told.kind == "call.finished");
    assert_eq!(finished.unwrap().data["data"]["result"]["outcome"], "cancelled");
    service.kill();
    let mut service = Service::with("drain = \"1h\"");
    let ann = service.client("acme", "ann", "run,read");
    let calling = begin(&service);
    service.terminate();
    let nobody = service.nobody();
    // It hears the first one before the second, and says so for as long as something is under way.
    while nobody.get("/readyz").status == 200 {}
    let told = nobody.get("/readyz").fails(503, "draining");
    assert_eq!(told.header("connection"), Some("close"));
    nobody.get("/healthz").expect(200);
    ann.get("/v1/tools").fails(503, "draining");
    service.terminate();
    assert_eq!(service.ended(), Some(6), "at once");
    drop(calling);
}

#[test]
fn it_says_how_it_is() {
    let service = Service::new();
    let nobody = service.nobody();
    assert_eq!(nobody.get("/healthz").expect(200).json(), json!({ "status": "ok" }));
    assert_eq!(nobody.get("/readyz").expect(200).json(), json!({ "status": "ready" }));
    let head = nobody.send("HEAD", "/nothing", &[], None);
    assert_eq!(head.status, 404);
    let document = nobody.get("/v1/openapi.json").expect(200).json();
    assert_eq!(document["openapi"], "3.1.0");
}

#[test]
fn the_file_is_checked_and_the_environment_goes_before_it() {
    let service = Service::folder();
    let fine = service.run(&["config", "check"]);
    let fine = String::from_utf8(fine.stdout).unwrap();
    assert!(fine.contains("is fine: 3 tenants, 2 tools, 2 agents"), "{fine}");
    let check = |variables: &[(&str, &str)]| {
        let mut command = service.command(&["--json", "config", "check"]);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), said)
    };
    let (code, said) = check(&[("RINGFENCE_SERVICE_LISTEN", "127.0.0.1:7")]);
    assert_eq!((code, &said["listen"]), (Some(0), &json!("127.0.0.1:7")), "{said}");
    for (name, value, part) in [
        ("RINGFENCE_SERVICE_LISTEN", "here", "is no address and port"),
        ("RINGFENCE_SERVICE_BODY", "2", "invalid type"),
        ("RINGFENCE_SERVICE_LISTENN", "x", "unknown key `listenn`"),
        ("RINGFENCE_HOST_CONCURRENT_CALLS", "0", "from 1 to 1000"),
    ] {
        let (code, said) = check(&[(name, value)]);
        assert_eq!(code, Some(2), "{name}: {said}");
        let message = said["error"]["message"].as_str().unwrap();
        assert!(message.contains(part), "{name}: {message}");
    }
    // Each of these is one mistake in the file.
    let good = std::fs::read_to_string(service.path("ringfence.toml")).unwrap();
    for (lines, part) in [
        ("[service]\nlisten = \"x\"", "is no address and port"),
        ("[service]\nhosts = [\"https://a\"]", "is no host name"),
        ("[service]\norigins = [\"a\"]", "is no origin"),
        ("[service]\nconnections = 0", "from 1 to"),
        ("[service]\nconnections-per-address = 0", "from 1 to"),
        ("[service]\nrequests = 0", "from 1 to"),
        ("[service]\nrequests-per-tenant = 0", "from 1 to"),
        ("[service]\nheader = \"1KiB\"", "from 8 KiB"),
        ("[service]\nheader-fields = 0", "from 1 to"),
        ("[service]\nrequest-time = \"0s\"", "from 1ms"),
        ("[service]\nwrite-time = \"0s\"", "from 1ms"),
        ("[service]\nlisten-at = \"x\"", "unknown key"),
        ("[agent.x]\nfile = \"nowhere.toml\"", "cannot read"),
        ("[agent.x]\nfile = \"greeter.toml\"", "is of the agent `greeter`"),
        ("[tenant.umbrella]\nagents = [\"nobody\"]", "there is no agent `nobody`"),
    ] {
        service.write("ringfence.toml", &format!("{good}\n{lines}\n"));
        let (code, said) = check(&[]);
        let message = said["error"]["message"].as_str().unwrap();
        assert_eq!((code, message.contains(part)), (Some(2), true), "{lines}: {said}");
    }
}
