//! Spans of runs and calls at an OTLP receiver.

use std::collections::BTreeSet;

use ringfence::{Caller, Cancel, DirectCall, Input, Runtime, ToolRef, event::TraceContext};
use ringfence_observe::Config;
use ringfence_tests::web;

use super::{
    PATIENCE, observe, reading,
    receiver::{Mood, Receiver, attributes, hex, tree},
    to,
};
use crate::world::{World, heard, one_call};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A script of two steps: files that may be read and may not, and an address that is nobody's.
const SCRIPT: &str = r#"
[[turn]]
when = { step = 1 }
reply = { text = "Let me see.", calls = [
    { function = "files_read", arguments = { path = "/workspace/README.md" } },
    { function = "files_read", arguments = { path = "/etc/passwd" } },
    { function = "files_shred", arguments = { path = "/" } },
] }
[[turn]]
reply = { text = "It says hello." }
"#;

/// One run in a new session, said within a trace.
async fn run(runtime: &Runtime, agent: &ringfence::Agent, trace: Option<&str>) {
    let trace = trace.map(|given| TraceContext::from_traceparent(given).expect("a header"));
    let input = Input { trace, ..Input::new("What does it say?") };
    let caller = Caller::local();
    runtime.run(&caller, agent, input, &Cancel::new(), &mut |_| {}).await.expect("a run");
}

