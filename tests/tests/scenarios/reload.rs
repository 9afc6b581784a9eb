//! The operator's file read again, and the end of a service, while calls run.

use std::{sync::Arc, time::Duration};

use ringfence::{
    Agent, Caller, Cancel, DirectCall, Drained, Error, Refusal, Resumed, RunStatus, Runtime,
    ToolRef,
    event::{Body, CallResult, DenialCode, Event, Outcome},
};
use ringfence_tests::web;
use tokio::task::{JoinHandle, yield_now};

use crate::{
    admission::{lines, probe, probed},
    world::{World, heard, one_call},
};

fn caller(tenant: &str) -> Caller {
    Caller { tenant: tenant.parse().expect("a name"), ..Caller::local() }
}

/// A world in which one tenant spins and another waits for a server, until somebody ends that.
async fn busy() -> World {
    let world = World::new();
    world.add_spin().await;
    world.add(&["tests/guests/ledger"]).await;
    world.grants(&grants(""));
    world
}

const SPIN: &str = "[tenant.acme.tool.spin]\nlimits.fuel = \"100000G\"\nlimits.time = \"600s\"\n";

/// What the operator's file says, with this beside it.
fn grants(more: &str) -> String {
    format!(
        "{SPIN}{more}\n[tenant.other.tool.spin]\nlimits.fuel = \"100000G\"\nlimits.time = \"600s\"\n"
    )
}

type Called = JoinHandle<Result<CallResult, Error>>;

/// A direct call that spins, and runs when this returns.
async fn spin(runtime: &Runtime, tenant: &str) -> (Cancel, Called) {
    let call = DirectCall {
        tool: ToolRef::Accepted("spin".parse().expect("a name")),
        function: None,
        arguments: "{}".to_owned(),
        key: None,
        trace: None,
    };
    let cancel = Cancel::new();
    let running = |runtime: &Runtime| runtime.load().places[0].load.running;
    let before = running(runtime);
    let called = {
        let (runtime, caller, cancel) = (runtime.clone(), caller(tenant), cancel.clone());
        tokio::spawn(async move { runtime.call(&caller, call, &cancel, heard()).await })
    };
    while running(runtime) == before {
        yield_now().await;
    }
    (cancel, called)
}

fn quick() -> DirectCall {
    DirectCall {
        tool: ToolRef::Accepted("spin".parse().expect("a name")),
        function: None,
        arguments: "{\"turns\": 1}".to_owned(),
        key: None,
        trace: None,
    }
}

async fn outcome(runtime: &Runtime, tenant: &str) -> Outcome {
    let called = runtime.call(&caller(tenant), quick(), &Cancel::new(), heard()).await;
    called.expect("a call").outcome
}

async fn reload(world: &World, runtime: &Runtime, text: &str) -> Result<usize, Error> {
    world.grants(text);
    runtime.reload(world.config()).await.map(|reloaded| reloaded.ended)
}

/// The lines of each `grant.changed` of a tenant.
fn told(runtime: &Runtime, tenant: &str) -> Vec<Vec<String>> {
    let events = runtime.tenant_events(&caller(tenant), 1, 1000).expect("events");
    let lines = |event: Event| match event.body {
        Body::GrantChanged { lines, .. } => Some(lines),
        _ => None,
    };
    events.into_iter().filter_map(lines).collect()
}

