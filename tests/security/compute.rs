//! Guests that do not come back: each is stopped by what it spends or by whoever asks, and the next
//! call finds everything well.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
    thread,
};

use ringfence_event::{Effect, Limit, Outcome, Usage};
use ringfence_sandbox::{Cancel, Error, Refusal, Tool};
use ringfence_tests::{ENGINE, START, Scene, Started, guest};
use serde_json::{Value, json};

use crate::raw;

/// C1: `loop {}` ends at its fuel limit, at the same count on every run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c1_a_spinning_guest_ends_at_its_fuel() {
    // Long enough for the engine to ask several times in between whether the call is cancelled.
    let tool = Tool::load(&ENGINE, &guest("spin")).unwrap();
    let spin = Scene::of(tool, Effect::Pure).grants("limits.fuel = \"1G\"");
    let ended = spin.run("spin", json!({})).await;
    assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Fuel });
    assert_eq!(ended.usage.fuel_total(), 1_000_000_000, "{:?}", ended.usage);
    for _ in 0..5 {
        let again = spin.run("spin", json!({})).await;
        let same = |usage: &Usage| (usage.fuel, usage.host_work, usage.host_calls);
        assert_eq!(same(&again.usage), same(&ended.usage));
    }
}

/// C1: the same count however often the engine asks, also while it makes room for what the host hands it.
#[tokio::test]
async fn c1_what_a_call_spends_does_not_depend_on_how_often_it_is_asked() {
    // While one that was cancelled is still there, all are asked as fast as that goes.
    let over = Arc::new(AtomicBool::new(false));
    let others = thread::spawn({
        let over = over.clone();
        move || {
            let scene = Scene::new(Effect::Read).grants("limits.fuel = \"100G\"");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                while !over.load(SeqCst) {
                    let (sender, receiver) = mpsc::channel();
                    let (cancel, sink) = (Cancel::new(), Started::new(sender));
                    let spinning = scene.run_until("hold", json!({ "how": "spin" }), &cancel, sink);
                    let beside = async {
                        while receiver.try_recv().is_err() {
                            tokio::task::yield_now().await;
                        }
                        cancel.cancel();
                    };
                    tokio::join!(spinning, beside);
                }
            });
        }
    });
    let scene = Scene::new(Effect::Pure);
    let flood = || scene.run("flood", json!({ "what": "random", "bytes": 200_000 }));
    let first = flood().await;
    for _ in 0..200 {
        let again = flood().await;
        let same = |usage: &Usage| (usage.fuel, usage.host_work, usage.host_calls);
        assert_eq!(same(&again.usage), same(&first.usage));
    }
    over.store(true, SeqCst);
    others.join().unwrap();
}

/// C1: a guest that only computes, or only calls the host, keeps nobody from the thread it runs on.
#[tokio::test]
async fn c1_a_spinning_guest_leaves_its_thread_to_others() {
    let scene = Scene::new(Effect::Read).grants("limits.fuel = \"100G\"");
    for how in ["spin", "host-calls", "fill"] {
        let (sender, receiver) = mpsc::channel();
        let (cancel, sink) = (Cancel::new(), Started::new(sender));
        let arguments = json!({ "how": how, "count": 64 });
        let spinning = scene.run_until("hold", arguments, &cancel, sink);
        // On the same thread: it is over only if the other one yields, again and again.
        let beside = async {
            // It may have been made to yield before its first word.
            while receiver.try_recv().is_err() {
                tokio::task::yield_now().await;
            }
            for _ in 0..3 {
                scene.works().await;
            }
            cancel.cancel();
        };
        let (ended, ()) = tokio::join!(spinning, beside);
        assert_eq!(ended.outcome, Outcome::Cancelled, "{how}");
    }
}

