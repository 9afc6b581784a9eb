//! `demo`: what a stranger runs first. A coding assistant works in a folder through sandboxed tools;
//! nothing here needs a key or a network.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::command::{cargo, program, root, run};
use crate::guests;
use crate::metadata::Workspace;

/// The tools of the example, as an operator adds them.
const TOOLS: [&str; 5] =
    ["tools/files", "tools/search", "tools/memory", "tools/fetch", "examples/spin"];

/// What the agent is asked.
const INPUT: &str = "Have a look at the workspace and write a report.";

/// The line of the example's grants that says which folder the agent looks at.
const WORKSPACE: &str = "path = \"../..\"";

pub(crate) fn demo(arguments: &[String]) -> Result<()> {
    let folder = match arguments {
        [] => root().to_owned(),
        [folder] => fs::canonicalize(folder).with_context(|| folder.clone())?,
        _ => bail!("takes one folder"),
    };
    guests::guests()?;
    run(&mut cargo(["build", "--package", "ringfence-cli", "--bin", "ringfence"]))?;
    let ringfence = Workspace::load()?.target.join("debug/ringfence");
    let demo = fresh(&folder)?;
    let config = text(&demo.join("ringfence.toml"))?;

    say("An operator adds five tools: what they offer and ask goes into the lock file");
    for tool in TOOLS {
        let tool = text(&root().join(tool))?;
        run(&mut program(&ringfence, ["--config", &config, "tool", "add", &tool]))?;
    }
    say(&format!("An agent works in {} with them", folder.display()));
    let agent = text(&demo.join("agent.toml"))?;
    run(&mut program(&ringfence, ["--config", &config, "run", &agent, "--input", INPUT]))?;
    say("The report that it wrote");
    let report = demo.join("scratch/report.md");
    eprintln!("{}", fs::read_to_string(&report).with_context(|| report.display().to_string())?);
    say("The session again, from its journal:");
    eprintln!("{} --config {config} session list", ringfence.display());
    eprintln!("{} --config {config} session show ID", ringfence.display());
    Ok(())
}

fn say(title: &str) {
    eprintln!("\n== {title}");
}

fn text(path: &Path) -> Result<String> {
    let text = path.to_str().context("a folder whose name is text")?;
    Ok(text.to_owned())
}

/// A copy of the example whose workspace is `folder`. What an earlier demo left is removed, so that
/// each begins as the first one did.
fn fresh(folder: &Path) -> Result<PathBuf> {
    let (example, demo) = (root().join("examples/coder"), root().join("target/demo"));
    if demo.exists() {
        fs::remove_dir_all(&demo).with_context(|| demo.display().to_string())?;
    }
    fs::create_dir_all(demo.join("scratch")).with_context(|| demo.display().to_string())?;
    for file in ["agent.toml", "coder.md", "script.toml", "ringfence.toml"] {
        let path = example.join(file);
        let mut copy = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        if file == "ringfence.toml" {
            let granted = format!("path = {:?}", text(folder)?);
            if !copy.contains(WORKSPACE) {
                bail!("{} has no line with {WORKSPACE}", path.display());
            }
            copy = copy.replace(WORKSPACE, &granted);
        }
        fs::write(demo.join(file), copy).with_context(|| demo.join(file).display().to_string())?;
    }
    Ok(demo)
}
