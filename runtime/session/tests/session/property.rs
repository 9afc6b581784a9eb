//! Whatever is said and wherever the host dies: every run ends, every proposal has exactly one
//! result, nothing `unsafe` runs twice, no more fuel is spent than there was, and any prefix of the
//! journal folds to the state that was there then.

use std::{collections::HashMap, env};

use proptest::prelude::*;
use ringfence_event::{
    ApprovalScope, Body, BudgetLevel, CallId, CompactionRule, Digest, Effect as Declared, Failure,
    Limit, Message, ModelFailureClass, ModelReply, Money, OnExpiry, Outcome, Price, ProposedCall,
    Question, RetryRule, RetryRules, RunId, Shared, Spent, StepId, Timestamp, TokenUsage, UserId,
    Wait,
};
use ringfence_session::{
    Busy, CallStatus, Command, Effect, Fallback, ModelChoice, Refused, RunLimits, RunStatus,
    Session, called_off,
};

use crate::world::{
    World, answer, calls, cancel, failure, finished, hold, id, input, result, succeeded,
    unavailable,
};

/// Enough for a push; `RINGFENCE_CASES` asks for more.
const CASES: u32 = 192;

/// No script of this length takes longer.
const TURNS_MAX: usize = 20_000;

/// Everything that is left open, one byte a choice. Spent, it is all zeros: no crash, no cancel,
/// and a model that has its answer.
struct Choices {
    bytes: Vec<u8>,
    place: usize,
}

impl Choices {
    fn below(&mut self, n: u64) -> u64 {
        let byte = self.bytes.get(self.place).copied().unwrap_or(0);
        self.place += 1;
        u64::from(byte) % n
    }
}

/// What is under way outside the session.
#[derive(Default)]
struct Outside {
    asked: Option<StepId>,
    /// With what each will have spent, and whether it was told to stop.
    running: Vec<(CallId, u64, bool)>,
}

struct Play {
    world: World,
    choices: Choices,
    outside: Outside,
    /// What was spent in this run, by calls that ended and by those that died with the host.
    fuel_spent: u64,
    run: Option<RunId>,
    /// How often each call began as an `unsafe` one.
    begun: HashMap<CallId, u32>,
    states: Vec<Session>,
}

impl Play {
    fn new(bytes: Vec<u8>) -> Self {
        let mut choices = Choices { bytes, place: 0 };
        let limits = RunLimits {
            steps: 1 + choices.below(5) as u32,
            calls: 1 + choices.below(9) as u32,
            tokens: 20 * (1 + choices.below(8)),
            fuel: 100 * choices.below(12),
            usd: [None, Some(Money::from_nanos(100 * choices.below(6)))][choices.below(2) as usize],
            time_ms: 1_000,
            concurrent_calls: choices.below(4) as u32,
        };
        let mut world = World::new(limits);
        let definition = &mut world.definition;
        let rule = |attempts| RetryRule { attempts, first_ms: 10, most_ms: 50, time_ms: 300 };
        definition.retry = RetryRules {
            model: rule(1 + choices.below(3) as u32),
            call: rule(1 + choices.below(3) as u32),
        };
        definition.model.price = Some(Price {
            input: "0.001".parse().unwrap(),
            cached_input: None,
            output: "0.001".parse().unwrap(),
        });
        if choices.below(2) == 1 {
            let name = "other".parse().unwrap();
            definition.fallback = Some(Fallback {
                model: ModelChoice { name, ..definition.model.clone() },
                on: vec![ModelFailureClass::Unavailable],
                after: 1 + choices.below(2) as u32,
            });
        }
        if choices.below(2) == 1 {
            definition.compaction =
                Some(CompactionRule { above: choices.below(30), keep: choices.below(3) as u32 });
        }
        definition.session_limits.calls =
            [None, Some(choices.below(20))][choices.below(2) as usize];
        let outside = Outside::default();
        let mut play = Self {
            world,
            choices,
            outside,
            fuel_spent: 0,
            run: None,
            begun: HashMap::new(),
            states: vec![],
        };
        play.states.push(Session::new(id()));
        play
    }

    /// Says it; sometimes the host dies with only a part of it durable. Whether it lived.
    fn tell(&mut self, command: Command) -> Result<bool, Refused> {
        let dies = self.choices.below(12) == 1;
        let keep = if dies { self.choices.below(6) as usize } else { usize::MAX };
        let spent = match &command {
            Command::Finished { result, .. } => result.usage.fuel_total(),
            _ => 0,
        };
        self.world.tell_cut(command, keep)?;
        self.fuel_spent += spent;
        if dies {
            self.die();
        }
        Ok(!dies)
    }