/// C3: bulk memory is charged by its size.
#[tokio::test]
async fn c3_filling_memory_is_charged_by_the_byte() {
    let scene = |fuel: &str| Scene::new(Effect::Read).grants(&format!("limits.fuel = \"{fuel}\""));
    // 256 times 8 MiB, and a thousand times half of them.
    for (how, bytes) in [("fill", 256 * (8 << 20)), ("copy", 1_000 * (4 << 20))] {
        let arguments = json!({ "how": how, "count": 8 });
        let ended = scene("100M").run("hold", arguments.clone()).await;
        assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Fuel }, "{how}");
        scene("100M").works().await;
        let ended = scene("10G").run("hold", arguments).await;
        assert!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{how}: {ended:?}");
        assert!(ended.usage.fuel > bytes, "{how}: {:?}", ended.usage);
    }
}

/// C3: what the engine does in the middle of a function comes out of the same fuel, although the guest does
/// not look at its count there.
#[tokio::test]
async fn c3_growing_by_nothing_over_and_over_is_charged() {
    const FUEL: u64 = 10_000_000;
    for (what, act) in [
        ("a memory", "(drop (memory.grow (i32.const 0)))"),
        ("a table", "(drop (table.grow $t (ref.null func) (i32.const 0)))"),
    ] {
        let body = format!(
            "(table $t 1 funcref)
             (func $act (param $n i64) (result i64)
               (loop $on
                 {act}
                 (local.set $n (i64.sub (local.get $n) (i64.const 1)))
                 (br_if $on (i64.ne (local.get $n) (i64.const 0))))
               (i64.const 0))"
        );
        let tool = || raw::tool(&ENGINE, "", &body);
        let scene = Scene::of(tool(), Effect::Pure).grants(&format!("limits.fuel = \"{FUEL}\""));
        let ended = scene.run("act", json!({ "n": 1_000 })).await;
        assert!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{what}: {ended:?}");
        assert!(ended.usage.host_work >= 1_000_000, "{what}: {:?}", ended.usage);
        let ended = scene.run("act", json!({ "n": 1_000_000 })).await;
        assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Fuel }, "{what}");
        assert_eq!(ended.usage.fuel_total(), FUEL, "{what}: {:?}", ended.usage);
        assert!(ended.usage.host_calls <= FUEL / 1_000, "{what}: {:?}", ended.usage);
    }
}

/// C4: however deep a guest goes, its own stack ends first; the host's is never in danger.
#[tokio::test]
async fn c4_recursion_ends_at_the_guests_own_stack() {
    let scene = Scene::new(Effect::Read);
    let recurse = |count: u64| json!({ "how": "recurse", "count": count });
    let ended = scene.run("hold", recurse(1_000_000)).await;
    let Outcome::Trapped { message } = &ended.outcome else { panic!("{ended:?}") };
    assert!(message.contains("stack"), "{message}");
    scene.works().await;
    let ended = scene.run("hold", recurse(1_000)).await;
    assert!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{ended:?}");
}

/// C4: the same through a table, and with frames of eight thousand bytes.
#[tokio::test]
async fn c4_no_way_to_recurse_goes_past_the_guests_own_stack() {
    let locals = "(local v128)".repeat(500);
    let set: String =
        (1..=500).map(|n| format!("(local.set {n} (v128.load (i32.const {})))", n * 16)).collect();
    let sum: String = (1..=500).map(|n| format!("(i64x2.add (local.get {n}) ")).collect();
    let body = format!(
        r#"
        (type $step (func (param i64) (result i64)))
        (table 2 funcref)
        (elem (i32.const 0) $narrow $wide)
        (func $narrow (type $step)
          (if (result i64) (i64.eqz (local.get 0))
            (then (i64.const 0))
            (else
              (i64.add (i64.const 1)
                (call_indirect (type $step)
                  (i64.sub (local.get 0) (i64.const 1)) (i32.const 0))))))
        (func $wide (type $step) {locals} {set}
          (if (i64.eqz (local.get 0)) (then (return (i64.const 0))))
          (drop (call_indirect (type $step)
            (i64.sub (local.get 0) (i64.const 1)) (i32.const 1)))
          (i64x2.extract_lane 0 {sum}(v128.const i64x2 0 0){}))
        (func $act (param $n i64) (result i64)
          (call_indirect (type $step)
            (i64.div_u (local.get $n) (i64.const 10))
            (i32.wrap_i64 (i64.rem_u (local.get $n) (i64.const 10)))))
        "#,
        ")".repeat(500),
    );
    let scene = Scene::of(raw::tool(&ENGINE, "", &body), Effect::Pure);
    for (deep, which, ends) in
        [(1_000, 0, true), (10_000_000, 0, false), (20, 1, true), (10_000_000, 1, false)]
    {
        let ended = scene.run("act", json!({ "n": deep * 10 + which })).await;
        match &ended.outcome {
            Outcome::Succeeded { .. } => assert!(ends, "{deep} {which}: {ended:?}"),
            Outcome::Trapped { message } => {
                assert!(!ends && message.contains("stack"), "{deep} {which}: {message}");
            }
            other => panic!("{deep} {which}: {other:?}"),
        }
    }
}

