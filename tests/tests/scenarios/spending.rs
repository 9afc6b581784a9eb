//! What questions to a model spend of a tenant's budget while they are under way, and when they are called
//! off; and what becomes of an input that whoever drives a session does not take. The model begins its
//! reply, and then keeps silent.

use std::io::Write as _;

use ringfence::{
    Agent, Busy, Caller, Cancel, Error, Input, Listening, Refused, RunEnded, RunStatus, Runtime,
    event::{Body, Event, Limit, ModelFailureClass, Money, SessionId},
};
use ringfence_tests::web::{Web, keep_silent};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::world::World;

const BEGINNING: &str = "Let me think about that for a while.";

fn model() -> Web {
    Web::new(|_, mut stream| {
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        let delta = format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{BEGINNING}\"}}}}]}}\n\n"
        );
        stream.write_all(format!("{head}{delta}").as_bytes())?;
        keep_silent()
    })
}

/// An agent of such a model, whose tenant has so much.
fn world(web: &Web, budget: &str) -> (World, Agent) {
    let world = World::new();
    world.write(
        "ringfence.toml",
        &format!(
            "[model.main]\nprotocol = \"openai-chat\"\nurl = \"{}\"\nname = \"m\"\n\
             price = {{ input = \"1/Mtok\", output = \"2/Mtok\" }}\n[tenant.local.budget]\n{budget}\n",
            web.origin()
        ),
    );
    let agent = world.agent("", "time = \"1000s\"");
    (world, agent)
}

struct Running {
    cancel: Cancel,
    events: mpsc::UnboundedReceiver<Event>,
    run: JoinHandle<Result<RunEnded, Error>>,
}

impl Running {
    fn start(runtime: &Runtime, agent: &Agent, input: Input) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let (runtime, agent, cancel) = (runtime.clone(), agent.clone(), Cancel::new());
        let stop = cancel.clone();
        let run = tokio::spawn(async move {
            let mut show = |event: &Event| drop(sender.send(event.clone()));
            runtime.run(&Caller::local(), &agent, input, &stop, &mut show).await
        });
        Self { cancel, events, run }
    }

    /// Until this is recorded.
    async fn until(&mut self, kind: &str) -> Event {
        loop {
            let event = self.events.recv().await;
            let event = event.unwrap_or_else(|| panic!("it ended before {kind}"));
            if event.body.kind() == kind {
                return event;
            }
        }
    }

    async fn cancelled(self) -> RunEnded {
        self.cancel.cancel();
        let ended = self.run.await.expect("a task").expect("a run");
        assert_eq!(ended.status, RunStatus::Cancelled);
        ended
    }
}

/// What is said in a session of this number, which is not there yet, and where its replies are heard.
fn fresh(runtime: &Runtime, n: u8) -> (Input, Listening) {
    let id = SessionId::from_random([n; 16]);
    let deltas = runtime.deltas(&Caller::local(), &id);
    (Input { session: Some(id), makes_session: true, ..Input::new("Go.") }, deltas)
}

