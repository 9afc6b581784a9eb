//! Whatever is said and wherever the host dies: every run ends, every proposal has exactly one
//! result, nothing `unsafe` runs twice, no more fuel is spent than there was, and any prefix of the
//! journal folds to the state that was there then.

use std::{collections::HashMap, env};

use proptest::prelude::*;
use ringfence_event::{
    CallId, Effect as Declared, Failure, Limit, Message, Outcome, ProposedCall, StepId,
};
use ringfence_session::{CallStatus, Command, Effect, Refused, RunLimits, RunStatus, Session};

use crate::world::{World, answer, calls, finished, id, input, result, succeeded};

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
    /// What was spent, by calls that ended and by those that died with the host.
    fuel_spent: u64,
    begun: HashMap<CallId, (Declared, u32)>,
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
            time_ms: 1_000,
            concurrent_calls: choices.below(4) as u32,
        };
        let world = World::new(limits);
        let outside = Outside::default();
        let mut play =
            Self { world, choices, outside, fuel_spent: 0, begun: HashMap::new(), states: vec![] };
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
            self.check_now();
            match self.world.session.run().map(ringfence_session::Run::status) {
                None if self.world.session.closed_at().is_some() => return,
                None if self.world.session.runs().len() >= 3 => self.close(),
                // Sometimes before its time.
                None if self.choices.below(24) == 1 => self.close(),
                None => {
                    self.fuel_spent = 0;
                    let _ = self.tell(input("go")).unwrap();
                }
                Some(RunStatus::Waiting) => self.reconcile(),
                Some(_) => self.turn(),
            }
        }
        panic!("no end");
    }

    fn check_now(&self) {
        let cap = self.world.definition.limits.concurrent_calls.max(1) as usize;
        assert!(self.outside.running.len() <= cap);
        assert!(self.fuel_spent <= self.world.definition.limits.fuel);
        for (call, (effect, times)) in &self.begun {
            assert!(*effect != Declared::Unsafe || *times == 1, "{call} ran {times} times");
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

    fn reconcile(&mut self) {
        let run = self.world.session.run().unwrap();
        let unknown = run.calls().find(|call| call.status() == CallStatus::OutcomeUnknown);
        let call = unknown.unwrap().id().clone();
        let command = if self.choices.below(3) == 1 {
            Command::Cancel
        } else {
            Command::Reconcile { call, result: succeeded("it was done", 0) }
        };
        self.tell(command).unwrap();
    }

    /// Starts what is pending and not under way, then lets one thing happen.
    fn turn(&mut self) {
        for effect in self.world.pending() {
            let lives = match effect {
                Effect::AskModel { step, request } if self.outside.asked != Some(step) => {
                    let (request, parts) = (request.digest(), request.parts());
                    let lives =
                        self.tell(Command::ModelRequested { step, request, parts }).unwrap();
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
            };
            // The list is of a host that is no more, or the run has ended meanwhile.
            if !lives || self.world.session.run().is_none() {
                return;
            }
        }
        let run = self.world.session.run().map(ringfence_session::Run::id);
        match self.choices.below(24) {
            1 => drop(self.tell(Command::Cancel)),
            4 => {
                let refused = run.map(|run| Refused::Busy { run });
                assert_eq!(self.world.tell(Command::Close).err(), refused);
            }
            2 => drop(self.tell(Command::TimeUp)),
            3 => self.die(),
            _ if self.outside.asked.is_some() => self.model_replies(),
            _ => self.call_ends(),
        }
    }

    fn check(&mut self, call: CallId, fuel_left: u64) -> bool {
        assert!(fuel_left > 0);
        let command = match self.choices.below(6) {
            1 => Command::Denied { call, denials: vec![] },
            2 => Command::Invalid { call, failure: Failure::invalid("no", None) },
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

    fn begin(&mut self, call: CallId, effect: Declared, fuel: u64) -> bool {
        match self.tell(Command::Started { call: call.clone() }) {
            Ok(true) => {}
            Ok(false) => return false,
            Err(_) => return true,
        }
        self.begun.entry(call.clone()).or_insert((effect, 0)).1 += 1;
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
        let reply = if self.choices.below(16) == 1 { Err("no reply".into()) } else { Ok(reply) };
        // Refused when the run was ended meanwhile.
        drop(self.tell(Command::ModelReplied { step, reply }));
    }

    fn call_ends(&mut self) {
        if self.outside.running.is_empty() {
            return;
        }
        let place = self.choices.below(self.outside.running.len() as u64) as usize;
        let (call, fuel, stopped) = self.outside.running.remove(place);
        let outcome = match self.choices.below(5) {
            _ if stopped => Outcome::Cancelled,
            1 => Outcome::Trapped { message: "unreachable".into() },
            2 => Outcome::LimitReached { limit: Limit::Fuel },
            _ => succeeded("ok", 0).outcome,
        };
        self.tell(finished(call, result(outcome, fuel))).unwrap();
    }
}

/// Behind each message that proposes, a result for each proposal, in order, under its id.
fn check_messages(messages: &[Message]) {
    let mut owed: Vec<&str> = vec![];
    let mut seen = std::collections::HashSet::new();
    for message in messages {
        match message {
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
    let results = session.messages().iter().filter(|m| matches!(m, Message::Result { .. })).count();
    assert_eq!(results, proposed);
    // Incremental application and the fold of every prefix.
    let mut incremental = Session::new(id());
    for (place, event) in journal.iter().enumerate() {
        assert_eq!(Session::fold(id(), &journal[..place]).unwrap(), incremental);
        incremental.apply(event).unwrap();
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
    for _ in 0..150 {
        let byte = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        let world = check((0..300).map(byte).collect());
        kinds.extend(world.journal.iter().map(|event| event.body.kind()));
    }
    let expected = "call.denied call.finished call.intended call.invalid call.outcome-unknown \
        call.proposed call.reconciled call.started message.added model.completed model.failed \
        model.requested run.cancelled run.completed run.failed run.limit-reached run.resumed \
        run.started run.stopping run.waiting session.closed session.created step.finished step.started";
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
            drop(session.pending(&world.definition));
            drop(session.messages());
            drop(session.decide(&world.definition, Command::Recover));
            drop(session.decide(&world.definition, Command::Cancel));
            drop(session.decide(&world.definition, Command::Close));
        }
    }
}
