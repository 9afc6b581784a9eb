//! What is let in, and whose turn it is: real calls of real components, held where they wait for a server
//! that keeps silent, so that nothing here depends on how long anything takes.

use std::{fs, sync::mpsc, time::Duration};

use ringfence::{
    Agent, Busy, Caller, Cancel, Clock, DirectCall, Error, FailingKind, Input, PlaceLoad, Refusal,
    RunStatus, Runtime, StoreHealth, ToolRef,
    event::{CallResult, Limit, Outcome, Timestamp},
};
use ringfence_tests::{
    Disk, Started, guest,
    web::{self, Web, keep_silent},
};
use tokio::task::{JoinHandle, spawn_blocking, yield_now};

use crate::world::{World, heard, one_call};

/// When a clock of these tests begins.
const START: Timestamp = Timestamp(4_000_000_000_000);

fn caller(tenant: &str) -> Caller {
    Caller { tenant: tenant.parse().expect("a name"), ..Caller::local() }
}

/// A folder with the probe, for tenants with these lines, and what they all have.
pub(crate) async fn probed(host: &str, tenants: &[(&str, &str)], origin: &str) -> World {
    let world = World::new();
    world.write(
        "probe/tool.toml",
        &format!(
            "tool = {{ name = \"probe\", component = \"probe.wasm\" }}\n\
             [needs.http.\"{origin}\"]\nmethods = [\"GET\"]\n\
             [limits]\nfuel = \"1000000G\"\ntime = \"1000s\"\nmemory = \"32MiB\"\n"
        ),
    );
    fs::write(world.path("probe/probe.wasm"), guest("probe")).expect("a component");
    world.runtime().accept(&Caller::local(), &world.path("probe")).await.expect("a tool");
    world.grants(&lines(host, tenants, origin));
    world
}

/// What the operator's file says of them.
pub(crate) fn lines(host: &str, tenants: &[(&str, &str)], origin: &str) -> String {
    let table = |(tenant, lines): &(&str, &str)| {
        format!(
            "[tenant.{tenant}]\n{lines}\n[tenant.{tenant}.tool.probe]\nhttp = [\"{origin}\"]\n\
             limits.fuel = \"100000G\"\nlimits.time = \"1000s\"\n"
        )
    };
    let tables: String = tenants.iter().map(table).collect();
    format!("[host]\n{host}\n{tables}")
}

/// A call of the probe that does `how`.
pub(crate) fn probe(how: &str, origin: &str) -> DirectCall {
    DirectCall {
        tool: ToolRef::Accepted("probe".parse().expect("a name")),
        function: Some("hold".parse().expect("a name")),
        arguments: format!("{{\"how\": \"{how}\", \"count\": 1, \"url\": \"{origin}/silent\"}}"),
        key: None,
        trace: None,
    }
}

/// One that is over as soon as it runs.
fn quick() -> DirectCall {
    probe("sleep", "http://127.0.0.1")
}

type Called = JoinHandle<Result<CallResult, Error>>;

/// Calls of a tenant that hold as many slots until they are cancelled: each has said its first word.
async fn hold(runtime: &Runtime, tenant: &str, count: u32, origin: &str) -> (Cancel, Vec<Called>) {
    let (say, said) = mpsc::channel();
    let cancel = Cancel::new();
    let call = |_| {
        let (runtime, cancel, sink) = (runtime.clone(), cancel.clone(), Started::new(say.clone()));
        let (caller, call) = (caller(tenant), probe("fetch", origin));
        tokio::spawn(async move { runtime.call(&caller, call, &cancel, sink).await })
    };
    let calls = (0..count).map(call).collect();
    let all = move || (0..count).for_each(|_| said.recv().expect("a word"));
    spawn_blocking(all).await.expect("all of them run");
    (cancel, calls)
}

fn start(runtime: &Runtime, tenant: &str, call: DirectCall) -> Called {
    let (runtime, caller) = (runtime.clone(), caller(tenant));
    tokio::spawn(async move { runtime.call(&caller, call, &Cancel::new(), heard()).await })
}

/// How it stands with a tenant's calls.
fn calls_of(runtime: &Runtime, tenant: &str) -> PlaceLoad {
    let load = runtime.load();
    let of = load.tenants.iter().find(|of| of.tenant.as_str() == tenant);
    let at = of.and_then(|of| of.places.iter().find(|(place, _)| place == "calls"));
    at.map(|(_, load)| *load).unwrap_or_default()
}