/// C6: after a limit was met no instruction of the guest's runs any more, wherever it was met.
#[tokio::test]
async fn c6_nothing_of_a_guest_runs_after_its_limit() {
    let random = "(import \"wasi:random/random@0.2.12\" \"get-random-bytes\" \
         (func $random (param i64 i32)))";
    let body = r#"
        (func $act (param $n i64) (result i64)
          (call $say)
          (call $random (local.get $n) (i32.const 1024))
          (call $say)
          (call $random (local.get $n) (i32.const 1024))
          (call $say)
          (i64.const 0))
        "#;
    for (limit, grants) in
        [(Limit::Random, "limits.random = \"150B\""), (Limit::Fuel, "limits.fuel = \"203500\"")]
    {
        let scene = || Scene::of(raw::tool(&ENGINE, random, body), Effect::Pure);
        let said = |scene: &Scene| scene.notes.0.lock().unwrap().len();
        let free = scene();
        let ended = free.run("act", json!({ "n": 100 })).await;
        assert!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{limit}: {ended:?}");
        assert_eq!(said(&free), 3);
        let bound = scene().grants(grants);
        let ended = bound.run("act", json!({ "n": 100 })).await;
        assert_eq!(ended.outcome, Outcome::LimitReached { limit }, "{ended:?}");
        assert!(said(&bound) < 3, "{limit}: it went on");
        assert!(ended.usage.random_bytes <= 150, "{limit}: {:?}", ended.usage);
    }
}

/// C7: a call cannot make a call. Everything that the contract lets a tool import is in this list,
/// which somebody read: none of it leads to another tool, an agent or a model.
#[test]
fn c7_no_import_reaches_another_tool() {
    let known = [
        "ringfence:tool/context",
        "ringfence:tool/types",
        "wasi:cli/environment",
        "wasi:cli/exit",
        "wasi:cli/stderr",
        "wasi:cli/stdin",
        "wasi:cli/stdout",
        "wasi:cli/terminal-input",
        "wasi:cli/terminal-output",
        "wasi:cli/terminal-stderr",
        "wasi:cli/terminal-stdin",
        "wasi:cli/terminal-stdout",
        "wasi:clocks/monotonic-clock",
        "wasi:clocks/wall-clock",
        "wasi:config/store",
        "wasi:filesystem/preopens",
        "wasi:filesystem/types",
        "wasi:http/outgoing-handler",
        "wasi:http/types",
        "wasi:io/error",
        "wasi:io/poll",
        "wasi:io/streams",
        "wasi:keyvalue/atomics",
        "wasi:keyvalue/batch",
        "wasi:keyvalue/store",
        "wasi:random/insecure",
        "wasi:random/insecure-seed",
        "wasi:random/random",
        "wasi:sockets/instance-network",
        "wasi:sockets/ip-name-lookup",
        "wasi:sockets/network",
        "wasi:sockets/tcp",
        "wasi:sockets/tcp-create-socket",
        "wasi:sockets/udp",
        "wasi:sockets/udp-create-socket",
    ];
    let mut open = 0;
    // Whatever `wit/` has, imported by the world or not, and what tools themselves export.
    for name in raw::interfaces() {
        let interface = name.split('@').next().unwrap();
        let text = format!("(component (import \"{name}\" (instance)))");
        match Tool::load(&ENGINE, &wat::parse_str(&text).unwrap()) {
            // It came as far as to be asked for its own exports.
            Err(Error::Refused(Refusal::NoTools { .. })) => {
                assert!(known.contains(&interface), "{name} is open to tools: does it reach one?");
                open += 1;
            }
            Err(Error::Refused(Refusal::UnknownImports { imports })) => {
                assert!(!known.contains(&interface), "{name}: {imports:?}");
            }
            other => panic!("{name}: {:?}", other.err()),
        }
    }
    assert_eq!(open, known.len());
    assert!(raw::interfaces().iter().any(|name| name.starts_with("ringfence:tool/tools")));
}

