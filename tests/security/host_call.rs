//! Every limit of a call: what fits exactly is done, one more ends the call with the limit's name,
//! and the next call finds everything well.

mod blocked;
mod dropped;
mod price;

use ringfence_event::{Effect, Level, Limit, Note, Outcome, Usage};
use ringfence_tests::{ENGINE, Scene, text, web};
use serde_json::{Value, json};

use crate::raw;

struct Case {
    limit: Limit,
    function: &'static str,
    arguments: Value,
    /// What of the limit a call takes that is not held back, in the limit's unit.
    takes: fn(&Usage) -> u64,
}

fn scene(limit: Limit, amount: Option<u64>) -> Scene {
    let unit = match limit {
        Limit::Fuel | Limit::Handles | Limit::Requests => "",
        Limit::Time => "ms",
        _ => "B",
    };
    let scene = Scene::new(Effect::Unsafe)
        .needs("[needs.memory.user]\naccess = \"write\"")
        .grants("memory.user = \"write\"");
    match (amount, unit) {
        (None, _) => scene,
        // Numbers without a unit stand alone, fuel in quotes like every quantity.
        (Some(amount), "") if limit != Limit::Fuel => {
            scene.grants(&format!("limits.{limit} = {amount}"))
        }
        (Some(amount), unit) => scene.grants(&format!("limits.{limit} = \"{amount}{unit}\"")),
    }
}

async fn check(case: Case) {
    let Case { limit, function, arguments, takes } = case;
    let free = scene(limit, None).run(function, arguments.clone()).await;
    assert!(matches!(free.outcome, Outcome::Succeeded { .. }), "{limit} {arguments}: {free:?}");
    let taken = takes(&free.usage);
    assert!(taken > 0, "{limit} {arguments}: {free:?}");

    let fits = scene(limit, Some(taken));
    let ended = fits.run(function, arguments.clone()).await;
    assert!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{limit} {arguments}: {ended:?}");

    let short = scene(limit, Some(taken - 1));
    let ended = short.run(function, arguments.clone()).await;
    assert_eq!(ended.outcome, Outcome::LimitReached { limit }, "{arguments}: {ended:?}");
    assert!(takes(&ended.usage) <= taken, "{limit} {arguments}: {ended:?}");
    assert!(ended.writes.is_empty(), "{limit} {arguments}: {ended:?}");
    let again = scene(limit, Some(taken)).run(function, arguments.clone()).await;
    assert!(matches!(again.outcome, Outcome::Succeeded { .. }), "{limit} {arguments}: {again:?}");
}

fn flood(what: &str, bytes: u64) -> (&'static str, Value) {
    ("flood", json!({ "what": what, "bytes": bytes }))
}

/// C1, M1, H6 and their like: each counter ends the call at exactly its limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_end_the_call_at_exactly_their_limit() {
    let cases: [(Limit, (&str, Value), fn(&Usage) -> u64); 14] = [
        // One more than was spent: nothing may be left of fuel that is not paid for.
        (Limit::Fuel, ("repeat", json!({ "act": "compute", "times": 1_000 })), |u| {
            u.fuel_total() + 1
        }),
        (Limit::Fuel, ("repeat", json!({ "act": "host-call", "times": 1_000 })), |u| {
            u.fuel_total() + 1
        }),
        (Limit::Memory, flood("memory", 4 << 20), |u| u.memory_peak_bytes),
        (Limit::Output, flood("output", 100_000), |u| u.output_bytes),
        (Limit::Output, flood("emit", 100_000), |u| u.output_bytes),
        (Limit::Output, flood("structured", 100_000), |u| u.output_bytes),
        (Limit::Logs, flood("stdout", 100_000), |u| u.log_bytes),
        (Limit::Logs, flood("stderr", 100_000), |u| u.log_bytes),
        (Limit::Logs, flood("log", 100_000), |u| u.log_bytes),
        (Limit::Logs, flood("progress", 100_000), |u| u.log_bytes),
        (Limit::Random, flood("random", 100_000), |u| u.random_bytes),
        (Limit::Random, flood("insecure", 100_000), |u| u.random_bytes),
        (
            Limit::Storage,
            ("memory", json!({ "scope": "user", "acts": [{ "fill": ["key", 5_000] }] })),
            |u| u.bytes_written,
        ),
        (
            Limit::Storage,
            (
                "memory",
                json!({ "scope": "user", "acts": [{ "set": ["a", "b"] }, { "increment": ["n", 1] }, { "delete": "a" }] }),
            ),
            |u| u.bytes_written,
        ),
    ];
    for (limit, (function, arguments), takes) in cases {
        check(Case { limit, function, arguments, takes }).await;
    }
}