/// Waits until as much of a tenant's waits.
async fn waits(runtime: &Runtime, tenant: &str, count: u32) {
    while calls_of(runtime, tenant).waiting != count {
        yield_now().await;
    }
}

fn refused(result: Result<CallResult, Error>) -> Refusal {
    match result {
        Err(Error::NotTaken(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

fn succeeded(result: Result<CallResult, Error>) {
    let outcome = result.expect("a call").outcome;
    assert!(matches!(outcome, Outcome::Succeeded { .. }), "{outcome:?}");
}

async fn release((cancel, calls): (Cancel, Vec<Called>)) {
    cancel.cancel();
    for call in calls {
        assert_eq!(call.await.expect("a task").expect("a call").outcome, Outcome::Cancelled);
    }
}

/// What a tenant begins beyond its rate is refused, with the time at which there is one again; nobody else
/// is, and at that time it is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_begins_no_more_than_its_rate() {
    let tenants = [("acme", "rate = \"3 per s\""), ("other", "")];
    let world = probed("", &tenants, "http://127.0.0.1").await;
    let clock = Clock::manual(START);
    let runtime = world.runtime_with(|config| config.with_clock(clock.clone()));
    let call = |tenant: &str| {
        let (runtime, caller) = (runtime.clone(), caller(tenant));
        async move { runtime.call(&caller, quick(), &Cancel::new(), heard()).await }
    };
    for _ in 0..3 {
        succeeded(call("acme").await);
    }
    let refusal = refused(call("acme").await);
    let Refusal::Rate { retry_after_ms, line, .. } = &refusal else { panic!("{refusal:?}") };
    assert_eq!((refusal.code(), refusal.is_tenants_own()), ("rate-limited", true));
    let text = world.read("ringfence.toml");
    assert!(text.lines().nth(*line as usize - 1).is_some_and(|line| line.starts_with("rate =")));
    // An input is begun from outside too.
    world.script("[[turn]]\nreply = { text = \"Done.\" }\n");
    let agent = world.agent("", "");
    let cancel = Cancel::new();
    let input = || Input::new("Go.");
    let run = runtime.run(&caller("acme"), &agent, input(), &cancel, &mut |_| {}).await;
    assert!(matches!(run, Err(Error::NotTaken(Refusal::Rate { .. }))), "{run:?}");
    succeeded(call("other").await);
    clock.advance(Duration::from_millis(*retry_after_ms));
    succeeded(call("acme").await);
    refused(call("acme").await);
    assert_eq!(runtime.load().tenants[0].over_rate, 3);
}

/// As much waits as may, and the next is refused at once: by the tenant's own queue, or by the host's,
/// which keeps one place for each. What waits goes on when something is free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_refuses_at_once() {
    let web = web::serve();
    let tenants = [("acme", "queue = 2\nconcurrent-calls = 1"), ("other", ""), ("third", "")];
    let host = "concurrent-calls = 1\nqueue = 4";
    let world = probed(host, &tenants, &web.origin()).await;
    let runtime = world.runtime();
    let held = hold(&runtime, "acme", 1, &web.origin()).await;
    let mut waiting: Vec<_> = (0..2).map(|_| start(&runtime, "acme", quick())).collect();
    waits(&runtime, "acme", 2).await;
    let refusal = refused(start(&runtime, "acme", quick()).await.expect("a task"));
    assert!(matches!(refusal, Refusal::Queue { queue: 2, line: Some(_), .. }), "{refusal:?}");
    assert_eq!((refusal.code(), refusal.is_tenants_own()), ("queue-full", true));
    assert!(refusal.retry_after_ms().is_some_and(|ms| ms > 0));
    waiting.extend((0..2).map(|_| start(&runtime, "other", quick())));
    waits(&runtime, "other", 2).await;
    let refusal = refused(start(&runtime, "other", quick()).await.expect("a task"));
    assert_eq!((refusal.code(), refusal.is_tenants_own()), ("overloaded", false), "{refusal:?}");
    // Whoever has nothing waiting has a place all the same.
    waiting.push(start(&runtime, "third", quick()));
    waits(&runtime, "third", 1).await;
    assert_eq!(calls_of(&runtime, "acme").refused, 1);
    assert_eq!(calls_of(&runtime, "other").refused, 1);
    release(held).await;
    for call in waiting {
        succeeded(call.await.expect("a task"));
    }
    assert_eq!(runtime.load().places[0].load, PlaceLoad { refused: 2, ..PlaceLoad::default() });
}

/// O2: what one tenant has waiting, however much, costs another one no turn: it goes next but one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o2_a_tenants_long_queue_keeps_no_other_waiting() {
    let web = web::serve();
    const GREEDY: usize = 60;
    let tenants = [("greedy", ""), ("quiet", "")];
    let world = probed("concurrent-calls = 1", &tenants, &web.origin()).await;
    let runtime = world.runtime();
    let held = hold(&runtime, "greedy", 1, &web.origin()).await;
    let (say, said) = mpsc::channel();
    let tell = |call: Called, who: &'static str| {
        let say = say.clone();
        tokio::spawn(async move {
            succeeded(call.await.expect("a task"));
            say.send(who).expect("somebody hears");
        })
    };
    let calls = (0..GREEDY).map(|_| start(&runtime, "greedy", quick()));
    let mut calls: Vec<_> = calls.map(|call| tell(call, "greedy")).collect();
    waits(&runtime, "greedy", GREEDY as u32).await;
    for quiet in 1..=3 {
        calls.push(tell(start(&runtime, "quiet", quick()), "quiet"));
        waits(&runtime, "quiet", quiet).await;
    }
    release(held).await;
    for call in calls {
        call.await.expect("a task");
    }
    drop(say);
    let order: Vec<_> = said.into_iter().collect();
    let last = order.iter().rposition(|who| *who == "quiet").expect("all of them went");
    // Three of each; told on two threads, so that one may be told before another that ended before it.
    assert!(last <= 9, "{order:?}");
    assert_eq!(order.len(), GREEDY + 3);
}

