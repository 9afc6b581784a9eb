//! Memory: who shares what, and that a call which was stopped leaves no trace in it.

use ringfence::{
    Caller, Cancel, DirectCall, ToolRef,
    event::{CallResult, Outcome},
};

use crate::world::{World, heard};

const GRANTS: &str = "memory.user = \"write\"\nmemory.tenant = \"write\"\n";

async fn call(world: &World, caller: &Caller, function: &str, arguments: &str) -> CallResult {
    let runtime = world.runtime();
    let call = DirectCall {
        tool: ToolRef::Accepted("memory".parse().expect("a name")),
        function: Some(function.parse().expect("a name")),
        arguments: arguments.into(),
        key: None,
        trace: None,
    };
    let result = runtime.call(caller, call, &Cancel::new(), heard()).await.expect("a call");
    runtime.flush().await.expect("stored");
    result
}

fn caller(tenant: &str, user: &str) -> Caller {
    Caller { tenant: tenant.parse().expect("a name"), user: user.parse().expect("a name") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notes_are_seen_by_those_who_share_the_bucket() {
    let world = World::new();
    world.add(&["tools/memory"]).await;
    world.grants(&format!("[tenant.a.tool.memory]\n{GRANTS}[tenant.b.tool.memory]\n{GRANTS}"));
    let (ann, bob, eve) = (caller("a", "ann"), caller("a", "bob"), caller("b", "ann"));
    for (scope, key) in [("user", "mine"), ("tenant", "ours")] {
        let arguments =
            format!(r#"{{"key":"{key}","text":"the word is {key}","scope":"{scope}"}}"#);
        let result = call(&world, &ann, "remember", &arguments).await;
        assert!(matches!(result.outcome, Outcome::Succeeded { .. }), "{result:?}");
    }
    for (who, scope, key, sees) in [
        (&ann, "user", "mine", true),
        (&bob, "user", "mine", false),
        (&eve, "user", "mine", false),
        (&ann, "tenant", "ours", true),
        (&bob, "tenant", "ours", true),
        (&eve, "tenant", "ours", false),
    ] {
        let arguments = format!(r#"{{"key":"{key}","scope":"{scope}"}}"#);
        let result = call(&world, who, "recall", &arguments).await;
        let said = format!("{:?}", result.outcome);
        assert_eq!(said.contains(&format!("the word is {key}")), sees, "{who:?} {scope}: {said}");
    }
    let result = call(&world, &ann, "recall", r#"{"key":"x","scope":"agent"}"#).await;
    assert_eq!(result.denials.len(), 1, "a scope that is not granted: {result:?}");
    assert!(result.denials[0].to_string().contains("memory.agent"), "{}", result.denials[0]);
}