fn check_tree(receiver: &Receiver, name: &str) {
    insta::with_settings!({ snapshot_path => "../snapshots" }, {
        insta::assert_snapshot!(name, tree(&receiver.spans()));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_a_tree_of_spans_within_the_trace_of_whoever_asked() {
    let (world, agent) = reading(SCRIPT).await;
    let receiver = Receiver::new(Mood::Well);
    let runtime = world.runtime();
    let observer = observe(&world, &runtime, to(&receiver.endpoint())).await;
    run(&runtime, &agent, Some(PARENT)).await;
    assert!(observer.stop(PATIENCE).await);
    let spans = receiver.spans();
    for span in &spans {
        assert_eq!(hex(&span.trace_id), "0af7651916cd43dd8448eb211c80319c", "{}", span.name);
    }
    let root = spans.iter().find(|span| span.name == "invoke_agent tester").expect("the run's");
    assert_eq!(hex(&root.parent_span_id), "b7ad6b7169203331");
    check_tree(&receiver, "spans");
    // What was said, asked and returned is nobody's business here.
    let all = format!("{spans:?}");
    for payload in ["What does it say?", "It says hello.", "passwd", "A small project"] {
        assert!(!all.contains(payload), "{payload}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_is_told_where_an_operator_wants_it() {
    let (world, agent) = reading(SCRIPT).await;
    let receiver = Receiver::new(Mood::Well);
    let runtime = world.runtime();
    let config = Config { payloads: true, ..to(&receiver.endpoint()) };
    let observer = observe(&world, &runtime, config).await;
    run(&runtime, &agent, None).await;
    assert!(observer.stop(PATIENCE).await);
    check_tree(&receiver, "spans_with_payloads");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_that_nobody_keeps_is_not_sent() {
    let (world, agent) = reading(SCRIPT).await;
    let receiver = Receiver::new(Mood::Well);
    let runtime = world.runtime();
    let observer = observe(&world, &runtime, to(&receiver.endpoint())).await;
    run(&runtime, &agent, Some(&PARENT.replace("-01", "-00"))).await;
    run(&runtime, &agent, Some(PARENT)).await;
    assert!(observer.stop(PATIENCE).await);
    let runs = receiver.spans().iter().filter(|span| span.name.starts_with("invoke_agent")).count();
    assert_eq!(runs, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_direct_call_is_a_span_of_its_own() {
    let (world, _) = reading(SCRIPT).await;
    let receiver = Receiver::new(Mood::Well);
    let runtime = world.runtime();
    let observer = observe(&world, &runtime, to(&receiver.endpoint())).await;
    for path in ["/workspace/README.md", "/etc/passwd"] {
        let call = DirectCall {
            tool: ToolRef::Accepted("files".parse().expect("a name")),
            function: Some("read".parse().expect("a name")),
            arguments: format!("{{\"path\":\"{path}\"}}"),
            key: None,
            trace: Some(TraceContext::from_traceparent(PARENT).expect("a header")),
        };
        runtime.call(&Caller::local(), call, &Cancel::new(), heard()).await.expect("a call");
    }
    runtime.flush().await.expect("stored");
    assert!(observer.stop(PATIENCE).await);
    let spans = receiver.spans();
    let shown: Vec<String> = spans
        .iter()
        .map(|span| {
            let told = attributes(&span.attributes);
            assert_eq!(hex(&span.parent_span_id), "b7ad6b7169203331");
            format!("{} {}", span.name, told["ringfence.call.outcome"])
        })
        .collect();
    assert_eq!(shown, ["execute_tool files_read succeeded", "execute_tool files_read failed"]);
    let denied = attributes(&spans[1].attributes);
    assert!(denied.contains_key("ringfence.denial.codes"), "{denied:?}");
}

/// Whoever observes next goes on where the last one was, and knows what began before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_neither_loses_nor_doubles_a_span() {
    let (world, agent) = reading(SCRIPT).await;
    let (first, second) = (Receiver::new(Mood::Well), Receiver::new(Mood::Well));
    world.script(&one_call("files_read", "{ path = \"/workspace/README.md\" }"));
    let rule = "[[tenant.local.hold]]\ntool = \"files\"\n";
    let grants = world.read("ringfence.toml");
    world.write("ringfence.toml", &format!("{grants}{rule}"));
    let (runtime, caller) = (world.runtime(), Caller::local());
    let observer = observe(&world, &runtime, to(&first.endpoint())).await;
    let input = Input::new("Read it.");
    let over = runtime.run(&caller, &agent, input, &Cancel::new(), &mut |_| {}).await;
    let session = over.expect("a run that waits").session;
    assert!(observer.stop(PATIENCE).await);
    // While nobody observes, somebody says yes.
    let waiting = ringfence::Waiting::of(&runtime.session(&caller, &session).expect("a session"));
    let (call, shown) = (waiting[0].call.clone(), waiting[0].shown);
    let yes = runtime.approve(&caller, &session, &call, Default::default(), None, shown).await;
    yes.expect("approved");
    drop(runtime);
    let runtime = world.runtime();
    let observer = observe(&world, &runtime, to(&second.endpoint())).await;
    runtime.resume(&caller, &session, &Cancel::new(), &mut |_| {}).await.expect("it goes on");
    assert!(observer.stop(PATIENCE).await);
    let all = [first.spans(), second.spans()].concat();
    let ids: BTreeSet<String> = all.iter().map(|span| hex(&span.span_id)).collect();
    assert_eq!(ids.len(), all.len(), "none twice");
    let names: Vec<&str> = all.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(
        names,
        ["chat main", "execute_tool files_read", "chat main", "invoke_agent tester"],
        "and none left out"
    );
    // Whoever has lost the place and begins anew makes the same ones.
    let third = Receiver::new(Mood::Well);
    std::fs::write(world.path(".ringfence/observe/otlp.position"), "0").expect("written");
    let observer = observe(&world, &runtime, to(&third.endpoint())).await;
    assert!(observer.stop(PATIENCE).await);
    assert_eq!(all, third.spans());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_down_holds_nobody_up_and_gets_everything_later() {
    let (world, agent) = reading(SCRIPT).await;
    for mood in [Mood::Gone, Mood::Status("503 Service Unavailable"), Mood::Silent] {
        let mut receiver = Receiver::new(mood);
        let runtime = world.runtime();
        let mut config = to(&receiver.endpoint());
        if let (Mood::Silent, Some(otlp)) = (mood, &mut config.otlp) {
            otlp.timeout = std::time::Duration::from_millis(100);
        }
        let observer = observe(&world, &runtime, config).await;
        run(&runtime, &agent, None).await;
        receiver.asked().await;
        receiver.asked().await;
        assert!(receiver.spans().is_empty());
        receiver.mood(Mood::Well);
        while receiver.spans().len() < 6 {
            receiver.asked().await;
        }
        let text = observer.metrics().render();
        assert!(text.contains("ringfence_otlp_failures_total{"), "{mood:?}: {text}");
        assert!(observer.stop(PATIENCE).await);
        assert_eq!(receiver.spans().len(), 6, "{mood:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_endpoint_never_takes_is_dropped_and_counted() {
    let (world, agent) = reading(SCRIPT).await;
    let check = async |mood: Mood, backlog: u64, dropped: std::ops::RangeInclusive<u64>| {
        let receiver = Receiver::new(mood);
        let runtime = world.runtime();
        let mut config = to(&receiver.endpoint());
        if let Some(otlp) = &mut config.otlp {
            otlp.backlog = backlog;
        }
        let observer = observe(&world, &runtime, config).await;
        run(&runtime, &agent, None).await;
        let metrics = observer.metrics().clone();
        observer.stop(PATIENCE).await;
        let text = metrics.render();
        let count = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.map_or(0, |value| value.parse::<u64>().expect("a number"))
        };
        let gone = count("ringfence_otlp_spans_dropped_total");
        assert!(dropped.contains(&gone), "{mood:?}: {gone}");
        assert_eq!(gone + count("ringfence_otlp_spans_total"), 6, "{mood:?}: {text}");
    };
    // What it will never take; what it takes a part of; and what is too much to wait.
    check(Mood::Status("400 Bad Request"), 100_000, 6..=6).await;
    check(Mood::Rejects(2), 100_000, 2..=6).await;
    check(Mood::Status("503 Service Unavailable"), 0, 6..=6).await;
    check(Mood::Well, 0, 0..=0).await;
}

/// A model is told the span that it is asked in; a tool's server is told nothing that its tool did not say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_is_told_the_trace_and_a_tools_server_is_not() {
    let page = web::serve();
    let url = format!("{}/hello", page.origin());
    let model = web::Web::new(move |request, stream| {
        let reply = match request.body.contains("\"role\":\"tool\"") {
            true => serde_json::json!({ "content": "Done." }),
            false => serde_json::json!({ "tool_calls": [{
                "id": "c", "type": "function",
                "function": { "name": "fetch_get", "arguments": format!("{{\"url\":\"{url}\"}}") },
            }] }),
        };
        let answer = serde_json::json!({
            "choices": [{ "message": reply, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 7, "completion_tokens": 3 },
        });
        web::say(
            stream,
            "200 OK",
            "content-type: application/json\r\n",
            answer.to_string().as_bytes(),
        )
    });
    let world = World::new();
    world.add(&["tools/fetch"]).await;
    world.write(
        "ringfence.toml",
        &format!(
            "[model.main]\nprotocol = \"openai-chat\"\nurl = \"{}\"\nname = \"gpt-x\"\n\
             [tenant.local.tool.fetch]\nhttp = [\"{}\"]\n",
            model.origin(),
            page.origin()
        ),
    );
    let agent = world.agent("fetch = \"*\"", "");
    let receiver = Receiver::new(Mood::Well);
    let runtime = world.runtime();
    let observer = observe(&world, &runtime, to(&receiver.endpoint())).await;
    run(&runtime, &agent, Some(PARENT)).await;
    assert!(observer.stop(PATIENCE).await);
    let spans = receiver.spans();
    let chats = spans.iter().filter(|span| span.name.starts_with("chat "));
    let told: Vec<String> =
        chats.map(|span| format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id))).collect();
    let asked = model.take();
    let heard: Vec<&str> =
        asked.iter().filter_map(|request| request.header("traceparent")).collect();
    assert_eq!(heard, told);
    let fetched = page.take();
    assert!(
        !fetched.is_empty()
            && fetched.iter().all(|request| request.header("traceparent").is_none())
    );
}
