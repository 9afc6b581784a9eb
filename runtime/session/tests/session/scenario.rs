//! Runs, told step by step.

use ringfence_event::{
    AgentName, ApprovalScope, Asked, CompactionRule, Denial, DenialCode, Digest,
    Effect as Declared, Limit, Message, Note, Outcome, Question, RetryRules, Timestamp, UserId,
};
use ringfence_session::{
    CallStatus, Command, Corrupt, Effect, Refused, RunLimits, RunStatus, Session, question_id,
};

use crate::world::{
    World, answer, call, calls, cancel, finished, hold, id, input, result, succeeded, unavailable,
};

const LIMITS: RunLimits = RunLimits::DEFAULT;

fn started(limits: RunLimits) -> World {
    let mut world = World::new(limits);
    world.tell(input("go")).unwrap();
    world
}

/// Permits and starts a call.
fn begin(world: &mut World, place: u32, effect: Declared, fuel: u64) {
    let call = call(1, world.step().step, place);
    let permit = world.permit(&call, effect, fuel);
    world.tell(permit).unwrap();
    world.tell(Command::Started { call }).unwrap();
}

fn status(world: &World) -> RunStatus {
    world.session.runs().last().unwrap().status()
}

fn statuses(world: &World) -> Vec<CallStatus> {
    world.session.runs().last().unwrap().calls().map(ringfence_session::Call::status).collect()
}

#[test]
fn a_run_goes_from_input_to_answer() {
    let mut world = World::new(LIMITS);
    assert_eq!(world.tell(input("go")).unwrap(), ["message.added", "run.started", "step.started"]);
    assert_eq!(
        world.reply(calls(&["a", "b"])),
        ["model.requested", "model.completed", "call.proposed", "call.proposed"]
    );
    let [Effect::Check { .. }, Effect::Check { .. }] = &world.pending()[..] else { panic!() };
    begin(&mut world, 1, Declared::Read, 10);
    let note = Note::Progress { done: 1, total: None, message: None };
    assert_eq!(world.tell(Command::Noted { call: call(1, 1, 1), note }).unwrap(), ["call.note"]);
    let denial = Denial::new(DenialCode::NotInAgent, Asked::Config { key: "x".into() }, vec![]);
    let denied = Command::Denied { call: call(1, 1, 2), denials: vec![denial] };
    assert_eq!(world.tell(denied).unwrap(), ["call.denied"]);
    assert_eq!(world.pending(), [], "a started call is pending no more");
    assert_eq!(
        world.tell(finished(call(1, 1, 1), succeeded("read", 7))).unwrap(),
        ["call.finished", "step.finished", "step.started"]
    );
    assert_eq!(
        world.reply(answer("done")),
        ["model.requested", "model.completed", "step.finished", "run.completed"]
    );
    let run = world.session.runs().last().unwrap().clone();
    assert_eq!((run.answer(), run.usage().fuel, run.tokens().total()), (Some("done"), 7, 40));
    let words: Vec<String> = world
        .session
        .messages()
        .iter()
        .map(|message| match &**message {
            Message::User { text } => format!("user {text}"),
            Message::Assistant { text, calls } => format!("assistant {text} {}", calls.len()),
            Message::Result { id, outcome, text, .. } => format!("{id} {outcome}: {text}"),
        })
        .collect();
    assert_eq!(words[..3], ["user go", "assistant  2", "a succeeded: read"]);
    assert!(words[3].starts_with("b denied: [host] refused, nothing was started\n[host] denied: "));
    assert_eq!(words[4], "assistant done 0");
    // Causes lead back to the input.
    let mut at = world.journal.last().unwrap();
    let mut kinds = vec![at.body.kind()];
    while let Some(cause) = at.cause {
        at = &world.journal[cause as usize - 1];
        kinds.push(at.body.kind());
    }
    assert_eq!(kinds[kinds.len() - 2..], ["run.started", "message.added"], "{kinds:?}");
    assert!(kinds.contains(&"call.finished") && kinds.contains(&"call.intended"), "{kinds:?}");
}

