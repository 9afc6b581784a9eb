//! `ringfence grant`: the operator's file, changed by the lines that are shown first.

use std::collections::BTreeMap;

use anyhow::Result;
use ringfence::{Runtime, event::neutralise_line};
use serde_json::json;

use crate::{
    args::{Global, GrantArguments},
    ask::agreed,
    config,
    exit::Exit,
    failure::Usage,
    screen::{Screen, Tone},
};

/// Shows what would be granted, asks, and writes it.
pub(crate) async fn grant(
    global: &Global,
    arguments: GrantArguments,
    screen: &mut Screen,
) -> Result<Exit> {
    let runtime = Runtime::open(config::load(global)?)?;
    let caller = config::caller(global);
    let GrantArguments { tool, from_needs, root, value, yes } = arguments;
    if !root.is_empty() && !from_needs {
        return Err(Usage::error("--root says where a root lies that --from-needs grants"));
    }
    if !value.is_empty() && !from_needs {
        return Err(Usage::error("--value is of a configuration key that --from-needs grants"));
    }
    let roots: BTreeMap<_, _> = root.into_iter().collect();
    let values: BTreeMap<_, _> = value.into_iter().collect();
    // Of what was accepted: a folder that changed since is not asked what it wants.
    runtime.verify(&tool)?;
    let granted = runtime.propose_grant(&caller, &tool, from_needs, &roots, &values)?;
    let strange = roots.keys().find(|name| {
        let line = format!("fs.{name} = ");
        !granted.lines.iter().any(|granted| granted.starts_with(&line))
    });
    if let Some(name) = strange {
        return Err(Usage::error(format!("tool `{tool}` asks for no root `{name}`")));
    }
    let file = granted.file.display();
    if !screen.json {
        screen.out.line(format!("{file}:"));
        for line in &granted.lines {
            screen.out.line(screen.out.paint(Tone::Good, format!("+ {}", neutralise_line(line))));
        }
    }
    for key in &granted.unset {
        screen.err.line(format!("config.{key} is not among them: --value {key}=VALUE sets it"));
    }
    if !agreed(&format!("write this to {file}?"), yes, screen)? {
        return Ok(Exit::Usage);
    }
    runtime.grant(&caller, &granted).await?;
    match screen.json {
        true => screen.out.json(&json!({ "file": granted.file, "lines": granted.lines })),
        false => screen.out.line(format!("granted to tenant {}", caller.tenant)),
    }
    Ok(Exit::Done)
}
