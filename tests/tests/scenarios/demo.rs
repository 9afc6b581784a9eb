//! The coding assistant of `examples/coder`, as `cargo xtask demo` runs it, over a small workspace.

use std::{fs, path::Path};

use ringfence::{RunStatus, event::DenialCode};

use crate::world::World;

const TOOLS: [&str; 5] =
    ["tools/files", "tools/search", "tools/memory", "tools/fetch", "examples/spin"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_assistant_is_stopped_four_times_and_finishes_its_job() {
    let world = World::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/coder");
    for file in ["agent.toml", "coder.md", "script.toml", "ringfence.toml"] {
        let text = fs::read_to_string(example.join(file)).expect("the example");
        world.write(file, &text.replace("path = \"../..\"", "path = \"workspace\""));
    }
    world.add(&TOOLS).await;
    let agent = ringfence::Agent::load(&world.path("agent.toml")).expect("an agent");

    let over = world.run(&agent).await;
    assert_eq!(over.ended.status, RunStatus::Completed, "{:?}", over.ended);
    let results = over.results();
    let outcomes: Vec<String> = results
        .iter()
        .map(|(function, result)| {
            let codes: Vec<&str> = result.denials.iter().map(|d| d.code.as_str()).collect();
            format!("{function} {} {}", result.outcome.as_str(), codes.join(" "))
        })
        .collect();
    insta::assert_snapshot!(outcomes.join("\n"));
    let report = format!(".ringfence/scratch/local/{}/report.md", over.ended.session);
    assert!(world.read(&report).contains("/workspace/src/main.rs"), "what it found");
    assert!(world.path("workspace/README.md").exists(), "nothing was removed");

    // A second conversation of the same user finds the note.
    let again = world.run(&agent).await;
    let recalled = &again.results()[0].1;
    assert!(format!("{recalled:?}").contains("/scratch/report.md"), "{recalled:?}");
    assert_eq!(results[0].1.denials.iter().filter(|d| d.code == DenialCode::NeverOpen).count(), 0);
}