/// What runs by a grant that a reload takes away ends as cancelled, and nothing begins by it any more; a
/// reload that does not touch it leaves it running, and so does one that gives more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_reload_takes_away_ends_and_nothing_else() {
    let world = busy().await;
    let runtime = world.runtime();
    let (stop, mut called) = spin(&runtime, "acme").await;
    let (other, mut others) = spin(&runtime, "other").await;
    let untouched = [
        grants(""),
        grants("\n# a line that says nothing"),
        grants("limits.memory = \"32MiB\""),
        grants("memory.user = \"write\""),
        grants("[tenant.acme]\nweight = 3\nconcurrent-calls = 5\n"),
        grants("[tenant.acme.tool.ledger]\nfs.workspace = { path = \"workspace\" }\n"),
    ];
    for text in &untouched {
        assert_eq!(reload(&world, &runtime, text).await.expect("a reload"), 0, "{text}");
        assert!(!called.is_finished() && !others.is_finished(), "{text}");
    }
    let without = grants("").replace(SPIN, "[tenant.acme]\n");
    assert_eq!(reload(&world, &runtime, &without).await.expect("a reload"), 1);
    let ended = (&mut called).await.expect("a task").expect("a call");
    assert_eq!(ended.outcome, Outcome::Cancelled);
    let [denial] = &ended.denials[..] else { panic!("{ended:?}") };
    assert_eq!(denial.code, DenialCode::NotGranted, "{denial}");
    assert!(ended.usage.fuel > 0, "what was spent is known");
    assert!(!others.is_finished() && !stop.is_requested());
    assert_eq!(outcome(&runtime, "acme").await, Outcome::Denied);
    // Given again, it is there again.
    assert_eq!(reload(&world, &runtime, &grants("")).await.expect("a reload"), 0);
    assert!(matches!(outcome(&runtime, "acme").await, Outcome::Succeeded { .. }));
    other.cancel();
    let ended = (&mut others).await.expect("a task").expect("a call");
    assert_eq!((ended.outcome, ended.denials.len()), (Outcome::Cancelled, 0));
    // Each change of a grant was told to its own tenant: memory and back, the ledger and back, the limit
    // and back, taken away and back.
    let changes = told(&runtime, "acme");
    assert_eq!(changes.iter().filter(|lines| lines.is_empty()).count(), 2, "{changes:?}");
    insta::assert_snapshot!(
        changes.iter().map(|lines| lines.join("; ")).collect::<Vec<_>>().join("\n")
    );
    assert!(told(&runtime, "other").is_empty());
}

/// A run whose call is ended so goes on, and its model is told why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_goes_on_when_a_reload_ends_its_call() {
    let world = busy().await;
    world.script(&one_call("spin_spin", "{}"));
    let agent = world.agent("spin = \"*\"", "fuel = \"100000G\"\ntime = \"600s\"");
    for taken in [true, false] {
        world.grants(&grants(""));
        let runtime = world.runtime();
        let text = if taken { grants("").replace(SPIN, "[tenant.acme]\n") } else { grants("") };
        world.grants(&text);
        let (config, cancel) = (world.config(), Cancel::new());
        let mut reloading = vec![];
        let mut results: Vec<CallResult> = vec![];
        let mut show = |event: &Event| match &event.body {
            Body::CallStarted { .. } => {
                let (runtime, config, cancel) = (runtime.clone(), config.clone(), cancel.clone());
                reloading.push(tokio::spawn(async move {
                    while runtime.load().places[0].load.running == 0 {
                        yield_now().await;
                    }
                    let ended = runtime.reload(config).await.expect("a reload").ended;
                    assert_eq!(ended, usize::from(taken));
                    if !taken {
                        cancel.cancel();
                    }
                }));
            }
            Body::CallFinished { result, .. } => results.push((**result).clone()),
            _ => {}
        };
        let input = ringfence::Input::new("Go.");
        let ended = runtime.run(&caller("acme"), &agent, input, &cancel, &mut show).await;
        let status = ended.expect("a run").status;
        for one in reloading {
            one.await.expect("nothing went wrong");
        }
        assert_eq!(results[0].outcome, Outcome::Cancelled);
        assert_eq!(results[0].denials.len(), usize::from(taken));
        assert_eq!(status, if taken { RunStatus::Completed } else { RunStatus::Cancelled });
    }
}

