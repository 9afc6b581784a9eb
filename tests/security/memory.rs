//! Memory: how much of it a call gets, of what kinds, and what is in it.

mod residue;

use std::{fs, sync::mpsc};

use ringfence_event::{Effect, Limit, Outcome};
use ringfence_sandbox::{Cancel, Engine, EngineConfig, Error, Refusal, Tool};
use ringfence_tests::{ENGINE, Holders, Scene, Started, engine};
use serde_json::json;

use crate::raw;

/// Takes one page more until it gets none; then says how many it has.
const GROW: &str = r#"
    (func $act (param i64) (result i64)
      (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
      (i64.extend_i32_u (memory.size)))
    "#;

/// M1: a guest that takes what it gets ends at its limit, which counts whatever the component has.
#[tokio::test]
async fn m1_growing_ends_at_the_tools_own_limit() {
    let scene = Scene::of(raw::tool(&ENGINE, "", GROW), Effect::Pure);
    let limited = scene.grants("limits.memory = \"40MiB\"");
    let ended = limited.run("act", json!({})).await;
    assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Memory });
    let peak = ended.usage.memory_peak_bytes;
    assert!(((40 << 20) - (64 << 10)..=40 << 20).contains(&peak), "{peak}");
}

/// M1: memories, tables and instances beside the first one count as well, from the start on.
#[tokio::test]
async fn m1_everything_that_a_component_brings_is_counted() {
    let quiet = "(func $act (param i64) (result i64) (i64.const 7))";
    let memory = "(module (memory 160))".to_owned();
    let table = "(module (table 20000 funcref))".to_owned();
    let empty = "(module)".to_owned();
    for (modules, enough, least) in [
        // Two times ten MiB.
        (vec![memory.clone(); 2], "24MiB", 20 << 20),
        // Twenty times 160 kB.
        (vec![table.clone(); 20], "12MiB", 20 * 160_000),
        // Fifty that have nothing of their own.
        (vec![empty.clone(); 50], "16MiB", 0),
    ] {
        let bytes = raw::beside(raw::component("", quiet), &modules);
        let tool = Tool::load(&ENGINE, &bytes).unwrap();
        let scene = |memory: &str| {
            let grant = format!("limits.memory = \"{memory}\"");
            Scene::of(tool.clone(), Effect::Pure).grants(&grant)
        };
        let ended = scene(enough).run("act", json!({})).await;
        assert!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{enough}: {ended:?}");
        assert!(ended.usage.memory_peak_bytes > least, "{enough}: {:?}", ended.usage);
        let ended = scene("3MiB").run("act", json!({})).await;
        assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Memory }, "{enough}");
    }
    // What no call gets a place for is no tool.
    for (module, most) in [(memory, 4), (table, 32), (empty, 64)] {
        let bytes = raw::beside(raw::component("", quiet), &vec![module.clone(); most + 1]);
        match Tool::load(&ENGINE, &bytes) {
            Err(Error::Refused(Refusal::Invalid { .. })) => {}
            other => panic!("{module}: {:?}", other.err()),
        }
    }
}

/// M4: what would grow without anybody counting it is not there.
#[test]
fn m4_there_are_no_objects_and_no_exceptions() {
    for module in [
        "(type (struct (field i32)))",
        "(type (array i8))",
        "(func (result i32) (i31.get_s (ref.i31 (i32.const 1))))",
        "(table 1 anyref)",
        "(table 1 externref)",
        "(tag)",
        "(tag $t) (func (throw $t))",
        "(func (block $b (try_table (catch_all $b))))",
    ] {
        does_not_validate(module);
    }
}