/// O2: as many sessions as a tenant may have under way, and no more; another one's begin.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o2_a_tenants_sessions_take_their_own_share() {
    let web = web::serve();
    let tenants = [("greedy", "concurrent-runs = 2\nqueue = 1"), ("quiet", "")];
    let world = probed("", &tenants, &web.origin()).await;
    let arguments = format!("'{{\"how\": \"fetch\", \"url\": \"{}/silent\"}}'", web.origin());
    world.script(&one_call("probe_hold", &arguments));
    let agent = world.agent("probe = \"*\"", "time = \"1000s\"\nfuel = \"100000G\"");
    let runtime = world.runtime();
    let run = |tenant: &str, cancel: &Cancel| {
        let (runtime, caller, cancel) = (runtime.clone(), caller(tenant), cancel.clone());
        let agent: Agent = agent.clone();
        tokio::spawn(async move {
            runtime.run(&caller, &agent, Input::new("Go."), &cancel, &mut |_| {}).await
        })
    };
    let runs_of = |tenant: &str| {
        let load = runtime.load();
        let of = load.tenants.iter().find(|of| of.tenant.as_str() == tenant);
        let at = of.and_then(|of| of.places.iter().find(|(place, _)| place == "runs"));
        at.map(|(_, load)| (load.running, load.waiting)).unwrap_or_default()
    };
    let cancel = Cancel::new();
    let mut runs: Vec<_> = (0..3).map(|_| run("greedy", &cancel)).collect();
    while runs_of("greedy") != (2, 1) {
        yield_now().await;
    }
    let refused = run("greedy", &cancel).await.expect("a task");
    assert!(matches!(refused, Err(Error::NotTaken(Refusal::Queue { .. }))), "{refused:?}");
    let quiet = run("quiet", &cancel);
    while runs_of("quiet") != (1, 0) {
        yield_now().await;
    }
    runs.push(quiet);
    cancel.cancel();
    let (mut cancelled, mut not_begun) = (0, 0);
    for run in runs {
        match run.await.expect("a task") {
            Ok(ended) => {
                assert_eq!(ended.status, RunStatus::Cancelled);
                cancelled += 1;
            }
            // What had not begun is nowhere.
            Err(Error::NotTaken(Refusal::Cancelled)) => not_begun += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((cancelled, not_begun), (3, 1));
    assert_eq!(runtime.sessions(&caller("greedy"), 10).expect("a list").len(), 2);
}

/// Calls of sessions wait for the same slots as direct calls, one tenant beside the other, and a run that
/// is cancelled while its call waits leaves nothing behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sessions_call_waits_for_its_turn_and_leaves_it() {
    let web = web::serve();
    let tenants = [("one", "concurrent-calls = 1"), ("two", "")];
    let world = probed("concurrent-calls = 1", &tenants, &web.origin()).await;
    world.script(&one_call("probe_hold", "'{\"how\": \"sleep\", \"count\": 1}'"));
    let agent = world.agent("probe = \"*\"", "time = \"1000s\"\nfuel = \"100000G\"");
    let runtime = world.runtime();
    for cancelled in [true, false] {
        let held = hold(&runtime, "one", 1, &web.origin()).await;
        let cancel = Cancel::new();
        let run = {
            let (runtime, agent, cancel) = (runtime.clone(), agent.clone(), cancel.clone());
            tokio::spawn(async move {
                let (mut kinds, caller) = (vec![], caller("two"));
                let mut show = |event: &ringfence::event::Event| kinds.push(event.body.kind());
                let input = Input::new("Go.");
                let ended = runtime.run(&caller, &agent, input, &cancel, &mut show).await;
                (ended.expect("a run").status, kinds)
            })
        };
        waits(&runtime, "two", 1).await;
        if cancelled {
            cancel.cancel();
            let (status, kinds) = run.await.expect("a task");
            assert_eq!(status, RunStatus::Cancelled);
            assert!(!kinds.contains(&"call.started"), "{kinds:?}");
            waits(&runtime, "two", 0).await;
            release(held).await;
        } else {
            release(held).await;
            let (status, kinds) = run.await.expect("a task");
            assert_eq!(status, RunStatus::Completed);
            assert!(kinds.contains(&"call.started"), "{kinds:?}");
        }
        assert_eq!(runtime.load().places[0].load, PlaceLoad::default());
    }
}