/// A part of a grant that is taken ends what has it open; the denial says that something has changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_is_taken_ends_what_has_it_open() {
    let web = web::serve();
    let (origin, none) = (web.origin(), [("acme", "")]);
    let world = probed("", &none, &origin).await;
    let runtime = world.runtime();
    let called = {
        let runtime = runtime.clone();
        let (call, sink) = (probe("fetch", &origin), heard());
        tokio::spawn(async move { runtime.call(&caller("acme"), call, &Cancel::new(), sink).await })
    };
    while runtime.load().places[0].load.running == 0 {
        yield_now().await;
    }
    let without = lines("", &none, &origin).replace(&format!("http = [\"{origin}\"]\n"), "");
    // It may be between its decision and its beginning: then it is refused.
    let ended = reload(&world, &runtime, &without).await.expect("a reload");
    let result = called.await.expect("a task").expect("a call");
    let expected = if ended == 1 { Outcome::Cancelled } else { Outcome::Denied };
    assert_eq!(result.outcome, expected);
    assert_eq!(result.denials[0].code, DenialCode::ChangedSince, "{:?}", result.denials);
}

/// A reload that fails changes nothing and says where: a mistake, a folder that another tenant has, a
/// script that is none, what cannot change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_fails_changes_nothing() {
    let world = busy().await;
    let ledger = |tenant: &str, path: &str| {
        format!(
            "[tenant.{tenant}.tool.ledger]\nfs.workspace = {{ path = \"{path}\", access = \"write\" }}\n"
        )
    };
    let good = grants(&ledger("acme", "workspace"));
    world.grants(&good);
    let runtime = world.runtime();
    let (stop, called) = spin(&runtime, "acme").await;
    let mut said = String::new();
    for (what, text) in [
        ("the engine's room", format!("[host]\nconcurrent-calls = 3\n{good}")),
        ("the engine's memory", format!("[host]\nmemory = \"64MiB\"\n{good}")),
        ("the home folder", format!("[host]\nhome = \"elsewhere\"\n{good}")),
        (
            "a folder of another tenant",
            grants("") + &ledger("acme", "workspace") + &ledger("other", "workspace/src"),
        ),
        ("the store's folder", grants(&ledger("acme", ".ringfence"))),
        (
            "a script that is none",
            good.clone() + "[model.new]\nprotocol = \"scripted\"\nscript = \"none.toml\"\n",
        ),
    ] {
        // The spinning tool is not in it: were anything of it taken, the call would end.
        let text = text.replace(SPIN, "[tenant.acme]\n");
        let error = reload(&world, &runtime, &text).await.expect_err(what);
        let text = error.to_string().replace(&world.path("").display().to_string(), "/");
        said += &format!("{what}: {} {text}\n", error.code());
        assert!(!called.is_finished(), "{what}");
        assert!(matches!(outcome(&runtime, "acme").await, Outcome::Succeeded { .. }), "{what}");
    }
    assert!(told(&runtime, "acme").is_empty() && told(&runtime, "other").is_empty());
    insta::assert_snapshot!(said);
    // A folder goes from one tenant to another, with nothing else.
    let moved = grants(&ledger("other", "workspace")).replace(SPIN, "");
    assert_eq!(reload(&world, &runtime, &moved).await.expect("a reload"), 1);
    assert_eq!(called.await.expect("a task").expect("a call").outcome, Outcome::Cancelled);
    assert!(!stop.is_requested());
    let note = DirectCall {
        tool: ToolRef::Accepted("ledger".parse().expect("a name")),
        function: Some("note".parse().expect("a name")),
        arguments: "{\"what\": \"moved\"}".to_owned(),
        key: None,
        trace: None,
    };
    let noted = runtime.call(&caller("other"), note.clone(), &Cancel::new(), heard()).await;
    let noted = noted.expect("a call").outcome;
    assert!(matches!(noted, Outcome::Succeeded { .. }), "{noted:?}");
    let denied = runtime.call(&caller("acme"), note, &Cancel::new(), heard()).await;
    assert_eq!(denied.expect("a call").outcome, Outcome::Denied);
}

