//! Every state change has exactly one event: the table is derived from what scripts do.

use std::collections::{BTreeMap, BTreeSet};

use ringfence_event::{Effect as Declared, Event, Failure, Outcome};
use ringfence_session::{CallStatus, Command, Refused, RunLimits, RunStatus, Session};

use crate::world::{
    World, answer, call, calls, definition, finished, id, input, result, succeeded,
};

type Table = BTreeMap<String, BTreeSet<&'static str>>;

/// Folds a journal and notes each change of a status with the event that made it.
fn derive(table: &mut Table, world: &World) {
    let states = |session: &Session| {
        let mut states = BTreeMap::new();
        if session.agent().is_some() {
            let status = session.closed_at().map_or("open", |_| "closed");
            states.insert("session".to_owned(), status);
        }
        for run in session.runs() {
            let status = match run.status() {
                RunStatus::LimitReached(_) => "limit-reached",
                status => status.as_str(),
            };
            states.insert(format!("run {}", run.id()), status);
            for call in run.calls() {
                states.insert(format!("call {}", call.id()), call.status().as_str());
            }
        }
        states
    };
    let mut session = Session::new(id());
    for event in &world.journal {
        let before = states(&session);
        session.apply(event).unwrap();
        for (what, now) in states(&session) {
            let was = before.get(&what).copied().unwrap_or("-");
            if was != now {
                let kind = what.split(' ').next().unwrap();
                let change = format!("{kind}: {was} -> {now}");
                table.entry(change).or_default().insert(event.body.kind());
            }
        }
    }
}

/// Brings one call to each of its ends, and each run to each of its own.
fn scripts() -> Vec<World> {
    let mut worlds = vec![];
    let limits = RunLimits::DEFAULT;
    let first = call(1, 1, 1);
    let proposed = || {
        let mut world = World::new(limits);
        world.tell(input("go")).unwrap();
        world.reply(calls(&["a"]));
        world
    };
    let intended = |effect| {
        let mut world = proposed();
        let permit = world.permit(&first, effect, 10);
        world.tell(permit).unwrap();
        world
    };
    let started = |effect| {
        let mut world = intended(effect);
        world.tell(Command::Started { call: first.clone() }).unwrap();
        world
    };
    let denied = || Command::Denied { call: first.clone(), denials: vec![] };
    let failure = Failure::invalid("no", None);
    let invalid = || Command::Invalid { call: first.clone(), failure: failure.clone() };
    let outcomes = [
        succeeded("x", 0).outcome,
        Outcome::Failed { failure: failure.clone() },
        Outcome::Trapped { message: "x".into() },
        Outcome::HostError { message: "x".into() },
        Outcome::Cancelled,
        Outcome::LimitReached { limit: ringfence_event::Limit::Memory },
    ];
    for outcome in &outcomes {
        let mut world = started(Declared::Read);
        world.tell(finished(first.clone(), result(outcome.clone(), 1))).unwrap();
        world.reply(answer("done"));
        worlds.push(world);
    }
    for (mut world, command) in [
        (proposed(), denied()),
        (intended(Declared::Read), denied()),
        (proposed(), invalid()),
        (proposed(), Command::Cancel),
        (proposed(), Command::TimeUp),
        (intended(Declared::Read), Command::Cancel),
        (intended(Declared::Read), Command::TimeUp),
        (started(Declared::Read), Command::Recover),
        (intended(Declared::Unsafe), Command::Recover),
    ] {
        world.tell(command).unwrap();
        worlds.push(world);
    }
    for command in [
        Command::Reconcile { call: first.clone(), result: succeeded("x", 0) },
        Command::Reconcile { call: first.clone(), result: result(outcomes[1].clone(), 0) },
        Command::Cancel,
    ] {
        let mut world = started(Declared::Unsafe);
        world.tell(Command::Recover).unwrap();
        world.tell(command).unwrap();
        worlds.push(world);
    }
    let mut failed = World::new(limits);
    failed.tell(input("go")).unwrap();
    failed.ask();
    let step = failed.step();
    failed.tell(Command::ModelReplied { step, reply: Err("no".into()) }).unwrap();
    worlds.push(failed);
    let mut closed = World::new(limits);
    closed.tell(Command::Close).unwrap();
    worlds.push(closed);
    worlds
}

