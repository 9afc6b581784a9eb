//! What an operator does while it runs, and what it tells them.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::service::Service;

const GREET: &str = "/v1/tools/hello/functions/greet/call";
const HOLD: &str = "/v1/tools/probe/functions/hold/call";

#[test]
fn s5_a_grant_that_is_taken_away_ends_what_runs_by_it_within_a_second() {
    let service = Service::new();
    let ann = service.client("acme", "ann", "run,read");
    let calling = {
        let ann = ann.clone();
        let spin = json!({ "arguments": { "how": "spin" } });
        thread::spawn(move || ann.post(HOLD, spin).expect(200).json())
    };
    let mut watch = service.client("acme", "", "read").stream("/v1/events?after=0", &[]);
    watch.until("call.started");
    let file = fs::read_to_string(service.path("ringfence.toml")).unwrap();
    let (before, rest) = file.split_once("[tenant.acme.tool.probe]").unwrap();
    let (_, after) = rest.split_once("[tenant.globex]").unwrap();
    service.write("ringfence.toml", &format!("{before}[tenant.globex]{after}"));
    let taken = Instant::now();
    let ended = calling.join().unwrap();
    assert!(taken.elapsed() < Duration::from_secs(1), "{:?}", taken.elapsed());
    assert_eq!(
        (&ended["outcome"], &ended["denials"][0]["code"]),
        (&json!("cancelled"), &json!("not-granted"))
    );
    watch.until("grant.changed");
    ann.post(HOLD, json!({ "arguments": { "how": "exit-well" } })).fails(404, "no-such-tool");
    ann.post(GREET, json!({ "arguments": { "name": "x" } })).expect(200);
    // Given back, and read again because a signal asks for it.
    service.write("ringfence.toml", &file);
    service.signal(rustix::process::Signal::HUP);
    let asked = Instant::now();
    while ann.post(HOLD, json!({ "arguments": { "how": "search" } })).status == 404 {
        assert!(asked.elapsed() < Duration::from_secs(30), "it is read again");
    }
}

#[test]
fn a_file_with_a_mistake_changes_nothing_and_is_told() {
    let service = Service::new();
    let ann = service.client("acme", "ann", "run,read");
    let greet = json!({ "arguments": { "name": "x" } });
    let file = fs::read_to_string(service.path("ringfence.toml")).unwrap();
    for (mistake, told) in [
        ("[tenant.acme.tool.other]\nfsx = 1\n", "unknown key `fsx`"),
        ("[host]\nconcurrent-calls = 3\n", "concurrent-calls"),
    ] {
        // Half of what it says would be right.
        let without = file.replace("[tenant.acme.tool.hello]\n", "");
        service.write("ringfence.toml", &format!("{without}{mistake}"));
        let written = Instant::now();
        while !service.log().contains(told) {
            assert!(written.elapsed() < Duration::from_secs(30), "{told}: {}", service.log());
        }
        ann.post(GREET, greet.clone()).expect(200);
        service.nobody().get("/readyz").expect(200);
    }
    // An editor that begins by emptying it takes nothing from anybody.
    service.write("ringfence.toml", "");
    let written = Instant::now();
    while !service.log().contains("it is empty") {
        assert!(written.elapsed() < Duration::from_secs(30), "{}", service.log());
    }
    ann.post(GREET, greet.clone()).expect(200);
    let log = service.log();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(lines.iter().any(|line| line["level"] == "ERROR"), "{log}");
}

#[test]
fn metrics_are_shown_to_whom_the_operator_says() {
    let service = Service::new();
    let ann = service.client("acme", "ann", "run,read");
    ann.post(GREET, json!({ "arguments": { "name": "x" } })).expect(200);
    ann.post(HOLD, json!({ "arguments": { "how": "panic" } })).expect(200);
    let shown = service.nobody().get("/metrics").expect(200);
    assert_eq!(shown.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = String::from_utf8(shown.body).unwrap();
    for line in [
        "ringfence_place_slots{ringfence_place=\"calls\"} 64",
        "ringfence_place_running{ringfence_place=\"calls\"} 0",
        "ringfence_store_failing 0",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let of_tool = |line: &&str| line.contains("hello") && line.contains("acme");
    assert!(text.lines().any(|line| of_tool(&line)), "{text}");
    assert!(!text.contains("rfk_"), "no secret");
    let service = Service::with("metrics = \"nobody\"");
    service.nobody().get("/metrics").fails(404, "not-found");
}

#[test]
fn an_event_has_the_form_that_is_asked_for_and_the_trace_that_it_came_with() {
    let service = Service::new();
    let ann = service.client("acme", "ann", "run,read");
    let body = json!({ "agent": "greeter", "input": "Greet." }).to_string();
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    let made = ann.send("POST", "/v1/sessions", &[("traceparent", &parent)], Some(body.as_bytes()));
    let session = made.expect(201).header("location").unwrap().to_owned();
    let told = ann.stream(&format!("{session}/events?form=cloudevent"), &[]).until("run.completed");
    let started = told.iter().find(|told| told.kind == "run.started").unwrap();
    assert_eq!(started.data["specversion"], "1.0");
    assert!(started.data["source"].as_str().unwrap().contains("acme"), "{started:?}");
    assert!(started.data["traceparent"].as_str().unwrap().contains(trace), "{started:?}");
    let page = format!("{session}/events?form=cloudevent");
    let page = ann.send("GET", &page, &[("accept", "application/json")], None).expect(200).json();
    assert_eq!(page["events"][0]["specversion"], "1.0", "{page}");
    let plain =
        ann.send("GET", &format!("{session}/events"), &[("accept", "application/json")], None);
    let plain = plain.expect(200).json();
    assert!(
        plain["events"][0].get("specversion").is_none() && plain["events"][0]["seq"] == 1,
        "{plain}"
    );
    ann.get(&format!("{session}/events?form=xml")).fails(400, "bad-query");
    // One that is no trace context is left out of account, as the standard says.
    let call = json!({ "arguments": { "name": "x" } }).to_string();
    for parent in ["nonsense", "00-00000000000000000000000000000000-b7ad6b7169203331-01"] {
        ann.send("POST", GREET, &[("traceparent", parent)], Some(call.as_bytes())).expect(200);
    }
}

/// It is ready all the same, and names nobody.
#[test]
fn readiness_says_that_a_sink_takes_nothing() {
    let mut service = Service::folder();
    let file = fs::read_to_string(service.path("ringfence.toml")).unwrap();
    // There is a folder where its file is to be.
    service.write("audit.jsonl/x", "");
    let sink = "[[tenant.acme.sink]]\nname = \"audit\"\nfile = \"audit.jsonl\"\n";
    service.write("ringfence.toml", &format!("{file}\n{sink}"));
    service.start();
    let ready = || service.nobody().get("/readyz").expect(200).json();
    let asked = Instant::now();
    service.client("acme", "ann", "run").post(GREET, json!({ "arguments": { "name": "x" } }));
    let told = loop {
        let told = ready();
        if told.get("failing").is_some() {
            break told;
        }
        assert!(asked.elapsed() < Duration::from_secs(30), "{told}");
    };
    let failing = json!({ "sinks": 1, "required-sinks": 0, "traces": false });
    assert_eq!(told, json!({ "status": "ready", "failing": failing }));
}
