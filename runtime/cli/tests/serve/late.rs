//! What takes longer than a request may: what has begun goes on, and what only waited does not begin.

use std::fs;

use serde_json::json;

use crate::{
    client::{Client, Stream},
    service::Service,
};

const HOLD: &str = "/v1/tools/probe/functions/hold/call";

/// A service of which a tenant has one slot of each kind.
fn narrow() -> Service {
    let mut service = Service::spinning();
    service.kill();
    let file = fs::read_to_string(service.path("ringfence.toml")).unwrap();
    let one = "[tenant.acme]\nconcurrent-calls = 1\nconcurrent-runs = 1\n";
    let file = file.replace("[tenant.acme]\n", one);
    service.write("ringfence.toml", &format!("{file}\n[service]\nrequest-time = \"2s\"\n"));
    service.start();
    service
}

fn count(mut stream: Stream, kind: &str) -> usize {
    std::iter::from_fn(|| stream.next()).filter(|told| told.kind == kind).count()
}

#[test]
fn o4_a_call_whose_request_timed_out_does_not_begin_and_one_that_began_goes_on() {
    let service = narrow();
    let (id, secret) = service.key("acme", "ann", "run");
    let ann = Client { address: service.address(), key: Some(secret) };
    let all = service.client("acme", "", "run,read");
    let mut told = all.stream("/v1/events?after=0", &[]);
    ann.post(HOLD, json!({ "arguments": { "how": "spin" } })).fails(504, "timed-out");
    told.until("call.started");
    // It has the slot still.
    all.post(HOLD, json!({ "arguments": { "how": "sleep" } })).fails(504, "timed-out");
    service.run(&["--tenant", "acme", "key", "revoke", &id]);
    told.until("call.finished");
    all.post(HOLD, json!({ "arguments": { "how": "sleep" } })).expect(200);
    assert_eq!(count(all.stream("/v1/events?after=0&follow=false", &[]), "call.started"), 2);
}

#[test]
fn o4_a_run_whose_request_timed_out_does_not_begin() {
    let service = narrow();
    let ann = service.client("acme", "ann", "run,read");
    let spin = json!({ "agent": "spinner", "input": "Spin." });
    let made = ann.post("/v1/sessions", spin).expect(201);
    let first = made.header("location").unwrap().to_owned();
    let other = ann.post("/v1/sessions", json!({ "agent": "greeter" })).expect(201);
    let other = other.header("location").unwrap().to_owned();
    let greet = json!({ "input": "Greet." });
    ann.post(&format!("{other}/runs"), greet.clone()).fails(504, "timed-out");
    let new = json!({ "agent": "greeter", "input": "Greet." });
    ann.post("/v1/sessions", new).fails(504, "timed-out");
    assert_eq!(ann.get(&format!("{first}/runs/1")).expect(200).json()["status"], "running");
    ann.act(&format!("{first}/runs/1/cancel")).expect(200);
    ann.stream(&format!("{first}/events"), &[]).until("run.cancelled");
    // The slot is free, and whoever had waited for it would have it before this one.
    let run = ann.post(&format!("{other}/runs?wait=true"), greet).expect(200).json();
    assert_eq!((&run["run"], &run["status"]), (&json!(1), &json!("completed")));
    let sessions = ann.get("/v1/sessions").expect(200).json();
    assert_eq!(sessions["items"].as_array().unwrap().len(), 2, "{sessions}");
}

/// It is tried before it is answered: what somebody drives is not gone on with.
#[test]
fn a_session_that_cannot_be_resumed_is_answered_so() {
    let service = Service::spinning();
    let ann = service.client("acme", "ann", "run,read");
    let made = ann.post("/v1/sessions", json!({ "agent": "spinner", "input": "Spin." }));
    let session = made.expect(201).header("location").unwrap().to_owned();
    ann.stream(&format!("{session}/events"), &[]).until("call.started");
    ann.act(&format!("{session}/resume")).fails(409, "driven");
    // One that waits for a person is there to be looked at.
    let all = service.client("globex", "", "run,read");
    let made = all.post("/v1/sessions", json!({ "agent": "spinner", "input": "Spin." }));
    let waits = made.expect(201).header("location").unwrap().to_owned();
    all.stream(&format!("{waits}/events"), &[]).until("run.waiting");
    assert_eq!(all.act(&format!("{waits}/resume")).expect(200).json()["status"], "waiting");
}
