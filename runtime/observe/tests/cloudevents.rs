//! Every kind of event as a CloudEvent.

#![expect(clippy::unwrap_used, reason = "all of this is for tests, which are to fail")]

use std::collections::BTreeSet;

use ringfence_event::{Body, Event, FORMAT, Stream, TenantId, Timestamp, TraceContext};
use ringfence_observe::CloudEvent;
use serde_json::{Value, json};

fn digest(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

/// What each kind says, as the journal has it.
fn bodies() -> Vec<Value> {
    let step = json!({ "run": 1, "step": 2 });
    let call = "r1.s2.c1";
    let usage = json!({ "fuel": 7, "host-work": 3, "wall-us": 100 });
    let denial = json!({
        "code": "not-granted",
        "asked": { "what": "http", "method": "GET", "url": "https://a.example/x" },
        "remedies": [], "times": 2,
    });
    let result = json!({
        "outcome": "succeeded",
        "output": { "content": [{ "type": "text", "text": "hello" }] },
        "denials": [denial], "usage": usage,
    });
    let failure = json!({ "kind": "invalid-input", "message": "no", "path": "/a" });
    let binding = json!({
        "user": "ann", "tool": "files", "function": "read", "component": digest('a'),
        "definitions": digest('b'), "policy": digest('c'), "rules": digest('d'),
        "arguments": digest('e'),
    });
    let intent = json!({
        "tool": "files", "function": "read", "effect": "read", "arguments": digest('e'),
        "key": "k", "component": digest('a'), "definitions": digest('b'), "policy": digest('c'),
        "engine": digest('f'), "limits": ringfence_event::CallLimits::DEFAULT, "seed": 7, "start": 1,
    });
    let parts = json!({
        "instructions": digest('1'), "functions": digest('2'), "messages": digest('3'),
        "parameters": digest('4'),
    });
    let spent = json!({ "level": "run", "spent": 9, "of": 10 });
    let compaction = json!({
        "through": step, "summary": "much was said", "model": "main", "request": digest('5'),
        "tokens": { "input": 10, "output": 2 },
    });
    let tool = json!({ "tool": "files", "component": digest('a'), "definitions": digest('b') });
    let kinds = [
        ("session.created", json!({ "agent": "coder", "agent-digest": digest('a') })),
        ("session.closed", json!({})),
        ("message.added", json!({ "run": 1, "text": "Go.", "key": "k" })),
        ("run.started", json!({ "run": 1 })),
        ("run.left", json!({ "run": 1 })),
        ("run.resumed", json!({ "run": 1 })),
        ("run.waiting", json!({ "run": 1, "on": "approval", "calls": [call] })),
        ("run.retry-scheduled", json!({ "run": 1, "step": step, "attempt": 2, "at": 5 })),
        ("run.stopping", json!({ "run": 1, "limit": "steps", "spent": spent })),
        ("run.completed", json!({ "run": 1 })),
        ("run.failed", json!({ "run": 1, "message": "why" })),
        ("run.cancelled", json!({ "run": 1 })),
        ("run.limit-reached", json!({ "run": 1, "limit": "steps", "spent": spent })),
        ("step.started", json!({ "step": step })),
        ("step.finished", json!({ "step": step })),
        (
            "model.requested",
            json!({ "step": step, "model": "main", "request": digest('5'), "parts": parts }),
        ),
        (
            "model.completed",
            json!({
                "step": step, "cost": "0.01",
                "reply": { "text": "hi", "calls": [], "tokens": { "input": 3, "output": 1 } },
            }),
        ),
        (
            "model.failed",
            json!({
                "step": step, "class": "unavailable", "message": "down",
                "tokens": { "input": 0, "output": 0 },
            }),
        ),
        ("conversation.compacted", json!({ "run": 1, "compaction": compaction })),
        ("call.proposed", json!({ "call": call, "function": "files_read", "arguments": "{}" })),
        ("call.invalid", json!({ "call": call, "failure": failure })),
        ("call.denied", json!({ "call": call, "denials": [denial] })),
        (
            "call.hold",
            json!({
                "call": call,
                "hold": { "rules": [], "binding": binding, "on-expiry": "decline", "scope": "call" },
            }),
        ),
        ("call.approved", json!({ "call": call, "by": "ann", "scope": "session" })),
        ("call.declined", json!({ "call": call, "by": "ann", "reason": "no" })),
        (
            "input.asked",
            json!({
                "call": call, "question": { "message": "which?", "schema": { "type": "object" } },
                "state": digest('6'), "denials": [], "usage": usage,
            }),
        ),
        ("input.answered", json!({ "call": call, "by": "ann", "value": { "a": 1 } })),
        ("call.intended", json!({ "call": call, "intent": intent })),
        ("call.started", json!({ "call": call })),
        (
            "call.note",
            json!({ "call": call, "note": { "note": "progress", "done": 1, "total": 2 } }),
        ),
        ("call.finished", json!({ "call": call, "result": result })),
        ("call.retry-scheduled", json!({ "call": call, "attempt": 2, "at": 5, "result": result })),
        ("call.outcome-unknown", json!({ "call": call })),
        ("call.reconciled", json!({ "call": call, "by": "ann", "result": result })),
        ("budget.warned", json!({ "limit": "tokens", "spent": spent })),
        (
            "plan.updated",
            json!({ "call": call, "plan": [{ "title": "look", "status": "in-progress" }] }),
        ),
        ("memory.written", json!({ "call": call, "scope": "user", "key": "k", "bytes": 3 })),
        ("tool.added", tool.clone()),
        ("tool.accepted", tool),
        ("tool.removed", json!({ "tool": "files" })),
        (
            "key.created",
            json!({ "key": "k-07070707070707070707070707070707", "user": "ann", "scopes": ["run"] }),
        ),
        ("key.revoked", json!({ "key": "k-07070707070707070707070707070707" })),
        ("grant.changed", json!({ "tool": "files", "lines": ["http = []"] })),
    ];
    kinds.into_iter().map(|(kind, data)| json!({ "kind": kind, "data": data })).collect()
}

fn event(body: Body, seq: u64) -> Event {
    let tenant: TenantId = "acme".parse().unwrap();
    let of_tenant = ["tool.", "grant.", "key."].iter().any(|word| body.kind().starts_with(word));
    let session = "session/07070707070707070707070707070707";
    let stream: Stream = if of_tenant { "tenant/acme" } else { session }.parse().unwrap();
    Event {
        format: FORMAT,
        tenant,
        user: "ann".parse().unwrap(),
        stream,
        seq,
        at: Timestamp(1_700_000_000_000 + seq),
        body,
        cause: None,
        trace: Some(TraceContext::from_random([9; 16]).to_string()),
    }
}

#[test]
fn each_kind_has_a_form() {
    let bodies: Vec<Body> =
        bodies().into_iter().map(|body| serde_json::from_value(body).unwrap()).collect();
    let kinds: BTreeSet<&str> = bodies.iter().map(Body::kind).collect();
    assert_eq!(kinds, Body::KINDS.iter().copied().collect(), "a sample of each kind");
    let mut shown = String::new();
    for (body, seq) in bodies.into_iter().zip(1..) {
        let event = event(body, seq);
        let made = CloudEvent::of(&event);
        let json: Value = serde_json::from_str(&made.json()).unwrap();
        // Names of attributes are lower-case letters and digits, as the specification wants them.
        let names = json.as_object().unwrap().keys();
        let is_plain = |name: &&String| {
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        assert_eq!(names.clone().count(), names.filter(is_plain).count(), "{json}");
        shown += &format!("{}\n", made.json());
    }
    insta::assert_snapshot!("each_kind", shown);
}

/// The order of texts is that of places, and one that no trace led to has none.
#[test]
fn places_are_texts_in_their_order() {
    let mut event = event(Body::SessionClosed {}, 9);
    event.trace = None;
    let earlier = CloudEvent::of(&event).sequence;
    assert!(!CloudEvent::of(&event).json().contains("traceparent"));
    event.seq = 10;
    assert!(earlier < CloudEvent::of(&event).sequence);
}
