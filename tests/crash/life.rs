//! One life of the process that drives the run, and its end.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use ringfence::{
    Caller, Cancel,
    event::{Event, SessionId},
};

use crate::world::{self, World};

/// The kernel's number of SIGKILL.
const SIGKILL: i32 = 9;

/// When the process is killed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kill {
    /// After so many events were shown.
    pub(crate) lines: usize,
    /// So long after.
    pub(crate) pause: Duration,
}

/// What a process came to.
pub(crate) struct Life {
    /// What it showed, whole lines only: a half one was acknowledged to nobody.
    pub(crate) shown: Vec<Event>,
    /// Whether it was killed before its end.
    pub(crate) killed: bool,
    /// How long it lived.
    pub(crate) lived: Duration,
}

/// Starts the program in a new session; or goes on with one.
pub(crate) fn live(world: &World, id: Option<&SessionId>, kill: Option<Kill>) -> Result<Life> {
    let this = std::env::current_exe()?;
    let mut command = match id {
        None => {
            let program = this.with_file_name("ringfence");
            ensure!(
                program.exists(),
                "{} is not there: `cargo build --workspace` builds it",
                program.display()
            );
            let mut command = Command::new(program);
            command.args(["run", "agent.toml", "--json", "--input", "Go."]);
            command
        }
        Some(id) => {
            let mut command = Command::new(this);
            command.args(["resume", id.as_str()]);
            command
        }
    };
    let began = Instant::now();
    let mut child = command
        .current_dir(world.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("the program")?;
    let mut out = BufReader::new(child.stdout.take().context("its output")?);
    let mut shown = vec![];
    let mut line = vec![];
    loop {
        if let Some(kill) = kill.filter(|kill| kill.lines == shown.len()) {
            // Not to wait for something: this is the moment that chance has chosen.
            std::thread::sleep(kill.pause);
            child.kill()?;
        }
        line.clear();
        out.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            break;
        }
        let event = serde_json::from_slice(&line);
        shown.push(event.with_context(|| String::from_utf8_lossy(&line).into_owned())?);
    }
    let status = child.wait()?;
    let killed = status.signal() == Some(SIGKILL);
    // 7: it waits for a person, who says how a call ended.
    if !killed && !matches!(status.code(), Some(0 | 7)) {
        bail!("the program ended by itself with {status}");
    }
    Ok(Life { shown, killed, lived: began.elapsed() })
}

/// `crash resume ID`: goes on with a session in this folder, as a program that embeds the library
/// does, and shows each event once it is durable.
pub(crate) fn resume(arguments: &[String]) -> Result<()> {
    let [id] = arguments else { bail!("`resume` takes the id of a session") };
    let id: SessionId = id.parse()?;
    let tokio =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let runtime = world::open(Path::new("."))?;
    let mut written = Ok(());
    let mut show = |event: &Event| {
        let line = serde_json::to_vec(event).map_err(std::io::Error::from);
        let shown = line.and_then(|mut line| {
            line.push(b'\n');
            let mut out = std::io::stdout().lock();
            out.write_all(&line).and_then(|()| out.flush())
        });
        if written.is_ok() {
            written = shown;
        }
    };
    tokio.block_on(runtime.resume(&Caller::local(), &id, &Cancel::new(), &mut show))?;
    written.context("standard output")
}
