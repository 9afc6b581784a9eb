//! Cancelling: a run from the same process, and from another through the inbox; calls by taking back
//! what they are granted.

use ringfence::{
    Caller, Cancel, DirectCall, RunStatus, Session, ToolRef,
    event::{DenialCode, Message, Outcome, Shared, Stream},
};
use ringfence_tests::{Started, web};

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

/// Calls one after the other, one a step.
fn steps(calls: &[(&str, &str)]) -> String {
    let turn = |(step, (function, arguments)): (usize, &(&str, &str))| {
        format!(
            "[[turn]]\nwhen = {{ step = {} }}\nreply = {{ calls = [{{ function = \"{function}\", \
             arguments = {arguments} }}] }}\n",
            step + 1
        )
    };
    let turns: String = calls.iter().enumerate().map(turn).collect();
    format!("{turns}[[turn]]\nreply = {{ text = \"Done.\" }}\n")
}

/// What the model was told of each call.
fn told(session: &Session) -> Vec<String> {
    let text = |message: &Shared<Message>| match &**message {
        Message::Result { text, .. } => Some(text.clone()),
        _ => None,
    };
    session.messages().iter().filter_map(text).collect()
}

/// A grant that is taken back ends what runs by it, whether the guest computes or the host is waited
/// for, and nothing else; the run goes on, the model knows, and nothing begins by it any more until
/// the host is started anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_grant_ends_its_calls_and_not_the_run() {
    let web = web::serve();
    let silent = format!("{{ url = \"{}/silent\" }}", web.origin());
    for (tool, function, first, second) in [
        ("spin", "spin_spin", "{}", "{ turns = 1 }"),
        ("fetch", "fetch_get", silent.as_str(), silent.as_str()),
    ] {
        let world = World::new();
        world.add_spin().await;
        world.add(&["tools/fetch", "tools/files"]).await;
        world.grants(&format!(
            "{SPIN}[tenant.local.tool.fetch]\nhttp = [\"{}\"]\nlimits.time = \"600s\"\n\
             [tenant.local.tool.files]\nfs.workspace = {{ path = \"workspace\" }}\n",
            web.origin()
        ));
        let read = ("files_read", "{ path = \"/workspace/README.md\" }");
        world.script(&steps(&[(function, first), (function, second), read]));
        let agent = world.agent(
            "spin = \"*\"\nfetch = \"*\"\nfiles = \"*\"",
            "fuel = \"100000G\"\ntime = \"600s\"",
        );
        let runtime = world.runtime();
        let (tenant, tool) = (Caller::local().tenant, tool.parse().expect("a name"));
        let mut ended = vec![];
        let over = world
            .run_with(&runtime, &agent, &Cancel::new(), |event| {
                if event.body.kind() == "call.started" && ended.is_empty() {
                    let other = "other".parse().expect("a name");
                    ended.push(runtime.revoke(&other, &tool));
                    ended.push(runtime.revoke(&tenant, &"mail".parse().expect("a name")));
                    ended.push(runtime.revoke(&tenant, &tool));
                    ended.push(runtime.revoke(&tenant, &tool));
                }
            })
            .await;
        // Told again while it ends: that changes nothing.
        assert_eq!(ended[..3], [0, 0, 1], "{function}");
        assert_eq!(over.ended.status, RunStatus::Completed, "{function}");
        let [(_, cancelled), (_, denied), (_, other)] = &over.results()[..] else { panic!() };
        assert_eq!(cancelled.outcome, Outcome::Cancelled, "{function}");
        assert!(cancelled.usage.fuel > 0, "what was spent is known: {:?}", cancelled.usage);
        assert_eq!(denied.outcome, Outcome::Denied, "{function}");
        assert!(matches!(other.outcome, Outcome::Succeeded { .. }), "{other:?}");
        for result in [cancelled, denied] {
            let [denial] = &result.denials[..] else { panic!("{result:?}") };
            assert!(denial.code == DenialCode::NotGranted && denial.revoked, "{denial}");
        }
        if function == "spin_spin" {
            insta::assert_snapshot!(told(&over.session)[..2].join("\n"));
        }
        // Opened anew, it goes by the file again.
        let stop = Cancel::new();
        let again = world
            .run_with(&world.runtime(), &agent, &stop, |event| {
                if event.body.kind() == "call.started" {
                    stop.cancel();
                }
            })
            .await;
        assert_eq!(again.ended.status, RunStatus::Cancelled, "{function}");
    }
}

