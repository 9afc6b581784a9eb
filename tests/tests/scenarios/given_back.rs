//! What calls hold (places in the pool, memory, open files, tasks, parts of a budget) is there again when
//! they are over, whoever or whatever ended them. nextest gives the test a process of its own, so that it
//! can count.

use std::{
    fs, io,
    sync::{Arc, mpsc},
};

use ringfence::{
    Agent, Caller, Cancel, Clock, DirectCall, Input, RunStatus, Runtime, Session, ToolRef,
    event::{Limit, Outcome, TenantId},
    policy::Window,
};
use ringfence_capability::Random;
use ringfence_store::Store;
use ringfence_tests::{Started, guest, web::Web};
use serde_json::json;
use tokio::task::{JoinHandle, spawn_blocking, yield_now};

use crate::world::World;

/// So many calls run at one time, and the memory of just so many fits.
const CALLS: usize = 8;

/// What a session's call does when it is ended.
const HOWS: [&str; 6] = ["spin", "grow", "host-calls", "files", "poll-nothing", "fetch"];

/// What ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Command,
    Revoke,
    /// The call's own time.
    CallTime,
    /// The time of its run.
    RunTime,
    /// The fuel that its tenant has.
    Budget,
}

/// One session, of a tenant of its own.
struct Plan {
    caller: Caller,
    how: &'static str,
    end: End,
    /// How long it runs before it is ended: milliseconds of a deadline, millions of units of fuel, or
    /// how often others get their turn after its first word.
    point: u64,
}

fn plans() -> Vec<Plan> {
    let mut random = Random::new(20_261_125, "when to end");
    let ends = [End::Command, End::Revoke, End::CallTime, End::RunTime, End::Budget];
    let mut plans = vec![];
    for how in HOWS {
        for end in ends {
            let computes = !["poll-nothing", "fetch"].contains(&how);
            if end != End::Budget || computes {
                let tenant = format!("t{}", plans.len()).parse().expect("a name");
                let caller = Caller { tenant, ..Caller::local() };
                plans.push(Plan { caller, how, end, point: 1 + random.next_u64() % 200 });
            }
        }
    }
    plans
}

/// The operator's folder: the probe, given the same to each tenant and to one that is never ended.
async fn world(plans: &[Plan], origin: &str) -> World {
    let world = World::new();
    let arguments =
        |how: &str| json!({ "how": how, "count": 32, "url": format!("{origin}/silent") });
    let turn = |how: &&str| {
        format!(
            "[[turn]]\nwhen = {{ contains = \"{how}.\", step = 1 }}\nreply = {{ calls = [{{ function = \
             \"probe_hold\", arguments = '{}' }}] }}\n",
            arguments(how)
        )
    };
    let turns: String = HOWS.iter().map(turn).collect();
    world.script(&format!("{turns}[[turn]]\nreply = {{ text = \"Done.\" }}\n"));
    world.write(
        "probe/tool.toml",
        &format!(
            "tool = {{ name = \"probe\", component = \"probe.wasm\" }}\n\
             needs.fs.workspace = {{ access = \"read\" }}\n\
             [needs.http.\"{origin}\"]\nmethods = [\"GET\"]\n\
             [limits]\nfuel = \"1000000G\"\ntime = \"1000s\"\nmemory = \"64MiB\"\n"
        ),
    );
    fs::write(world.path("probe/probe.wasm"), guest("probe")).expect("a component");
    world.runtime().accept(&Caller::local(), &world.path("probe")).await.expect("a tool");
    let mut grants =
        format!("[host]\nconcurrent-calls = {CALLS}\nmemory = \"{}MiB\"\n", CALLS * 64);
    let table = |tenant: &TenantId, fuel: &str, time: &str| {
        world.write(&format!("of/{tenant}/a.txt"), "hello");
        format!(
            "[tenant.{tenant}.budget]\nfuel = \"{fuel} per month\"\n[tenant.{tenant}.tool.probe]\n\
             fs.workspace = {{ path = \"of/{tenant}\" }}\nhttp = [\"{origin}\"]\n\
             limits.fuel = \"100000G\"\nlimits.time = \"{time}\"\n"
        )
    };
    // One of several tenants gets no more than three quarters if nobody says otherwise.
    grants += &format!("[tenant.local]\nconcurrent-calls = {CALLS}\n");
    grants += &table(&Caller::local().tenant, "1000000G", "1000s");
    for Plan { caller, end, point, .. } in plans {
        let fuel = if *end == End::Budget { format!("{point}M") } else { "1000000G".into() };
        let time = if *end == End::CallTime { format!("{point}ms") } else { "1000s".into() };
        grants += &table(&caller.tenant, &fuel, &time);
    }
    world.grants(&grants);
    world
}

