//! What one tenant leaves behind in a slot, and what the next one in it finds: in memory, in a
//! table, in globals, and in what it never wrote of its stack.

use std::sync::mpsc;

use ringfence_event::{Effect, Limit, Outcome};
use ringfence_sandbox::{Cancel, Engine, EngineConfig, Tool};
use ringfence_tests::{Scene, Started, guest, text};
use serde_json::json;

use crate::raw;

/// Leaves and searches marks. Its number is what to do (in hundreds of thousands) and in how many
/// pages. Everything it marks it reads back in the same call.
const MARKS: &str = r#"
  (table $table 10000 funcref)
  (elem declare func $deep)
  (global $a (mut i64) (i64.const 0)) (global $b (mut i64) (i64.const 0))
  (global $c (mut f64) (f64.const 0)) (global $d (mut funcref) (ref.null func))
  (global $mark i64 (i64.const 0xa5c396e15a3c691e))
  (func $act (param $number i64) (result i64)
    (local $do i64) (local $end i32)
    (local.set $do (i64.div_u (local.get $number) (i64.const 100000)))
    (drop (memory.grow (i32.wrap_i64 (i64.rem_u (local.get $number) (i64.const 100000)))))
    (local.set $end (i32.mul (memory.size) (i32.const 65536)))
    ;; 0 searches and nothing else.
    (if (i64.ne (local.get $do) (i64.const 0)) (then (call $leave (local.get $end))))
    (call $say)
    ;; 2 traps with all of it in place, 3 stays in it.
    (if (i64.eq (local.get $do) (i64.const 2)) (then unreachable))
    (loop $stay (br_if $stay (i64.eq (local.get $do) (i64.const 3))))
    (call $found (local.get $end)))
  (func $leave (param $end i32)
    (local $at i32)
    (local.set $at (i32.const 131072))
    (loop $next
      (i64.store (local.get $at) (global.get $mark))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $next (i32.lt_u (local.get $at) (local.get $end))))
    (table.fill $table (i32.const 0) (ref.func $deep) (i32.const 10000))
    (global.set $a (global.get $mark)) (global.set $b (global.get $mark))
    (global.set $c (f64.reinterpret_i64 (global.get $mark))) (global.set $d (ref.func $deep))
    (drop (call $deep (i64.const 2000))))
  ;; Frames full of the mark: each word of them is needed after the call below it.
  (func $deep (param $left i64) (result i64)
    (local $a i64) (local $b i64) (local $c i64) (local $d i64)
    (local.set $a (global.get $a)) (local.set $b (global.get $b))
    (local.set $c (i64.add (global.get $a) (local.get $left)))
    (local.set $d (i64.xor (global.get $b) (local.get $left)))
    (if (i64.ne (local.get $left) (i64.const 0))
      (then (drop (call $deep (i64.sub (local.get $left) (i64.const 1))))))
    (i64.add (i64.add (local.get $a) (local.get $b)) (i64.add (local.get $c) (local.get $d))))
  (func $found (param $end i32) (result i64)
    (local $at i32) (local $found i64)
    (local.set $at (i32.const 131072))
    (loop $next
      (if (i64.eq (i64.load (local.get $at)) (global.get $mark))
        (then (local.set $found (i64.add (local.get $found) (i64.const 1)))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $next (i32.lt_u (local.get $at) (local.get $end))))
    (local.set $at (i32.const 0))
    (loop $next
      (if (i32.eqz (ref.is_null (table.get $table (local.get $at))))
        (then (local.set $found (i64.add (local.get $found) (i64.const 1)))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 10000))))
    (i64.add (local.get $found) (i64.add (call $globals) (call $locals))))
  (func $globals (result i64)
    (i64.extend_i32_u (i32.add
      (i32.add (i64.ne (global.get $a) (i64.const 0)) (i64.ne (global.get $b) (i64.const 0)))
      (i32.add
        (i64.ne (i64.reinterpret_f64 (global.get $c)) (i64.const 0))
        (i32.eqz (ref.is_null (global.get $d)))))))
  ;; What a guest can read of a stack that it has not written: locals that it never set.
  (func $locals (result i64)
    (local $a i64) (local $b v128) (local $c funcref) (local $d f64)
    (i64.extend_i32_u (i32.or
      (i32.or (i64.ne (local.get $a) (i64.const 0)) (v128.any_true (local.get $b)))
      (i32.or
        (i32.eqz (ref.is_null (local.get $c)))
        (i64.ne (i64.reinterpret_f64 (local.get $d)) (i64.const 0))))))
