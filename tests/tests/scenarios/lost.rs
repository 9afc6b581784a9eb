//! Calls that began, and whose end nobody could write down.

use std::{fs, sync::mpsc};

use ringfence::{
    Caller, Cancel, DirectCall, Error, Runtime, ToolRef,
    event::{CallResult, Outcome},
};
use ringfence_tests::{Disk, Started, guest};
use tokio::task::{spawn_blocking, yield_now};

use crate::world::{World, heard};

fn hold(how: &str) -> DirectCall {
    DirectCall {
        tool: ToolRef::Accepted("probe".parse().expect("a name")),
        function: Some("hold".parse().expect("a name")),
        arguments: format!("{{\"how\": \"{how}\"}}"),
        key: None,
        trace: None,
    }
}

async fn quick(runtime: &Runtime) -> Result<CallResult, Error> {
    runtime.call(&Caller::local(), hold("sleep"), &Cancel::new(), heard()).await
}

/// What did not begin is told apart from what did: only the former can be said again without a second thought.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i11_a_call_whose_end_cannot_be_kept_is_told_as_begun() {
    let home = match Disk::mount("3m") {
        Ok(disk) => disk,
        // It takes the right to mount.
        Err(why) => return eprintln!("not tried: {why}"),
    };
    let world = World::new();
    world.write(
        "probe/tool.toml",
        "tool = { name = \"probe\", component = \"probe.wasm\" }\n\
         [limits]\nfuel = \"1000000G\"\ntime = \"1000s\"\n\
         [function.hold]\neffect = \"idempotent\"\n",
    );
    fs::write(world.path("probe/probe.wasm"), guest("probe")).expect("a component");
    world.runtime().accept(&Caller::local(), &world.path("probe")).await.expect("a tool");
    world.grants("[tenant.local.tool.probe]\nlimits = { fuel = \"100000G\", time = \"1000s\" }\n");
    let runtime = world.runtime_with(|config| config.with_home(home.path()));
    let outcome = quick(&runtime).await.expect("there is space").outcome;
    assert!(matches!(outcome, Outcome::Succeeded { .. }), "{outcome:?}");
    let (say, said) = mpsc::channel();
    let cancel = Cancel::new();
    let held = {
        let (runtime, cancel, sink) = (runtime.clone(), cancel.clone(), Started::new(say));
        tokio::spawn(
            async move { runtime.call(&Caller::local(), hold("spin"), &cancel, sink).await },
        )
    };
    spawn_blocking(move || said.recv().expect("a word")).await.expect("it runs");
    home.fill();
    // One that finds the disk full before it begins.
    let refused = loop {
        match quick(&runtime).await {
            // Of one that was in its middle nobody knows either.
            Ok(_) | Err(Error::Lost { .. }) => {}
            Err(error) => break error,
        }
    };
    assert_ne!(refused.code(), "outcome-unknown", "{refused}");
    cancel.cancel();
    let lost = held.await.expect("a task").expect_err("its end is nowhere");
    assert!(matches!(lost, Error::Lost { source: Some(_) }), "{lost:?}");
    assert_eq!((lost.code(), lost.is_usage()), ("outcome-unknown", false));
    home.empty();
    while !runtime.load().store.is_good() {
        yield_now().await;
    }
    quick(&runtime).await.expect("there is space again");
}
