//! A run whose driver was lost: looked at again there is no half event, and gone on with, nothing
//! that may not be repeated runs twice.

use ringfence::{
    Caller, Cancel, Input, RunStatus, Session,
    event::{Event, SessionId, Stream},
};

use crate::world::World;

fn script(function: &str, arguments: &str) -> String {
    format!(
        "[[turn]]\nwhen = {{ step = 1 }}\nreply = {{ calls = [{{ function = \"{function}\", \
         arguments = {arguments} }}, {{ function = \"spin_spin\", arguments = {{ turns = 1 }} }}] \
         }}\n[[turn]]\nreply = {{ text = \"Done.\" }}\n"
    )
}

/// Drives a run and drops the driver, with all that it holds, at the first event of a kind.
async fn lose(world: &World, agent: &ringfence::Agent, kind: &str) -> Vec<Event> {
    let (lost, mut wait) = tokio::sync::mpsc::unbounded_channel();
    let (runtime, cancel) = (world.runtime(), Cancel::new());
    let mut events = vec![];
    {
        let input = Input::new("Go.");
        let caller = Caller::local();
        let mut show = |event: &Event| {
            events.push(event.clone());
            if event.body.kind() == kind {
                let _ = lost.send(());
            }
        };
        let run = runtime.run(&caller, agent, input, &cancel, &mut show);
        tokio::select! {
            ended = run => panic!("it was to be lost: {ended:?}"),
            _ = wait.recv() => {}
        }
    }
    events
}

/// A world whose run was lost while its first call, so many turns of a loop, was under way.
async fn lost(turns: &str) -> (World, ringfence::Agent, SessionId) {
    let world = World::new();
    world.add_spin().await;
    world.grants("[tenant.local.tool.spin]\nlimits.fuel = \"1000G\"\nlimits.time = \"600s\"\n");
    let agent = world.agent("spin = \"*\"", "fuel = \"100000G\"");
    world.script(&script("spin_spin", turns));
    let events = lose(&world, &agent, "call.started").await;
    let Some(Stream::Session(id)) = events.first().map(|event| event.stream.clone()) else {
        panic!("a session")
    };
    let session = world.runtime().session(&Caller::local(), &id).expect("no half event");
    assert!(session.run().is_some(), "its run is under way");
    (world, agent, id)
}

/// Goes on with a session; cancels when it was resumed, if asked to.
async fn go_on(
    world: &World,
    agent: &ringfence::Agent,
    id: &SessionId,
    cancelled: bool,
) -> (Vec<&'static str>, Session) {
    let (caller, cancel) = (Caller::local(), Cancel::new());
    let mut kinds = vec![];
    let input = Input { text: "And now?".into(), session: Some(id.clone()), ..Input::default() };
    let mut show = |event: &Event| {
        kinds.push(event.body.kind());
        if cancelled && event.body.kind() == "run.resumed" {
            cancel.cancel();
        }
    };
    world.runtime().run(&caller, agent, input, &cancel, &mut show).await.expect("gone on with");
    (kinds, world.runtime().session(&caller, id).expect("it folds"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unfinished_run_is_finished_before_what_is_said_next() {
    let (world, agent, id) = lost("{ turns = 50000000 }").await;
    let (kinds, session) = go_on(&world, &agent, &id, false).await;
    assert!(kinds.contains(&"run.resumed"), "{kinds:?}");
    let statuses: Vec<RunStatus> = session.runs().iter().map(|run| run.status()).collect();
    assert_eq!(statuses, [RunStatus::Completed, RunStatus::Completed], "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_while_it_is_finished_ends_both() {
    let (world, agent, id) = lost("{}").await;
    let (kinds, session) = go_on(&world, &agent, &id, true).await;
    assert!(kinds.contains(&"run.cancelled"), "{kinds:?}");
    let statuses: Vec<RunStatus> = session.runs().iter().map(|run| run.status()).collect();
    assert_eq!(statuses, [RunStatus::Cancelled, RunStatus::Cancelled]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_driven_is_not_taken_over() {
    let world = World::new();
    world.add_spin().await;
    world.grants("[tenant.local.tool.spin]\nlimits.fuel = \"1000G\"\nlimits.time = \"600s\"\n");
    world.script(&script("spin_spin", "{}"));
    let agent = world.agent("spin = \"*\"", "fuel = \"100000G\"");
    let (started, mut wait) = tokio::sync::mpsc::unbounded_channel();
    let (cancel, other) = (Cancel::new(), world.runtime());
    let (agent_too, cancel_too) = (agent.clone(), cancel.clone());
    let taking = tokio::spawn(async move {
        let id = wait.recv().await.expect("a session");
        let input = Input { text: "Mine.".into(), session: Some(id), ..Input::default() };
        let taken =
            other.run(&Caller::local(), &agent_too, input, &Cancel::new(), &mut |_| {}).await;
        cancel_too.cancel();
        taken.expect_err("it is driven").to_string()
    });
    let over = world
        .run_with(&world.runtime(), &agent, &cancel, |event| {
            if let ("call.started", Stream::Session(id)) = (event.body.kind(), &event.stream) {
                let _ = started.send(id.clone());
            }
        })
        .await;
    assert!(taking.await.expect("no panic").contains("run r1 is under way"));
    assert_eq!(over.ended.status, RunStatus::Cancelled);
}