    fn die(&mut self) {
        for (_, fuel, _) in std::mem::take(&mut self.outside).running {
            self.fuel_spent += fuel;
        }
        self.world.now += 100;
        self.world.restart();
        // It may die again while it recovers.
        match self.tell(Command::Recover) {
            Ok(_) => {}
            Err(refused) => panic!("{refused}"),
        }
    }

    fn run_to_the_end(&mut self) {
        for _ in 0..TURNS_MAX {
            let run = self.world.session.run().map(ringfence_session::Run::id);
            if self.run != run {
                (self.run, self.fuel_spent) = (run, 0);
            }
            self.check_now();
            match self.world.session.run().map(ringfence_session::Run::status) {
                None if self.world.session.closed_at().is_some() => return,
                None if self.world.session.runs().len() >= 3 => self.close(),
                // Sometimes before its time.
                None if self.choices.below(24) == 1 => self.close(),
                None => {
                    let _ = self.tell(input("go")).unwrap();
                }
                Some(RunStatus::Waiting(_)) => self.waits(),
                Some(_) => self.turn(),
            }
        }
        panic!("no end");
    }

    fn check_now(&self) {
        let cap = self.world.definition.limits.concurrent_calls.max(1) as usize;
        assert!(self.outside.running.len() <= cap);
        assert!(self.fuel_spent <= self.world.definition.limits.fuel);
        for (call, times) in &self.begun {
            // Once, and once more each time that a person let it.
            let let_run = |body: &Body| match body {
                Body::CallReconciled { call: of, result: None, .. } => of == call,
                Body::InputAnswered { call: of, .. } => of == call,
                _ => false,
            };
            let times_let = self.world.journal.iter().filter(|event| let_run(&event.body)).count();
            let most = 1 + times_let as u32;
            assert!(*times <= most, "{call} ran {times} times");
        }
    }

    /// The host may die before it is durable: then the session is as open as it was.
    fn close(&mut self) {
        let _ = self.tell(Command::Close).unwrap();
        if self.world.session.closed_at().is_some() {
            assert!(self.world.pending().is_empty());
            assert_eq!(self.world.tell(input("go")), Err(Refused::Closed));
        }
    }

    /// Somebody answers, or time goes on.
    fn waits(&mut self) {
        assert!(self.world.pending().is_empty());
        let run = self.world.session.run().unwrap();
        let (status, at) = (run.status(), self.world.session.wake_at(&self.world.definition, None));
        let answers = run.calls().find_map(|call| {
            let call_id = call.id().clone();
            match call.status() {
                CallStatus::OutcomeUnknown => Some((call_id, Wait::Reconcile)),
                CallStatus::Waiting(wait @ (Wait::Approval | Wait::Input)) => Some((call_id, wait)),
                _ => None,
            }
        });
        let by = UserId::local();
        let choice = self.choices.below(6);
        let command = match answers {
            _ if choice == 1 => cancel(),
            Some(_) if choice == 2 && at.is_some() => {
                self.world.now = at.unwrap().0;
                Command::Wake
            }
            Some((call, Wait::Reconcile)) => Command::Reconcile {
                call,
                by: Some(by),
                result: (choice != 3).then(|| succeeded("it was done", 0)),
            },
            Some((call, Wait::Input)) => {
                Command::Answer { call, by, value: (choice != 3).then(|| true.into()), shown: None }
            }
            Some((call, _)) if choice == 3 => {
                Command::Decline { call, by, reason: None, shown: None }
            }
            Some((call, _)) => {
                let scopes = [ApprovalScope::Call, ApprovalScope::Session];
                let scope = scopes[self.choices.below(2) as usize];
                Command::Approve { call, by, scope, reason: Some("yes".into()), shown: None }
            }
            None => {
                assert_eq!(status, RunStatus::Waiting(Wait::Retry));
                self.world.now = self.world.now.max(at.unwrap().0);
                Command::Wake
            }
        };
        self.tell(command).unwrap();
    }