/// C10: a trap costs no search for names and lines, however deep it happens and however often.
#[tokio::test]
async fn c10_a_storm_of_traps_is_no_storm_of_backtraces() {
    let body = r#"
        (func $act (param $n i64) (result i64)
          (if (i64.eqz (local.get $n)) (then unreachable))
          (i64.add (i64.const 1) (call $act (i64.sub (local.get $n) (i64.const 1)))))
        "#;
    let scene = Scene::of(raw::tool(&ENGINE, "", body), Effect::Pure);
    let first = scene.run("act", json!({ "n": 2_000 })).await;
    for _ in 0..2_000 {
        let ended = scene.run("act", json!({ "n": 2_000 })).await;
        assert_eq!(ended.outcome, first.outcome);
        assert_eq!(ended.usage.fuel, first.usage.fuel, "each is paid for");
    }
    let Outcome::Trapped { message } = first.outcome else { panic!("{first:?}") };
    assert!(message.contains("unreachable") && !message.contains("backtrace"), "{message}");
    assert!(message.len() < 200, "{message}");
    Scene::new(Effect::Read).works().await;
}

/// C9: the same call sees the same clock and the same random bytes, whenever it is made.
#[tokio::test]
async fn c9_a_pure_call_sees_the_same_world_again() {
    let (first, second) = (seen().await, seen().await);
    assert_eq!(first, second);
    assert_eq!(first["wall_ms"], json!([START.0, START.0]));
    assert_eq!(first["monotonic_ns"], json!([0, 0]));
    let random = first["random"].as_array().unwrap();
    assert_ne!(random[0], random[1]);
    assert_ne!(random[0], first["insecure"]);
}

/// What a `pure` call sees unasked.
async fn seen() -> Value {
    let ended = Scene::new(Effect::Pure).run("ambient", json!({})).await;
    match ended.outcome {
        Outcome::Succeeded { output } => output.structured.unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Whatever a guest is doing, a cancel from another thread ends it: computing, waiting, in the
/// middle of bulk memory, or calling the host over and over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_call_is_cancelled_whatever_it_does() {
    let scene =
        Scene::new(Effect::Read).grants("limits.fuel = \"100G\"\nlimits.memory = \"256MiB\"");
    for (how, count) in [
        ("sleep", 3_600_000),
        ("poll-nothing", 0),
        ("spin", 0),
        ("fill", 64),
        ("copy", 64),
        ("host-calls", 0),
    ] {
        let (sender, receiver) = mpsc::channel();
        let cancel = Cancel::new();
        let of_thread = cancel.clone();
        let cancelling = thread::spawn(move || {
            receiver.recv().unwrap();
            of_thread.cancel();
        });
        let arguments = json!({ "how": how, "count": count });
        let sink = Started::new(sender);
        let ended = scene.run_until("hold", arguments, &cancel, sink).await;
        cancelling.join().unwrap();
        assert_eq!(ended.outcome, Outcome::Cancelled, "{how}");
        assert!(ended.usage.fuel > 0 && ended.usage.host_calls > 0, "{how}: {:?}", ended.usage);
        // Loose, for a machine that does other things too: the benchmark measures it.
        assert!(ended.usage.wall_us < 5_000_000, "{how}: {:?}", ended.usage);
        scene.works().await;
    }
}