/// Until the model has begun to reply there.
async fn heard(deltas: &mut Listening) {
    assert_eq!(deltas.recv().await.expect("a piece of a reply").text, BEGINNING);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_is_called_off_is_paid_for_and_its_reservation_given_back() {
    let web = model();
    // One question reserves more than half of it.
    let (world, agent) = world(&web, "tokens = \"20000 per month\"");
    let runtime = world.runtime();
    for n in 0..3 {
        let (input, mut deltas) = fresh(&runtime, n);
        let mut running = Running::start(&runtime, &agent, input);
        heard(&mut deltas).await;
        running.until("model.requested").await;
        running.cancel.cancel();
        let failed = running.until("model.failed").await;
        let Body::ModelFailed { failure, tokens, cost, .. } = &failed.body else { panic!() };
        assert_eq!(failure.class, ModelFailureClass::Cancelled);
        assert!(tokens.input > 0, "what was sent: {tokens:?}");
        assert_eq!(tokens.output, (BEGINNING.len() as u64).div_ceil(4), "what was heard");
        let nanos = tokens.input * 1_000 + tokens.output * 2_000;
        assert_eq!(cost.map(Money::nanos), Some(nanos));
        let ended = running.cancelled().await;
        assert_eq!(ended.totals.tokens, *tokens);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_have_only_reserved_is_waited_for() {
    let web = model();
    let (world, agent) = world(&web, "tokens = \"20000 per month\"");
    let runtime = world.runtime();
    let (input, mut deltas) = fresh(&runtime, 1);
    let first = Running::start(&runtime, &agent, input);
    heard(&mut deltas).await;
    let (input, mut deltas) = fresh(&runtime, 2);
    let mut second = Running::start(&runtime, &agent, input);
    // It has begun its step, and asks nobody.
    second.until("step.started").await;
    assert!(deltas.try_recv().is_err(), "the second waits");
    first.cancelled().await;
    heard(&mut deltas).await;
    second.cancelled().await;
    assert_eq!(web.take().len(), 2);
}

/// What is not spent is too little, whoever has reserved what: nobody waits for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_into_the_rest_ends_the_run_before_the_model_is_asked() {
    let web = model();
    for (budget, limits, limit) in [
        ("tokens = \"16000 per month\"", "", Limit::Tokens),
        ("usd = \"0.01 per month\"", "", Limit::Money),
        ("tokens = \"20000 per month\"", "tokens = 10", Limit::Tokens),
        ("tokens = \"20000 per month\"", "usd = \"0.00001\"", Limit::Money),
    ] {
        let (world, _) = world(&web, budget);
        let agent = world.agent("", limits);
        let over = world.run(&agent).await;
        assert_eq!(over.ended.status, RunStatus::LimitReached(limit), "{budget} {limits}");
        let Some(Body::RunLimitReached { spent: Some(spent), .. }) =
            over.events.last().map(|event| &event.body)
        else {
            panic!("{:?}", over.kinds())
        };
        assert!(spent.spent == 0 && spent.asked > spent.of, "by how much: {spent:?}");
    }
    assert!(web.take().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_input_that_the_driver_does_not_take_is_refused() {
    let web = model();
    let (world, agent) = world(&web, "calls = \"1000 per month\"");
    let runtime = world.runtime();
    let (input, mut deltas) = fresh(&runtime, 1);
    let id = input.session.clone().expect("an id");
    let said = |text: &str, key: &str| Input {
        busy: Busy::Queue,
        key: Some(key.to_owned()),
        text: text.to_owned(),
        ..input.clone()
    };
    let first = Running::start(&runtime, &agent, said("Go.", "order-7"));
    heard(&mut deltas).await;
    let other = Running::start(&runtime, &agent, said("Stop.", "order-7")).run.await;
    let refused = other.expect("a task").expect_err("another input");
    assert!(matches!(refused, Error::Refused(Refused::OtherInput { run }) if run.0 == 1));
    // Said again in the same words it is the same run.
    let same = Running::start(&runtime, &agent, said("Go.", "order-7"));
    // So many wait, and no more.
    let waiting: Vec<Running> = (0..64)
        .map(|n| Running::start(&runtime, &agent, said("More.", &format!("more-{n}"))))
        .collect();
    while runtime.session(&Caller::local(), &id).expect("a session").queued().count() < 64 {
        tokio::task::yield_now().await;
    }
    let more = || Running::start(&runtime, &agent, said("More.", "one-more")).run;
    for _ in 0..2 {
        let refused = more().await.expect("a task").expect_err("no room");
        assert!(matches!(refused, Error::Refused(Refused::QueueFull { most: 64 })), "{refused}");
    }
    // Under the same key it is taken once there is room.
    waiting.iter().for_each(|one| one.cancel.cancel());
    for one in waiting {
        one.cancelled().await;
    }
    let mut taken = Running { run: more(), cancel: Cancel::new(), events: first.events };
    first.cancel.cancel();
    for run in [first.run, same.run] {
        assert_eq!(run.await.expect("a task").expect("a run").status, RunStatus::Cancelled);
    }
    taken.until("run.cancelled").await;
    heard(&mut deltas).await;
    let runs = runtime.session(&Caller::local(), &id).expect("a session");
    assert_eq!(runs.run().and_then(|run| run.key()), Some("one-more"));
    runtime.cancel_session(&Caller::local(), &id).await.expect("a cancel");
    let ended = taken.run.await.expect("a task").expect("a run");
    assert_eq!(ended.status, RunStatus::Cancelled);
}