    /// Starts what is pending and not under way, then lets one thing happen.
    fn turn(&mut self) {
        for effect in self.world.pending() {
            let lives = match effect {
                Effect::AskModel { step, request } if self.outside.asked != Some(step) => {
                    let (request, parts) = request.digests();
                    let lives = self
                        .tell(Command::ModelRequested { step, request, parts, input: 3 })
                        .unwrap();
                    if lives {
                        self.outside.asked = Some(step);
                    }
                    lives
                }
                Effect::AskModel { .. } => true,
                Effect::Check { call, fuel_left, .. } => self.check(call, fuel_left),
                Effect::Run { call, intent, .. } => {
                    self.begin(call, intent.effect, intent.limits.fuel)
                }
                Effect::Stop { call } => {
                    let running = self.outside.running.iter_mut();
                    running.filter(|(id, ..)| *id == call).for_each(|(_, _, stop)| *stop = true);
                    true
                }
                Effect::CallOff { step } => self.call_off(step),
            };
            // The list is of a host that is no more, or the run has ended meanwhile.
            if !lives || self.world.session.run().is_none() {
                return;
            }
        }
        let run = self.world.session.run().map(ringfence_session::Run::id);
        match self.choices.below(24) {
            1 => drop(self.tell(cancel())),
            5 => {
                let busy = [Busy::Queue, Busy::Interrupt][self.choices.below(2) as usize];
                drop(self.tell(Command::Input {
                    text: "more".into(),
                    busy,
                    key: None,
                    not_after: None,
                    agent: None,
                    api_key: None,
                }));
            }
            6 => {
                let spent =
                    Spent { level: BudgetLevel::Tenant, spent: 1, asked: 0, of: 1, reopens: None };
                drop(self.tell(Command::Spent { limit: Limit::Money, spent }));
            }
            4 => {
                let refused = run.map(|run| Refused::Busy { run });
                assert_eq!(self.world.tell(Command::Close).err(), refused);
            }
            2 => {
                self.world.now += 400;
                drop(self.tell(Command::Wake));
            }
            3 => self.die(),
            7 => {
                // It stops in good order: what runs is ended with it, as far as the host can tell.
                if self.outside.running.is_empty() && self.tell(Command::Leave).unwrap() {
                    self.die();
                }
            }
            _ if self.outside.asked.is_some() => self.model_replies(),
            _ => self.call_ends(),
        }
    }

    /// The reply may have come just now.
    fn call_off(&mut self, step: StepId) -> bool {
        assert_eq!(self.outside.asked.take(), Some(step));
        let reply = match self.choices.below(4) {
            1 => Ok(answer("late")),
            2 => Ok(calls(&["a", "b"])),
            _ => Err((called_off(), TokenUsage { input: 3, output: 1, cached: 0 })),
        };
        self.tell(Command::ModelReplied { step, reply }).unwrap()
    }

    fn check(&mut self, call: CallId, fuel_left: u64) -> bool {
        assert!(fuel_left > 0);
        let command = match self.choices.below(6) {
            1 => Command::Denied { call, denials: vec![] },
            2 => Command::Invalid { call, failure: Failure::invalid("no", None) },
            3 if !self.approved(&call) => {
                let expires = Timestamp(self.world.now + 100 * self.choices.below(3));
                let mut hold = hold("{}");
                hold.expires = (self.choices.below(2) == 1).then_some(expires);
                hold.on_expiry =
                    [OnExpiry::Decline, OnExpiry::Approve][self.choices.below(2) as usize];
                Command::Held { call, hold }
            }
            _ => {
                let effects =
                    [Declared::Pure, Declared::Unsafe, Declared::Idempotent, Declared::Read];
                let effect = effects[self.choices.below(4) as usize];
                let fuel = 50 * (1 + self.choices.below(8));
                self.world.permit(&call, effect, fuel)
            }
        };
        match self.tell(command) {
            Ok(lives) => lives,
            // Its fuel or its turn went to another one of the same list.
            Err(Refused::FuelReserved | Refused::NotNow { .. }) => true,
            Err(refused) => panic!("{refused}"),
        }
    }

    fn approved(&self, id: &CallId) -> bool {
        let run = self.world.session.run().unwrap();
        run.calls().any(|call| call.id() == id && call.approval().is_some())
    }

    fn begin(&mut self, call: CallId, effect: Declared, fuel: u64) -> bool {
        match self.tell(Command::Started { call: call.clone() }) {
            Ok(true) => {}
            Ok(false) => return false,
            Err(_) => return true,
        }
        if effect == Declared::Unsafe {
            *self.begun.entry(call.clone()).or_insert(0) += 1;
        }
        let spent = fuel * self.choices.below(5) / 4;
        self.outside.running.push((call, spent, false));
        true
    }

    fn model_replies(&mut self) {
        let step = self.outside.asked.take().unwrap();
        let count = self.choices.below(5);
        let mut reply = if count == 0 { answer("done") } else { calls(&[]) };
        for _ in 0..count {
            let ids = ["", "a", "b", "r1-s1-c1"];
            reply.calls.push(ProposedCall {
                id: ids[self.choices.below(4) as usize].into(),
                function: "files_read".into(),
                arguments: "{".into(),
            });
        }
        use ModelFailureClass::{Refused, Unavailable};
        let reply = match self.choices.below(12) {
            1 => Err((failure(Unavailable), TokenUsage { input: 3, output: 0, cached: 0 })),
            2 => Err((failure(Refused), TokenUsage::default())),
            3 => Ok(ModelReply::default()),
            _ => Ok(reply),
        };
        // Refused when the run was ended meanwhile.
        drop(self.tell(Command::ModelReplied { step, reply }));
    }

