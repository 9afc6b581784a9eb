//! `ringfence run`: something said to an agent, and the run that comes of it.

use std::io::{self, IsTerminal as _};

use anyhow::{Context as _, Result};
use ringfence::{Agent, Busy, Input, Runtime};

use crate::{
    args::{Global, RunArguments, WhenBusy},
    call::standard_input,
    config,
    exit::Exit,
    failure::Usage,
    follow::Follow,
    observe,
    screen::Screen,
    signal,
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
    let observer = observe::start_if_set(&runtime).await?;
    let session = match &arguments.session {
        Some(prefix) => Some(runtime.find_session(&caller, prefix)?),
        None => None,
    };
    let cancel = signal::cancel_on_request().context("cannot listen for signals")?;
    let trace = config::trace();
    let input = Input { text, session, busy, key, trace, ..Input::default() };
    let exit = Follow::new(&runtime, &caller, &cancel).run(&agent, input, screen).await;
    observe::stop(observer).await;
    exit
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
