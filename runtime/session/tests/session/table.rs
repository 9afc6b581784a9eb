//! The lifecycle as it is: which event makes which change of state, and what every command leads to in
//! every situation. Both are written down in `LIFECYCLE.md`, from what the machine does;
//! `RINGFENCE_WRITE=1` writes it anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
};

use ringfence_event::{
    ApprovalScope, BudgetLevel, Digest, Effect as Declared, Event, Failure, Limit,
    ModelFailureClass, Note, Outcome, Question, RetryRules, RunId, Spent, Timestamp, UserId, Wait,
};
use ringfence_session::{Busy, CallStatus, Command, Refused, RunLimits, RunStatus, Session};

use crate::world::{
    World, answer, call, calls, cancel, definition, failure, finished, hold, id, input, result,
    succeeded, unavailable,
};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/LIFECYCLE.md");

/// Places in the life of a session at which a command can come, each with how it is reached.
fn situations() -> Vec<(&'static str, World)> {
    let first = || call(1, 1, 1);
    let fresh = || {
        let mut world = World::new(RunLimits::DEFAULT);
        world.definition.retry = RetryRules::DEFAULT;
        world
    };
    let told = |mut world: World, commands: Vec<Command>| {
        for command in commands {
            world.tell(command).unwrap();
        }
        world
    };
    let asking = || told(fresh(), vec![input("go")]);
    let asked = || {
        let mut world = asking();
        world.ask();
        world
    };
    let proposed = || {
        let mut world = asking();
        world.reply(calls(&["a"]));
        world
    };
    let intended = |effect| {
        let world = proposed();
        let permit = world.permit(&first(), effect, 10);
        told(world, vec![permit])
    };
    let started = |effect| told(intended(effect), vec![Command::Started { call: first() }]);
    let failed = |class| {
        let world = asked();
        let reply = Err((failure(class), Default::default()));
        let step = world.step();
        told(world, vec![Command::ModelReplied { step, reply }])
    };
    let ask = || Command::Asked {
        call: first(),
        question: Question { message: "Which?".into(), schema: serde_json::json!({}) },
        state: Digest::of(b"state"),
        denials: vec![],
        usage: Box::default(),
    };
    let held = Command::Held { call: first(), hold: hold("{}") };
    let queue = Command::Input {
        text: "more".into(),
        busy: Busy::Queue,
        key: None,
        not_after: None,
        agent: None,
        api_key: None,
    };
    let mut completed = asking();
    completed.reply(answer("done"));
    vec![
        ("no run is under way", fresh()),
        ("the run is completed", completed),
        ("the session is closed", told(fresh(), vec![Command::Close])),
        ("the model is to be asked", asking()),
        ("the model is asked", asked()),
        ("the model is asked, and another input waits for its turn", told(asked(), vec![queue])),
        (
            "the run is waiting{retry}: the model is asked again later",
            failed(ModelFailureClass::RateLimited),
        ),
        ("the run is failed", failed(ModelFailureClass::Refused)),
        ("the call is proposed", proposed()),
        ("the call is waiting{approval}", told(proposed(), vec![held])),
        ("the call is intended", intended(Declared::Read)),
        ("the call is started, its effect is read", started(Declared::Read)),
        ("the call is started, its effect is unsafe", started(Declared::Unsafe)),
        ("the call is waiting{input}", told(started(Declared::Unsafe), vec![ask()])),
        (
            "the call is waiting{retry}",
            told(started(Declared::Read), vec![finished(first(), result(unavailable(), 1))]),
        ),
        ("the call is outcome-unknown", told(started(Declared::Unsafe), vec![Command::Recover])),
        ("the run is stopping, and the model is asked", told(asked(), vec![cancel()])),
        (
            "the run is stopping, and its call is started",
            told(started(Declared::Read), vec![cancel()]),
        ),
    ]
}

