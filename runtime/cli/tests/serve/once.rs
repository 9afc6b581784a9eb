use std::thread;

use serde_json::json;

use crate::{
    client::{Answered, Client},
    service::Service,
};

fn keyed(client: &Client, path: &str, key: &str, body: &str) -> Answered {
    client.send("POST", path, &[("idempotency-key", key)], Some(body.as_bytes()))
}

/// How often something of this kind happened to the tenant.
fn count(service: &Service, kind: &str) -> usize {
    let mut stream =
        service.client("acme", "", "read").stream("/v1/events?follow=false&after=0", &[]);
    std::iter::from_fn(|| stream.next()).filter(|told| told.kind == kind).count()
}

#[test]
fn i11_one_key_is_one_execution() {
    let service = Service::new();
    let (ann, bob) =
        (service.client("acme", "ann", "run,read"), service.client("acme", "bob", "run,read"));
    let greet = "/v1/tools/hello/functions/greet/call";
    let body = r#"{"arguments":{"name":"Ann"}}"#;
    let first = keyed(&ann, greet, "k1", body).expect(200);
    let again = keyed(&ann, greet, "k1", body).expect(200);
    assert_eq!(first.json(), again.json(), "the same result, usage and all");
    assert_eq!(count(&service, "call.started"), 1);
    keyed(&ann, greet, "k1", r#"{"arguments":{"name":"Bob"}}"#).fails(409, "key-reused");
    keyed(&ann, "/v1/tools/probe/functions/hold/call", "k1", body).fails(409, "key-reused");
    // Another user's key is another key.
    keyed(&bob, greet, "k1", body).expect(200);
    assert_eq!(count(&service, "call.started"), 2);
    // What was refused may be sent again.
    keyed(&ann, "/v1/sessions", "k2", r#"{"agent":"nobody"}"#).fails(404, "no-such-agent");
    keyed(&ann, "/v1/sessions", "k2", r#"{"agent":"greeter"}"#).expect(201);
    for bad in ["", "a b", "\u{e4}", &"x".repeat(201)] {
        keyed(&ann, greet, bad, body).fails(400, "bad-header");
    }
    // At one time, and all are answered alike.
    let hold = "/v1/tools/probe/functions/hold/call";
    let answers: Vec<_> = (0..8)
        .map(|_| {
            let ann = ann.clone();
            let body = r#"{"arguments":{"how":"sleep","count":300}}"#;
            thread::spawn(move || keyed(&ann, hold, "k3", body).expect(200).json())
        })
        .collect();
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.join().unwrap()).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(count(&service, "call.started"), 3);
}

#[test]
fn i11_a_session_and_its_run_are_made_once_across_a_restart() {
    let mut service = Service::new();
    let ann = service.client("acme", "ann", "run,read");
    let body = json!({ "agent": "greeter", "input": "Greet." }).to_string();
    let first = keyed(&ann, "/v1/sessions", "s1", &body).expect(201);
    service.kill();
    service.start();
    let ann = Client { address: service.address(), ..ann };
    let again = keyed(&ann, "/v1/sessions", "s1", &body).expect(201);
    assert_eq!(first.header("location"), again.header("location"));
    assert_eq!(first.body, again.body);
    assert_eq!((count(&service, "session.created"), count(&service, "message.added")), (1, 1));
    let session = again.header("location").unwrap();
    let run = r#"{"input":"Again."}"#;
    let path = format!("{session}/runs?wait=true");
    let one = keyed(&ann, &path, "r1", run);
    let two = keyed(&ann, &path, "r1", run);
    assert_eq!((one.status, one.json()), (two.status, two.json()));
    assert_eq!(count(&service, "message.added"), 2);
}

/// The host dies in the middle of what came under a key.
#[test]
fn i11_what_a_dead_process_began_is_begun_again_only_if_it_may() {
    let mut service = Service::new();
    let ann = service.client("acme", "ann", "run,read");
    let path = "/v1/tools/probe/functions/hold/call";
    let body = r#"{"arguments":{"how":"sleep","count":20000}}"#;
    let leaving = ann.open("POST", path, &[("idempotency-key", "k")], Some(body.as_bytes()));
    let mut watch = service.client("acme", "", "read").stream("/v1/events?after=0", &[]);
    watch.until("key.created");
    let busy = {
        // The claim is durable before anything runs.
        let other = r#"{"arguments":{}}"#;
        loop {
            let answer = keyed(&ann, "/v1/tools/hello/functions/greet/call", "k", other);
            if answer.status == 409 {
                break answer;
            }
        }
    };
    busy.fails(409, "key-reused");
    service.kill();
    drop(leaving);
    service.start();
    let ann = Client { address: service.address(), ..ann };
    let quick = ann.send(
        "POST",
        &format!("{path}?x=1"),
        &[("idempotency-key", "k")],
        Some(body.as_bytes()),
    );
    quick.fails(400, "bad-query");
    let started = std::time::Instant::now();
    let leaving = ann.open("POST", path, &[("idempotency-key", "k")], Some(body.as_bytes()));
    let mut watch = service.client("acme", "", "read").stream("/v1/events?after=0", &[]);
    watch.until("call.started");
    assert!(
        started.elapsed().as_secs() < 15,
        "it was begun again, and did not wait for the dead one"
    );
    drop(leaving);
}
