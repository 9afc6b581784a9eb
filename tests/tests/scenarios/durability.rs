//! What a crash, a change of the tools, a clock and a second process do to a session. The cases are
//! those of `tests/security/CASES.md`.

use std::{sync::Arc, time::Duration};

use ringfence::{
    Busy, Caller, Cancel, Clock, Config, Input, Reconciliation, RunStatus, Runtime, Said, Waiting,
    event::{
        Body, DenialCode, Effect, Event, Limit, Message, Outcome, SessionId, Stream, Timestamp,
        Wait,
    },
};

use crate::world::{World, one_call};

const SPIN: &str = "[tenant.local.tool.spin]\nlimits.fuel = \"1000G\"\nlimits.time = \"600s\"\n";

/// A world whose `spin` has this effect, and a run of it that was lost while the call was under way.
async fn lost(effect: &str) -> (World, ringfence::Agent, SessionId, Vec<Event>) {
    let world = World::new();
    let asks = |manifest: String| {
        let (tool, _) = manifest.split_once("[limits]").unwrap_or((&manifest, ""));
        format!(
            "{tool}[function.spin]\neffect = \"{effect}\"\n[limits]\nfuel = \"1000000G\"\ntime = \
             \"1000s\"\n"
        )
    };
    let path = world.tool("examples/spin", asks);
    world.runtime().accept(&Caller::local(), &path).await.expect("a tool");
    world.grants(SPIN);
    let agent = world.agent("spin = \"*\"", "fuel = \"100000G\"");
    world.script(&one_call("spin_spin", "{ turns = 30000000 }"));
    let runtime = world.runtime();
    let (started, mut wait) = tokio::sync::mpsc::unbounded_channel();
    let mut events = vec![];
    {
        let (caller, cancel) = (Caller::local(), Cancel::new());
        let mut show = |event: &Event| {
            events.push(event.clone());
            if event.body.kind() == "call.started" {
                let _ = started.send(());
            }
        };
        let run = runtime.run(&caller, &agent, Input::new("Go."), &cancel, &mut show);
        tokio::select! {
            ended = run => panic!("it was to be lost: {ended:?}"),
            _ = wait.recv() => {}
        }
    }
    let Stream::Session(id) = events[0].stream.clone() else { panic!("a session") };
    (world, agent, id, events)
}

async fn resume(runtime: &Runtime, id: &SessionId) -> (RunStatus, Vec<Event>) {
    let (caller, cancel) = (Caller::local(), Cancel::new());
    let mut events = vec![];
    let ended = runtime.resume(&caller, id, &cancel, &mut |event| events.push(event.clone())).await;
    (ended.expect("gone on with").status, events)
}