/// Every command, as whoever says it would word it in this situation.
fn commands(world: &World) -> Vec<Command> {
    let agent = world.definition.name.clone();
    let first = call(1, 1, 1);
    let step = ringfence_event::StepId { run: RunId(1), step: 1 };
    let request = world.session.request(&world.definition);
    let (request, parts) = request.digests();
    let known = world.session.run().is_some_and(|run| run.calls().next().is_some());
    let permitted = match known {
        true => world.permit(&first, Declared::Read, 10),
        false => {
            // Nobody has proposed it.
            let mut other = World::new(RunLimits::DEFAULT);
            other.tell(input("go")).unwrap();
            other.reply(calls(&["a"]));
            other.permit(&first, Declared::Read, 10)
        }
    };
    let (by, text) = (UserId::local(), || "more".to_owned());
    let say = |busy| Command::Input {
        text: text(),
        busy,
        key: None,
        not_after: None,
        agent: None,
        api_key: None,
    };
    let spent = Spent { level: BudgetLevel::Tenant, spent: 9, asked: 0, of: 10, reopens: None };
    let reconcile = |result| Command::Reconcile { call: first.clone(), by: None, result };
    let all = vec![
        Command::Create { agent, agent_digest: world.definition.digest },
        say(Busy::Reject),
        say(Busy::Queue),
        say(Busy::Interrupt),
        cancel(),
        Command::Close,
        Command::Wake,
        Command::Leave,
        Command::Recover,
        Command::Spent { limit: Limit::Money, spent },
        Command::Warned { limit: Limit::Money, spent },
        Command::ModelRequested { step, request, parts, input: 3 },
        Command::ModelReplied { step, reply: Ok(answer("done")) },
        Command::ModelReplied {
            step,
            reply: Err((failure(ModelFailureClass::Refused), Default::default())),
        },
        permitted,
        Command::Held { call: first.clone(), hold: hold("{}") },
        Command::Denied { call: first.clone(), denials: vec![] },
        Command::Invalid { call: first.clone(), failure: Failure::invalid("no", None) },
        Command::Started { call: first.clone() },
        Command::Noted {
            call: first.clone(),
            note: Note::Progress { done: 1, total: None, message: None },
        },
        Command::Asked {
            call: first.clone(),
            question: Question { message: "Which?".into(), schema: serde_json::json!({}) },
            state: Digest::of(b"state"),
            denials: vec![],
            usage: Box::default(),
        },
        finished(first.clone(), succeeded("x", 1)),
        Command::Approve {
            call: first.clone(),
            by: by.clone(),
            scope: ApprovalScope::Call,
            reason: None,
            shown: None,
        },
        Command::Decline { call: first.clone(), by: by.clone(), reason: None, shown: None },
        Command::Answer { call: first.clone(), by, value: None, shown: None },
        reconcile(Some(succeeded("x", 0))),
        reconcile(None),
    ];
    let words: BTreeSet<&str> = all.iter().map(Command::as_str).collect();
    assert_eq!(words.len(), all.len(), "each once");
    all
}

/// What a command leads to: events, nothing, or a refusal.
fn told(world: &mut World, command: Command) -> String {
    match world.tell(command) {
        Ok(kinds) if kinds.is_empty() => "nothing".to_owned(),
        Ok(kinds) => kinds.iter().map(|kind| format!("`{kind}`")).collect::<Vec<_>>().join(" "),
        Err(refused) => format!("refused: {}", refused.code()),
    }
}

type Changes = BTreeMap<String, BTreeSet<&'static str>>;

/// Folds a journal and notes each change of a state with the event that made it.
fn derive(changes: &mut Changes, world: &World) {
    let states = |session: &Session| {
        let mut states = BTreeMap::new();
        if session.agent().is_some() {
            let status = session.closed_at().map_or("open", |_| "closed");
            states.insert("session".to_owned(), status.to_owned());
        }
        for run in session.runs() {
            let status = match run.status() {
                RunStatus::LimitReached(_) => "limit-reached".to_owned(),
                status => status.to_string(),
            };
            states.insert(format!("run {}", run.id()), status);
            for call in run.calls() {
                let status = match call.status() {
                    CallStatus::LimitReached(_) => "limit-reached".to_owned(),
                    status => status.to_string(),
                };
                states.insert(format!("call {}", call.id()), status);
            }
        }
        states
    };
    let mut session = Session::new(id());
    for event in &world.journal {
        let before = states(&session);
        session.apply(event).unwrap();
        for (what, now) in states(&session) {
            let was = before.get(&what).map_or("–", String::as_str);
            if was != now {
                let kind = what.split(' ').next().unwrap();
                let change = format!("| {kind} | {was} | {now} |");
                changes.entry(change).or_default().insert(event.body.kind());
            }
        }
    }
}

/// All that is reached by any two commands in a situation, later ones included: every end of a call.
fn explore(changes: &mut Changes) {
    let outcomes = [
        succeeded("x", 0).outcome,
        Outcome::Failed { failure: Failure::invalid("no", None) },
        unavailable(),
        Outcome::Trapped { message: "x".into() },
        Outcome::HostError { message: "x".into() },
        Outcome::Cancelled,
        Outcome::LimitReached { limit: Limit::Memory },
    ];
    let ends =
        || outcomes.iter().map(|outcome| finished(call(1, 1, 1), result(outcome.clone(), 1)));
    let failed = || Command::Reconcile {
        call: call(1, 1, 1),
        by: None,
        result: Some(result(outcomes[1].clone(), 0)),
    };
    let late = |world: &World| {
        let mut world = world.clone();
        world.now += RunLimits::DEFAULT.time_ms;
        world
    };
    for (_, world) in situations() {
        for world in [late(&world), world] {
            for command in commands(&world).into_iter().chain(ends()).chain([failed()]) {
                let mut world = world.clone();
                let _ = world.tell(command);
                derive(changes, &world);
                for next in commands(&world).into_iter().chain(ends()) {
                    let mut world = world.clone();
                    let _ = world.tell(next);
                    derive(changes, &world);
                }
            }
        }
    }
}

