//! What waits: for a person, for a try that comes later, for its turn. The clock is turned by hand.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use ringfence::{
    Agent, Busy, Caller, Cancel, Clock, Config, Input, RunEnded, RunStatus, Runtime, Said, Waiting,
    event::{ApprovalScope, Body, Event, Limit, Message, Outcome, Stream, Timestamp, Wait},
};
use ringfence_tests::web::{Web, say};

use crate::world::{World, one_call};

/// A runtime whose time stands still until the test turns it on.
fn runtime(world: &World) -> (Runtime, Clock) {
    let clock = Clock::manual(Timestamp(1_700_000_000_000));
    let config = Config::load(&world.path("ringfence.toml")).expect("a configuration");
    (Runtime::open(config.with_clock(clock.clone())).expect("a runtime"), clock)
}

fn agent(world: &World, text: &str) -> Agent {
    let head = "name = \"tester\"\nmodel = { use = \"main\" }\ninstructions = \"Do it.\"\n";
    world.write("agent.toml", &format!("{head}{text}"));
    Agent::load(&world.path("agent.toml")).expect("an agent")
}

async fn run(
    runtime: &Runtime,
    agent: &Agent,
    input: Input,
    show: impl FnMut(&Event) + Send,
) -> RunEnded {
    let mut show = show;
    let cancel = Cancel::new();
    runtime.run(&Caller::local(), agent, input, &cancel, &mut show).await.expect("a run")
}

async fn resume(runtime: &Runtime, ended: &RunEnded) -> RunEnded {
    let cancel = Cancel::new();
    let resumed = runtime.resume(&Caller::local(), &ended.session, &cancel, &mut |_| {}).await;
    resumed.expect("gone on with")
}

/// A server that is not there for the first requests.
fn flaky(failures: usize, fields: &'static str) -> Web {
    let asked = AtomicUsize::new(0);
    Web::new(move |_, stream| match asked.fetch_add(1, SeqCst) {
        count if count < failures => say(stream, "503 Service Unavailable", fields, b"later"),
        _ => say(stream, "200 OK", "content-type: text/plain\r\n", b"order 7 is on its way"),
    })
}

async fn fetching(web: &Web, rules: &str) -> (World, Agent) {
    let world = World::new();
    world.tool("tools/fetch", |manifest| manifest);
    world.add(&["tools/fetch"]).await;
    let origin = web.origin();
    world.grants(&format!("[tenant.local.tool.fetch]\nhttp = [\"{origin}\"]\n"));
    let call = format!("{{ url = \"{origin}/order\" }}");
    world.script(&one_call("fetch_get", &call));
    let agent = agent(&world, &format!("[tools]\nfetch = \"*\"\n{rules}"));
    (world, agent)
}