/// Whoever has something to say to a run that has the tenant's only slot does not wait for that slot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_to_a_run_needs_no_slot_of_its_own() {
    let web = web::serve();
    let tenants = [("acme", "concurrent-runs = 1\nqueue = 1")];
    let world = probed("", &tenants, &web.origin()).await;
    let arguments = format!("'{{\"how\": \"fetch\", \"url\": \"{}/silent\"}}'", web.origin());
    world.script(&format!(
        "[[turn]]\nwhen = {{ contains = \"Stop.\" }}\nreply = {{ text = \"Stopped.\" }}\n{}",
        one_call("probe_hold", &arguments)
    ));
    let agent = world.agent("probe = \"*\"", "time = \"1000s\"\nfuel = \"100000G\"");
    let runtime = world.runtime();
    let say = |input: Input| {
        let (runtime, agent) = (runtime.clone(), agent.clone());
        tokio::spawn(async move {
            let (caller, cancel) = (caller("acme"), Cancel::new());
            runtime.run(&caller, &agent, input, &cancel, &mut |_| {}).await
        })
    };
    let first = say(Input::new("Go."));
    while calls_of(&runtime, "acme").running == 0 {
        yield_now().await;
    }
    let id = runtime.sessions(&caller("acme"), 1).expect("a list")[0].id.clone();
    let input =
        |text: &str, busy: Busy| Input { session: Some(id.clone()), busy, ..Input::new(text) };
    let busy = say(input("Now?", Busy::Reject)).await.expect("a task").expect_err("it is busy");
    assert_eq!(busy.code(), "busy", "{busy}");
    // A session of its own waits for the slot, and then no other may wait.
    let waits = say(Input::new("Stop."));
    while runtime.load().places[1].load.waiting == 0 {
        yield_now().await;
    }
    let full = say(input("Stop.", Busy::Interrupt)).await.expect("a task").expect_err("full");
    assert_eq!(full.code(), "queue-full", "{full}");
    waits.abort();
    assert!(waits.await.is_err());
    let second = say(input("Stop.", Busy::Interrupt)).await.expect("a task").expect("a run");
    assert_eq!(second.answer.as_deref(), Some("Stopped."));
    let first = first.await.expect("a task").expect("a run");
    assert_eq!(first.status, RunStatus::Cancelled);
    assert_eq!(runtime.load().places[1].load.running, 0);
}

