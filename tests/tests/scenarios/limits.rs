//! What a run may spend: steps, calls, tokens, time and fuel, and how many calls run side by side.

use ringfence::{
    Caller, Cancel, DirectCall, RunStatus, ToolRef,
    event::{Body, Limit, Outcome},
};
use ringfence_tests::{Started, web};

use crate::world::{World, heard};

const SPIN: &str = "[tenant.local.tool.spin]\nlimits.fuel = \"100G\"\nlimits.time = \"60s\"\n";

fn calls(arguments: &[&str]) -> String {
    let calls: Vec<String> = arguments
        .iter()
        .map(|arguments| format!("{{ function = \"spin_spin\", arguments = {arguments} }}"))
        .collect();
    format!("calls = [{}]", calls.join(", "))
}

async fn check(limits: &str, script: &str, limit: Limit) {
    let world = World::new();
    world.add_spin().await;
    world.grants(SPIN);
    world.script(script);
    let agent = world.agent("spin = \"*\"", limits);
    let over = world.run(&agent).await;
    let last = over.events.last().expect("an event");
    let Body::RunLimitReached { limit: reached, .. } = &last.body else {
        panic!("{limits}: {:?}", over.kinds())
    };
    assert_eq!(*reached, limit, "{limits}");
    assert_eq!(over.ended.status, RunStatus::LimitReached(limit));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_limit_of_a_run_holds() {
    let again = format!("[[turn]]\nreply = {{ {} }}\n", calls(&["{ turns = 10 }"]));
    check("steps = 3", &again, Limit::Steps).await;
    check("calls = 2", &again, Limit::Calls).await;
    check("tokens = 500", &again, Limit::Tokens).await;
    let forever = format!("[[turn]]\nreply = {{ {} }}\n", calls(&["{}"]));
    check("time = \"200ms\"", &forever, Limit::Time).await;
    check("fuel = \"20M\"", &forever, Limit::Fuel).await;
}

/// A call that asks for more than the operator has for all of them is not begun, and says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_of_all_calls_holds() {
    let world = World::new();
    world.add_spin().await;
    world.script(&format!(
        "[[turn]]\nwhen = {{ step = 1 }}\nreply = {{ {} }}\n[[turn]]\nreply = {{ text = \"Done.\" }}\n",
        calls(&["{ turns = 10 }"])
    ));
    for (memory, fits) in [("128MiB", true), ("64MiB", false)] {
        // What a tool is given that asks for none is 128 MiB.
        world.grants(&format!("[host]\nmemory = \"{memory}\"\n{SPIN}"));
        let agent = world.agent("spin = \"*\"", "");
        let over = world.run(&agent).await;
        let [(_, result)] = &over.results()[..] else { panic!("one call") };
        match &result.outcome {
            Outcome::Succeeded { .. } => assert!(fits, "{memory}"),
            Outcome::HostError { message } => {
                assert!(!fits && message.contains("`memory` under [host]"), "{message}");
            }
            other => panic!("{memory}: {other:?}"),
        }
    }
    world.grants(&format!("[host]\nmemory = \"1MiB\"\n{SPIN}"));
    let error = ringfence::Config::load(&world.path("ringfence.toml")).unwrap_err().to_string();
    assert!(error.contains("at least 16MiB"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_calls_of_a_step_run_side_by_side_up_to_the_cap() {
    let world = World::new();
    world.add_spin().await;
    world.grants(SPIN);
    let turns = "{ turns = 3000000 }";
    let script = format!(
        "[[turn]]\nwhen = {{ step = 1 }}\nreply = {{ {} }}\n[[turn]]\nreply = {{ text = \"Done.\" }}\n",
        calls(&[turns; 4])
    );
    world.script(&script);
    for (cap, most) in [(1, 1), (2, 2), (4, 4)] {
        let agent = world.agent("spin = \"*\"", &format!("concurrent-calls = {cap}"));
        let over = world.run(&agent).await;
        assert!(over.results().iter().all(|(_, r)| matches!(r.outcome, Outcome::Succeeded { .. })));
        let (mut running, mut peak) = (0_u32, 0);
        for kind in over.kinds() {
            match kind {
                "call.started" => running += 1,
                "call.finished" => running -= 1,
                _ => {}
            }
            peak = peak.max(running);
        }
        assert_eq!(peak, most, "cap {cap}: {:?}", over.kinds());
    }
}

/// One call waits for a server that keeps silent; whether another runs meanwhile, the operator's
/// file says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_file_says_how_many_calls_run_at_one_time() {
    let web = web::serve();
    let call = |tool: &str, arguments: String| DirectCall {
        tool: ToolRef::Accepted(tool.parse().expect("a name")),
        function: None,
        arguments,
        key: None,
        trace: None,
    };
    for (calls, patience) in [(1, "300ms"), (2, "60s")] {
        let world = World::new();
        world.add(&["tools/fetch", "examples/spin"]).await;
        world.grants(&format!(
            "[host]\nconcurrent-calls = {calls}\n\
             [tenant.local.tool.fetch]\nhttp = [\"{}\"]\nlimits.time = \"60s\"\n\
             [tenant.local.tool.spin]\nlimits.time = \"{patience}\"\n",
            web.origin()
        ));
        let runtime = world.runtime();
        let (say, said) = std::sync::mpsc::channel();
        let cancel = Cancel::new();
        let waiting = tokio::spawn({
            let (runtime, cancel) = (runtime.clone(), cancel.clone());
            let get = call("fetch", format!("{{\"url\": \"{}/silent\"}}", web.origin()));
            async move { runtime.call(&Caller::local(), get, &cancel, Started::new(say)).await }
        });
        // It says whom it asks before it does.
        tokio::task::spawn_blocking(move || said.recv()).await.expect("a thread").expect("a word");
        let turn = call("spin", "{\"turns\": 1}".to_owned());
        let other = runtime.call(&Caller::local(), turn, &Cancel::new(), heard()).await;
        let outcome = other.expect("a call").outcome;
        match calls {
            1 => assert_eq!(outcome, Outcome::LimitReached { limit: Limit::Time }),
            _ => assert!(matches!(outcome, Outcome::Succeeded { .. }), "{outcome:?}"),
        }
        cancel.cancel();
        let waited = waiting.await.expect("a task").expect("a call");
        assert_eq!(waited.outcome, Outcome::Cancelled);
    }
}