#[test]
fn what_cannot_be_now_is_refused() {
    let mut world = World::new(LIMITS);
    assert_eq!(world.tell(cancel()), Err(Refused::NoRun));
    assert_eq!(world.tell(input(" \n")), Err(Refused::EmptyInput));
    assert_eq!(world.tell(Command::Wake), Ok(vec![]));
    assert_eq!(world.tell(Command::Recover), Ok(vec![]));
    world.tell(input("go")).unwrap();
    assert!(matches!(world.tell(input("more")), Err(Refused::Busy { .. })));
    let agent: AgentName = "coder".parse().unwrap();
    let digest = world.definition.digest;
    let create = Command::Create { agent, agent_digest: digest };
    assert!(matches!(world.tell(create), Err(Refused::NotNow { .. })));
    world.reply(calls(&["a"]));
    let first = call(1, 1, 1);
    for early in [
        Command::Started { call: first.clone() },
        finished(first.clone(), succeeded("x", 0)),
        finished(call(1, 1, 2), result(Outcome::Cancelled, 0)),
        Command::ModelReplied { step: world.step(), reply: Ok(answer("late")) },
    ] {
        assert!(matches!(world.tell(early), Err(Refused::NotNow { .. })));
    }
    let Command::Permitted { call, mut intent } = world.permit(&first, Declared::Read, 1) else {
        panic!()
    };
    intent.arguments = world.definition.digest;
    let other = world.tell(Command::Permitted { call, intent });
    assert!(matches!(other, Err(Refused::OtherIntent { .. })));
    world.definition.name = "other".parse().unwrap();
    assert!(matches!(world.tell(cancel()), Err(Refused::OtherAgent { .. })));
    let fresh = Session::new(id());
    assert_eq!(fresh.decide(&world.definition, Timestamp(1), cancel()), Err(Refused::NotCreated));
}

#[test]
fn a_cancelled_run_stops_what_runs_and_ends_what_does_not() {
    let mut world = started(LIMITS);
    world.reply(calls(&["a", "b", "c"]));
    begin(&mut world, 1, Declared::Unsafe, 10);
    let permit = world.permit(&call(1, 1, 2), Declared::Read, 10);
    world.tell(permit).unwrap();
    assert_eq!(world.tell(cancel()).unwrap(), ["run.stopping", "call.finished", "call.finished"]);
    assert_eq!(world.pending(), [Effect::Stop { call: call(1, 1, 1) }]);
    assert_eq!(world.tell(cancel()).unwrap(), [""; 0]);
    assert!(world.tell(Command::Started { call: call(1, 1, 2) }).is_err());
    assert_eq!(
        world.tell(finished(call(1, 1, 1), succeeded("just in time", 1))).unwrap(),
        ["call.finished", "step.finished", "run.cancelled"]
    );
    use CallStatus::{Cancelled, Succeeded};
    assert_eq!(statuses(&world), [Succeeded, Cancelled, Cancelled]);
    assert_eq!(world.session.messages().len(), 5);
    // The next run reads what became of them.
    world.tell(input("again")).unwrap();
    world.reply(answer("done"));
    assert_eq!(status(&world), RunStatus::Completed);
}

/// A retry that is due and not begun hides no deadline behind it.
#[test]
fn what_is_due_hides_nothing_that_is_due_later() {
    let mut world = started(LIMITS);
    world.definition.retry = RetryRules::DEFAULT;
    world.reply(calls(&["a", "b"]));
    begin(&mut world, 1, Declared::Read, 10);
    begin(&mut world, 2, Declared::Read, 10);
    world.tell(finished(call(1, 1, 1), result(unavailable(), 1))).unwrap();
    let retry = world.session.wake_at(&world.definition, None).unwrap();
    world.now = retry.0 - 1;
    world.tell(Command::Wake).unwrap();
    assert_eq!(world.session.wake_at(&world.definition, None), Some(retry));
    let deadline = world.session.wake_at(&world.definition, Some(retry)).unwrap();
    assert!(deadline.0 >= 1_000 + LIMITS.time_ms, "{deadline:?}");
    world.now = deadline.0;
    let told = world.tell(Command::Wake).unwrap();
    assert_eq!(told, ["run.stopping", "call.finished"]);
}