/// O4: a call that nobody waits for any more when its turn comes does not begin; one that is wanted
/// longer does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o4_a_call_that_is_too_late_does_not_begin() {
    let web = web::serve();
    let tenants = [("acme", "concurrent-calls = 1")];
    let world = probed("concurrent-calls = 1", &tenants, &web.origin()).await;
    let clock = Clock::manual(START);
    let runtime = world.runtime_with(|config| config.with_clock(clock.clone()));
    let call = |after_ms: u64| {
        let (runtime, caller) = (runtime.clone(), caller("acme"));
        let not_after = Some(Timestamp(clock.now().0 + after_ms));
        tokio::spawn(async move {
            runtime.call_before(&caller, quick(), not_after, &Cancel::new(), heard()).await
        })
    };
    let held = hold(&runtime, "acme", 1, &web.origin()).await;
    let (late, in_time) = (call(1_000), call(60_000));
    waits(&runtime, "acme", 2).await;
    clock.advance(Duration::from_millis(1_001));
    // Told at once, not when its turn comes.
    assert_eq!(refused(late.await.expect("a task")), Refusal::Late);
    assert_eq!(calls_of(&runtime, "acme").waiting, 1, "its place in the line is another's");
    let already =
        runtime.call_before(&caller("acme"), quick(), Some(START), &Cancel::new(), heard()).await;
    assert_eq!(refused(already), Refusal::Late);
    release(held).await;
    succeeded(in_time.await.expect("a task"));
    let tenant = caller("acme");
    runtime.flush().await.expect("nothing is lost");
    let proposed = runtime.tenant_events(&tenant, 1, 100).expect("events");
    let begun = proposed.iter().filter(|event| event.body.kind() == "call.intended").count();
    assert_eq!(begun, 2, "the one that held the slot and the one that was in time");
}

/// A call that waits for its turn longer than its own time ends by that, and is told as such.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_counts_as_a_calls_own_time() {
    let web = web::serve();
    let tenants = [("acme", "concurrent-calls = 1")];
    let world = probed("concurrent-calls = 1", &tenants, &web.origin()).await;
    world.grants(&lines("concurrent-calls = 1", &tenants, &web.origin()).replace(
        "limits.time = \"1000s\"",
        "limits.time = \"1000s\"\n[tenant.short.tool.probe]\nlimits.time = \"50ms\"",
    ));
    let runtime = world.runtime();
    let held = hold(&runtime, "acme", 1, &web.origin()).await;
    let short = start(&runtime, "short", quick()).await.expect("a task").expect("a call");
    assert_eq!(short.outcome, Outcome::LimitReached { limit: Limit::Time });
    release(held).await;
    assert_eq!(runtime.load().places[0].load, PlaceLoad::default());
}

/// One model's slots: requests of two sessions go one after the other, and whoever cancels leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_is_asked_by_so_many_at_one_time() {
    let web = Web::new(|_, _| keep_silent());
    let world = World::new();
    let model = |slots: &str| {
        format!(
            "[model.main]\nprotocol = \"openai-chat\"\nurl = \"{}\"\nname = \"m\"\n{slots}",
            web.origin()
        )
    };
    world.write("ringfence.toml", &model("concurrent-requests = 1\n"));
    let agent = world.agent("", "time = \"1000s\"");
    let runtime = world.runtime();
    let run = |cancel: &Cancel| {
        let (runtime, agent, cancel) = (runtime.clone(), agent.clone(), cancel.clone());
        tokio::spawn(async move {
            let input = Input::new("Go.");
            runtime.run(&Caller::local(), &agent, input, &cancel, &mut |_| {}).await
        })
    };
    let stands = || {
        let load = runtime.load();
        let place = load.places.iter().find(|place| place.place == "model.main");
        place.map(|place| (place.load.running, place.load.waiting)).unwrap_or_default()
    };
    let cancels = [Cancel::new(), Cancel::new()];
    let first = run(&cancels[0]);
    while stands() != (1, 0) {
        yield_now().await;
    }
    let second = run(&cancels[1]);
    while stands() != (1, 1) {
        yield_now().await;
    }
    cancels[0].cancel();
    assert_eq!(first.await.expect("a task").expect("a run").status, RunStatus::Cancelled);
    while stands() != (1, 0) {
        yield_now().await;
    }
    cancels[1].cancel();
    assert_eq!(second.await.expect("a task").expect("a run").status, RunStatus::Cancelled);
    assert_eq!(stands(), (0, 0));
    for wrong in ["concurrent-requests = 0\n", "concurrent-requests = \"x\"\n"] {
        world.write("ringfence.toml", &model(wrong));
        ringfence::Config::load(&world.path("ringfence.toml")).expect_err(wrong);
    }
}