/// The document.
fn written(changes: &Changes) -> String {
    let mut text = String::from(
        "# Lifecycle\n\nWritten by a test of the session machine, from what the machine does. Every \
         change of a state has exactly one event; every command is decided in every \
         situation.\n\n## Changes of state\n\n| of a | from | to | by the event |\n| --- | --- | --- \
         | --- |\n",
    );
    for (change, kinds) in changes {
        let kinds: Vec<String> = kinds.iter().map(|kind| format!("`{kind}`")).collect();
        text += &format!("{change} {} |\n", kinds.join(" "));
    }
    text += "\n## What a command leads to\n\nIn each situation: the events that are recorded for \
             it, all in one commit; nothing; or why it is refused, and then nothing is changed. \
             People say the first six and those behind `finished`, the driver the others.\n";
    for (name, world) in situations() {
        text += &format!("\n### When {name}\n\n| command | leads to |\n| --- | --- |\n");
        for command in commands(&world) {
            let word = command.as_str();
            text += &format!("| {word} | {} |\n", told(&mut world.clone(), command));
        }
    }
    text
}

#[test]
fn the_lifecycle_is_what_is_written_down() {
    let mut changes = Changes::new();
    explore(&mut changes);
    for (change, kinds) in &changes {
        assert_eq!(kinds.len(), 1, "{change} {kinds:?}");
    }
    // Every word of the enumerations is reached.
    let all = [
        CallStatus::Proposed,
        CallStatus::Invalid,
        CallStatus::Denied,
        CallStatus::Waiting(Wait::Approval),
        CallStatus::Waiting(Wait::Input),
        CallStatus::Waiting(Wait::Retry),
        CallStatus::Declined,
        CallStatus::Intended,
        CallStatus::Started,
        CallStatus::Succeeded,
        CallStatus::Failed,
        CallStatus::Cancelled,
        CallStatus::Trapped,
        CallStatus::HostError,
        CallStatus::OutcomeUnknown,
    ];
    for status in all.map(|status| status.to_string()).into_iter().chain(["limit-reached".into()]) {
        let end = format!("| {status} |");
        assert!(changes.keys().any(|to| to.starts_with("| call") && to.ends_with(&end)), "{end}");
    }
    let text = written(&changes);
    if env::var_os("RINGFENCE_WRITE").is_some() {
        fs::write(FILE, &text).unwrap();
    }
    let found = fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        found == text,
        "LIFECYCLE.md is not what the machine does: RINGFENCE_WRITE=1 writes it"
    );
}

/// A session is closed between two runs. From then on a command is refused, or changes nothing.
#[test]
fn a_closed_session_takes_nothing() {
    let definition = definition(RunLimits::DEFAULT);
    let never = Session::new(id());
    let at = Timestamp(1);
    assert_eq!(never.decide(&definition, at, Command::Close), Err(Refused::NotCreated));
    let open = situations().into_iter().filter(|(_, world)| world.session.run().is_some());
    for (_, mut world) in open {
        let run = world.session.run().unwrap().id();
        assert_eq!(world.tell(Command::Close), Err(Refused::Busy { run }));
    }
    let mut world = World::new(RunLimits::DEFAULT);
    world.tell(input("go")).unwrap();
    world.reply(answer("done"));
    assert_eq!(world.tell(Command::Close), Ok(vec!["session.closed"]));
    assert_eq!(world.session.closed_at().map(|at| at.0), Some(world.now));
    assert!(world.pending().is_empty() && world.session.wake_at(&definition, None).is_none());
    for command in commands(&world) {
        match world.tell(command) {
            Ok(kinds) => assert!(kinds.is_empty(), "{kinds:?}"),
            Err(refused) => assert_eq!(refused, Refused::Closed),
        }
    }
    // Nor does a journal have anything behind it.
    let mut again = Session::fold(id(), &world.journal).unwrap();
    assert_eq!(again, world.session);
    let last = world.journal.last().unwrap().clone();
    assert!(again.apply(&Event { seq: last.seq + 1, ..last }).is_err());
}
