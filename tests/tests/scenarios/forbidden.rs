//! What the demo's model must not get, each stopped by its mechanism, and each granted in turn by the
//! lines that its denial names.

use ringfence::event::{DenialCode, FileOwner, Limit, Outcome};

use crate::{
    loopback::serve,
    world::{World, one_call},
};

struct Case {
    tools: &'static [&'static str],
    call: (&'static str, String),
    grants: String,
    outcome: fn(&Outcome) -> bool,
    denied: Option<DenialCode>,
    /// A piece of the line that would allow it, and whose file it is in.
    allow: &'static [(&'static str, FileOwner)],
    /// The operator's file with that line, and what the author adds to the manifest.
    granted: String,
    manifest: &'static str,
    output: &'static str,
}

async fn check(case: Case) {
    let world = World::new();
    world.add(case.tools).await;
    world.script(&one_call(case.call.0, &case.call.1));
    world.grants(&case.grants);
    let tool = case.call.0.split('_').next().expect("a tool");
    let agent = world.agent(&format!("{tool} = \"*\""), "");

    let over = world.run(&agent).await;
    let [(_, result)] = &over.results()[..] else { panic!("one call") };
    assert!((case.outcome)(&result.outcome), "{result:?}");
    assert_eq!(result.denials.first().map(|denial| denial.code), case.denied, "{result:?}");
    for (allow, owner) in case.allow {
        let remedies = result.denials.iter().flat_map(|denial| &denial.remedies);
        let mut said = remedies.filter(|remedy| remedy.owner == *owner);
        assert!(said.any(|remedy| remedy.allow.contains(allow)), "{allow}: {result:?}");
    }
    // The model is told, whatever the guest made of it, and finishes its job.
    let messages = format!("{:?}", over.session.messages());
    assert!(case.denied.is_none() || messages.contains("would allow it"), "{messages}");
    assert_eq!(over.ended.answer.as_deref(), Some("Done."));

    world.grants(&case.granted);
    let source = case.tools[0];
    let changed = world.tool(source, |manifest| format!("{manifest}\n{}", case.manifest));
    world.runtime().accept(&ringfence::Caller::local(), &changed).await.expect("accepted");
    let over = world.run(&agent).await;
    let [(_, result)] = &over.results()[..] else { panic!("one call") };
    let Outcome::Succeeded { output } = &result.outcome else { panic!("granted: {result:?}") };
    assert!(format!("{output:?}").contains(case.output), "{output:?}");
    assert_eq!(result.denials, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_was_not_granted_is_refused_whole() {
    let grant = |functions: &str| {
        format!(
            "[tenant.local.tool.files]\nfunctions = [{functions}]\n\
             fs.workspace = {{ path = \"workspace\", access = \"write\" }}\n"
        )
    };
    check(Case {
        tools: &["tools/files"],
        call: ("files_remove", "{ path = \"/workspace/README.md\" }".into()),
        grants: grant("\"read\""),
        outcome: |outcome| *outcome == Outcome::Denied,
        denied: Some(DenialCode::NotGranted),
        allow: &[("\"remove\"", FileOwner::Operator)],
        granted: grant("\"read\", \"remove\""),
        manifest: "",
        output: "README.md",
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_outside_every_root_is_refused_in_part() {
    let workspace = "[tenant.local.tool.files]\nfs.workspace = { path = \"workspace\" }\n";
    check(Case {
        tools: &["tools/files"],
        call: ("files_read", "{ path = \"/private/plans.txt\" }".into()),
        grants: workspace.into(),
        outcome: |outcome| matches!(outcome, Outcome::Failed { .. }),
        denied: Some(DenialCode::NotNeeded),
        allow: &[("access = \"read\"", FileOwner::ToolAuthor), ("fs.private", FileOwner::Operator)],
        granted: format!("{workspace}fs.private = {{ path = \"private\" }}\n"),
        manifest: "[needs.fs.private]\naccess = \"read\"\n",
        output: "the plans",
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_was_not_granted_is_refused_in_part() {
    let web = serve("<html><body><h1>Style</h1><p>Be brief.</p></body></html>");
    check(Case {
        tools: &["tools/fetch"],
        call: ("fetch_get", format!("{{ url = \"{}/guide\" }}", web.origin())),
        grants: "[tenant.local.tool.fetch]\nhttp = [\"https://docs.rs\"]\n".into(),
        outcome: |outcome| matches!(outcome, Outcome::Failed { .. }),
        denied: Some(DenialCode::NotGranted),
        allow: &[("http://127.0.0.1", FileOwner::Operator)],
        granted: format!("[tenant.local.tool.fetch]\nhttp = [\"{}\"]\n", web.origin()),
        manifest: "",
        output: "Be brief.",
    })
    .await;
    // Nothing was sent for the call that was refused.
    assert_eq!(web.take().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loopback_address_is_not_opened_by_a_wildcard() {
    let web = serve("<p>secret</p>");
    check(Case {
        tools: &["tools/fetch"],
        call: ("fetch_get", format!("{{ url = \"{}/\" }}", web.origin())),
        grants: "[tenant.local.tool.fetch]\nhttp = [\"*\"]\n".into(),
        outcome: |outcome| matches!(outcome, Outcome::Failed { .. }),
        denied: Some(DenialCode::AddressForbidden),
        allow: &[("127.0.0.1", FileOwner::Operator)],
        granted: format!("[tenant.local.tool.fetch]\nhttp = [\"*\", \"{}\"]\n", web.origin()),
        manifest: "",
        output: "secret",
    })
    .await;
    assert_eq!(web.take().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_that_spins_ends_at_its_budget() {
    let grant = |fuel: &str| format!("[tenant.local.tool.spin]\nlimits.fuel = \"{fuel}\"\n");
    check(Case {
        tools: &["examples/spin"],
        call: ("spin_spin", "{ turns = 5000000 }".into()),
        grants: grant("5M"),
        outcome: |outcome| *outcome == Outcome::LimitReached { limit: Limit::Fuel },
        denied: None,
        allow: &[],
        granted: grant("5G"),
        manifest: "",
        output: "5000000 turns",
    })
    .await;
}
