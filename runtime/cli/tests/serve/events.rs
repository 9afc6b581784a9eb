use std::thread;

use serde_json::json;

use crate::{
    client::{Client, Told},
    service::Service,
};

fn finished(service: &Service, ann: &Client) -> String {
    let made =
        ann.post("/v1/sessions", json!({ "agent": "greeter", "input": "Greet." })).expect(201);
    let session = made.header("location").unwrap().to_owned();
    ann.stream(&format!("{session}/events"), &[]).until("run.completed");
    let _ = service;
    session
}

/// From every place, after a restart too: the rest, once, in order.
#[test]
fn a_stream_goes_on_exactly_where_its_reader_stands() {
    let mut service = Service::new();
    let ann = service.client("acme", "ann", "run,read");
    let session = finished(&service, &ann);
    let path = format!("{session}/events");
    let read = |client: &Client, headers: &[(&str, &str)], query: &str| -> Vec<Told> {
        let mut stream = client.stream(&format!("{path}?follow=false{query}"), headers);
        let kind = stream.headers.iter().find(|(name, _)| name == "content-type").cloned();
        assert_eq!(kind.unwrap().1, "text/event-stream");
        std::iter::from_fn(|| stream.next()).collect()
    };
    let all = read(&ann, &[], "");
    let seqs: Vec<u64> = all.iter().map(|told| told.data["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=all.len() as u64).collect::<Vec<_>>());
    assert!(all.iter().all(|told| told.id.parse::<u64>().ok() == told.data["seq"].as_u64()));
    service.kill();
    service.start();
    let ann = Client { address: service.address(), ..ann };
    for at in 0..=all.len() {
        let id = at.to_string();
        assert_eq!(read(&ann, &[("last-event-id", &id)], ""), all[at..], "behind {at}");
        assert_eq!(read(&ann, &[("last-event-id", &id)], "&after=0"), all[at..], "behind {at}");
        assert_eq!(read(&ann, &[], &format!("&after={at}")), all[at..], "behind {at}");
    }
    ann.send("GET", &path, &[("last-event-id", "x")], None).fails(400, "bad-header");
    ann.get(&format!("{path}?after=-1")).fails(400, "bad-query");
    // As pages, for whoever wants no stream.
    let accept = [("accept", "application/json")];
    let page = ann.send("GET", &path, &accept, None).expect(200).json();
    assert_eq!(page["events"].as_array().unwrap().len(), all.len(), "{page}");
    assert_eq!((&page["is-all"], &page["next"]), (&json!(true), &json!(all.len().to_string())));
}

#[test]
fn a_stream_tells_what_happens_while_it_is_read() {
    let service = Service::with("heartbeat = \"50ms\"");
    let ann = service.client("acme", "ann", "run,read");
    let made = ann.post("/v1/sessions", json!({ "agent": "greeter" })).expect(201);
    let session = made.header("location").unwrap().to_owned();
    let mut stream = ann.stream(&format!("{session}/events"), &[]);
    stream.until("session.created");
    let line = stream.line();
    assert_eq!(line.as_deref(), Some(":"), "it says that it is there");
    let saying = {
        let (ann, session) = (ann.clone(), session.clone());
        thread::spawn(move || {
            ann.post(&format!("{session}/runs"), json!({ "input": "Greet." })).expect(202)
        })
    };
    let told = stream.until("run.completed");
    saying.join().unwrap();
    assert_eq!(told[0].kind, "message.added");
    // The pieces of a reply come before it, without a place, and are in no stream of afterwards.
    let at = |kind: &str| told.iter().rposition(|told| told.kind == kind).unwrap();
    let delta = &told[at("model.delta")];
    assert_eq!((delta.id.as_str(), &delta.data["ephemeral"]), ("", &json!(true)), "{delta:?}");
    assert_eq!(delta.data["text"], "Done.");
    assert!(at("model.requested") < at("model.delta") && at("model.delta") < at("model.completed"));
    let mut again = ann.stream(&format!("{session}/events?follow=false"), &[]);
    assert!(std::iter::from_fn(|| again.next()).all(|told| told.kind != "model.delta"));
}

#[test]
fn the_tenants_stream_has_everything_of_its_own_and_goes_on_anywhere() {
    let service = Service::new();
    let (ann, bob) =
        (service.client("acme", "ann", "run,read"), service.client("acme", "bob", "run,read"));
    let all = service.client("acme", "", "read");
    let other = service.client("globex", "", "run,read");
    let mut live = all.stream("/v1/events", &[]);
    finished(&service, &ann);
    finished(&service, &bob);
    other.post("/v1/sessions", json!({ "agent": "greeter", "input": "Greet." })).expect(201);
    let greet = json!({ "arguments": { "name": "x" } });
    ann.post("/v1/tools/hello/functions/greet/call", greet).expect(200);
    live.until("run.completed");
    live.until("run.completed");
    // A `pure` call is recorded after its answer.
    live.until("call.finished");
    let read = |client: &Client, after: &str| -> Vec<Told> {
        let mut stream = client.stream(&format!("/v1/events?follow=false&after={after}"), &[]);
        std::iter::from_fn(|| stream.next()).collect()
    };
    let whole = read(&all, "0");
    assert!(whole.iter().all(|told| told.data["tenant"] == "acme"));
    assert!(whole.iter().any(|told| told.data["user"] == "bob"));
    assert!(whole.iter().any(|told| told.kind == "key.created"));
    assert!(
        whole
            .iter()
            .any(|told| told.data["stream"] == "tenant/acme" && told.kind == "call.proposed")
    );
    for at in 0..whole.len() {
        assert_eq!(read(&all, &whole[at].id), whole[at + 1..], "behind {}", whole[at].id);
    }
    let of_ann = read(&ann, "0");
    let expected = whole.into_iter().filter(|told| told.data["user"] == "ann");
    assert_eq!(of_ann, expected.collect::<Vec<_>>());
}

/// Read on a connection whose buffers are full, the stream holds no more than a page.
#[test]
fn a_reader_that_fell_behind_is_told_of_the_gap_and_can_fetch_it() {
    let service = Service::with("stream-lag = 2\nheartbeat = \"50ms\"");
    let ann = service.client("acme", "ann", "run,read");
    let made = ann.post("/v1/sessions", json!({ "agent": "greeter" })).expect(201);
    let session = made.header("location").unwrap().to_owned();
    let mut stream = ann.stream(&format!("{session}/events"), &[]);
    stream.until("session.created");
    // It has nothing else to say: from here on it can fall behind, and what a run begins with is more than two.
    assert_eq!(stream.line().as_deref(), Some(":"));
    ann.post(&format!("{session}/runs?wait=true"), json!({ "input": "Greet." })).expect(200);
    let (mut seqs, mut gaps) = (vec![1], 0);
    while *seqs.last().unwrap() < 5 || seqs.len() < 2 {
        let told = stream.next().unwrap();
        if told.kind == "model.delta" {
            continue;
        }
        if told.kind != "gap" {
            seqs.push(told.data["seq"].as_u64().unwrap());
            continue;
        }
        gaps += 1;
        let (after, through) =
            (told.data["after"].as_str().unwrap(), told.data["through"].as_str().unwrap());
        let (after, through): (u64, u64) = (after.parse().unwrap(), through.parse().unwrap());
        assert_eq!((Some(&after), told.id), (seqs.last(), through.to_string()));
        let path = format!("{session}/events?after={after}");
        let page =
            ann.send("GET", &path, &[("accept", "application/json")], None).expect(200).json();
        let fetched =
            page["events"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap());
        seqs.extend(fetched.filter(|seq| *seq <= through));
    }
    let whole: Vec<u64> = (1..=*seqs.last().unwrap()).collect();
    assert_eq!(seqs, whole);
    assert!(gaps > 0);
}

/// Its connection stands full, and what is kept for it is given back.
#[test]
fn i5_a_reader_that_reads_nothing_is_let_go() {
    let service = Service::with("write-time = \"300ms\"\nstreams = 1\nheartbeat = \"1ms\"");
    let ann = service.client("acme", "ann", "run,read");
    let made = ann.post("/v1/sessions", json!({ "agent": "greeter" })).expect(201);
    let session = made.header("location").unwrap().to_owned();
    for _ in 0..4 {
        let input = json!({ "input": "x".repeat(900_000) });
        ann.post(&format!("{session}/runs?wait=true"), input).expect(200);
    }
    let accept = [("accept", "text/event-stream")];
    let unread = ann.open("GET", &format!("{session}/events"), &accept, None);
    let path = format!("{session}/events?follow=false");
    // Until then there is no place for another.
    while ann.send("GET", &path, &accept, None).status != 200 {}
    drop(unread);
}

/// Bytes of the store are others than were written: what stands behind them arrives, and the reader is told.
#[test]
fn a_damaged_row_leaves_a_gap_in_the_tenants_stream() {
    const WORDS: &[u8] = b"to-be-damaged-in-the-store";
    let mut service = Service::new();
    let all = service.client("globex", "", "run,approve,read");
    let held = |client: &Client| {
        let new = json!({ "agent": "greeter", "input": "Greet." });
        let made = client.post("/v1/sessions", new).expect(201);
        let session = made.header("location").unwrap().to_owned();
        let mut stream = client.stream(&format!("{session}/events"), &[]);
        stream.until("run.waiting");
        (session, stream)
    };
    let (session, mut stream) = held(&all);
    // A commit so small that it is stored as it is.
    let no = json!({ "decision": "decline", "reason": String::from_utf8_lossy(WORDS) });
    all.post(&format!("{session}/calls/r1.s1.c1/approval"), no).expect(200);
    stream.until("run.completed");
    let (behind, _) = held(&all);
    service.terminate();
    assert_eq!(service.ended(), Some(0));
    let log = service.path(".ringfence/journal.db-wal");
    assert!(crate::damage::flip(&log, WORDS) > 0, "it is written as it is");
    service.start();
    let all = Client { address: service.address(), ..all };
    let mut stream = all.stream("/v1/events?follow=false&after=0", &[]);
    let told: Vec<Told> = std::iter::from_fn(|| stream.next()).collect();
    let gap = told.iter().find(|told| told.kind == "gap").unwrap();
    assert_eq!(gap.data["reason"], "damaged", "{gap:?}");
    let id = behind.rsplit('/').next().unwrap();
    let of_behind = |told: &&Told| told.data["stream"] == format!("session/{id}");
    assert!(told.iter().filter(of_behind).any(|told| told.kind == "run.waiting"), "{told:?}");
    assert!(service.log().contains("reading a tenant's events"), "{}", service.log());
    let page = all.get("/v1/events?after=0").expect(200).json();
    assert_eq!(page["is-damaged"], true, "{page}");
}