/// Tools are loaded and compiled one after the other where the operator says so, each once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_are_compiled_by_so_many_at_one_time() {
    let world = World::new();
    world.add(&["examples/spin", "examples/hello", "tools/files"]).await;
    world.grants(
        "[host]\nconcurrent-compiles = 1\n[tenant.one.tool.spin]\n[tenant.two.tool.spin]\n\
         [tenant.one.tool.hello]\n",
    );
    let runtime = world.runtime();
    let call = |tenant: &str| {
        let (runtime, caller) = (runtime.clone(), caller(tenant));
        let call = DirectCall {
            tool: ToolRef::Accepted("spin".parse().expect("a name")),
            function: None,
            arguments: "{\"turns\": 1}".to_owned(),
            key: None,
            trace: None,
        };
        tokio::spawn(async move { runtime.call(&caller, call, &Cancel::new(), heard()).await })
    };
    let calls: Vec<_> = (0..8).map(|n| call(["one", "two"][n % 2])).collect();
    for call in calls {
        succeeded(call.await.expect("a task"));
    }
    let load = runtime.load();
    let compiles = load.places.iter().find(|place| place.place == "compiles").expect("a place");
    assert_eq!((compiles.slots, compiles.load), (1, PlaceLoad::default()));
}

/// O5: a storm of the same input to many sessions of one tenant under one key stays one run, whoever else
/// waits for a slot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o5_a_storm_within_the_tenants_slots_is_one_run() {
    let world = World::new();
    world.script("[[turn]]\nreply = { text = \"Done.\" }\n");
    world.grants("[tenant.local]\nconcurrent-runs = 2\n");
    let agent = world.agent("", "steps = 4");
    let runtime = world.runtime();
    let (caller, cancel) = (Caller::local(), Cancel::new());
    let first = runtime.run(&caller, &agent, Input::new("Go."), &cancel, &mut |_| {}).await;
    let id = first.expect("a run").session;
    let storm: Vec<_> = (0..24)
        .map(|_| {
            let (runtime, agent, id) = (runtime.clone(), agent.clone(), id.clone());
            tokio::spawn(async move {
                let (busy, key) = (Busy::Queue, Some("order-7".to_owned()));
                let input = Input { session: Some(id), busy, key, ..Input::new("Order 7.") };
                runtime.run(&Caller::local(), &agent, input, &Cancel::new(), &mut |_| {}).await
            })
        })
        .collect();
    for one in storm {
        assert_eq!(one.await.expect("a task").expect("a run").status, RunStatus::Completed);
    }
    assert_eq!(runtime.session(&caller, &id).expect("a session").runs().len(), 2);
}

/// What is wrong in the lines is told where it stands.
#[test]
fn mistakes_in_shares_are_told_where_they_stand() {
    let world = World::new();
    let mut shown = String::new();
    for text in [
        "[tenant.acme]\nweight = 0\n",
        "[tenant.acme]\nweight = \"heavy\"\n",
        "[tenant.acme]\nrate = 100\n",
        "[tenant.acme]\nrate = \"100 per day\"\n",
        "[tenant.acme]\nrate = \"0 per s\"\n",
        "[tenant.acme]\nqueue = -1\n",
        "[tenant.acme]\nconcurrent-calls = 1001\n",
        "[tenant.acme]\nconcurrent-runs = 0\n",
        "[host]\nconcurrent-runs = 0\n",
        "[host]\nconcurrent-compiles = 65\n",
        "[host]\nqueue = 0\n",
    ] {
        world.grants(text);
        let error = ringfence::Config::load(&world.path("ringfence.toml")).expect_err(text);
        let error = error.as_config().expect("a mistake in the file");
        let place = format!("{}:{}", error.line, error.column);
        shown += &format!("{text}{place}: {}", error.message);
        shown += &error.help.as_ref().map(|help| format!("\n  {help}")).unwrap_or_default();
        shown += "\n\n";
    }
    insta::assert_snapshot!(shown);
}