#[tokio::test]
async fn requests_and_what_they_send_are_limited() {
    let web = web::serve();
    let origin = web.origin();
    let scene = |limits: &str| {
        Scene::new(Effect::Read)
            .needs(&format!("[needs.http.\"{origin}\"]\nmethods = [\"GET\"]"))
            .grants(&format!("http = [\"{origin}\"]\n{limits}"))
    };
    let arguments = json!({ "url": format!("{origin}/hello"), "times": 3 });
    let ended = scene("limits.requests = 3").run("http", arguments.clone()).await;
    assert!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{ended:?}");
    let sent = ended.usage.egress_bytes;
    assert!(ended.usage.requests == 3 && sent > 100, "{ended:?}");

    let ended = scene("limits.requests = 2").run("http", arguments.clone()).await;
    assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Requests });
    assert_eq!(ended.usage.requests, 2);
    let egress = |bytes| format!("limits.egress = \"{bytes}B\"");
    let ended = scene(&egress(sent)).run("http", arguments.clone()).await;
    assert!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{ended:?}");
    let ended = scene(&egress(sent - 1)).run("http", arguments).await;
    assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Egress });
}

/// Gauges: what is held at one time.
#[tokio::test]
async fn h4_handles_are_limited_by_what_is_held() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "hello").unwrap();
    let scene = Scene::new(Effect::Read)
        .root("workspace", folder.path(), "read")
        .grants("limits.handles = 40");
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    scene.works().await;
    let before = open();
    for how in ["handles", "pollables"] {
        let ended = scene.run("hold", json!({ "how": how, "count": 20 })).await;
        assert!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{how}: {ended:?}");
        let ended = scene.run("hold", json!({ "how": how, "count": 100 })).await;
        assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Handles }, "{how}");
        scene.works().await;
    }
    // Other tests open files beside this one, so not to the last one: 200 would be a leak.
    assert!(open() < before + 50, "{before} before, {} after", open());
}

/// H1: what a guest hands over in one call is bounded before it is copied.
#[tokio::test]
async fn h1_what_one_host_call_lifts_is_limited() {
    let scene = |lift: &str| {
        Scene::new(Effect::Unsafe)
            .needs("[needs.memory.user]\naccess = \"write\"")
            .grants("memory.user = \"write\"\nlimits.storage = \"8MiB\"\nlimits.output = \"8MiB\"")
            .grants(&format!("limits.lift = \"{lift}\""))
    };
    let fill = json!({ "scope": "user", "acts": [{ "fill": ["key", 2 << 20] }] });
    for (function, arguments) in [("memory", fill), flood("output", 2 << 20)] {
        let ended = scene("4MiB").run(function, arguments.clone()).await;
        assert!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{function}: {ended:?}");
        let ended = scene("1MiB").run(function, arguments.clone()).await;
        assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Lift }, "{function}");
    }
}