/// M6: calls that together may hold more than the host gives wait, and one that could never fit is
/// told so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m6_calls_are_let_in_by_their_bytes() {
    let config = EngineConfig {
        concurrent_calls: 64,
        memory: Some(8 * (128 << 20)),
        ..EngineConfig::default()
    };
    let engine = Engine::new(&config).unwrap();
    let tool = raw::tool(&engine, "", TOUCH);
    let scene = |limits: &str| Scene::of(tool.clone(), Effect::Pure).grants(limits);
    let probe = Tool::load(&engine, &ringfence_tests::guest("probe")).unwrap();
    // Eight of 128 MiB, which is the default.
    let holding = Scene::of(probe, Effect::Read);
    let holders = Holders::fill(&holding).await;
    let late = scene("limits.memory = \"1MiB\"\nlimits.time = \"50ms\"");
    let ended = late.run("act", json!({ "n": 1 })).await;
    assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Time });
    assert_eq!(ended.usage.fuel, 0, "it never ran: {:?}", ended.usage);
    holders.release().await;
    let ended = late.run("act", json!({ "n": 1 })).await;
    assert!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{ended:?}");
    let ended = scene("limits.memory = \"2GiB\"").run("act", json!({ "n": 1 })).await;
    let Outcome::HostError { message } = &ended.outcome else { panic!("{ended:?}") };
    assert!(message.contains("limits.memory"), "{message}");
}

/// Writes to so many pages and says so; stays there if asked for more than ten thousand.
const TOUCH: &str = r#"
    (func $act (param $n i64) (result i64)
      (local $at i32)
      (local.set $at (i32.mul (memory.size) (i32.const 65536)))
      (drop (memory.grow (i32.wrap_i64 (i64.rem_u (local.get $n) (i64.const 10000)))))
      (memory.fill (local.get $at) (i32.const 1)
        (i32.sub (i32.mul (memory.size) (i32.const 65536)) (local.get $at)))
      (call $say)
      (loop $stay (br_if $stay (i64.ge_u (local.get $n) (i64.const 10000))))
      (i64.const 0))
    "#;

/// M7: what calls held is given back when they are over, but for what each slot keeps at hand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m7_what_was_held_is_given_back() {
    // Calls at one time, and the pages of each: 64 MiB.
    const CALLS: u64 = 6;
    const PAGES: u64 = 1_024;
    let engine = engine();
    let tool = raw::tool(&engine, "", TOUCH);
    let scene = Scene::of(tool, Effect::Pure).grants("limits.fuel = \"100G\"");
    scene.run("act", json!({ "n": PAGES })).await;
    let before = resident();
    let cancel = Cancel::new();
    let (sender, receiver) = mpsc::channel();
    let calls: Vec<_> = (0..CALLS)
        .map(|_| {
            let (opened, call) = scene.open("act", &json!({ "n": 10_000 + PAGES }));
            let (tool, cancel, sink) =
                (scene.tool().clone(), cancel.clone(), Started::new(sender.clone()));
            tokio::spawn(async move { tool.run(opened, call, &cancel, sink).await })
        })
        .collect();
    let all = move || (0..CALLS).for_each(|_| receiver.recv().unwrap());
    tokio::task::spawn_blocking(all).await.unwrap();
    let held = resident();
    assert!(held > before + CALLS * (50 << 20), "{before} before, {held} held");
    cancel.cancel();
    for call in calls {
        assert_eq!(call.await.unwrap().outcome, Outcome::Cancelled);
    }
    let after = resident();
    // Two MiB of memory, one of table, some of a stack, and what the allocator keeps of the rest.
    assert!(after < before + CALLS * (8 << 20), "{before} before, {held} held, {after} after");
}

/// What this process has in memory, in bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() << 10
}

/// M8: what a tool of WASI 0.2 does not need is not there.
#[test]
fn m8_switched_off_features_do_not_validate() {
    for module in [
        "(memory i64 1)",
        "(table i64 1 funcref)",
        "(memory 1 1 shared)",
        "(memory 1 (pagesize 1))",
        "(type $f (func)) (type (cont $f))",
        "(func (param v128) (result v128) (i32x4.relaxed_trunc_f32x4_s (local.get 0)))",
    ] {
        does_not_validate(module);
    }
}

/// A component with this core module in it; the same without it gets further.
fn does_not_validate(module: &str) {
    let load = |module: &str| {
        let text = format!("(component (core module {module}))");
        Tool::load(&ENGINE, &wat::parse_str(&text).unwrap())
    };
    match load(module) {
        Err(Error::Refused(Refusal::Invalid { .. })) => {}
        other => panic!("{module}: {:?}", other.err()),
    }
    match load("(memory 1) (table 1 funcref) (func (param v128))") {
        Err(Error::Refused(Refusal::NoTools { .. })) => {}
        other => panic!("{:?}", other.err()),
    }
}
