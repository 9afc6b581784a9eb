//! Calls of real components: how they end, and what they are charged.

use ringfence_event::{Effect, Limit, Outcome, Output, Usage};
use ringfence_sandbox::{Cancel, Error, ImportClass, Refusal, Tool};
use serde_json::json;

use crate::support::{ENGINE, Scene, guest};

fn spin(limits: &str) -> Scene {
    let tool = Tool::load(&ENGINE, &guest("spin")).unwrap();
    Scene::of(tool, Effect::Pure).grants(limits)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hello_says_hello() {
    let tool = Tool::load(&ENGINE, &guest("hello")).unwrap();
    let definitions = tool.definitions().await.unwrap();
    assert_eq!(definitions.len(), 1);
    assert_eq!(definitions[0].name, "greet");
    assert_eq!(definitions[0].effect, Effect::Pure);
    assert!(tool.imports().iter().all(|import| import.class != ImportClass::Unknown));

    let hello = Scene::of(tool, Effect::Pure);
    let ended = hello.run("greet", json!({ "name": "Ann" })).await;
    let Outcome::Succeeded { output } = &ended.outcome else { panic!("{ended:?}") };
    assert_eq!(*output, Output::text("Hello, Ann!"));
    assert!(ended.usage.fuel > 0 && ended.usage.memory_peak_bytes > 0, "{:?}", ended.usage);
    assert_eq!(ended.usage.output_bytes, 11);

    let again = hello.run("greet", json!({ "name": "Ann" })).await;
    assert_eq!(again.usage.fuel, ended.usage.fuel, "the same work costs the same");
    assert_eq!(again.usage.host_work, ended.usage.host_work);
}

/// C1: `loop {}` ends at its fuel limit, at the same count on every run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c1_a_spinning_guest_ends_at_its_fuel() {
    // Long enough for the engine to ask several times in between whether the call is cancelled.
    let spin = spin("limits.fuel = \"1G\"");
    let ended = spin.run("spin", json!({})).await;
    assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Fuel });
    assert_eq!(ended.usage.fuel_total(), 1_000_000_000, "{:?}", ended.usage);
    for _ in 0..5 {
        let again = spin.run("spin", json!({})).await;
        let same = |usage: &Usage| (usage.fuel, usage.host_work, usage.host_calls);
        assert_eq!(same(&again.usage), same(&ended.usage));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spinning_guest_ends_at_its_time() {
    let ended = spin("limits.time = \"50ms\"\nlimits.fuel = \"100G\"").run("spin", json!({})).await;
    assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Time });
    assert!(ended.usage.fuel > 0, "what was spent is known: {:?}", ended.usage);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spinning_guest_is_cancelled() {
    let spin = spin("limits.time = \"20s\"\nlimits.fuel = \"100G\"");
    for before in [true, false] {
        let cancel = Cancel::new();
        if before {
            cancel.cancel();
        }
        let from_outside = cancel.clone();
        let cancelling = std::thread::spawn(move || from_outside.cancel());
        let ended = spin.run_until("spin", json!({}), &cancel, spin.notes.clone()).await;
        cancelling.join().unwrap();
        assert_eq!(ended.outcome, Outcome::Cancelled, "before: {before}");
    }
}

#[tokio::test]
async fn what_is_no_tool_is_refused() {
    let check = |bytes: &[u8], refusal: fn(&Refusal) -> bool| match Tool::load(&ENGINE, bytes) {
        Err(Error::Refused(found)) => assert!(refusal(&found), "{found:?}"),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("loaded"),
    };
    check(b"#!/bin/sh", |r| matches!(r, Refusal::NotWebAssembly));
    check(b"", |r| matches!(r, Refusal::NotWebAssembly));
    check(b"\0asm\x01\0\0\0", |r| matches!(r, Refusal::CoreModule));
    check(b"\0asm\x0d\0\x01\0\xff\xff", |r| matches!(r, Refusal::Invalid { .. }));
    let hello = guest("hello");
    check(&hello[..hello.len() / 2], |r| matches!(r, Refusal::Invalid { .. }));
    check(b"\0asm\x0d\0\x01\0", |r| matches!(r, Refusal::NoTools { .. }));
    assert!(Tool::load(&ENGINE, &hello).is_ok());
}
