//! The `ringfence` program: arguments in, one verb carried out with the library, an exit code out.
//! It reads the environment and the working directory, which nothing below it does.

#![forbid(unsafe_code)]

mod answer;
mod args;
mod ask;
mod call;
mod check;
mod config;
mod config_file;
mod exit;
mod explain;
mod failure;
mod flags;
mod follow;
mod grant;
mod inspect;
mod key;
mod log;
mod memory;
mod observe;
mod person;
mod result;
mod resume;
mod run;
mod screen;
mod serve;
mod session;
mod show;
mod signal;
mod state;
mod table;
mod text;
mod tool;
mod transfer;
mod view;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use tokio::runtime::Builder;

use crate::{
    args::{Arguments, Verb},
    exit::Exit,
    screen::Screen,
};

/// Many threads make and drop small things here; the system's allocator takes twice as long for them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    memory::close();
    let arguments = match args::read() {
        Ok(arguments) => arguments,
        Err(exit) => return exit,
    };
    let mut screen = Screen::of_process(arguments.global.color, arguments.global.json);
    let done = start(arguments, &mut screen);
    let exit = done.unwrap_or_else(|error| failure::report(&error, &mut screen));
    finish(exit, &mut screen).into()
}

/// After how many turns of tasks it is looked whether a timer or a socket is ready. A guest that only computes has
/// turns of 10 ms, and where each thread has one of those nothing else would be heard of for as long: what is
/// taken back has a second to end everywhere.
const POLLS: u32 = 4;

fn start(arguments: Arguments, screen: &mut Screen) -> Result<Exit> {
    // One for what is waited for, one for what computes: more would only take longer to start, unless
    // there are many to serve.
    let threads = match &arguments.verb {
        Verb::Serve(_) => {
            std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2))
        }
        _ => 2,
    };
    let mut tokio = Builder::new_multi_thread();
    let tokio = tokio.worker_threads(threads).event_interval(POLLS).enable_all().build();
    let tokio = tokio.context("cannot start threads")?;
    let exit = tokio.block_on(carry_out(arguments, screen));
    // A name that is still being looked up must not keep the program.
    tokio.shutdown_background();
    exit
}

async fn carry_out(Arguments { global, verb }: Arguments, screen: &mut Screen) -> Result<Exit> {
    match verb {
        Verb::Run(arguments) => run::run(&global, arguments, screen).await,
        Verb::Call(arguments) => call::call(&global, arguments, screen).await,
        Verb::Tool(verb) => tool::tool(&global, verb, screen).await,
        Verb::Grant(arguments) => grant::grant(&global, arguments, screen).await,
        Verb::Explain(arguments) => explain::explain(&global, arguments, screen).await,
        Verb::Approvals(verb) => answer::approvals(&global, verb, screen).await,
        Verb::Session(verb) => session::session(&global, verb, screen).await,
        Verb::Serve(arguments) => serve::serve(&global, arguments, screen).await,
        Verb::Key(verb) => key::key(&global, verb, screen).await,
        Verb::Config(verb) => config_file::config(&global, verb, screen).await,
    }
}

fn finish(exit: Exit, screen: &mut Screen) -> Exit {
    // Nobody can be told when standard error is what fails.
    let _ = screen.err.finish();
    match screen.out.finish() {
        Ok(()) => exit,
        Err(error) => {
            screen.err.line(format!("error: cannot write to standard output: {error}"));
            Exit::Host
        }
    }
}