impl Plan {
    fn agent(&self, world: &World) -> Agent {
        let limits = match self.end {
            End::RunTime => format!("time = \"{}ms\"", self.point),
            _ => "time = \"1000s\"".to_owned(),
        };
        let limits = format!("{limits}\nfuel = \"1000000G\"\n[retry.call]\nattempts = 1");
        world.agent("probe = \"*\"", &limits)
    }

    /// Runs until it is ended as planned.
    async fn run(self, runtime: Runtime, agent: Agent) -> (Self, Session) {
        let (cancel, mut enders) = (Cancel::new(), vec![]);
        let input = Input::new(format!("{}.", self.how));
        let ended = runtime
            .run(&self.caller, &agent, input, &cancel, &mut |event| {
                if event.body.kind() == "call.note" && enders.is_empty() {
                    let (runtime, cancel) = (runtime.clone(), cancel.clone());
                    let (tenant, end, turns) = (self.caller.tenant.clone(), self.end, self.point);
                    enders.push(tokio::spawn(async move {
                        // A turn of those that compute takes as long as a tick of the engine.
                        for _ in 0..turns % 8 {
                            yield_now().await;
                        }
                        match end {
                            End::Command => cancel.cancel(),
                            End::Revoke => {
                                let tool = "probe".parse().expect("a name");
                                assert_eq!(runtime.revoke(&tenant, &tool), 1);
                            }
                            End::CallTime | End::RunTime | End::Budget => {}
                        }
                    }));
                }
            })
            .await
            .expect("a run");
        for ender in enders {
            ender.await.expect("nothing went wrong");
        }
        let session = runtime.session(&self.caller, &ended.session).expect("a session");
        (self, session)
    }

    /// Whether it ended as such a thing ends, and what it used is known.
    fn check(&self, session: &Session) {
        let Self { how, end, point, .. } = self;
        let calls: Vec<_> = session.runs()[0].calls().collect();
        let [call] = &calls[..] else {
            // A run's time may be up before its call is even proposed.
            assert!(*end == End::RunTime && calls.is_empty(), "{how} {end:?}: {calls:?}");
            return;
        };
        let result = call.result().expect("a result");
        let (outcome, status) = match end {
            End::Command => (Outcome::Cancelled, RunStatus::Cancelled),
            End::Revoke => (Outcome::Cancelled, RunStatus::Completed),
            End::CallTime => (Outcome::LimitReached { limit: Limit::Time }, RunStatus::Completed),
            End::RunTime => {
                (Outcome::LimitReached { limit: Limit::Time }, RunStatus::LimitReached(Limit::Time))
            }
            End::Budget => (Outcome::LimitReached { limit: Limit::Fuel }, RunStatus::Completed),
        };
        let case = format!("{how} {end:?} {point}: {result:?}");
        assert_eq!(result.outcome, outcome, "{case}");
        assert_eq!(session.runs()[0].status(), status, "{case}");
        assert_eq!(result.denials.len(), usize::from(*end == End::Revoke), "{case}");
        // Whoever only waited for its turn used nothing but time.
        let waited = matches!(end, End::CallTime | End::RunTime);
        assert!(result.usage.fuel > 0 || waited, "{case}");
        assert!(result.usage.wall_us > 0 || *end == End::RunTime, "{case}");
    }
}

/// What the process holds: open files, and tasks.
fn held() -> (usize, usize) {
    let files = fs::read_dir("/proc/self/fd").expect("a folder").count();
    (files, tokio::runtime::Handle::current().metrics().num_alive_tasks())
}

/// Waits until the process holds no more than it did: what is closed beside the calls takes its turns.
async fn holds_again(before: (usize, usize)) {
    for _ in 0..100_000 {
        let (files, tasks) = held();
        if files <= before.0 && tasks <= before.1 {
            return;
        }
        yield_now().await;
    }
    panic!("{before:?} before, {:?} now", held());
}

/// As many calls as may run at one time.
struct Full {
    cancel: Cancel,
    calls: Vec<JoinHandle<Outcome>>,
}