/// Shares, budgets and models are those of the file as it is now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_and_models_are_those_of_the_file_as_it_is() {
    let world = busy().await;
    world.script("[[turn]]\nreply = { text = \"Old.\" }\n");
    world.write("new.toml", "[[turn]]\nreply = { text = \"New.\" }\n");
    let runtime = world.runtime();
    let agent = world.agent("", "");
    let answer = async || {
        let input = ringfence::Input::new("Go.");
        let (caller, cancel) = (caller("acme"), Cancel::new());
        let ended = runtime.run(&caller, &agent, input, &cancel, &mut |_| {}).await;
        ended.map(|ended| ended.answer.unwrap_or_default())
    };
    assert_eq!(answer().await.expect("a run"), "Old.");
    let new = |text: &str| {
        let model = "[model.main]\nprotocol = \"scripted\"\nscript = \"new.toml\"\n";
        world.write("ringfence.toml", &format!("{model}{text}"));
        runtime.reload(world.config())
    };
    new(&grants("[tenant.acme.budget]\ncalls = \"1 per month\"\n")).await.expect("a reload");
    assert_eq!(answer().await.expect("a run"), "New.");
    assert!(matches!(outcome(&runtime, "acme").await, Outcome::Succeeded { .. }));
    let spent = runtime.call(&caller("acme"), quick(), &Cancel::new(), heard()).await;
    assert!(matches!(spent, Err(Error::Spent { .. })), "{spent:?}");
    new(&grants("[tenant.acme]\nrate = \"1 per h\"\n")).await.expect("a reload");
    assert!(matches!(outcome(&runtime, "acme").await, Outcome::Succeeded { .. }));
    let refused = runtime.call(&caller("acme"), quick(), &Cancel::new(), heard()).await;
    assert!(matches!(refused, Err(Error::NotTaken(Refusal::Rate { .. }))), "{refused:?}");
    world.write("ringfence.toml", &grants(""));
    runtime.reload(world.config()).await.expect("a reload");
    assert!(matches!(outcome(&runtime, "acme").await, Outcome::Succeeded { .. }));
    let gone = answer().await.expect_err("there is no model");
    assert!(gone.to_string().contains("there is no model `main`"), "{gone}");
}

/// A run that spins in a call, in a task of its own.
fn run(runtime: &Runtime, agent: &Agent) -> JoinHandle<Result<RunStatus, Error>> {
    let (runtime, agent) = (runtime.clone(), agent.clone());
    tokio::spawn(async move {
        let (caller, input) = (caller("acme"), ringfence::Input::new("Go."));
        let ended = runtime.run(&caller, &agent, input, &Cancel::new(), &mut |_| {}).await;
        ended.map(|ended| ended.status)
    })
}

/// O7: nothing new is taken; what runs may end in time; then calls are ended and recorded, and runs are
/// left so that another process goes on with them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o7_a_drain_leaves_what_does_not_end_to_be_gone_on_with() {
    let world = busy().await;
    world.script(&one_call("spin_spin", "{}"));
    let agent = world.agent("spin = \"*\"", "fuel = \"100000G\"\ntime = \"600s\"");
    let runtime = world.runtime();
    let run = run(&runtime, &agent);
    while runtime.load().places[0].load.running == 0 {
        yield_now().await;
    }
    let (_stop, called) = spin(&runtime, "other").await;
    let drained = runtime.drain(Duration::ZERO).await.expect("nothing is lost");
    assert_eq!(drained, Drained { ended: 0, left: 2 });
    let left = run.await.expect("a task").expect_err("it is left");
    let Error::Left { session } = &left else { panic!("{left}") };
    assert_eq!(left.code(), "left");
    assert_eq!(called.await.expect("a task").expect("a call").outcome, Outcome::Cancelled);
    let refused = runtime.call(&caller("acme"), quick(), &Cancel::new(), heard()).await;
    assert!(matches!(refused, Err(Error::NotTaken(Refusal::Draining))), "{refused:?}");
    let load = runtime.load();
    assert!(load.draining && load.tenants.iter().all(|tenant| tenant.inside == 0));
    assert!(load.places.iter().all(|place| place.load.running == 0), "{load:?}");
    // A call that was ended so is recorded, so the model is told of it and the run comes to its end.
    let again = world.runtime();
    let open = again.unfinished().expect("a list");
    assert_eq!(open.iter().map(|open| &open.session).collect::<Vec<_>>(), [session]);
    let mut told = vec![];
    again
        .resume_all(2, &Cancel::new(), &mut |_, resumed| told.push(resumed))
        .await
        .expect("a store");
    let [Resumed::Ended(ended)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(ended.status, RunStatus::Completed);
    let session = again.session(&caller("acme"), session).expect("a session");
    let calls: Vec<_> = session.runs()[0].calls().collect();
    assert_eq!(calls[0].outcome(), Some(&Outcome::Cancelled));
}