fn intents(events: &[Event]) -> Vec<(Effect, String)> {
    let intent = |event: &Event| match &event.body {
        Body::CallIntended { intent, .. } => Some((intent.effect, intent.key.0.clone())),
        _ => None,
    };
    events.iter().filter_map(intent).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d6_what_may_be_repeated_runs_again_with_its_key() {
    let (world, _, id, before) = lost("idempotent").await;
    let runtime = world.runtime();
    let (status, after) = resume(&runtime, &id).await;
    assert_eq!(status, RunStatus::Completed);
    let session = runtime.session(&Caller::local(), &id).expect("a session");
    let call = session.runs()[0].calls().next().expect("a call");
    assert!(matches!(call.outcome(), Some(Outcome::Succeeded { .. })));
    let key = &call.intent().expect("an intent").key.0;
    assert!(intents(&before).iter().chain(&intents(&after)).all(|(_, other)| other == key));
    assert_eq!(after.iter().filter(|event| event.body.kind() == "call.started").count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d6_what_may_not_waits_for_somebody_who_knows() {
    for (how, outcome) in [
        (Reconciliation::Happened("it was sent".into()), "succeeded"),
        (Reconciliation::RunIt, "succeeded"),
        (Reconciliation::GiveUp, "failed"),
    ] {
        let (world, _, id, before) = lost("unsafe").await;
        assert_eq!(intents(&before)[0].0, Effect::Unsafe, "durable before it began");
        let (runtime, caller) = (world.runtime(), Caller::local());
        let (status, after) = resume(&runtime, &id).await;
        assert_eq!(status, RunStatus::Waiting(Wait::Reconcile));
        assert!(after.iter().all(|event| event.body.kind() != "call.started"), "not twice");
        let waiting: Vec<Waiting> = runtime.waiting(&caller).expect("a list");
        let call = waiting[0].call.clone();
        assert_eq!((waiting[0].wait, &waiting[0].session), (Wait::Reconcile, &id));
        let said = runtime.reconcile(&caller, &id, &call, how.clone()).await;
        assert_eq!(said.expect("an answer"), Said::Recorded);
        let settled = runtime.reconcile(&caller, &id, &call, how.clone()).await;
        settled.expect_err("it is settled");
        let (status, after) = resume(&runtime, &id).await;
        assert_eq!(status, RunStatus::Completed, "{how:?}");
        let again = after.iter().filter(|event| event.body.kind() == "call.started").count();
        assert_eq!(again, usize::from(how == Reconciliation::RunIt), "{how:?}");
        let session = runtime.session(&caller, &id).expect("a session");
        let results: Vec<String> = session
            .messages()
            .iter()
            .filter_map(|message| match &**message {
                Message::Result { outcome, .. } => Some(outcome.clone()),
                _ => None,
            })
            .collect();
        assert_eq!(results, [outcome], "{how:?}");
    }
}

fn with_clock(world: &World, clock: &Clock) -> Runtime {
    let config = Config::load(&world.path("ringfence.toml")).expect("a configuration");
    Runtime::open(config.with_clock(clock.clone())).expect("a runtime")
}

/// The next host's clock is an hour behind, and then an hour ahead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d8_a_clock_that_jumps_turns_nothing_back() {
    let world = World::new();
    world.script("[[turn]]\nreply = { text = \"Done.\" }\n");
    let agent = world.agent("", "time = \"10min\"");
    let at = |hours: u64| Clock::manual(Timestamp(1_700_000_000_000 + hours * 3_600_000));
    let (caller, cancel) = (Caller::local(), Cancel::new());
    let mut session = None;
    for hour in [5, 4, 6] {
        let runtime = with_clock(&world, &at(hour));
        let input = Input { session: session.clone(), ..Input::new("Go.") };
        let ended = runtime.run(&caller, &agent, input, &cancel, &mut |_| {}).await.expect("a run");
        assert_eq!(ended.status, RunStatus::Completed, "hour {hour}");
        session = Some(ended.session);
    }
    let id = session.expect("a session");
    let events = world.runtime().events(&caller, &id, 1, 1_000).expect("events");
    assert!(events.windows(2).all(|pair| pair[0].at <= pair[1].at), "none before the last");
}

/// A session stays with the build of a tool that it has used; a new one uses the new build.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d9_a_session_stays_with_the_build_it_used() {
    let world = World::new();
    world.add(&["tools/plan"]).await;
    world.grants("[tenant.local.tool.plan]\nmemory.session = \"write\"\n");
    world.script(
        "[[turn]]\nwhen = { outcome = \"denied\" }\nreply = { text = \"{{last}}\" }\n[[turn]]\nwhen = { \
         contains = \".\" }\nreply = { calls = [{ function = \"plan_show\" }] }\n",
    );
    let text = "[[turn]]\nwhen = { contains = \"Go.\" }\nreply = { calls = [{ function = \"plan_show\" \
                }] }\n[[turn]]\nreply = { text = \"{{last}}\" }\n";
    world.script(text);
    let agent = world.agent("plan = \"*\"", "steps = 4");
    let (caller, cancel) = (Caller::local(), Cancel::new());
    let run = async |session: Option<SessionId>| {
        let input = Input { session, ..Input::new("Go.") };
        let runtime = world.runtime();
        let ended = runtime.run(&caller, &agent, input, &cancel, &mut |_| {}).await.expect("a run");
        let session = runtime.session(&caller, &ended.session).expect("a session");
        let call = session.runs().last().expect("a run").calls().next().expect("a call").clone();
        (ended.session, call)
    };
    let (id, call) = run(None).await;
    assert!(matches!(call.outcome(), Some(Outcome::Succeeded { .. })), "{call:?}");
    // Another build under the same name: a custom section changes the bytes and nothing else.
    let path = world.path("tools/plan/tool.wasm");
    let mut bytes = std::fs::read(&path).expect("a component");
    bytes.extend([0, 3, 1, b'x', b'y']);
    std::fs::write(&path, bytes).expect("written");
    world.runtime().accept(&caller, &world.path("tools/plan")).await.expect("accepted");
    let (_, call) = run(Some(id)).await;
    assert_eq!(call.denials()[0].code, DenialCode::OtherBuild, "{call:?}");
    let (_, call) = run(None).await;
    assert!(matches!(call.outcome(), Some(Outcome::Succeeded { .. })), "{call:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d14_one_of_two_that_resume_a_session_drives_it() {
    let (world, _, id, _) = lost("read").await;
    let both = Arc::new(world);
    let resume = |world: Arc<World>, id: SessionId| async move {
        let (caller, cancel) = (Caller::local(), Cancel::new());
        let runtime = world.runtime();
        runtime.resume(&caller, &id, &cancel, &mut |_| {}).await.map(|ended| ended.status)
    };
    let one = tokio::spawn(resume(both.clone(), id.clone()));
    let other = tokio::spawn(resume(both.clone(), id.clone()));
    let ended = [one.await.expect("no panic"), other.await.expect("no panic")];
    let drove = ended.iter().filter(|ended| ended.is_ok()).count();
    assert_eq!(drove, 1, "{ended:?}");
    let events = both.runtime().events(&Caller::local(), &id, 1, 1_000).expect("events");
    let resumed = events.iter().filter(|event| event.body.kind() == "run.resumed").count();
    assert_eq!(resumed, 1);
}

/// Behind a run that takes longer than the client waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o4_what_nobody_waits_for_any_more_does_not_begin() {
    let (world, agent, id, _) = lost("read").await;
    let clock = Clock::manual(Timestamp(4_000_000_000_000));
    let runtime = with_clock(&world, &clock);
    let (caller, cancel) = (Caller::local(), Cancel::new());
    let input = |not_after: u64| Input {
        session: Some(id.clone()),
        busy: Busy::Queue,
        not_after: Some(Timestamp(clock.now().0 + not_after)),
        ..Input::new("Soon.")
    };
    let mut events = vec![];
    let mut show = |event: &Event| {
        // The run before it goes on, and takes a minute.
        if event.body.kind() == "run.resumed" {
            clock.advance(Duration::from_secs(60));
        }
        events.push(event.clone());
    };
    let late = runtime.run(&caller, &agent, input(30_000), &cancel, &mut show).await.expect("told");
    assert_eq!(late.status, RunStatus::LimitReached(Limit::Time));
    let of_run =
        |event: &&Event| matches!(&event.body, Body::RunStarted { run } if *run == late.run);
    assert_eq!(events.iter().filter(of_run).count(), 0, "it has not begun");
    let mut nothing = |_: &Event| {};
    let ended = runtime.run(&caller, &agent, input(30_000), &cancel, &mut nothing).await;
    assert_eq!(ended.expect("a run").status, RunStatus::Completed, "in time it does");
}

/// Whoever is not sure that it arrived says it again, many at one time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o5_a_storm_of_the_same_input_is_one_run() {
    let world = World::new();
    world.script("[[turn]]\nreply = { text = \"Done.\" }\n");
    let agent = world.agent("", "steps = 4");
    let (caller, cancel) = (Caller::local(), Cancel::new());
    let runtime = world.runtime();
    let first = runtime.run(&caller, &agent, Input::new("Go."), &cancel, &mut |_| {}).await;
    let id = first.expect("a run").session;
    let storm = (0..24).map(|_| {
        let (runtime, agent, id) = (runtime.clone(), agent.clone(), id.clone());
        tokio::spawn(async move {
            let (caller, cancel) = (Caller::local(), Cancel::new());
            let (busy, key) = (Busy::Queue, Some("order-7".to_owned()));
            let input = Input { session: Some(id), busy, key, ..Input::new("Order 7.") };
            let ended = runtime.run(&caller, &agent, input, &cancel, &mut |_| {}).await;
            ended.map(|ended| (ended.run, ended.status))
        })
    });
    let mut runs = vec![];
    for one in storm.collect::<Vec<_>>() {
        runs.push(one.await.expect("no panic").expect("a run"));
    }
    assert!(runs.iter().all(|run| *run == runs[0] && run.1 == RunStatus::Completed), "{runs:?}");
    assert_eq!(runtime.session(&caller, &id).expect("a session").runs().len(), 2);
}

/// Calls of one step that append to one file: none writes over another's line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_side_by_side_append_behind_each_other() {
    let world = World::new();
    world.add(&["tests/guests/ledger"]).await;
    world.grants(
        "[tenant.local.tool.ledger]\nfs.workspace = { path = \"workspace\", access = \"write\" }\n",
    );
    let calls: Vec<String> = (0..48)
        .map(|n| format!("{{ function = \"ledger_note\", arguments = {{ what = \"line-{n}\" }} }}"))
        .collect();
    world.script(&format!(
        "[[turn]]\nwhen = {{ step = 1 }}\nreply = {{ calls = [{}] }}\n[[turn]]\nreply = {{ text = \
         \"Done.\" }}\n",
        calls.join(", ")
    ));
    let agent = world.agent("ledger = \"*\"", "concurrent-calls = 16");
    assert_eq!(world.run(&agent).await.ended.status, RunStatus::Completed);
    let text = world.read("workspace/idempotent.txt");
    let whole = text.lines().filter(|line| line.starts_with("idempotent ")).count();
    assert_eq!((text.lines().count(), whole), (48, 48), "{text}");
}