/// Turns the clock on whenever something is scheduled, by just so much.
fn turning(clock: Clock, pauses: Arc<std::sync::Mutex<Vec<u64>>>) -> impl FnMut(&Event) + Send {
    move |event| {
        if let Body::CallRetryScheduled { at, .. } | Body::RunRetryScheduled { at, .. } =
            &event.body
        {
            let pause = at.0 - event.at.0;
            pauses.lock().expect("nobody panicked").push(pause);
            clock.advance(Duration::from_millis(pause));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_finds_nobody_is_made_again_after_a_pause() {
    let web = flaky(2, "retry-after: 7\r\n");
    let (world, agent) = fetching(&web, "").await;
    let (runtime, clock) = runtime(&world);
    let pauses = Arc::default();
    let ended = run(&runtime, &agent, Input::new("Go."), turning(clock, Arc::clone(&pauses))).await;
    assert_eq!(ended.status, RunStatus::Completed);
    // Not before the time that the server asked for.
    let pauses = pauses.lock().expect("nobody panicked").clone();
    assert!(pauses.len() == 2 && pauses.iter().all(|pause| *pause >= 7_000), "{pauses:?}");
    assert_eq!(web.take().len(), 3);
    let session = runtime.session(&Caller::local(), &ended.session).expect("a session");
    let call = session.runs()[0].calls().next().expect("a call");
    assert!(matches!(call.outcome(), Some(Outcome::Succeeded { .. })));
    assert!(call.usage().requests >= 3, "all tries count: {:?}", call.usage());
    let results = session.messages();
    assert_eq!(results.iter().filter(|m| matches!(***m, Message::Result { .. })).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stays_away_is_tried_as_often_as_the_rule_says() {
    let web = flaky(usize::MAX, "");
    let (world, agent) = fetching(&web, "[retry.call]\nattempts = 4\nfirst = \"2s\"\n").await;
    let (runtime, clock) = runtime(&world);
    let pauses = Arc::default();
    let ended = run(&runtime, &agent, Input::new("Go."), turning(clock, Arc::clone(&pauses))).await;
    assert_eq!((ended.status, web.take().len()), (RunStatus::Completed, 4));
    let pauses = pauses.lock().expect("nobody panicked").clone();
    let doubled = [1_000..=2_000, 2_000..=4_000, 4_000..=8_000];
    assert!(
        pauses.len() == 3 && pauses.iter().zip(doubled).all(|(pause, range)| range.contains(pause)),
        "{pauses:?}"
    );
}

/// A timer is in the journal: whoever goes on with the session waits for what is left of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_outlives_the_host() {
    let web = flaky(1, "retry-after: 60\r\n");
    let (world, agent) = fetching(&web, "").await;
    let (first, _) = runtime(&world);
    let (scheduled, mut wait) = tokio::sync::mpsc::unbounded_channel();
    let mut lost = None;
    {
        let cancel = Cancel::new();
        let mut show = |event: &Event| {
            if let (Body::RunWaiting { on: Wait::Retry, .. }, Stream::Session(id)) =
                (&event.body, &event.stream)
            {
                lost = Some(id.clone());
                let _ = scheduled.send(());
            }
        };
        let caller = Caller::local();
        let run = first.run(&caller, &agent, Input::new("Go."), &cancel, &mut show);
        tokio::select! {
            ended = run => panic!("it was to wait: {ended:?}"),
            _ = wait.recv() => {}
        }
    }
    drop(first);
    let id = lost.expect("a session");
    assert_eq!(web.take().len(), 1);
    let (second, clock) = runtime(&world);
    let unfinished = second.unfinished().expect("a list");
    assert_eq!(unfinished.iter().map(|open| &open.session).collect::<Vec<_>>(), [&id]);
    let cancel = Cancel::new();
    let caller = Caller::local();
    let mut show = |_: &Event| {};
    let going = second.resume(&caller, &id, &cancel, &mut show);
    tokio::pin!(going);
    // 60 s of 60 have to pass: at 59 nobody has asked again.
    clock.advance(Duration::from_secs(59));
    let early = tokio::time::timeout(Duration::from_millis(200), &mut going).await;
    assert!(early.is_err() && web.take().is_empty(), "it waits");
    clock.advance(Duration::from_secs(2));
    let ended = going.await.expect("gone on with");
    assert_eq!((ended.status, web.take().len()), (RunStatus::Completed, 1));
}

async fn writing(rules: &str) -> (World, Agent) {
    let world = World::new();
    world.add(&["tools/files"]).await;
    world.grants(&format!(
        "[tenant.local.tool.files]\nfs.workspace = {{ path = \"workspace\", access = \"write\" }}\n\
         fs.scratch = {{ access = \"write\" }}\n{rules}"
    ));
    let arguments = "{ path = \"/workspace/new.txt\", text = \"new\" }";
    world.script(&one_call("files_write", arguments));
    let agent = agent(&world, "[tools]\nfiles = \"*\"\n");
    (world, agent)
}

const HOLD: &str =
    "[[tenant.local.hold]]\ntool = \"files\"\nfunction = \"write\"\nexpires = \"1h\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_call_runs_once_a_person_says_yes() {
    let (world, agent) = writing(HOLD).await;
    let (runtime, _) = runtime(&world);
    let caller = Caller::local();
    let ended = run(&runtime, &agent, Input::new("Go."), |_| {}).await;
    assert_eq!(ended.status, RunStatus::Waiting(Wait::Approval));
    assert!(!world.path("workspace/new.txt").exists(), "nothing was started");
    let waiting = runtime.waiting(&caller).expect("a list");
    let [Waiting { session, call, hold: Some(hold), .. }] = &waiting[..] else {
        panic!("{waiting:?}")
    };
    assert!(hold.rules[0].to_string().contains("ringfence.toml"), "{:?}", hold.rules);
    // A stale answer, one to a call that is not there, one of another user: nothing is changed.
    let yes = ApprovalScope::Call;
    let other = Some(ringfence::event::Digest::of(b"something else"));
    let stale = runtime.approve(&caller, session, call, yes, None, other).await;
    assert!(stale.expect_err("stale").to_string().contains("look at it again"));
    let nobody = "r9.s9.c9".parse().expect("an id");
    runtime.approve(&caller, session, &nobody, yes, None, None).await.expect_err("no such call");
    let eve = Caller { user: "eve".parse().expect("a name"), ..Caller::local() };
    runtime.approve(&eve, session, call, yes, None, None).await.expect_err("no such session");
    let shown = waiting[0].shown;
    let reason = Some("it is a new file".to_owned());
    let said = runtime.approve(&caller, session, call, yes, reason, shown).await;
    assert_eq!(said.expect("an answer"), Said::Recorded);
    let again = runtime.approve(&caller, session, call, yes, None, shown).await;
    again.expect_err("answered already");
    assert_eq!(resume(&runtime, &ended).await.status, RunStatus::Completed);
    assert_eq!(world.read("workspace/new.txt"), "new");
    let session = runtime.session(&caller, session).expect("a session");
    let told = session.messages().iter().any(|message| {
        matches!(&**message, Message::Result { text, .. } if text.contains("it is a new file"))
    });
    assert!(told, "the model reads why: {:?}", session.messages());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_says_no_or_nobody_says_anything() {
    let check = |expires: bool| async move {
        let (world, agent) = writing(HOLD).await;
        let (runtime, clock) = runtime(&world);
        let caller = Caller::local();
        let ended = run(&runtime, &agent, Input::new("Go."), |_| {}).await;
        let waiting = runtime.waiting(&caller).expect("a list").remove(0);
        let (session, call) = (&waiting.session, &waiting.call);
        if expires {
            assert!(runtime.unfinished().expect("a list").is_empty(), "nothing is due");
            clock.advance(Duration::from_secs(3_600));
            assert_eq!(runtime.unfinished().expect("a list").len(), 1);
            let late =
                runtime.approve(&caller, session, call, ApprovalScope::Call, None, None).await;
            late.expect_err("too late");
        } else {
            let reason = Some("not that one".to_owned());
            runtime.decline(&caller, session, call, reason, None).await.expect("an answer");
        }
        assert_eq!(resume(&runtime, &ended).await.status, RunStatus::Completed);
        assert!(!world.path("workspace/new.txt").exists(), "nothing was started");
        let session = runtime.session(&caller, session).expect("a session");
        let outcome = session.runs()[0].calls().next().and_then(|call| call.outcome().cloned());
        match outcome {
            Some(Outcome::Declined { by, reason: Some(reason) }) => (by.is_some(), reason),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(check(false).await, (true, "not that one".to_owned()));
    assert_eq!(check(true).await, (false, "nobody answered in time".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_yes_for_the_session_is_for_this_function_until_a_rule_changes() {
    let (world, agent) = writing(HOLD).await;
    let caller = Caller::local();
    let (first, _) = runtime(&world);
    let ended = run(&first, &agent, Input::new("Go."), |_| {}).await;
    let waiting = first.waiting(&caller).expect("a list").remove(0);
    let (session, call) = (waiting.session.clone(), waiting.call.clone());
    let scope = ApprovalScope::Session;
    first.approve(&caller, &session, &call, scope, None, None).await.expect("an answer");
    assert_eq!(resume(&first, &ended).await.status, RunStatus::Completed);
    let arguments = "{ path = \"/workspace/more.txt\", text = \"more\" }";
    let turn = |when: &str, file: &str| {
        let arguments = arguments.replace("more", file);
        format!(
            "[[turn]]\nwhen = {{ contains = \"{when}\" }}\nreply = {{ calls = [{{ function = \
             \"files_write\", arguments = {arguments} }}] }}\n"
        )
    };
    let script = format!(
        "{}{}[[turn]]\nreply = {{ text = \"Done.\" }}\n",
        turn("second", "more"),
        turn("third", "third")
    );
    world.script(&script);
    let (second, _) = runtime(&world);
    let input = |text: &str| Input { session: Some(session.clone()), ..Input::new(text) };
    let mut kinds = vec![];
    let ended = run(&second, &agent, input("second"), |event| kinds.push(event.body.kind())).await;
    assert_eq!(ended.status, RunStatus::Completed, "{kinds:?}");
    assert!(kinds.contains(&"call.hold") && kinds.contains(&"call.approved"), "{kinds:?}");
    assert_eq!(world.read("workspace/more.txt"), "more");
    // Another policy version: the same function is held anew.
    let grants = world.read("ringfence.toml");
    world.write("ringfence.toml", &format!("{grants}effect = \"unsafe\"\n"));
    world.write("ringfence.toml", &grants.replace("expires = \"1h\"", "expires = \"2h\""));
    let (third, _) = runtime(&world);
    let ended = run(&third, &agent, input("third"), |_| {}).await;
    assert_eq!(ended.status, RunStatus::Waiting(Wait::Approval));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_input_to_a_busy_session_is_refused_waits_or_takes_over() {
    let (world, agent) = writing(HOLD).await;
    let (runtime, _) = runtime(&world);
    let caller = Caller::local();
    let ended = run(&runtime, &agent, Input::new("Go."), |_| {}).await;
    let id = ended.session.clone();
    let input = |text: &str, busy| Input { session: Some(id.clone()), busy, ..Input::new(text) };
    let cancel = Cancel::new();
    let refused =
        runtime.run(&caller, &agent, input("x", Busy::Reject), &cancel, &mut |_| {}).await;
    assert!(refused.expect_err("it is busy").to_string().contains("run r1 is under way"));
    // It waits behind the run that waits for a person.
    let queued = run(&runtime, &agent, input("more", Busy::Queue), |_| {}).await;
    assert_eq!((queued.run.0, queued.status), (2, RunStatus::Queued));
    let over = run(&runtime, &agent, input("at once", Busy::Interrupt), |_| {}).await;
    // The script writes again where the conversation has one reply: here it is at its end.
    assert_eq!(over.run.0, 3);
    let session = runtime.session(&caller, &id).expect("a session");
    let statuses: Vec<RunStatus> = session.runs().iter().map(|run| run.status()).collect();
    assert_eq!(statuses, [RunStatus::Cancelled, RunStatus::Cancelled, RunStatus::Completed]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_key_is_the_same_run() {
    let (world, agent) = writing("").await;
    let (runtime, _) = runtime(&world);
    let first = run(&runtime, &agent, Input::new("Go."), |_| {}).await;
    let input = |text: &str| Input {
        session: Some(first.session.clone()),
        key: Some("order-7".into()),
        ..Input::new(text)
    };
    let once = run(&runtime, &agent, input("Once."), |_| {}).await;
    let twice = run(&runtime, &agent, input("Once."), |_| {}).await;
    assert_eq!((once.run, once.status), (twice.run, twice.status));
    let caller = Caller::local();
    let session = runtime.session(&caller, &first.session).expect("a session");
    assert_eq!(session.runs().len(), 2);
    let cancel = Cancel::new();
    let other = runtime.run(&caller, &agent, input("Twice."), &cancel, &mut |_| {}).await;
    assert!(other.expect_err("another input").to_string().contains("under the same key"));
}

const PRICED: &str = "price = { input = \"1000/Mtok\", output = \"1000/Mtok\" }\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_ends_a_run_and_is_told_before() {
    let world = World::new();
    world.add(&["tools/files"]).await;
    let grants = "[tenant.local.tool.files]\nfs.workspace = { path = \"workspace\" }\n\
                  fs.scratch = { access = \"write\" }\n";
    world.grants(&format!("{PRICED}{grants}"));
    let reply =
        "{ calls = [{ function = \"files_list\", arguments = { path = \"/workspace\" } }] }";
    world.script(&format!("[[turn]]\nreply = {reply}\n"));
    let agent = agent(&world, "[tools]\nfiles = \"*\"\n[limits]\nusd = \"6.00\"\n");
    let (runtime, _) = runtime(&world);
    let mut warned = vec![];
    let ended = run(&runtime, &agent, Input::new("Go."), |event| {
        if let Body::BudgetWarned { limit, spent } = &event.body {
            warned.push((*limit, spent.of));
        }
    })
    .await;
    assert_eq!(ended.status, RunStatus::LimitReached(Limit::Money));
    assert_eq!(warned, [(Limit::Money, 6_000_000_000)]);
    let spent = ended.totals.cost.nanos();
    assert!(spent >= 4_800_000_000, "{spent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_has_spent_its_window_waits_for_the_next() {
    let (world, agent) = writing("[tenant.local.budget]\ncalls = \"1 per hour\"\n").await;
    let (runtime, clock) = runtime(&world);
    let caller = Caller::local();
    let ended = run(&runtime, &agent, Input::new("Go."), |_| {}).await;
    assert_eq!(ended.status, RunStatus::Completed);
    let cancel = Cancel::new();
    let input = || Input { session: Some(ended.session.clone()), ..Input::new("More.") };
    let refused = runtime.run(&caller, &agent, input(), &cancel, &mut |_| {}).await;
    let refused = refused.expect_err("nothing is left");
    let ringfence::Error::Spent { limit: Limit::Calls, spent, line, .. } = &refused else {
        panic!("{refused}")
    };
    assert_eq!((spent.spent, spent.of), (1, 1));
    assert!(*line > 0 && spent.reopens.is_some_and(|at| at > clock.now()));
    let session = runtime.session(&caller, &ended.session).expect("a session");
    assert_eq!(session.runs().len(), 1, "nothing is recorded of it");
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(run(&runtime, &agent, input(), |_| {}).await.status, RunStatus::Completed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_conversation_is_told_in_short() {
    let world = World::new();
    world.add(&["tools/files"]).await;
    world.grants(
        "[tenant.local.tool.files]\nfs.workspace = { path = \"workspace\" }\n\
         fs.scratch = { access = \"write\" }\n",
    );
    let reply = "{ calls = [{ function = \"files_read\", arguments = { path = \"/workspace/README.md\" } }] }";
    world.script(&format!(
        "[[turn]]\nwhen = {{ contains = \"Sum up all of the above\" }}\nreply = {{ text = \"We read \
         the README, it says Hello.\" }}\n[[turn]]\nwhen = {{ contains = \"Stop.\" }}\nreply = {{ \
         text = \"Stopped.\" }}\n[[turn]]\nreply = {reply}\n"
    ));
    let rules =
        "[tools]\nfiles = \"*\"\n[limits]\nsteps = 8\n[compaction]\nabove = 100\nkeep = 2\n";
    let agent = agent(&world, rules);
    let (runtime, _) = runtime(&world);
    let mut compacted = 0;
    let ended = run(&runtime, &agent, Input::new("Read it."), |event| {
        compacted += usize::from(event.body.kind() == "conversation.compacted");
    })
    .await;
    assert_eq!(ended.status, RunStatus::LimitReached(Limit::Steps));
    assert!(compacted >= 1, "{compacted}");
    let session = runtime.session(&Caller::local(), &ended.session).expect("a session");
    let messages = session.messages();
    let Message::User { text } = &*messages[0] else { panic!("{messages:?}") };
    assert!(text.starts_with("[host] Summary") && text.contains("it says Hello"), "{text}");
    // What the run is about is still said, and all of it stays readable.
    assert!(messages.contains(&Message::User { text: "Read it.".into() }.into()), "{messages:?}");
    assert_eq!(session.runs()[0].steps().len(), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_is_told_as_it_changes() {
    let world = World::new();
    world.add(&["tools/plan"]).await;
    world.grants("[tenant.local.tool.plan]\nmemory.session = \"write\"\n");
    world.script(
        "[[turn]]\nwhen = { step = 1 }\nreply = { calls = [{ function = \"plan_write\", arguments = { \
         items = [{ title = \"read\" }, { title = \"write\" }] } }] }\n[[turn]]\nwhen = { step = 2 \
         }\nreply = { calls = [{ function = \"plan_mark\", arguments = { item = 1, status = \"done\" } \
         }] }\n[[turn]]\nreply = { text = \"Done.\" }\n",
    );
    let agent = agent(&world, "[tools]\nplan = \"*\"\n");
    let (runtime, _) = runtime(&world);
    let mut plans = 0;
    let ended = run(&runtime, &agent, Input::new("Go."), |event| {
        plans += usize::from(event.body.kind() == "plan.updated");
    })
    .await;
    let session = runtime.session(&Caller::local(), &ended.session).expect("a session");
    let plan: Vec<_> = session.plan().iter().map(|item| (&*item.title, item.status)).collect();
    use ringfence::event::PlanStatus::{Done, Pending};
    assert_eq!((plans, plan), (2, vec![("read", Done), ("write", Pending)]));
}