#[test]
fn a_host_that_leaves_in_good_order_has_not_died() {
    for (leaves, ends) in [(true, RunStatus::Running), (false, RunStatus::Failed)] {
        let mut world = started(LIMITS);
        for _ in 0..4 {
            if leaves {
                assert_eq!(world.tell(Command::Leave).unwrap(), ["run.left"]);
                assert_eq!(world.tell(Command::Leave).unwrap(), [""; 0]);
            }
            world.restart();
            world.tell(Command::Recover).unwrap();
        }
        assert_eq!(status(&world), ends, "leaves: {leaves}");
    }
}

/// Each answer is recorded by a process of its own, and another one goes on: nobody died.
#[test]
fn a_run_that_is_taken_over_after_each_answer_has_met_no_death() {
    for dies in [false, true] {
        let mut world = started(LIMITS);
        world.reply(calls(&["a", "b", "c", "d", "e"]));
        for place in 1..=5 {
            let call = call(1, 1, place);
            world.tell(Command::Held { call, hold: hold("{}") }).unwrap();
        }
        for place in 1..=5 {
            if status(&world) == RunStatus::Failed {
                break;
            }
            let call = call(1, 1, place);
            let (by, scope) = (UserId::local(), ApprovalScope::Call);
            world.tell(Command::Approve { call, by, scope, reason: None, shown: None }).unwrap();
            world.restart();
            world.tell(Command::Recover).unwrap();
            begin(&mut world, place, Declared::Read, 10);
            if dies {
                world.restart();
                world.tell(Command::Recover).unwrap();
                let call = self::call(1, 1, place);
                drop(world.tell(Command::Started { call }));
            }
            drop(world.tell(finished(self::call(1, 1, place), succeeded("x", 1))));
        }
        let ends = if dies { RunStatus::Failed } else { RunStatus::Running };
        assert_eq!(status(&world), ends, "dies: {dies}");
    }
}

#[test]
fn an_answer_to_the_question_before_is_stale() {
    let mut world = started(LIMITS);
    world.reply(calls(&["a"]));
    let first = call(1, 1, 1);
    let ask = |world: &mut World| {
        begin(world, 1, Declared::Read, 10);
        let question = Question { message: "Sure?".into(), schema: serde_json::json!({}) };
        let (state, usage) = (Digest::of(b"state"), Box::default());
        let call = call(1, 1, 1);
        world.tell(Command::Asked { call, question, state, denials: vec![], usage }).unwrap();
        let run = world.session.run().unwrap();
        question_id(run.calls().next().unwrap().inquiry().unwrap())
    };
    let answer = |shown| Command::Answer {
        call: first.clone(),
        by: UserId::local(),
        value: Some(true.into()),
        shown: Some(shown),
    };
    let one = ask(&mut world);
    world.tell(answer(one)).unwrap();
    // In the same words, with the same state: another question all the same.
    let other = ask(&mut world);
    let stale = Refused::StaleAnswer { call: first.clone() };
    assert_eq!(world.tell(answer(one)), Err(stale));
    assert_eq!(world.tell(answer(other)).unwrap(), ["input.answered", "run.resumed"]);
}