"#;

/// How a call ends that has left its marks.
#[derive(Clone, Copy, Debug)]
enum End {
    Return,
    Trap,
    Cancel,
    Spent,
    Drop,
}

/// Leaves marks in so many pages, as tenant `a`; sees that all of them are there.
async fn leave(scene: &Scene, end: End, pages: u64) {
    let what = match end {
        End::Return => 1,
        End::Trap => 2,
        End::Cancel | End::Spent | End::Drop => 3,
    };
    let (opened, call) = scene.open("act", &json!({ "n": what * 100_000 + pages }));
    let (tool, cancel) = (scene.tool().clone(), Cancel::new());
    let (sender, receiver) = mpsc::channel();
    let of_call = cancel.clone();
    let call =
        tokio::spawn(async move { tool.run(opened, call, &of_call, Started::new(sender)).await });
    // From its word on everything is marked.
    tokio::task::spawn_blocking(move || receiver.recv()).await.unwrap().unwrap();
    match end {
        End::Cancel => cancel.cancel(),
        End::Drop => {
            call.abort();
            assert!(call.await.unwrap_err().is_cancelled());
            return;
        }
        End::Return | End::Trap | End::Spent => {}
    }
    let ended = call.await.unwrap();
    match end {
        // Every eighth byte of a page, each entry of the table, four globals.
        End::Return => assert_eq!(text(&ended), (pages * 8_192 + 10_000 + 4).to_string()),
        End::Trap => assert!(matches!(ended.outcome, Outcome::Trapped { .. }), "{ended:?}"),
        End::Spent => assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Fuel }),
        End::Cancel | End::Drop => assert_eq!(ended.outcome, Outcome::Cancelled),
    }
}

/// M3: whatever a call left when it returned, trapped, spent its fuel, was cancelled or dropped: the
/// next tenant's call in the same slot finds none of it, with the same tool or with another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m3_one_tenants_marks_are_not_found_by_the_next_in_its_slot() {
    let engine =
        Engine::new(&EngineConfig { concurrent_calls: 1, ..EngineConfig::default() }).unwrap();
    let marks = raw::tool(&engine, "", MARKS);
    let other = raw::tool(&engine, "", &format!("{MARKS} (func $another)"));
    let scene = |tool: &Tool, tenant: &str, fuel: &str| {
        Scene::of(tool.clone(), Effect::Read)
            .tenant(tenant)
            .grants("limits.memory = \"128MiB\"")
            .grants(&format!("limits.fuel = \"{fuel}\""))
    };
    // Less than what is kept resident and cleared, and more: pages that are given back.
    for pages in [16, 1_024] {
        for end in [End::Return, End::Trap, End::Cancel, End::Spent, End::Drop] {
            for searching in [&marks, &other] {
                let leaving = match end {
                    // Ten times what leaving the marks takes.
                    End::Spent => scene(&marks, "a", "1G"),
                    _ => scene(&marks, "a", "100G"),
                };
                leave(&leaving, end, pages).await;
                let ended = scene(searching, "b", "100G").run("act", json!({ "n": pages })).await;
                assert_eq!(text(&ended), "0", "{pages} pages after {end:?}");
            }
        }
    }
}

/// M3: the same with a tool that a compiler made, whose own allocator takes the memory.
#[tokio::test]
async fn m3_nothing_of_one_calls_memory_is_left_for_the_next() {
    let config = EngineConfig { concurrent_calls: 1, ..EngineConfig::default() };
    let engine = Engine::new(&config).unwrap();
    let scene = Scene::of(Tool::load(&engine, &guest("probe")).unwrap(), Effect::Read);
    let marks = |how: &str, mib: u64| json!({ "how": how, "count": mib });
    for mib in [1, 16, 64] {
        for how in ["mark", "mark-and-panic"] {
            let ended = scene.run("hold", marks(how, mib)).await;
            assert!(format!("{ended:?}").contains(&(mib << 17).to_string()), "{how}: {ended:?}");
            for searched in [1, 64, 100] {
                let ended = scene.run("hold", marks("search", searched)).await;
                assert_eq!(text(&ended), "0", "{searched} MiB after {how} of {mib}");
            }
        }
    }
}
