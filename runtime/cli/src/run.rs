//! `ringfence run`: something said to an agent, and the run that comes of it.

use std::io::{self, IsTerminal as _};

use anyhow::{Context as _, Result};
use ringfence::{Agent, Busy, Caller, Input, RunEnded, Runtime, Waiting};

use crate::{
    answer::show_verbs,
    args::{Global, RunArguments, WhenBusy},
    call::standard_input,
    config,
    exit::Exit,
    failure::Usage,
    screen::Screen,
    show::show_calls,
    signal,
    view::View,
};

/// Drives the run and shows it.
pub(crate) async fn run(
    global: &Global,
    arguments: RunArguments,
    screen: &mut Screen,
) -> Result<Exit> {
    let config = config::load(global)?;
    let caller = config::known_caller(global, &config)?;
    let agent = Agent::load(&arguments.agent)?;
    let agent = match arguments.model {
        Some(model) => agent.with_model(model),
        None => agent,
    };
    let busy = match arguments.busy {
        WhenBusy::Reject => Busy::Reject,
        WhenBusy::Queue => Busy::Queue,
        WhenBusy::Interrupt => Busy::Interrupt,
    };
    let key = arguments.key;
    let text = said(arguments.input)?;
    let runtime = Runtime::open(config)?;
    for path in &arguments.dev {
        let tool = runtime.substitute(path).await?;
        screen.err.line(format!("using {} for tool {tool}, in this run only", path.display()));
    }
    let session = match &arguments.session {
        Some(prefix) => Some(runtime.find_session(&caller, prefix)?),
        None => None,
    };
    let cancel = signal::cancel_on_request().context("cannot listen for signals")?;
    let mut view = View::default();
    let json = screen.json;
    let input = Input { text, session, busy, key, not_after: None };
    let ended = runtime
        .run(&caller, &agent, input, &cancel, &mut |event| match json {
            true => screen.out.json(event),
            false => view.show(event, &mut screen.err),
        })
        .await?;
    finish(&runtime, &caller, &ended, screen)
}

/// What is shown when nothing of a run goes on: what it came to, or who has to answer what.
pub(crate) fn finish(
    runtime: &Runtime,
    caller: &Caller,
    ended: &RunEnded,
    screen: &mut Screen,
) -> Result<Exit> {
    if !screen.json {
        show_calls(runtime, caller, &ended.session, &mut screen.err)?;
        screen.out.foreign(ended.answer.as_deref().unwrap_or_default());
    }
    if ended.status.is_open() {
        let waiting = Waiting::of(&runtime.session(caller, &ended.session)?);
        show_verbs(&waiting, &mut screen.err);
    }
    Ok(Exit::of_run(ended))
}

/// What is said to the agent.
fn said(input: Option<String>) -> Result<String> {
    let text = match input {
        Some(text) => text,
        None if io::stdin().is_terminal() => String::new(),
        None => standard_input()?,
    };
    match text.trim().is_empty() {
        true => Err(Usage::error("nothing is said to the agent: --input TEXT, or standard input")),
        false => Ok(text),
    }
}
