//! Events of tenants in files and at webhooks, whatever becomes of those.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::symlink,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ringfence::{Caller, Cancel, Error, Input, RunEnded, Runtime, event::SessionId};
use ringfence_observe::{Config, FileConfig, SecretReader, SinkConfig, Target, WebhookConfig};
use ringfence_tests::web::{Request, Web, say};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{PATIENCE, observe};
use crate::world::{World, one_call};

const SECRET: &[u8] = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

async fn world() -> (World, ringfence::Agent) {
    let world = World::new();
    world.add(&["tools/files"]).await;
    let workspace = world.path("workspace").display().to_string();
    let grant = |tenant: &str| {
        format!(
            "[tenant.{tenant}.tool.files]\nfs.workspace = {{ path = \"{workspace}\", access = \"read\" }}\n"
        )
    };
    world.grants(&grant("local"));
    world.script(&one_call("files_read", "{ path = \"/workspace/README.md\" }"));
    let agent = world.agent("files = \"*\"", "");
    (world, agent)
}

fn caller(tenant: &str) -> Caller {
    Caller { tenant: tenant.parse().expect("a name"), ..Caller::local() }
}

async fn run(runtime: &Runtime, agent: &ringfence::Agent, tenant: &str) -> Result<RunEnded, Error> {
    runtime.run(&caller(tenant), agent, Input::new("Go."), &Cancel::new(), &mut |_| {}).await
}

fn file(world: &World, tenant: &str, name: &str, required: bool) -> SinkConfig {
    let path = world.path(&format!("{tenant}-{name}.jsonl"));
    let target = FileConfig { path, sync: true, rotate_bytes: None, keep: 0 };
    SinkConfig {
        tenant: tenant.parse().expect("a name"),
        name: name.to_owned(),
        events: vec![],
        required,
        target: Target::File(target),
    }
}

fn hook(url: &str) -> SinkConfig {
    let target = WebhookConfig {
        url: format!("{url}/hook").parse().expect("a URL"),
        secrets: vec![SecretReader::new(|| Ok(SECRET.to_vec().into()))],
        timeout: Duration::from_secs(10),
        give_up: Duration::from_secs(3600),
    };
    SinkConfig {
        tenant: "local".parse().expect("a name"),
        name: "hook".to_owned(),
        events: vec![],
        required: false,
        target: Target::Webhook(target),
    }
}

fn with(sinks: Vec<SinkConfig>) -> Config {
    Config { sinks, ..Config::default() }
}

