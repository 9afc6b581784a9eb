//! Cancelling a run: from the same process, and from another through the inbox.

use ringfence::{
    Caller, Cancel, RunStatus,
    event::{Outcome, Stream},
};

use crate::world::{World, one_call};

const SPIN: &str = "[tenant.local.tool.spin]\nlimits.fuel = \"100000G\"\nlimits.time = \"600s\"\n";

async fn spinning() -> World {
    let world = World::new();
    world.add_spin().await;
    world.grants(SPIN);
    world.script(&one_call("spin_spin", "{}"));
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_cancelled_while_its_call_spins() {
    let world = spinning().await;
    let agent = world.agent("spin = \"*\"", "fuel = \"100000G\"");
    let cancel = Cancel::new();
    let over = world
        .run_with(&world.runtime(), &agent, &cancel, |event| {
            if event.body.kind() == "call.started" {
                cancel.cancel();
            }
        })
        .await;
    assert_eq!(over.ended.status, RunStatus::Cancelled);
    let (_, result) = &over.results()[0];
    assert_eq!(result.outcome, Outcome::Cancelled);
    assert!(result.usage.fuel > 0, "what was spent is known: {:?}", result.usage);
    assert_eq!(over.kinds().last(), Some(&"run.cancelled"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_cancels_through_the_inbox() {
    let world = spinning().await;
    let agent = world.agent("spin = \"*\"", "fuel = \"100000G\"");
    let (started, mut wait) = tokio::sync::mpsc::unbounded_channel();
    let elsewhere = world.runtime();
    let cancelling = tokio::spawn(async move {
        let id = wait.recv().await.expect("a session");
        elsewhere.cancel_session(&Caller::local(), &id).await.expect("a request");
        // A second request, and one for a session of another tenant's that is this one's.
        elsewhere.cancel_session(&Caller::local(), &id).await.expect("a request");
        let other = Caller { tenant: "other".parse().expect("a name"), ..Caller::local() };
        elsewhere.cancel_session(&other, &id).await.expect_err("no such session");
    });
    let over = world
        .run_with(&world.runtime(), &agent, &Cancel::new(), |event| {
            if let ("call.started", Stream::Session(id)) = (event.body.kind(), &event.stream) {
                started.send(id.clone()).expect("somebody waits");
            }
        })
        .await;
    cancelling.await.expect("cancelled");
    assert_eq!(over.ended.status, RunStatus::Cancelled, "{:?}", over.results());
}