/// O5: the same call is said many times at once under one key: it is one call, and everybody learns how it
/// ended; under another key, or as another user, it is another. Another call under that key is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o5_a_storm_of_the_same_call_is_one_call() {
    let web = web::serve();
    let world = probed("concurrent-calls = 1", &[("acme", "")], &web.origin()).await;
    world.add(&["tests/guests/ledger"]).await;
    let ledger =
        "[tenant.acme.tool.ledger]\nfs.workspace = { path = \"workspace\", access = \"write\" }\n";
    world.grants(&(lines("concurrent-calls = 1", &[("acme", "")], &web.origin()) + ledger));
    let runtime = world.runtime();
    let held = hold(&runtime, "acme", 1, &web.origin()).await;
    let pay = |user: &str, key: &str, what: &str| {
        let call = DirectCall {
            tool: ToolRef::Accepted("ledger".parse().expect("a name")),
            function: Some("pay".parse().expect("a name")),
            arguments: format!("{{\"what\": \"{what}\"}}"),
            key: Some(ringfence::event::IdempotencyKey(key.to_owned())),
            trace: None,
        };
        let (runtime, user) = (runtime.clone(), user.parse().expect("a name"));
        let caller = Caller { user, ..caller("acme") };
        let cancel = Cancel::new();
        let stop = cancel.clone();
        let called = tokio::spawn(async move { runtime.call(&caller, call, &stop, heard()).await });
        (cancel, called)
    };
    let storm: Vec<_> = (0..24).map(|_| pay("ann", "k1", "one").1).collect();
    let others = [pay("ann", "k2", "two").1, pay("bob", "k1", "three").1];
    waits(&runtime, "acme", 3).await;
    // All that wait as one waited once.
    let inside = runtime.load().tenants.iter().map(|tenant| tenant.inside).sum::<u32>();
    assert_eq!(inside, 4);
    let other = pay("ann", "k1", "other").1.await.expect("a task").expect_err("another call");
    assert_eq!(other.code(), "key-reused", "{other}");
    // Whoever goes away leaves the rest; the last one who does ends the call.
    let left = pay("bob", "k3", "nobody");
    let joined = pay("bob", "k3", "nobody");
    waits(&runtime, "acme", 4).await;
    left.1.abort();
    assert!(left.1.await.is_err());
    waits(&runtime, "acme", 4).await;
    joined.1.abort();
    assert!(joined.1.await.is_err());
    waits(&runtime, "acme", 3).await;
    // Whoever cancels it cancels it for all.
    let (cancel, called) = pay("bob", "k4", "cancelled");
    let (_, with_it) = pay("bob", "k4", "cancelled");
    waits(&runtime, "acme", 4).await;
    cancel.cancel();
    for called in [called, with_it] {
        assert_eq!(called.await.expect("a task").expect("a call").outcome, Outcome::Cancelled);
    }
    release(held).await;
    let mut results = vec![];
    for one in storm {
        results.push(one.await.expect("a task").expect("a call"));
    }
    assert!(results.iter().all(|result| *result == results[0]), "{results:?}");
    for other in others {
        succeeded(other.await.expect("a task"));
    }
    let mut paid: Vec<String> =
        world.read("workspace/unsafe.txt").lines().map(str::to_owned).collect();
    paid.sort();
    for (what, times) in [("one", 1), ("two", 1), ("three", 1), ("nobody", 0), ("cancelled", 0)] {
        let count = paid.iter().filter(|line| line.contains(what)).count();
        assert_eq!(count, times, "{what}: {paid:?}");
    }
    // After its end it is said anew.
    succeeded(pay("ann", "k1", "one").1.await.expect("a task"));
    assert_eq!(world.read("workspace/unsafe.txt").matches("one").count(), 2);
}

