//! `ringfence call`: one function, without an agent.

use std::{
    io::{self, IsTerminal as _, Read as _},
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, Result};
use ringfence::{
    Config, DirectCall, Runtime, Sink, ToolRef,
    event::{CallResult, FunctionName, IdempotencyKey, Note, Outcome, Usage, neutralise},
    policy::FlagGrants,
};
use tokio::sync::mpsc;

use crate::{
    args::{CallArguments, Global},
    config,
    exit::Exit,
    failure::Usage as BadUsage,
    flags::CallFlags,
    observe,
    result::{cost, outcome_message, outcome_tone, outcome_words, output_text},
    result::{show_denial, show_note},
    screen::{Screen, Tone},
    signal,
};

/// Makes the call and shows what came of it.
pub(crate) async fn call(
    global: &Global,
    arguments: CallArguments,
    screen: &mut Screen,
) -> Result<Exit> {
    let config = config::load(global)?;
    let caller = config::known_caller(global, &config)?;
    let call = direct(&arguments)?;
    let config = with_flags(config, &call.tool, &arguments.flags)?;
    let runtime = Runtime::open(config)?;
    let observer = observe::start_if_set(&runtime).await?;
    let cancel = signal::cancel_on_request().context("cannot listen for signals")?;
    let (notes, mut heard) = mpsc::unbounded_channel();
    let result = {
        let calling = runtime.call(&caller, call, &cancel, Arc::new(Notes(notes)));
        tokio::pin!(calling);
        loop {
            tokio::select! {
                biased;
                Some(note) = heard.recv() => show_live(&note, screen),
                result = &mut calling => break result?,
            }
        }
    };
    while let Ok(note) = heard.try_recv() {
        show_live(&note, screen);
    }
    show(&result, screen);
    // The answer of a call that changes nothing does not wait for its record; the process does.
    runtime.flush().await?;
    observe::stop(observer).await;
    Ok(Exit::of_call(&result))
}

/// What a call says, on its way to the terminal: the call's own thread must not wait for that.
struct Notes(mpsc::UnboundedSender<Note>);

impl Sink for Notes {
    fn note(&self, note: Note) {
        // Nobody listens any more when the call is over.
        let _ = self.0.send(note);
    }
}

/// What a tool is named by: a path if there is such a thing, else a name.
pub(crate) fn tool(given: &str) -> Result<ToolRef> {
    let path = Path::new(given);
    if path.exists() {
        return Ok(ToolRef::Local(path.to_owned()));
    }
    match given.parse() {
        Ok(name) => Ok(ToolRef::Accepted(name)),
        Err(_) => Err(BadUsage::error(format!("there is no file or folder `{given}`"))),
    }
}

fn direct(arguments: &CallArguments) -> Result<DirectCall> {
    let tool = tool(&arguments.tool)?;
    let (function, json) = match (&arguments.function, &arguments.arguments) {
        // A function's name is left out where there is but one, and what stands there is no name.
        (Some(json), None) if json == "-" || json.trim_start().starts_with('{') => {
            (None, Some(json))
        }
        (function, json) => (function.as_ref(), json.as_ref()),
    };
    let function = function.map(|name| name.parse::<FunctionName>()).transpose();
    let arguments_json = match json.map(String::as_str) {
        Some("-") => standard_input()?,
        Some(json) => json.to_owned(),
        None if io::stdin().is_terminal() => String::new(),
        None => standard_input()?,
    };
    Ok(DirectCall {
        tool,
        function: function.map_err(|error| BadUsage::error(error.to_string()))?,
        arguments: if arguments_json.trim().is_empty() { "{}".into() } else { arguments_json },
        key: arguments.key.clone().map(IdempotencyKey),
        trace: config::trace(),
    })
}

/// All of standard input.
pub(crate) fn standard_input() -> Result<String> {
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes).context("cannot read standard input")?;
    String::from_utf8(bytes).map_err(|_| BadUsage::error("standard input is not UTF-8"))
}

/// Somebody who types a path, or has no configuration, says with that what may be called.
fn with_flags(config: Config, tool: &ToolRef, flags: &CallFlags) -> Result<Config> {
    let typed = matches!(tool, ToolRef::Local(_)) || config.file().is_none();
    match (flags.is_empty(), typed) {
        (true, false) => Ok(config),
        (true, true) => Ok(config.with_flags(FlagGrants::default())?),
        (false, _) => Ok(config.with_flags(flags.grants()?)?),
    }
}

fn show_live(note: &Note, screen: &mut Screen) {
    show_note(&mut screen.err, "", note);
}

fn show(result: &CallResult, screen: &mut Screen) {
    if screen.json {
        return screen.out.json(result);
    }
    if let Outcome::Succeeded { output } = &result.outcome {
        screen.out.foreign(&output_text(output));
    }
    let err = &mut screen.err;
    for denial in &result.denials {
        show_denial(err, "", denial);
    }
    let words = err.paint(outcome_tone(&result.outcome), outcome_words(&result.outcome));
    if let Some(message) = outcome_message(&result.outcome) {
        err.line(format!("{words}: {}", neutralise(&message)));
        if result.usage != Usage::default() {
            let spent = format!("after {}", cost(&result.usage));
            err.line(err.paint(Tone::Faint, spent));
        }
    } else if result.usage == Usage::default() {
        err.line(words);
    } else {
        let cost = err.paint(Tone::Faint, cost(&result.usage));
        err.line(format!("{words} in {cost}"));
    }
}
