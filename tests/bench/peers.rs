//! The ten-call loop beside the same one in LangGraph with its SQLite checkpointer, as both come: for readers
//! who ask what durability costs elsewhere. What one of them does beside is not the same: ours runs each call in
//! a sandbox of its own under a permit, theirs as a function of the process.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use ringfence::{Caller, Cancel, Input, Runtime};
use serde_json::Value;

use crate::{durable::Folder, measure::median, ours::root, table::Table};

/// Sessions of one round, and rounds.
const SESSIONS: usize = 10;
const ROUNDS: usize = 7;
/// Steps of one session: ten that call, and the answer.
const STEPS: f64 = 11.0;

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let python = root().join("target/peers/bin/python");
    if !python.exists() {
        table.missing("LangGraph", "`cargo xtask bench --peers` installs it");
        return Ok(());
    }
    let tokio =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    tokio.block_on(async {
        let folder = Folder::new().await?;
        folder.ten_calls()?;
        let store = folder.path().join("langgraph.db");
        let mut peer = Peer::start(&python, &store)?;
        let runtime = folder.runtime()?;
        let agent = folder.agent(20)?;
        // The first ones load what there is to load.
        let before = bytes(&folder.path().join(".ringfence/journal.db"))?;
        ours(&runtime, &agent).await?;
        peer.sessions("sync")?;
        let (mut own, mut sync, mut later) = (vec![], vec![], vec![]);
        for _ in 0..ROUNDS {
            own.push(STEPS * SESSIONS as f64 / ours(&runtime, &agent).await?);
            sync.push(STEPS * SESSIONS as f64 / peer.sessions("sync")?);
            later.push(STEPS * SESSIONS as f64 / peer.sessions("async")?);
        }
        let settings = peer.end()?;
        runtime.flush().await?;
        drop(runtime);
        let ratios = |theirs: &[f64]| {
            let mut ratios: Vec<f64> = own.iter().zip(theirs).map(|(own, it)| own / it).collect();
            median(&mut ratios)
        };
        let (by_sync, by_later) = (ratios(&sync), ratios(&later));
        let number = format!("{:.0} steps/s", median(&mut own));
        table.row("ten calls, each in a sandbox", number, "every step durable before the next");
        for (name, times, ratio) in
            [("sync", &mut sync, by_sync), ("async, as it comes", &mut later, by_later)]
        {
            let number = format!("{:.0} steps/s", median(times));
            let note = format!("ours is {ratio:.1} times that; {settings}");
            table.row(&format!("the same in LangGraph, {name}"), number, &note);
        }
        let rounds = (ROUNDS + 1) as f64 * SESSIONS as f64;
        let ours = bytes(&folder.path().join(".ringfence/journal.db"))? - before;
        table.row("store of a session", format!("{:.1} KiB", ours / rounds / 1024.0), "");
        let theirs = bytes(&store)? / (rounds + ROUNDS as f64 * SESSIONS as f64);
        table.row("the same in LangGraph", format!("{:.1} KiB", theirs / 1024.0), "");
        Ok(())
    })
}

/// The seconds that the sessions of one round take.
async fn ours(runtime: &Runtime, agent: &ringfence::Agent) -> Result<f64> {
    let began = Instant::now();
    for _ in 0..SESSIONS {
        let (caller, cancel) = (Caller::local(), Cancel::new());
        let ended = runtime.run(&caller, agent, Input::new("Go."), &cancel, &mut |_| {}).await?;
        ensure!(ended.answer.as_deref() == Some("done"), "{ended:?}");
    }
    Ok(began.elapsed().as_secs_f64())
}

fn bytes(path: &Path) -> Result<f64> {
    // What is in the log still is part of it.
    let log = fs::metadata(path.with_extension("db-wal")).map_or(0, |log| log.len());
    Ok((fs::metadata(path)?.len() + log) as f64)
}

/// The other program, which stays: how long Python takes to start is no part of it.
struct Peer {
    child: Child,
    says: ChildStdin,
    answers: BufReader<ChildStdout>,
    settings: Value,
}

impl Peer {
    fn start(python: &Path, store: &Path) -> Result<Self> {
        let script = root().join("tests/bench/peers/loop.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg(store)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let says = child.stdin.take().context("a pipe")?;
        let answers = BufReader::new(child.stdout.take().context("a pipe")?);
        let mut peer = Self { child, says, answers, settings: Value::Null };
        peer.settings = peer.answer()?;
        Ok(peer)
    }

    fn answer(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).context("the other program has failed")
    }

    /// The seconds that as many sessions take there.
    fn sessions(&mut self, durability: &str) -> Result<f64> {
        writeln!(self.says, "{durability} {SESSIONS}")?;
        self.answer()?["seconds"].as_f64().context("seconds")
    }

    /// What its database is set to.
    fn end(mut self) -> Result<String> {
        drop(self.says);
        ensure!(self.child.wait()?.success(), "the other program has failed");
        let Value::Object(settings) = self.settings else { return Ok(String::new()) };
        let pairs: Vec<String> =
            settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
        Ok(pairs.join(", "))
    }
}
