//! `demo`: what a stranger runs first. A coding assistant works in a folder through sandboxed tools;
//! nothing here needs a key or a network.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::command::{c_compiler, cargo, output, program, root, run};
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
    c_compiler()?;
    guests::guests()?;
    run(&mut cargo(["build", "--package", "ringfence-cli", "--bin", "ringfence"]))?;
    let ringfence = Workspace::load()?.target.join("debug/ringfence");
    let demo = root().join("target/demo");
    fresh(&folder, &demo)?;
    let config = text(&demo.join("ringfence.toml"))?;

    say("An operator adds five tools: what they offer and ask goes into the lock file");
    for tool in TOOLS {
        let tool = text(&root().join(tool))?;
        run(&mut program(&ringfence, ["--config", &config, "tool", "add", &tool]))?;
    }
    say(&format!("An agent works in {} with them", folder.display()));
    let agent = text(&demo.join("agent.toml"))?;
    run(&mut program(&ringfence, ["--config", &config, "run", &agent, "--input", INPUT]))?;
    let listed = ["--config", &config, "--json", "session", "list"];
    let session = session_id(&output(&mut program(&ringfence, listed))?)?;
    say("The report that it wrote into the session's scratch");
    let report = demo.join(".ringfence/scratch/local").join(&session).join("report.md");
    eprintln!("{}", fs::read_to_string(&report).with_context(|| report.display().to_string())?);
    say("The session again, from its journal:");
    eprintln!("{} --config {} session show {session}", ringfence.display(), quoted(&config));
    Ok(())
}

/// The id of the one session that the demo's journal has.
fn session_id(listed: &str) -> Result<String> {
    let listed: Value = serde_json::from_str(listed).context("the list of sessions")?;
    let session = listed.pointer("/0/session").and_then(Value::as_str);
    Ok(session.context("the journal has no session")?.to_owned())
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-+,:@".contains(letter);
    match word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

fn say(title: &str) {
    eprintln!("\n== {title}");
}

fn text(path: &Path) -> Result<String> {
    let text = path.to_str().context("a folder whose name is text")?;
    Ok(text.to_owned())
}

/// Makes `demo` a copy of the example whose workspace is `folder`. What an earlier demo left is
/// removed, so that each begins as the first one did.
fn fresh(folder: &Path, demo: &Path) -> Result<()> {
    let example = root().join("examples/coder");
    if demo.exists() {
        fs::remove_dir_all(demo).with_context(|| demo.display().to_string())?;
    }
    fs::create_dir_all(demo).with_context(|| demo.display().to_string())?;
    for file in ["agent.toml", "coder.md", "script.toml", "ringfence.toml"] {
        let path = example.join(file);
        let mut copy = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        if file == "ringfence.toml" {
            let granted = format!("path = {}", toml_string(&text(folder)?));
            if !copy.contains(WORKSPACE) {
                bail!("{} has no line with {WORKSPACE}", path.display());
            }
            copy = copy.replace(WORKSPACE, &granted);
        }
        fs::write(demo.join(file), copy).with_context(|| demo.join(file).display().to_string())?;
    }
    Ok(())
}

/// A basic string of TOML. Rust's own quoting is another: it writes `\u{7f}` and `\'`.
fn toml_string(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => {
                quoted.push_str(&format!("\\u{:04X}", u32::from(letter)));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_folder_can_be_the_workspace() {
        let place = root().join(format!("target/tmp/demo-{}", std::process::id()));
        for name in ["plain", "a folder of José's \"日本語\"", "back\\slash\ttab \u{7f}\u{301}"]
        {
            let (folder, demo) = (place.join(name), place.join("demo"));
            fs::create_dir_all(&folder).expect("a folder");
            fs::create_dir_all(&demo).expect("a folder");
            fs::write(demo.join("old"), "left by an earlier demo").expect("a file");
            fresh(&folder, &demo).expect("a copy");
            assert!(!demo.join("old").exists(), "{name}");
            for file in ["agent.toml", "coder.md", "script.toml"] {
                assert!(demo.join(file).is_file(), "{name}: {file}");
            }
            let granted = fs::read_to_string(demo.join("ringfence.toml")).expect("grants");
            let granted: toml::Table = granted.parse().expect("TOML");
            let paths = roots(&toml::Value::Table(granted));
            assert!(paths.contains(&folder.to_str().expect("text").to_owned()), "{paths:?}");
        }
        fs::remove_dir_all(&place).expect("removed");
    }

    /// Every `path` of the file.
    fn roots(value: &toml::Value) -> Vec<String> {
        let Some(table) = value.as_table() else { return vec![] };
        let own = table.get("path").and_then(toml::Value::as_str).map(str::to_owned);
        own.into_iter().chain(table.values().flat_map(roots)).collect()
    }

    #[test]
    fn the_session_that_ran_is_named_as_a_shell_reads_it() {
        let listed = r#"[{"session": "s-1", "agent": "coder"}]"#;
        assert_eq!(session_id(listed).expect("an id"), "s-1");
        assert!(session_id("[]").is_err());
        assert_eq!(quoted("/a/b.toml"), "/a/b.toml");
        assert_eq!(quoted("/José's x"), "'/José'\\''s x'");
    }
}