/// H1: lists that are large by their number, texts that are large at once, and such that are said to
/// be where nothing is.
#[tokio::test]
async fn h1_what_a_guest_says_is_large_is_not_made_so() {
    let from_list = "(import \"wasi:http/types@0.2.12\" \"[static]fields.from-list\" \
         (func $fields (param i32 i32 i32)))";
    // So many pairs of a name of one letter and nothing, or a text of as many bytes; in memory or
    // behind it.
    let act = |what: &str, pages: u32| {
        format!(
            r#"(func $act (param $n i64) (result i64)
                 (local $at i32) (local $left i64)
                 (drop (memory.grow (i32.const {pages})))
                 (local.set $at (i32.const 131072))
                 (local.set $left (local.get $n))
                 (loop $next
                   (if (i32.lt_u (local.get $at) (i32.mul (memory.size) (i32.const 65536)))
                     (then
                       (i32.store (local.get $at) (i32.const 512))
                       (i32.store offset=4 (local.get $at) (i32.const 1))
                       (local.set $at (i32.add (local.get $at) (i32.const 16)))
                       (local.set $left (i64.sub (local.get $left) (i64.const 1)))
                       (br_if $next (i64.ne (local.get $left) (i64.const 0))))))
                 {what}
                 (i64.const 0))"#
        )
    };
    let pairs = "(call $fields (i32.const 131072) (i32.wrap_i64 (local.get $n)) (i32.const 1024))";
    let words = "(call $log (i32.const 2) (i32.const 131072) (i32.wrap_i64 (local.get $n)))";
    for (what, pages, small, large, behind) in [
        (pairs, 1_600, 100, 6_000_000, 100_000_000),
        (words, 1_600, 10_000, 100_000_000, 4_000_000_000_u32),
    ] {
        let tool = raw::tool(&ENGINE, from_list, &act(what, pages));
        let scene = Scene::of(tool, Effect::Unsafe);
        let ended = scene.run("act", json!({ "n": small })).await;
        assert!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{ended:?}");
        let ended = scene.run("act", json!({ "n": large })).await;
        assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Lift }, "{ended:?}");
        let ended = scene.run("act", json!({ "n": behind })).await;
        assert!(matches!(ended.outcome, Outcome::Trapped { .. }), "{ended:?}");
    }
    // This process has not held what was said to be there.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches("kB").trim().parse().unwrap();
    assert!(peak < 700 << 10, "{peak} kB");
}

/// H5: the time of the host is paid for: a loop of cheap host calls ends at its fuel.
#[tokio::test]
async fn h5_host_calls_are_paid_for() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "hello").unwrap();
    let scene = Scene::new(Effect::Read)
        .root("workspace", folder.path(), "read")
        .grants("limits.fuel = \"50M\"");
    for act in ["host-call", "file-stat", "path-stat", "random", "log"] {
        let arguments = json!({ "act": act, "times": 1_000_000, "bytes": 1 });
        let ended = scene.run("repeat", arguments).await;
        assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Fuel }, "{act}");
        let usage = ended.usage;
        assert!(usage.host_calls > 300 && usage.host_work > usage.fuel, "{act}: {usage:?}");
        assert!(usage.fuel_total() <= 50_000_000, "{act}: {usage:?}");
        let few = scene.run("repeat", json!({ "act": act, "times": 100, "bytes": 1 })).await;
        assert!(matches!(few.outcome, Outcome::Succeeded { .. }), "{act}: {few:?}");
    }
}

/// H6: a guest that prints without end is over at its limit; what was heard of it is no more than
/// that, in pieces of a bounded size.
#[tokio::test]
async fn h6_a_flood_of_words_ends_at_its_limit() {
    for what in ["stdout", "stderr", "log", "progress"] {
        let scene = Scene::new(Effect::Pure).grants("limits.logs = \"100000B\"");
        let ended = scene.run("flood", json!({ "what": what, "bytes": 4_000_000_000_u64 })).await;
        assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Logs }, "{what}");
        let notes = scene.notes.0.lock().unwrap();
        let heard = notes.iter().map(|note| match note {
            Note::Log { message, .. } | Note::Progress { message: Some(message), .. } => {
                message.len()
            }
            other => panic!("{other:?}"),
        });
        let (all, longest) = heard.fold((0, 0), |(all, max), next| (all + next, max.max(next)));
        assert!((90_000..=100_000).contains(&all) && longest <= 8 << 10, "{what}: {all} {longest}");
    }
}