/// A run of which everything is told in the summary leaves no question behind that nobody answers.
#[test]
fn a_run_that_is_told_in_short_is_told_with_its_question() {
    let mut world = started(LIMITS);
    world.definition.compaction = Some(CompactionRule { above: 0, keep: 0 });
    world.reply(answer("done"));
    world.tell(input("again")).unwrap();
    world.reply(answer("All is well."));
    let words: Vec<String> = (world.session.messages().iter())
        .map(|message| match &**message {
            Message::User { text } => text.lines().last().unwrap_or_default().to_owned(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(words, ["All is well.", "again"]);
}

#[test]
fn every_limit_ends_a_run_with_a_result_for_each_call() {
    let check = |limits: RunLimits, play: &dyn Fn(&mut World), limit: Limit, calls: usize| {
        let mut world = started(limits);
        play(&mut world);
        assert_eq!(status(&world), RunStatus::LimitReached(limit));
        assert!(statuses(&world).iter().all(|status| !status.is_open()));
        let messages = world.session.messages();
        let results = messages.iter().filter(|m| matches!(***m, Message::Result { .. })).count();
        assert_eq!(results, calls, "{limit}");
        let step_limit = world.journal.last().unwrap().body.kind();
        assert_eq!(step_limit, "run.limit-reached");
    };
    let one_call = |world: &mut World| {
        world.reply(calls(&["a"]));
        begin(world, 1, Declared::Read, 10);
        world.tell(finished(call(1, 1, 1), succeeded("x", 10))).unwrap();
    };
    check(RunLimits { steps: 1, ..LIMITS }, &one_call, Limit::Steps, 1);
    check(RunLimits { fuel: 10, ..LIMITS }, &one_call, Limit::Fuel, 1);
    let three = |world: &mut World| {
        world.reply(calls(&["a", "b", "c"]));
    };
    check(RunLimits { calls: 2, ..LIMITS }, &three, Limit::Calls, 3);
    check(RunLimits { tokens: 20, ..LIMITS }, &three, Limit::Tokens, 3);
    check(RunLimits { fuel: 0, ..LIMITS }, &three, Limit::Fuel, 3);
    let time_up = |world: &mut World| {
        world.reply(calls(&["a", "b"]));
        begin(world, 1, Declared::Read, 10);
        world.now += LIMITS.time_ms;
        world.tell(Command::Wake).unwrap();
        world.tell(finished(call(1, 1, 1), result(Outcome::Cancelled, 1))).unwrap();
    };
    check(LIMITS, &time_up, Limit::Time, 2);
}

#[test]
fn an_answer_that_spends_the_last_token_is_an_answer() {
    let mut world = started(RunLimits { tokens: 5, steps: 1, ..LIMITS });
    world.reply(answer("done"));
    assert_eq!(status(&world), RunStatus::Completed);
}

#[test]
fn fuel_is_reserved_and_given_back() {
    let mut world = started(RunLimits { fuel: 100, concurrent_calls: 2, ..LIMITS });
    world.reply(calls(&["a", "b", "c"]));
    let left = |world: &World| {
        let fuel = |effect: &Effect| match effect {
            Effect::Check { fuel_left, .. } => Some(*fuel_left),
            _ => None,
        };
        world.pending().iter().filter_map(fuel).collect::<Vec<_>>()
    };
    assert_eq!(left(&world), [100, 100]);
    begin(&mut world, 1, Declared::Read, 70);
    assert_eq!(left(&world), [30]);
    begin(&mut world, 2, Declared::Read, 70);
    let reserved = world.session.run().unwrap().calls().nth(1).unwrap().intent().unwrap().clone();
    assert_eq!(reserved.limits.fuel, 30, "cut to what is left");
    assert_eq!(left(&world), [0_u64; 0], "two run, and nothing is left");
    let permit = world.permit(&call(1, 1, 3), Declared::Read, 1);
    assert_eq!(world.tell(permit), Err(Refused::FuelReserved));
    world.tell(finished(call(1, 1, 1), succeeded("x", 20))).unwrap();
    assert_eq!(left(&world), [50]);
}

#[test]
fn after_a_crash_what_may_repeat_runs_again_and_what_may_not_waits() {
    let mut world = started(LIMITS);
    world.reply(calls(&["a", "b", "c"]));
    begin(&mut world, 1, Declared::Unsafe, 10);
    begin(&mut world, 2, Declared::Idempotent, 10);
    let first = world.session.run().unwrap().calls().nth(1).unwrap().intent().unwrap().clone();
    world.restart();
    assert_eq!(world.tell(Command::Recover).unwrap(), ["call.outcome-unknown", "run.resumed"]);
    let pending = world.pending();
    let Effect::Run { call: again, intent, .. } = &pending[0] else { panic!("{pending:?}") };
    assert_eq!((again, intent), (&call(1, 1, 2), &first));
    // The other calls are done before the run waits.
    world.tell(Command::Started { call: call(1, 1, 2) }).unwrap();
    world.tell(finished(call(1, 1, 2), succeeded("x", 1))).unwrap();
    let denied = Command::Denied { call: call(1, 1, 3), denials: vec![] };
    assert_eq!(world.tell(denied).unwrap(), ["call.denied", "run.waiting"]);
    assert_eq!((world.pending(), world.session.wake_at(&world.definition, None)), (vec![], None));
    world.now += 5_000;
    world.restart();
    assert_eq!(world.tell(Command::Recover).unwrap(), [""; 0]);
    let reconcile =
        Command::Reconcile { call: call(1, 1, 1), by: None, result: Some(succeeded("sent", 0)) };
    assert_eq!(
        world.tell(reconcile).unwrap(),
        ["call.reconciled", "run.resumed", "step.finished", "step.started"]
    );
    // The time that a person took is not the run's.
    let deadline = world.session.wake_at(&world.definition, None).unwrap();
    let started = world.session.run().unwrap().started_at().unwrap();
    assert!(deadline.0 >= started.0 + LIMITS.time_ms + 5_000);
}

#[test]
fn a_crash_while_stopping_ends_the_run() {
    let mut world = started(LIMITS);
    world.reply(calls(&["a", "b"]));
    begin(&mut world, 1, Declared::Unsafe, 10);
    begin(&mut world, 2, Declared::Read, 10);
    world.tell(cancel()).unwrap();
    world.restart();
    world.tell(Command::Recover).unwrap();
    assert_eq!(status(&world), RunStatus::Cancelled);
    assert_eq!(statuses(&world), [CallStatus::OutcomeUnknown, CallStatus::Cancelled]);
    assert_eq!(world.session.messages().len(), 4);
}

#[test]
fn a_step_that_kills_its_host_is_given_up() {
    let mut world = started(LIMITS);
    world.reply(calls(&["a"]));
    begin(&mut world, 1, Declared::Pure, 10);
    for _ in 0..3 {
        world.restart();
        world.tell(Command::Recover).unwrap();
        world.tell(Command::Started { call: call(1, 1, 1) }).unwrap();
    }
    world.restart();
    world.tell(Command::Recover).unwrap();
    assert_eq!(
        (status(&world), statuses(&world)),
        (RunStatus::Failed, vec![CallStatus::HostError])
    );
    assert_eq!(world.session.messages().len(), 3);
}

#[test]
fn ids_that_are_missing_or_twice_are_replaced() {
    let mut world = started(LIMITS);
    for ids in [["a", "a", "r1-s1-c2"], ["", "a", "b"]] {
        world.reply(calls(&ids));
        for place in 1..=3 {
            let call = call(1, world.step().step, place);
            world.tell(Command::Denied { call, denials: vec![] }).unwrap();
        }
    }
    let mut ids = vec![];
    for message in world.session.messages() {
        if let Message::Result { id, .. } = &*message {
            ids.push(id.clone());
        }
    }
    assert_eq!(ids, ["a", "r1-s1-c2", "r1-s1-c3", "r1-s2-c1", "r1-s2-c2", "b"]);
}

#[test]
fn a_request_is_the_same_in_every_process() {
    let mut world = started(LIMITS);
    world.definition.model.parameters.output_tokens = Some(1_000_000_000);
    world.reply(calls(&["a"]));
    world.tell(Command::Denied { call: call(1, 1, 1), denials: vec![] }).unwrap();
    let request = world.session.request(&world.definition);
    let most = LIMITS.tokens - 20;
    assert!(request.parameters.output_tokens.is_some_and(|tokens| tokens < most));
    let again = Session::fold(id(), &world.journal).unwrap().request(&world.definition);
    assert_eq!(again.digests(), request.digests());
}

#[test]
fn a_journal_that_cannot_be_is_corrupt() {
    let mut world = started(LIMITS);
    world.reply(calls(&["a"]));
    let check = |change: &dyn Fn(&mut Vec<ringfence_event::Event>), expected: &str| {
        let mut journal = world.journal.clone();
        change(&mut journal);
        let corrupt: Corrupt = Session::fold(id(), &journal).unwrap_err();
        assert!(corrupt.to_string().contains(expected), "{corrupt}");
    };
    check(&|journal| drop(journal.remove(2)), "event 4 stands where 3 belongs");
    check(&|journal| journal[3].format += 1, "event 4 is of format 2");
    check(&|journal| journal[3].user = "eve".parse().unwrap(), "another tenant or user");
    check(
        &|journal| journal[1].body = journal[2].body.clone(),
        "event 2 is run.started, which cannot happen: no run is under way",
    );
    check(
        &|journal| journal[6].body = journal[4].body.clone(),
        "event 7 is model.requested, which cannot happen: step r1.s1 has its reply",
    );
    let other = ringfence_event::SessionId::from_random([8; 16]);
    let corrupt = Session::fold(other, &world.journal).unwrap_err();
    assert!(matches!(corrupt, Corrupt::OtherStream { seq: 1, .. }));
}