/// However a call ends, its slot is there again, and with one slot the next call has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_comes_back_however_a_call_ends() {
    let web = web::serve();
    let world = probed("concurrent-calls = 1", &[("acme", ""), ("none", "")], &web.origin()).await;
    let runtime = world.runtime();
    let call = |how: &str| probe(how, &web.origin());
    let nothing_is_held = |what: &str| {
        let load = runtime.load();
        assert!(load.places.iter().all(|place| place.load.running == 0), "{what}: {load:?}");
        assert!(load.places.iter().all(|place| place.load.waiting == 0), "{what}: {load:?}");
        assert!(load.tenants.iter().all(|tenant| tenant.inside == 0), "{what}: {load:?}");
    };
    for (how, outcome) in [
        ("sleep", "succeeded"),
        ("panic", "trapped"),
        ("abort", "trapped"),
        ("exit", "trapped"),
        ("exit-well", "trapped"),
        ("recurse", "trapped"),
        ("pollables", "limit-reached"),
        ("no such thing", "failed"),
    ] {
        let mut call = call(how);
        if ["recurse", "pollables"].contains(&how) {
            call.arguments = format!("{{\"how\": \"{how}\", \"count\": 100000000}}");
        }
        let ended = runtime.call(&caller("acme"), call, &Cancel::new(), heard()).await;
        let ended = ended.expect("a call").outcome;
        assert!([outcome, "invalid"].contains(&ended.as_str()), "{how}: {ended:?}");
        nothing_is_held(how);
    }
    // The host panics around it.
    struct Panics;
    impl ringfence::Sink for Panics {
        fn note(&self, _: ringfence::event::Note) {
            panic!("as it was told");
        }
    }
    let panics = std::sync::Arc::new(Panics);
    let ended = runtime.call(&caller("acme"), call("fetch"), &Cancel::new(), panics).await;
    let ended = ended.expect("a call").outcome;
    assert!(matches!(ended, Outcome::HostError { .. }), "{ended:?}");
    nothing_is_held("a panic of the host");
    // Refused, wrong, and unknown.
    let mut unknown = call("sleep");
    unknown.function = Some("none".parse().expect("a name"));
    runtime
        .call(&caller("acme"), unknown, &Cancel::new(), heard())
        .await
        .expect_err("no such function");
    let mut wrong = call("sleep");
    wrong.arguments = "{".to_owned();
    let ended = runtime.call(&caller("acme"), wrong, &Cancel::new(), heard()).await;
    assert_eq!(ended.expect("a call").outcome.as_str(), "invalid");
    let ended = runtime.call(&caller("nobody"), call("sleep"), &Cancel::new(), heard()).await;
    assert_eq!(ended.expect("a call").outcome, Outcome::Denied);
    nothing_is_held("a refusal");
    // Whoever waits for it goes away: before its turn, in it, and after some of its turns.
    for turns in 0..40 {
        let waiting = turns % 2 == 0;
        let held =
            if waiting { Some(hold(&runtime, "none", 1, &web.origin()).await) } else { None };
        let call = start(&runtime, "acme", call("fetch"));
        for _ in 0..turns {
            yield_now().await;
        }
        call.abort();
        let _ = call.await;
        if let Some(held) = held {
            release(held).await;
        }
        nothing_is_held("a future that was dropped");
    }
    succeeded(start(&runtime, "acme", quick()).await.expect("a task"));
    nothing_is_held("all of it");
}

/// D5: on a full disk nothing is begun that could not be kept, and readiness says so; what was kept is
/// there, and as soon as there is space all goes on without anybody's help.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d5_a_full_disk_refuses_work_until_there_is_space() {
    let home = match Disk::mount("3m") {
        Ok(disk) => disk,
        // It takes the right to mount.
        Err(why) => {
            return eprintln!("not tried: {why}");
        }
    };
    let world = probed("", &[("acme", "")], "http://127.0.0.1").await;
    let runtime = world.runtime_with(|config| config.with_home(home.path()));
    succeeded(start(&runtime, "acme", quick()).await.expect("a task"));
    runtime.flush().await.expect("it is kept");
    assert!(runtime.load().store.is_good());
    let kept = runtime.tenant_events(&caller("acme"), 1, 1000).expect("events").len();
    home.fill();
    // The first one finds out, and is not told that it was kept.
    let mut refused = None;
    while refused.is_none() {
        match start(&runtime, "acme", quick()).await.expect("a task") {
            Ok(_) => drop(runtime.flush().await),
            Err(error) => refused = Some(error),
        }
    }
    let refused = refused.expect("it is full");
    assert_eq!(refused.code(), "store-unavailable", "{refused}");
    assert!(refused.as_refusal().is_some_and(|refusal| !refusal.is_tenants_own()));
    let StoreHealth::Failing(failing) = runtime.load().store else { panic!("it is full") };
    assert_eq!(failing.kind, FailingKind::Full, "{failing:?}");
    assert_eq!(runtime.tenant_events(&caller("acme"), 1, 10_000).expect("events").len(), kept);
    home.empty();
    while !runtime.load().store.is_good() {
        yield_now().await;
    }
    succeeded(start(&runtime, "acme", quick()).await.expect("a task"));
    // The first failure is told to whoever asks, and what came after it is kept.
    let _ = runtime.flush().await;
    runtime.flush().await.expect("it is kept");
    assert!(runtime.tenant_events(&caller("acme"), 1, 10_000).expect("events").len() > kept);
}