/// What ends in time ends as if nothing were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_waits_for_what_ends() {
    let world = busy().await;
    world.script(&one_call("spin_spin", "{}"));
    let agent = world.agent("spin = \"*\"", "fuel = \"100000G\"\ntime = \"600s\"");
    let runtime = world.runtime();
    let (stop, called) = spin(&runtime, "other").await;
    let draining = {
        let runtime = runtime.clone();
        tokio::spawn(async move { runtime.drain(Duration::from_secs(600)).await })
    };
    while !runtime.load().draining {
        yield_now().await;
    }
    let refused = run(&runtime, &agent).await.expect("a task");
    assert!(matches!(refused, Err(Error::NotTaken(Refusal::Draining))), "{refused:?}");
    assert!(!called.is_finished() && !draining.is_finished());
    stop.cancel();
    assert_eq!(called.await.expect("a task").expect("a call").outcome, Outcome::Cancelled);
    let drained = draining.await.expect("a task").expect("nothing is lost");
    assert_eq!(drained, Drained { ended: 1, left: 0 });
    // One that has nothing to do is over at once.
    let idle = Arc::new(world.runtime());
    let drained = idle.drain(Duration::from_secs(600)).await.expect("nothing is lost");
    assert_eq!(drained, Drained { ended: 0, left: 0 });
}

/// The lock file is read again too: a tool that another process has removed has its calls ended, and
/// begins none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_that_was_removed_meanwhile_is_gone_with_a_reload() {
    let world = busy().await;
    let runtime = world.runtime();
    let (stop, called) = spin(&runtime, "acme").await;
    let local = DirectCall { tool: ToolRef::Local(world.path("tools/spin")), ..quick() };
    let beside = {
        let (runtime, stop) = (runtime.clone(), stop.clone());
        let call = DirectCall { arguments: "{}".to_owned(), ..local };
        tokio::spawn(async move { runtime.call(&caller("other"), call, &stop, heard()).await })
    };
    while runtime.load().places[0].load.running < 2 {
        yield_now().await;
    }
    assert_eq!(reload(&world, &runtime, &grants("")).await.expect("a reload"), 0);
    let tool = "spin".parse().expect("a name");
    world.runtime().remove(&Caller::local(), &tool).await.expect("it was there");
    // Here it is as it was until then: two calls run the same build, and one was accepted.
    assert!(matches!(outcome(&runtime, "acme").await, Outcome::Succeeded { .. }));
    let ended = reload(&world, &runtime, &grants("")).await.expect("a reload");
    assert!(ended >= 1, "{ended}");
    let called = called.await.expect("a task").expect("a call");
    assert_eq!(called.outcome, Outcome::Cancelled);
    assert_eq!(called.denials[0].code, DenialCode::ChangedSince, "{:?}", called.denials);
    let gone = runtime.call(&caller("acme"), quick(), &Cancel::new(), heard()).await;
    assert_eq!(gone.expect_err("it is gone").code(), "usage");
    stop.cancel();
    assert_eq!(beside.await.expect("a task").expect("a call").outcome, Outcome::Cancelled);
}