    fn call_ends(&mut self) {
        if self.outside.running.is_empty() {
            return;
        }
        let place = self.choices.below(self.outside.running.len() as u64) as usize;
        let (call, fuel, stopped) = self.outside.running.remove(place);
        let outcome = match self.choices.below(7) {
            _ if stopped => Outcome::Cancelled,
            3 => {
                let question = Question { message: "Which?".into(), schema: serde_json::json!({}) };
                let usage = Box::new(result(Outcome::Cancelled, fuel).usage);
                let state = Digest::of(b"state");
                self.fuel_spent += fuel;
                self.tell(Command::Asked { call, question, state, denials: vec![], usage })
                    .unwrap();
                return;
            }
            4 => unavailable(),
            1 => Outcome::Trapped { message: "unreachable".into() },
            2 => Outcome::LimitReached { limit: Limit::Fuel },
            _ => succeeded("ok", 0).outcome,
        };
        self.tell(finished(call, result(outcome, fuel))).unwrap();
    }
}

/// Behind each message that proposes, a result for each proposal, in order, under its id.
fn check_messages(messages: &[Shared<Message>]) {
    let mut owed: Vec<&str> = vec![];
    let mut seen = std::collections::HashSet::new();
    for message in messages {
        match &**message {
            Message::Result { id, .. } => assert_eq!(owed.remove(0), id),
            Message::User { .. } => assert!(owed.is_empty()),
            Message::Assistant { calls, .. } => {
                assert!(owed.is_empty());
                owed = calls.iter().map(|call| call.id.as_str()).collect();
                assert!(owed.iter().all(|id| !id.is_empty() && seen.insert(*id)), "{owed:?}");
            }
        }
    }
    assert!(owed.is_empty());
}

fn check(bytes: Vec<u8>) -> World {
    let mut play = Play::new(bytes);
    play.run_to_the_end();
    let World { session, journal, .. } = &play.world;
    check_messages(&session.messages());
    let proposed: usize = session
        .runs()
        .iter()
        .flat_map(|run| run.steps())
        .filter_map(|step| step.reply())
        .map(|reply| reply.calls.len())
        .sum();
    let results =
        session.messages().iter().filter(|m| matches!(***m, Message::Result { .. })).count();
    // Those of the part that is told in short are not in the conversation any more.
    if session.compaction().is_none() {
        assert_eq!(results, proposed);
    }
    // Incremental application and the fold of every prefix.
    let mut incremental = Session::new(id());
    for (place, event) in journal.iter().enumerate() {
        assert_eq!(Session::fold(id(), &journal[..place]).unwrap(), incremental);
        incremental.apply(event).unwrap();
        check_messages(&incremental.messages());
    }
    assert_eq!(*session, incremental);
    play.world
}

/// The scripts are of use only if they come to everything that can happen.
#[test]
fn scripts_reach_every_event() {
    let mut kinds = std::collections::BTreeSet::new();
    // A linear congruence: the same scripts each time.
    let mut state = 1_u64;
    for _ in 0..400 {
        let byte = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        let world = check((0..300).map(byte).collect());
        kinds.extend(world.journal.iter().map(|event| event.body.kind()));
    }
    let expected = "budget.warned call.approved call.declined call.denied call.finished call.hold \
        call.intended call.invalid call.outcome-unknown call.proposed call.reconciled \
        call.retry-scheduled call.started conversation.compacted input.answered input.asked \
        message.added model.completed model.failed model.requested run.cancelled run.completed \
        run.failed run.left run.limit-reached run.resumed run.retry-scheduled run.started run.stopping \
        run.waiting session.closed session.created step.finished step.started";
    assert_eq!(kinds.into_iter().collect::<Vec<_>>().join(" "), expected);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: env::var("RINGFENCE_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(CASES),
        // Files of failures are not kept: a failing script is written down as a scenario.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_run_ends_well(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        drop(check(bytes));
    }

    #[test]
    fn a_journal_in_disorder_is_corrupt_or_gone_on_with(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        edits in proptest::collection::vec((any::<u16>(), any::<u16>(), any::<bool>()), 1..6),
    ) {
        let mut world = check(bytes);
        for (one, other, swap) in edits {
            let count = world.journal.len();
            let (one, other) = (usize::from(one) % count, usize::from(other) % count);
            let (a, b) = (world.journal[one].body.clone(), world.journal[other].body.clone());
            world.journal[one].body = b;
            if swap {
                world.journal[other].body = a;
            }
        }
        if let Ok(session) = Session::fold(id(), &world.journal) {
            // Nothing of this may panic or run on for ever.
            drop(session.pending(&world.definition, Timestamp(world.now)));
            drop(session.messages());
            drop(session.decide(&world.definition, Timestamp(world.now), Command::Recover));
            drop(session.decide(&world.definition, Timestamp(world.now), cancel()));
            drop(session.decide(&world.definition, Timestamp(world.now), Command::Close));
        }
    }
}