#[test]
fn every_state_change_has_exactly_one_event() {
    let mut table = Table::new();
    scripts().iter().for_each(|world| derive(&mut table, world));
    for (change, kinds) in &table {
        assert_eq!(kinds.len(), 1, "{change}: {kinds:?}");
    }
    let lines: Vec<String> = table
        .iter()
        .map(|(change, kinds)| format!("{change}  {}", kinds.first().unwrap()))
        .collect();
    assert_eq!(lines.join("\n"), TABLE.trim());
    // Every word of the enumerations is reached.
    let all = [
        CallStatus::Proposed,
        CallStatus::Invalid,
        CallStatus::Denied,
        CallStatus::Intended,
        CallStatus::Started,
        CallStatus::Succeeded,
        CallStatus::Failed,
        CallStatus::Cancelled,
        CallStatus::Trapped,
        CallStatus::HostError,
        CallStatus::LimitReached(ringfence_event::Limit::Fuel),
        CallStatus::OutcomeUnknown,
    ];
    for status in all {
        let end = format!("-> {}", status.as_str());
        assert!(table.keys().any(|change| change.starts_with("call") && change.ends_with(&end)));
    }
}

const TABLE: &str = "
call: - -> proposed  call.proposed
call: intended -> cancelled  call.finished
call: intended -> denied  call.finished
call: intended -> limit-reached  call.finished
call: intended -> outcome-unknown  call.outcome-unknown
call: intended -> started  call.started
call: outcome-unknown -> failed  call.reconciled
call: outcome-unknown -> succeeded  call.reconciled
call: proposed -> cancelled  call.finished
call: proposed -> denied  call.denied
call: proposed -> intended  call.intended
call: proposed -> invalid  call.invalid
call: proposed -> limit-reached  call.finished
call: started -> cancelled  call.finished
call: started -> failed  call.finished
call: started -> host-error  call.finished
call: started -> intended  run.resumed
call: started -> limit-reached  call.finished
call: started -> outcome-unknown  call.outcome-unknown
call: started -> succeeded  call.finished
call: started -> trapped  call.finished
run: - -> queued  message.added
run: queued -> running  run.started
run: running -> cancelled  run.cancelled
run: running -> completed  run.completed
run: running -> failed  run.failed
run: running -> limit-reached  run.limit-reached
run: running -> waiting  run.waiting
run: waiting -> cancelled  run.cancelled
run: waiting -> running  run.resumed
session: - -> open  session.created
session: open -> closed  session.closed
";

/// A session is closed between two runs. From then on a command is refused, or changes nothing.
#[test]
fn a_closed_session_takes_nothing() {
    let definition = definition(RunLimits::DEFAULT);
    let never = Session::new(id());
    assert_eq!(never.decide(&definition, Command::Close), Err(Refused::NotCreated));
    let open = scripts().into_iter().filter(|world| world.session.run().is_some());
    for mut world in open {
        let run = world.session.run().unwrap().id();
        assert_eq!(world.tell(Command::Close), Err(Refused::Busy { run }));
    }
    let mut world = World::new(RunLimits::DEFAULT);
    world.tell(input("go")).unwrap();
    world.reply(answer("done"));
    let (agent, step) = (definition.name.clone(), world.session.runs()[0].steps()[0].id());
    assert_eq!(world.tell(Command::Close), Ok(vec!["session.closed"]));
    assert_eq!(world.session.closed_at().map(|at| at.0), Some(world.now));
    assert!(world.pending().is_empty() && world.session.deadline(&definition).is_none());
    for nothing in [Command::Close, Command::Recover, Command::TimeUp] {
        assert_eq!(world.tell(nothing), Ok(vec![]));
    }
    let (call, failure) = (call(1, 1, 1), Failure::invalid("no", None));
    for command in [
        Command::Create { agent, agent_digest: definition.digest },
        input("more"),
        Command::ModelReplied { step, reply: Ok(answer("more")) },
        Command::Denied { call: call.clone(), denials: vec![] },
        Command::Invalid { call: call.clone(), failure },
        Command::Started { call: call.clone() },
        finished(call.clone(), succeeded("x", 0)),
        Command::Reconcile { call, result: succeeded("x", 0) },
        Command::Cancel,
    ] {
        assert_eq!(world.tell(command.clone()), Err(Refused::Closed), "{command:?}");
    }
    // Nor does a journal have anything behind it.
    let mut again = Session::fold(id(), &world.journal).unwrap();
    assert_eq!(again, world.session);
    let last = world.journal.last().unwrap().clone();
    assert!(again.apply(&Event { seq: last.seq + 1, ..last }).is_err());
}
