//! What is counted, as text for Prometheus and at an OTLP receiver.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use ringfence::{Caller, Cancel, Input};
use ringfence_observe::Config;

use super::{
    PATIENCE, observe, reading,
    receiver::{Mood, Receiver},
    to,
};

/// One call that is done and one that is denied a part, one that is refused whole.
const SCRIPT: &str = r#"
[[turn]]
when = { step = 1 }
reply = { calls = [
    { function = "files_read", arguments = { path = "/workspace/README.md" } },
    { function = "files_read", arguments = { path = "/etc/passwd" } },
    { function = "files_shred", arguments = {} },
] }
[[turn]]
reply = { text = "Done." }
"#;

/// The lines of which the values are the same each time; of the others only what they count.
fn steady(text: &str) -> String {
    const VARY: [&str; 7] = [
        "_seconds_",
        "ringfence_fuel",
        "ringfence_host_work",
        "ringfence_call_memory",
        "target_info",
        "ringfence_observer_lag",
        "gen_ai_client_token_usage_bucket",
    ];
    let line = |line: &str| match VARY.iter().any(|name| line.contains(name)) {
        true if line.starts_with('#') => Some(line.to_owned()),
        true if line.contains("_count") => Some(line.to_owned()),
        true => None,
        false => Some(line.to_owned()),
    };
    let lines: Vec<String> = text.lines().filter_map(line).collect();
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_and_otlp_are_told_the_same() {
    let (world, agent) = reading(SCRIPT).await;
    let receiver = Receiver::new(Mood::Well);
    let runtime = world.runtime();
    let observer = observe(&world, &runtime, to(&receiver.endpoint())).await;
    let input = Input::new("Go.");
    let caller = Caller::local();
    runtime.run(&caller, &agent, input, &Cancel::new(), &mut |_| {}).await.expect("a run");
    let metrics = observer.metrics().clone();
    let others = metrics.meter("others").u64_counter("http.server.requests").build();
    others.add(3, &[]);
    assert!(observer.stop(PATIENCE).await);
    let text = metrics.render();
    insta::with_settings!({ snapshot_path => "../snapshots" }, {
        insta::assert_snapshot!("prometheus", steady(&text));
    });
    let sent = receiver.metrics();
    let last = sent.last().expect("sent at the end");
    let metrics = last.resource_metrics.iter().flat_map(|one| &one.scope_metrics);
    let metrics: Vec<_> = metrics.flat_map(|scope| &scope.metrics).collect();
    let names: BTreeSet<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
    for name in [
        "gen_ai.client.operation.duration",
        "gen_ai.client.token.usage",
        "gen_ai.execute_tool.duration",
        "gen_ai.invoke_agent.duration",
        "http.server.requests",
        "ringfence.calls",
        "ringfence.denials",
        "ringfence.fuel",
        "ringfence.host_work",
        "ringfence.runs",
    ] {
        assert!(names.contains(name), "{name}: {names:?}");
    }
    let runs = metrics.iter().find(|metric| metric.name == "ringfence.runs");
    let Some(Data::Sum(sum)) = runs.and_then(|metric| metric.data.as_ref()) else {
        panic!("a sum")
    };
    assert!(sum.is_monotonic && sum.data_points.len() == 1, "{sum:?}");
}

/// Nothing is set, and still everything is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_counted_needs_no_endpoint() {
    let (world, agent) = reading(SCRIPT).await;
    let runtime = world.runtime();
    let observer = observe(&world, &runtime, Config::default()).await;
    let caller = Caller::local();
    for _ in 0..2 {
        let input = Input::new("Go.");
        runtime.run(&caller, &agent, input, &Cancel::new(), &mut |_| {}).await.expect("a run");
    }
    let metrics = observer.metrics().clone();
    assert!(observer.stop(PATIENCE).await);
    let line =
        "ringfence_runs_total{ringfence_run_status=\"completed\",ringfence_tenant=\"local\"} 2\n";
    assert!(metrics.render().contains(line), "{}", metrics.render());
}
