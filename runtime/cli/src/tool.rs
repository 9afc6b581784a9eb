//! `ringfence tool`: what is added, accepted, removed and listed.

use std::path::{Path, PathBuf};

use anyhow::{Error, Result};
use ringfence::{
    Added, Caller, Difference, Inspected, Runtime,
    event::{ToolName, neutralise},
};
use serde_json::json;

use crate::{
    args::{Global, ToolVerb},
    ask::agreed,
    check::check,
    config,
    exit::Exit,
    failure::Usage,
    inspect::{self, Detail},
    screen::{Screen, Tone},
    table::Table,
    text::{cut, several},
};

/// Carries out one verb.
pub(crate) async fn tool(global: &Global, verb: ToolVerb, screen: &mut Screen) -> Result<Exit> {
    let runtime = Runtime::open(config::load(global)?)?;
    let caller = config::caller(global);
    match verb {
        ToolVerb::Add { path } => add(&runtime, &caller, &path, screen).await,
        ToolVerb::Accept { tool, yes } => accept(&runtime, &caller, &tool, yes, screen).await,
        ToolVerb::Remove { name } => remove(&runtime, &caller, &name, screen).await,
        ToolVerb::List => list(&runtime, screen),
        ToolVerb::Inspect { tool } => {
            let inspected = runtime.inspect(&place(&runtime, &tool)?).await?;
            inspect::show(&inspected, Detail::All, screen);
            Ok(Exit::Done)
        }
        ToolVerb::Check { tool, strict } => {
            let inspected = runtime.inspect(&place(&runtime, &tool)?).await?;
            let home = config::home_folder();
            let tenant = global.tenant.as_ref();
            let grants = runtime.review_grants(tenant, &inspected.installed, home.as_deref());
            Ok(check(&inspected, &grants, strict, screen))
        }
    }
}

/// Where a tool lies that is named by a path or a name.
fn place(runtime: &Runtime, given: &str) -> Result<PathBuf> {
    let path = Path::new(given);
    if path.exists() {
        return Ok(path.to_owned());
    }
    match given.parse() {
        Ok(name) => Ok(runtime.source_of(&name)?),
        Err(_) => Err(Usage::error(format!("there is no file or folder `{given}`"))),
    }
}

async fn add(runtime: &Runtime, caller: &Caller, path: &Path, screen: &mut Screen) -> Result<Exit> {
    let inspected = runtime.inspect(path).await?;
    if let Some(difference) = changed(&inspected) {
        let path = path.display();
        let line = format!("`ringfence tool accept {path}` takes it as it is now");
        if screen.json {
            return Err(Usage::error(format!("{difference}\n{line}")));
        }
        show_difference(difference, screen);
        screen.err.line(line);
        return Ok(Exit::Usage);
    }
    let again = inspected.accepted.is_ok();
    inspect::show(&inspected, Detail::Asked, screen);
    let added = runtime.add_inspected(caller, inspected).await?;
    let name = &added.tool;
    if !screen.json {
        let word = if again { "is added already, as it is" } else { "added to ringfence.lock" };
        screen.out.line(screen.out.paint(Tone::Good, format!("{name} {word}")));
        screen.err.line(format!("`ringfence grant {name} --from-needs` gives it what it asks"));
    }
    Ok(Exit::Done)
}

async fn accept(
    runtime: &Runtime,
    caller: &Caller,
    given: &str,
    yes: bool,
    screen: &mut Screen,
) -> Result<Exit> {
    let inspected = runtime.inspect(&place(runtime, given)?).await?;
    let name = inspected.installed.manifest.name.clone();
    if inspected.accepted.is_ok() {
        return Ok(accepted(&name, "is what was accepted", screen));
    }
    if !screen.json {
        match changed(&inspected) {
            Some(difference) => show_difference(difference, screen),
            None => inspect::show(&inspected, Detail::Asked, screen),
        }
    }
    if !agreed(&format!("accept {name} as it is now?"), yes, screen)? {
        return Ok(Exit::Usage);
    }
    let Added { tool, .. } = runtime.accept_inspected(caller, inspected).await?;
    Ok(accepted(&tool, "accepted", screen))
}

fn accepted(name: &ToolName, word: &str, screen: &mut Screen) -> Exit {
    match screen.json {
        true => screen.out.json(&json!({ "tool": name, "accepted": true })),
        false => screen.out.line(screen.out.paint(Tone::Good, format!("{name} {word}"))),
    }
    Exit::Done
}

async fn remove(
    runtime: &Runtime,
    caller: &Caller,
    name: &ToolName,
    screen: &mut Screen,
) -> Result<Exit> {
    runtime.remove(caller, name).await?;
    match screen.json {
        true => screen.out.json(&json!({ "tool": name, "removed": true })),
        false => screen.out.line(format!("{name} removed from ringfence.lock")),
    }
    Ok(Exit::Done)
}

fn list(runtime: &Runtime, screen: &mut Screen) -> Result<Exit> {
    let mut table = Table::new(&["TOOL", ">FUNCTIONS", "STATE", "PLACE"]);
    let mut objects = vec![];
    for (name, entry) in runtime.tools() {
        let state = match runtime.verify(&name) {
            Ok(()) => "accepted".to_owned(),
            Err(ringfence::Error::Changed(difference)) => {
                format!("changed ({})", several(difference.changes.len(), "difference"))
            }
            Err(error) => format!("broken: {}", cut(&Error::new(error).to_string(), 60)),
        };
        objects.push(json!({
            "tool": name,
            "functions": entry.functions.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(),
            "state": state,
            "place": entry.source,
            "component": entry.component,
        }));
        let functions = entry.functions.len().to_string();
        table.row([name.to_string(), functions, state, neutralise(&entry.source).into_owned()]);
    }
    if screen.json {
        screen.out.json(&objects);
    } else if objects.is_empty() {
        screen.err.line("no tools yet: `ringfence tool add FOLDER` adds one");
    } else {
        table.lines().iter().for_each(|line| screen.out.line(line));
    }
    Ok(Exit::Done)
}

/// How a tool differs from what was accepted of it, if anything was.
fn changed(inspected: &Inspected) -> Option<&Difference> {
    inspected.accepted.as_ref().err().filter(|difference| !difference.changes.is_empty())
}

/// What was taken away in red, what came in green.
fn show_difference(difference: &Difference, screen: &mut Screen) {
    // Its own lines are the ones with a mark; the rest is neutralised by it already.
    for line in difference.to_string().lines() {
        let line = match line.as_bytes() {
            [b'-', ..] => screen.err.paint(Tone::Bad, line),
            [b'+', ..] => screen.err.paint(Tone::Good, line),
            _ => line.to_owned(),
        };
        screen.err.line(line);
    }
}