/// A call that was decided before its grant was taken back, and would begin after it, does not begin.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_was_decided_before_does_not_begin_after() {
    for revoked in [true, false] {
        let world = World::new();
        world.add(&["tests/guests/ledger"]).await;
        world.grants(
            "[tenant.local.tool.ledger]\n\
             fs.workspace = { path = \"workspace\", access = \"write\" }\n",
        );
        world.script(&one_call("ledger_pay", "{ what = \"a debt\" }"));
        let agent = world.agent("ledger = \"*\"", "");
        let runtime = world.runtime();
        let over = world
            .run_with(&runtime, &agent, &Cancel::new(), |event| {
                // The intent of such a call is durable, and so shown, before it begins.
                if event.body.kind() == "call.intended" && revoked {
                    let tool = "ledger".parse().expect("a name");
                    assert_eq!(runtime.revoke(&Caller::local().tenant, &tool), 0);
                }
            })
            .await;
        assert_eq!(over.ended.status, RunStatus::Completed);
        let [(_, result)] = &over.results()[..] else { panic!("one call") };
        assert_eq!(world.path("workspace/unsafe.txt").exists(), !revoked, "{result:?}");
        match revoked {
            true => {
                assert_eq!(result.outcome, Outcome::Denied);
                assert!(result.denials[0].revoked, "{result:?}");
            }
            false => assert!(matches!(result.outcome, Outcome::Succeeded { .. }), "{result:?}"),
        }
    }
}

/// Direct calls of two tools under one request: the one whose grant is taken back ends, the other one
/// runs on until somebody cancels it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_grant_ends_no_other_call_of_the_same_request() {
    let web = web::serve();
    let world = World::new();
    world.add_spin().await;
    world.add(&["tools/fetch"]).await;
    world.grants(&format!(
        "{SPIN}[tenant.local.tool.fetch]\nhttp = [\"{}\"]\nlimits.time = \"600s\"\n",
        web.origin()
    ));
    let (runtime, cancel) = (world.runtime(), Cancel::new());
    let (say, said) = std::sync::mpsc::channel();
    let call = |tool: &str, arguments: String| {
        let tool = ToolRef::Accepted(tool.parse().expect("a name"));
        let call = DirectCall { tool, function: None, arguments, key: None, trace: None };
        let (runtime, cancel, sink) = (runtime.clone(), cancel.clone(), Started::new(say.clone()));
        tokio::spawn(async move { runtime.call(&Caller::local(), call, &cancel, sink).await })
    };
    let fetching = call("fetch", format!("{{\"url\": \"{}/silent\"}}", web.origin()));
    tokio::task::spawn_blocking(move || said.recv()).await.expect("a thread").expect("a word");
    let spinning = call("spin", "{}".to_owned());
    let tenant = Caller::local().tenant;
    // It says nothing, so it is asked for until it is there.
    while runtime.revoke(&tenant, &"spin".parse().expect("a name")) == 0 {
        if spinning.is_finished() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let ended = spinning.await.expect("a task").expect("a call");
    assert!(matches!(ended.outcome, Outcome::Cancelled | Outcome::Denied), "{ended:?}");
    assert!(ended.denials[0].revoked, "{ended:?}");
    assert!(!cancel.is_requested() && !fetching.is_finished());
    cancel.cancel();
    let ended = fetching.await.expect("a task").expect("a call");
    assert_eq!((ended.outcome, ended.denials.len()), (Outcome::Cancelled, 0));
}
