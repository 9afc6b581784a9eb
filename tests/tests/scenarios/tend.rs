//! A service that goes on with what is unfinished: at its start in turns of the tenants, and later when a
//! person has answered or the time of another try has come.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use ringfence::{
    Agent, Caller, Cancel, Clock, Error, Input, Resumed, RunStatus, Runtime, Said, Waiting,
    event::{ApprovalScope, SessionId, Timestamp, Wait},
};
use ringfence_tests::web::{Web, say};
use tokio::{sync::mpsc, task::JoinHandle, task::yield_now};

use crate::world::{World, one_call};

const START: Timestamp = Timestamp(1_700_000_000_000);

fn caller(tenant: &str) -> Caller {
    Caller { tenant: tenant.parse().expect("a name"), ..Caller::local() }
}

/// A service that is tended: what came of each session, as it comes.
struct Tended {
    cancel: Cancel,
    heard: mpsc::UnboundedReceiver<(SessionId, String)>,
    tending: JoinHandle<()>,
}

fn tend(runtime: &Runtime, at_once: usize) -> Tended {
    let (runtime, cancel) = (runtime.clone(), Cancel::new());
    let (say, heard) = mpsc::unbounded_channel();
    let stop = cancel.clone();
    let tending = tokio::spawn(async move {
        let mut tell = |open: &ringfence::OpenSession, resumed: Resumed| {
            let how = match resumed {
                Resumed::Ended(ended) => ended.status.to_string(),
                Resumed::Elsewhere => "elsewhere".to_owned(),
                Resumed::Left => "left".to_owned(),
                Resumed::Failed(error) => error.code().to_owned(),
            };
            say.send((open.session.clone(), how)).expect("somebody hears");
        };
        runtime.tend(at_once, &stop, &mut tell).await;
    });
    Tended { cancel, heard, tending }
}

impl Tended {
    async fn hears(&mut self) -> (SessionId, String) {
        self.heard.recv().await.expect("it goes on")
    }

    async fn end(self) {
        self.cancel.cancel();
        self.tending.await.expect("it ends");
    }
}

async fn start(
    runtime: &Runtime,
    tenant: &str,
    agent: &Agent,
) -> Result<ringfence::RunEnded, Error> {
    let (caller, cancel) = (caller(tenant), Cancel::new());
    runtime.run(&caller, agent, Input::new("Go."), &cancel, &mut |_| {}).await
}

/// Sessions that were left in the middle: four of one tenant, made first, and one of another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_left_is_gone_on_with_in_turns_of_the_tenants() {
    let world = World::new();
    world.add_spin().await;
    let table = |tenant: &str| {
        format!("[tenant.{tenant}.tool.spin]\nlimits.fuel = \"100000G\"\nlimits.time = \"600s\"\n")
    };
    world.grants(&(table("busy") + &table("quiet")));
    world.script(&one_call("spin_spin", "{}"));
    let agent = world.agent("spin = \"*\"", "fuel = \"100000G\"\ntime = \"600s\"");
    let runtime = world.runtime();
    let mut runs = vec![];
    for (count, tenant) in [(4, "busy"), (1, "quiet")] {
        for _ in 0..count {
            let (runtime, agent) = (runtime.clone(), agent.clone());
            runs.push(tokio::spawn(async move { start(&runtime, tenant, &agent).await }));
        }
    }
    while runtime.load().places[0].load.running < 5 {
        yield_now().await;
    }
    let drained = runtime.drain(Duration::ZERO).await.expect("nothing is lost");
    assert_eq!(drained.left, 5);
    for run in runs {
        assert!(matches!(run.await.expect("a task"), Err(Error::Left { .. })));
    }
    let again = world.runtime();
    let order = Arc::<Mutex<Vec<String>>>::default();
    let told = order.clone();
    let mut tell = |open: &ringfence::OpenSession, resumed: Resumed| {
        assert!(matches!(resumed, Resumed::Ended(_)), "{resumed:?}");
        told.lock().expect("nobody panicked").push(open.tenant.to_string());
    };
    again.resume_all(1, &Cancel::new(), &mut tell).await.expect("a list");
    let order = order.lock().expect("nobody panicked").clone();
    assert_eq!(order.len(), 5);
    assert!(order[..2].contains(&"quiet".to_owned()), "{order:?}");
}

/// A run that waits for a yes goes on when somebody gives it, with nobody but the service there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_goes_on_when_a_person_has_answered() {
    let world = World::new();
    world.add(&["tests/guests/ledger"]).await;
    world.grants(
        "[tenant.local.tool.ledger]\nfs.workspace = { path = \"workspace\", access = \"write\" }\n\
         [[tenant.local.hold]]\neffect = \"unsafe\"\n",
    );
    world.script(&one_call("ledger_pay", "{ what = \"a debt\" }"));
    let agent = world.agent("ledger = \"*\"", "");
    let runtime = world.runtime();
    let mut service = tend(&runtime, 2);
    let ended = start(&runtime, "local", &agent).await.expect("a run");
    assert_eq!(ended.status, RunStatus::Waiting(Wait::Approval));
    let caller = Caller::local();
    let waiting: Vec<Waiting> = runtime.waiting(&caller).expect("a list");
    let said = runtime
        .approve(&caller, &ended.session, &waiting[0].call, ApprovalScope::Call, None, None)
        .await
        .expect("an answer");
    assert_eq!(said, Said::Recorded);
    assert_eq!(service.hears().await, (ended.session.clone(), "completed".to_owned()));
    assert!(world.path("workspace/unsafe.txt").exists());
    service.end().await;
}

/// A run that its host left while it waited for another try is gone on with when the time of that comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_goes_on_when_the_time_of_another_try_comes() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let web =
        Web::new(move |_, stream| match asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => say(stream, "503 Service Unavailable", "retry-after: 600\r\n", b"later"),
            _ => say(stream, "200 OK", "content-type: text/plain\r\n", b"here"),
        });
    let world = World::new();
    world.add(&["tools/fetch"]).await;
    world.grants(&format!("[tenant.local.tool.fetch]\nhttp = [\"{}\"]\n", web.origin()));
    world.script(&one_call("fetch_get", &format!("{{ url = \"{}/\" }}", web.origin())));
    let agent = world.agent("fetch = \"*\"", "time = \"24h\"\n[retry.call]\ntime = \"24h\"");
    let clock = Clock::manual(START);
    let first = world.runtime_with(|config| config.with_clock(clock.clone()));
    let run = {
        let (runtime, agent) = (first.clone(), agent.clone());
        tokio::spawn(async move { start(&runtime, "local", &agent).await })
    };
    let waits = || {
        let sessions = first.sessions(&Caller::local(), 1).expect("a list");
        sessions.first().is_some_and(|session| session.waits == Some(Wait::Retry))
    };
    while !waits() {
        yield_now().await;
    }
    // Nothing of it is under way, so that it need not be waited for.
    first.drain(Duration::from_secs(600)).await.expect("nothing is lost");
    let left = run.await.expect("a task").expect_err("it is left");
    let Error::Left { session } = left else { panic!("{left}") };
    let second = world.runtime_with(|config| config.with_clock(clock.clone()));
    let mut service = tend(&second, 2);
    // It is taken up, and waits here as it would have there.
    clock.advance(Duration::from_secs(4000));
    let (id, how) = service.hears().await;
    assert_eq!((id, how.as_str()), (session, "completed"));
    service.end().await;
}