impl Full {
    /// Comes back when each of them has said its first word: every place is free, and all memory.
    async fn of(runtime: &Runtime, origin: &str) -> Self {
        let (say, said) = mpsc::channel();
        let cancel = Cancel::new();
        let call = |at: usize| {
            let how = if at.is_multiple_of(2) { "fetch" } else { "files" };
            let sink = Started::new(say.clone());
            tokio::spawn(hold(runtime.clone(), cancel.clone(), how, origin.to_owned(), sink))
        };
        let calls = (0..CALLS).map(call).collect();
        let all = move || (0..CALLS).for_each(|_| said.recv().expect("a word"));
        spawn_blocking(all).await.expect("all of them run");
        Self { cancel, calls }
    }

    async fn release(self) {
        self.cancel.cancel();
        for call in self.calls {
            assert_eq!(call.await.expect("a task"), Outcome::Cancelled);
        }
    }
}

/// A direct call of the tenant that nobody ends.
async fn hold(
    runtime: Runtime,
    cancel: Cancel,
    how: &'static str,
    origin: String,
    sink: Arc<Started>,
) -> Outcome {
    let tool = ToolRef::Accepted("probe".parse().expect("a name"));
    let arguments = json!({ "how": how, "url": format!("{origin}/silent") }).to_string();
    let function = Some("hold".parse().expect("a name"));
    let call = DirectCall { tool, function, arguments, key: None, trace: None };
    let ended = runtime.call(&Caller::local(), call, &cancel, sink).await;
    ended.expect("a call").outcome
}

/// A server that keeps silent until whoever asked goes away, and then holds nothing either.
fn silent() -> Web {
    Web::new(|_, mut stream| {
        io::copy(&mut stream, &mut io::sink())?;
        Err(io::ErrorKind::ConnectionAborted.into())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_ends_a_call_all_that_it_held_is_there_again() {
    let web = silent();
    let (plans, origin) = (plans(), web.origin());
    let world = world(&plans, &origin).await;
    let runtime = world.runtime();
    // What is made once: compiled code, threads, the store's files.
    Full::of(&runtime, &origin).await.release().await;
    let store = Store::open(&world.path(".ringfence/journal.db")).expect("a store");
    let fuel = |session: Option<&Session>, tenant: &TenantId| {
        let now = session.map(Session::last_at).unwrap_or_else(|| Clock::system().now());
        let state = store.budget(tenant, Limit::Fuel, Window::Month.of(now).0).expect("a state");
        (state.spent, state.reserved)
    };
    let local = Caller::local().tenant;
    // The answer of a call that only reads does not wait for its record.
    runtime.flush().await.expect("nothing is lost");
    assert_eq!(fuel(None, &local).1, 0);
    let before = held();

    // Each count is another one while calls run, and no place is left.
    let full = Full::of(&runtime, &origin).await;
    let (files, tasks) = held();
    assert!(files > before.0 && tasks > before.1, "{before:?} before, {files} {tasks} now");
    assert_eq!(fuel(None, &local).1, CALLS as u64 * 100_000_000_000_000);
    let (say, said) = mpsc::channel();
    let (waits, cancel) = (Started::new(say), Cancel::new());
    let waiting = hold(runtime.clone(), cancel.clone(), "files", origin.clone(), waits);
    let waiting = tokio::spawn(waiting);
    full.release().await;
    spawn_blocking(move || said.recv()).await.expect("a thread").expect("a word");
    cancel.cancel();
    assert_eq!(waiting.await.expect("a task"), Outcome::Cancelled);
    holds_again(before).await;

    let mut sessions = vec![];
    let mut runs = vec![];
    for plan in plans {
        let agent = plan.agent(&world);
        runs.push(tokio::spawn(plan.run(runtime.clone(), agent)));
    }
    for run in runs {
        let (plan, session) = run.await.expect("a run");
        plan.check(&session);
        sessions.push((plan.caller.tenant, session));
    }
    holds_again(before).await;
    Full::of(&runtime, &origin).await.release().await;
    holds_again(before).await;
    runtime.flush().await.expect("nothing is lost");
    assert_eq!(fuel(None, &local).1, 0);
    for (tenant, session) in &sessions {
        assert_eq!(fuel(Some(session), tenant), (session.totals().fuel, 0), "{tenant}");
    }
}