fn lines(world: &World, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(world.path(name)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// Everything that a session's journal has, by id.
fn journal(runtime: &Runtime, tenant: &str, ended: &RunEnded) -> Vec<String> {
    let events = runtime.events(&caller(tenant), &ended.session, 1, 1000).expect("events");
    events.iter().map(|event| format!("{}/{}", event.stream, event.seq)).collect()
}

fn ids(lines: &[Value]) -> Vec<String> {
    lines.iter().map(|line| line["id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_has_each_event_of_its_tenant_once_and_in_order() {
    let (world, agent) = world().await;
    let runtime = world.runtime();
    let mut some = file(&world, "local", "some", false);
    some.events = vec!["run.*".to_owned(), "call.finished".to_owned()];
    let sinks = vec![file(&world, "local", "all", false), some, file(&world, "acme", "all", false)];
    let observer = observe(&world, &runtime, with(sinks)).await;
    let local = run(&runtime, &agent, "local").await.expect("a run");
    let acme = run(&runtime, &agent, "acme").await.expect("a run");
    assert!(observer.stop(PATIENCE).await);
    assert_eq!(ids(&lines(&world, "local-all.jsonl")), journal(&runtime, "local", &local));
    assert_eq!(ids(&lines(&world, "acme-all.jsonl")), journal(&runtime, "acme", &acme));
    let kinds: Vec<String> =
        lines(&world, "local-some.jsonl").iter().map(|line| line["type"].to_string()).collect();
    assert_eq!(
        kinds,
        ["\"ringfence.run.started\"", "\"ringfence.call.finished\"", "\"ringfence.run.completed\""]
    );
    // What happens while nobody observes is there after the next start.
    let later = run(&runtime, &agent, "local").await.expect("a run");
    let sinks = vec![file(&world, "local", "all", false)];
    let observer = observe(&world, &runtime, with(sinks)).await;
    assert!(observer.stop(PATIENCE).await);
    let all = [journal(&runtime, "local", &local), journal(&runtime, "local", &later)].concat();
    assert_eq!(ids(&lines(&world, "local-all.jsonl")), all);
}

/// A tenant that must be audited does nothing that cannot be, others go on, and all of it is written once
/// there is room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o6_a_full_disk_stops_whom_it_must_and_nobody_else() {
    let (world, agent) = world().await;
    let runtime = world.runtime();
    for name in ["local-audit.jsonl", "acme-log.jsonl"] {
        symlink("/dev/full", world.path(name)).expect("a link");
    }
    let sinks = vec![file(&world, "local", "audit", true), file(&world, "acme", "log", false)];
    let observer = observe(&world, &runtime, with(sinks)).await;
    let first = run(&runtime, &agent, "local").await.expect("it had begun");
    let refused = loop {
        // As soon as the first line could not be written.
        match run(&runtime, &agent, "local").await {
            Err(error) => break error,
            Ok(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(refused.code(), "suspended");
    assert!(refused.to_string().contains("its sink `audit` must take what happens"), "{refused}");
    run(&runtime, &agent, "acme").await.expect("its sink need not");
    run(&runtime, &agent, "third").await.expect("it has none");
    let text = observer.metrics().render();
    assert!(text.contains("ringfence_sink_failures_total{ringfence_sink=\"audit\""), "{text}");
    // Room again.
    for name in ["local-audit.jsonl", "acme-log.jsonl"] {
        fs::remove_file(world.path(name)).expect("the link is gone");
    }
    while run(&runtime, &agent, "local").await.is_err() {
        tokio::task::yield_now().await;
    }
    // The other sink may still wait for its next try: that is for the next start.
    observer.stop(PATIENCE).await;
    let written = ids(&lines(&world, "local-audit.jsonl"));
    let once: BTreeSet<&String> = written.iter().collect();
    assert_eq!(once.len(), written.len(), "each once");
    let journal = journal(&runtime, "local", &first);
    assert_eq!(written[..journal.len()], journal[..], "from the first on");
}

/// A webhook that takes requests as it is told: what it took, by session.
struct Hook {
    web: Web,
    taken: Arc<Mutex<Vec<Value>>>,
    is_well: Arc<Mutex<bool>>,
    asked: mpsc::UnboundedReceiver<Request>,
}

impl Hook {
    fn new(is_well: bool) -> Self {
        let (taken, is_well) = (Arc::<Mutex<Vec<Value>>>::default(), Arc::new(Mutex::new(is_well)));
        let (sender, asked) = mpsc::unbounded_channel();
        let (keep, well) = (taken.clone(), is_well.clone());
        let web = Web::new(move |request, stream| {
            let takes = *well.lock().unwrap();
            if takes {
                keep.lock().unwrap().push(serde_json::from_str(&request.body).unwrap());
            }
            let status = if takes { "204 No Content" } else { "500 Internal Server Error" };
            // Before it is answered: then the next one may come.
            let _ = sender.send(request.clone());
            say(stream, status, "", b"")
        });
        Self { web, taken, is_well, asked }
    }

    fn taken(&self) -> Vec<Value> {
        self.taken.lock().unwrap().clone()
    }
}

/// Whether a request is signed by whoever has the secret, as a receiver finds out.
fn is_signed(request: &Request) -> bool {
    let secret = std::str::from_utf8(SECRET).unwrap().strip_prefix("whsec_").unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &STANDARD.decode(secret).unwrap());
    let header = |name| request.header(name).expect(name);
    let signature = header("webhook-signature").strip_prefix("v1,").expect("version 1");
    let signature = STANDARD.decode(signature).expect("base64");
    let (id, seconds) = (header("webhook-id"), header("webhook-timestamp"));
    let message = [format!("{id}.{seconds}.").as_bytes(), &request.bytes].concat();
    ring::hmac::verify(&key, &message, &signature).is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_signed_and_gets_each_session_in_order() {
    let (world, agent) = world().await;
    let (runtime, mut receiver) = (world.runtime(), Hook::new(true));
    let observer = observe(&world, &runtime, with(vec![hook(&receiver.web.origin())])).await;
    let (one, other) = tokio::join!(run(&runtime, &agent, "local"), run(&runtime, &agent, "local"));
    let (one, other) = (one.expect("a run"), other.expect("a run"));
    assert!(observer.stop(PATIENCE).await);
    let mut by_session: BTreeMap<String, Vec<String>> = BTreeMap::new();
    while let Ok(request) = receiver.asked.try_recv() {
        assert!(is_signed(&request), "{request:?}");
        assert_eq!(request.header("content-type"), Some("application/cloudevents+json"));
        let event: Value = serde_json::from_str(&request.body).expect("JSON");
        assert_eq!(event["id"].as_str(), request.header("webhook-id"));
        let id = event["id"].as_str().expect("an id");
        let (session, _) = id.rsplit_once('/').expect("a place");
        by_session.entry(session.to_owned()).or_default().push(id.to_owned());
        // The secret signs, and goes nowhere.
        assert!(!format!("{request:?}").contains("MfKQ9r8GKYqrTwj"));
    }
    for ended in [one, other] {
        let session = format!("session/{}", ended.session);
        assert_eq!(by_session[&session], journal(&runtime, "local", &ended));
    }
}

/// What a webhook did not take is sent again under the same id, by whichever process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_was_down_gets_everything() {
    let (world, agent) = world().await;
    let (runtime, mut receiver) = (world.runtime(), Hook::new(false));
    let config = || with(vec![hook(&receiver.web.origin()), file(&world, "local", "log", false)]);
    let observer = observe(&world, &runtime, config()).await;
    let ended = run(&runtime, &agent, "local").await.expect("a run");
    let first = receiver.asked.recv().await.expect("asked");
    let again = receiver.asked.recv().await.expect("asked again");
    assert_eq!(first.header("webhook-id"), again.header("webhook-id"));
    // Whoever is slow or gone holds nobody up.
    while lines(&world, "local-log.jsonl").len() < journal(&runtime, "local", &ended).len() {
        tokio::task::yield_now().await;
    }
    assert!(!observer.stop(Duration::from_millis(1)).await, "something is left");
    *receiver.is_well.lock().unwrap() = true;
    let observer = observe(&world, &runtime, config()).await;
    assert!(observer.stop(PATIENCE).await);
    assert_eq!(ids(&receiver.taken()), journal(&runtime, "local", &ended));
}

/// The events of one session are not taken, those of another are: the sink does not work until both are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_takes_one_session_and_not_another_does_not_work() {
    let (world, agent) = world().await;
    let runtime = world.runtime();
    let id = SessionId::from_random([7; 16]);
    let refused = Arc::new(Mutex::new(Some(id.to_string())));
    let (sender, mut asked) = mpsc::unbounded_channel();
    let web = {
        let refused = refused.clone();
        Web::new(move |request, stream| {
            let refuses = |id: &String| request.body.contains(id);
            let is_taken = !refused.lock().unwrap().as_ref().is_some_and(refuses);
            // Before it is answered: nothing was done about that by then.
            let _ = sender.send(is_taken);
            let status = if is_taken { "204 No Content" } else { "500 Internal Server Error" };
            say(stream, status, "", b"")
        })
    };
    let config = || with(vec![hook(&web.origin())]);
    assert!(observe(&world, &runtime, config()).await.stop(PATIENCE).await);
    // Both are there when it goes on, and are sent together.
    let other = run(&runtime, &agent, "local").await.expect("a run");
    let input = Input { session: Some(id), makes_session: true, ..Input::new("Go.") };
    let cancel = Cancel::new();
    runtime.run(&caller("local"), &agent, input, &cancel, &mut |_| {}).await.expect("a run");
    let observer = observe(&world, &runtime, config()).await;
    let (mut taken, mut refusals) = (0, 0);
    while taken < journal(&runtime, "local", &other).len() || refusals < 2 {
        match asked.recv().await.expect("asked") {
            true => taken += 1,
            false => refusals += 1,
        }
    }
    assert_eq!(observer.failing().len(), 1, "one of them waits");
    *refused.lock().unwrap() = None;
    assert!(observer.stop(PATIENCE).await);
}

/// An event that is too old is given up, and those behind it arrive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_takes_in_time_is_given_up_and_counted() {
    let (world, agent) = world().await;
    let (runtime, receiver) = (world.runtime(), Hook::new(false));
    let mut sink = hook(&receiver.web.origin());
    if let Target::Webhook(webhook) = &mut sink.target {
        webhook.give_up = Duration::ZERO;
    }
    let observer = observe(&world, &runtime, with(vec![sink])).await;
    let ended = run(&runtime, &agent, "local").await.expect("a run");
    let (metrics, count) = (observer.metrics().clone(), journal(&runtime, "local", &ended).len());
    assert!(observer.stop(PATIENCE).await);
    let line = format!(
        "ringfence_sink_dropped_total{{ringfence_sink=\"hook\",ringfence_tenant=\"local\"}} {count}\n"
    );
    assert!(metrics.render().contains(&line), "{}", metrics.render());
}