/// H6: whatever bytes are printed, in whatever parts, there comes one record a line, which a reader
/// sees as it is.
#[tokio::test]
async fn h6_what_is_printed_is_one_record_a_line() {
    let long = "ä".repeat(6_000);
    let whole = ["ä".repeat(4_096), "ä".repeat(6_000 - 4_096)];
    let shifted = [format!("x{}", "ä".repeat(4_095)), "ä".repeat(6_000 - 4_095)];
    let bell = r"\u{1b}]0;owned\u{7}\u{9b}2J";
    for (parts, said) in [
        // The control: lines as they are.
        (vec!["one\ntwo\n".into()], vec!["one", "two"]),
        (vec!["o".into(), "ne\nt".into(), "wo".into()], vec!["one", "two"]),
        (vec!["one\r\n\ntwo\r\n".into()], vec!["one", "", "two"]),
        (vec!["\n".into(), "\n".into()], vec!["", ""]),
        (vec![vec![], b"no end".to_vec(), vec![]], vec!["no end"]),
        // A character that comes in two parts is one, and what is none is marked.
        (vec![vec![0xc3], vec![0xa4, b'\n']], vec!["ä"]),
        (vec![vec![b'a', 0xff, 0xfe, b'b', b'\n', 0xc3]], vec!["a\u{fffd}\u{fffd}b", "\u{fffd}"]),
        // What a terminal would obey, or nobody would see.
        (vec!["\u{1b}]0;owned\u{7}\u{9b}2J\n".into()], vec![bell]),
        (
            vec!["a\u{202e}b\u{200b}\u{e0041}\0\rc".into()],
            vec![r"a\u{202e}b\u{200b}\u{e0041}\u{0}\u{d}c"],
        ),
        // A line that is too long comes in pieces, and no character in two.
        (vec![long.clone().into_bytes()], vec![whole[0].as_str(), &whole[1]]),
        (vec![b"x".to_vec(), long.clone().into_bytes()], vec![shifted[0].as_str(), &shifted[1]]),
    ] {
        for (error, level) in [(false, Level::Info), (true, Level::Warn)] {
            let scene = Scene::new(Effect::Pure);
            let ended = scene.run("print", json!({ "error": error, "parts": parts })).await;
            assert_eq!(text(&ended), "printed");
            let notes = scene.notes.0.lock().unwrap();
            let heard = notes.iter().map(|note| match note {
                Note::Log { level: heard, message } if *heard == level => message.as_str(),
                other => panic!("{other:?}"),
            });
            assert_eq!(heard.collect::<Vec<&str>>(), said);
        }
    }
    // A megabyte without an end, in parts that fit nothing.
    let scene = Scene::new(Effect::Pure).grants("limits.logs = \"2MiB\"");
    let part = "ä漢🦀x".repeat(300).into_bytes();
    let times = (1 << 20) / part.len();
    let ended = scene.run("print", json!({ "parts": [part], "times": times })).await;
    assert_eq!(text(&ended), "printed");
    let notes = scene.notes.0.lock().unwrap();
    let heard: Vec<&str> = notes
        .iter()
        .map(|note| match note {
            Note::Log { message, .. } => message.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(heard.iter().all(|piece| piece.len() <= 8 << 10));
    assert!(heard.concat() == "ä漢🦀x".repeat(300 * times), "not a character is lost");
}

/// H6: what a guest asked and did not get is kept, but not at any length.
#[tokio::test]
async fn h6_denials_are_kept_short() {
    let scene = Scene::new(Effect::Unsafe);
    for name in ["x".repeat(10), "x".repeat(1 << 20), "ä".repeat(1 << 20)] {
        let ended = scene.run("shut", json!({ "what": "config", "name": name })).await;
        let [denial] = &ended.denials[..] else { panic!("{:?}", ended.outcome) };
        let shown = denial.to_string();
        assert!(shown.contains(&name[..10]) && shown.len() < 10_000, "{}", shown.len());
    }
}

/// H7: header fields are bounded, and too many of them, or too much in one, is an error and no panic.
#[tokio::test]
async fn h7_header_fields_are_bounded() {
    let web = web::serve();
    let (url, origin) = (format!("{}/fields", web.origin()), web.origin());
    let scene = Scene::new(Effect::Unsafe)
        .needs(&format!("[needs.http.\"{origin}\"]\nmethods = [\"GET\"]"))
        .grants(&format!("http = [\"{origin}\"]"));
    let ended = scene.run("http", json!({ "url": url })).await;
    assert!(text(&ended).starts_with("200"), "{ended:?}");
    assert_eq!(ended.usage.requests, 1, "{ended:?}");
    let many: Vec<_> = (0..40_000).map(|n| (format!("x-{n}"), "y".to_owned())).collect();
    let large = vec![("x-large".to_owned(), "y".repeat(5 << 20))];
    for headers in [many, large] {
        let ended = scene.run("http", json!({ "url": url, "headers": headers })).await;
        assert!(!matches!(ended.outcome, Outcome::HostError { .. }), "{ended:?}");
        assert_eq!(ended.usage.requests, 0, "{ended:?}");
        scene.works().await;
    }
}
