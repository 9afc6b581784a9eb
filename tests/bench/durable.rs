//! What it costs that a step is durable: a run's step beside a plain wait for the disk, on the same disk
//! in the same run. The model is a script, so that nothing else is waited for.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use ringfence::{Agent, Caller, Cancel, Config, Input, Runtime};

use crate::{
    measure::{median, us},
    ours::root,
    table::{Bound, Table},
};

/// Steps of one run, and how many runs of each kind are measured in turn with the disk.
const STEPS: usize = 40;
const ROUNDS: usize = 15;

/// Sessions at one time, and the steps of each.
const SESSIONS: usize = 256;
const STEPS_OF_EACH: usize = 24;

/// Steps of the long session that is gone on with.
const LONG: usize = 1_000;

/// An operator's folder: the greeting tool under two names, as the `pure` function that it is and as an
/// `unsafe` one.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) async fn new() -> Result<Self> {
        // Beside the build, because what is measured is the disk: a folder for temporary files may be in
        // memory.
        let parent = root().join("target");
        let folder = Self(tempfile::tempdir_in(parent)?);
        let wasm = root().join("target/guest/hello.wasm");
        for (name, effect) in [("pure-one", "pure"), ("unsafe-one", "unsafe")] {
            let manifest = format!(
                "[tool]\nname = \"{name}\"\ncomponent = \"tool.wasm\"\n[function.greet]\neffect = \
                 \"{effect}\"\n"
            );
            folder.write(&format!("{name}/tool.toml"), &manifest)?;
            std::fs::copy(&wasm, folder.path().join(name).join("tool.wasm"))
                .with_context(|| format!("{}: `cargo xtask guests` builds it", wasm.display()))?;
            folder.write("script.toml", "[[turn]]\nreply = { text = \"x\" }\n")?;
            folder.script("pure-one")?;
            let path = folder.path().join(name);
            folder.runtime()?.accept(&Caller::local(), &path).await?;
        }
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().context("a parent")?)?;
        Ok(std::fs::write(path, text)?)
    }

    /// A model that calls one tool in every step.
    fn script(&self, tool: &str) -> Result<()> {
        self.write(
            "script.toml",
            &format!(
                "[[turn]]\nreply = {{ calls = [{{ function = \"{tool}_greet\", arguments = {{ name = \
                 \"Ann\" }} }}] }}\n"
            ),
        )?;
        self.write(
            "ringfence.toml",
            "[host]\nconcurrent-calls = 64\n[model.main]\nprotocol = \"scripted\"\nscript = \
             \"script.toml\"\n[tenant.local.tool.pure-one]\n[tenant.local.tool.unsafe-one]\n",
        )
    }

    /// A model that calls the `pure` tool ten times, then answers.
    pub(crate) fn ten_calls(&self) -> Result<()> {
        self.script("pure-one")?;
        let calls = std::fs::read_to_string(self.path().join("script.toml"))?;
        let end = "[[turn]]\nwhen = { step = 11 }\nreply = { text = \"done\" }\n";
        self.write("script.toml", &format!("{end}{calls}"))
    }

    pub(crate) fn agent(&self, steps: usize) -> Result<Agent> {
        let text = format!(
            "name = \"bench\"\nmodel = {{ use = \"main\" }}\ninstructions = \"Greet.\"\n[tools]\npure-one \
             = \"*\"\nunsafe-one = \"*\"\n[limits]\nsteps = {steps}\ncalls = 100000\ntokens = \
             1000000000\ntime = \"1000s\"\nfuel = \"1000000G\"\n"
        );
        Ok(Agent::parse("agent.toml", &text)?)
    }

    pub(crate) fn runtime(&self) -> Result<Runtime> {
        Ok(Runtime::open(Config::load(&self.path().join("ringfence.toml"))?)?)
    }
}

/// The times of the steps of one run.
async fn steps(runtime: &Runtime, agent: &Agent) -> Result<Vec<f64>> {
    let (mut times, mut last) = (vec![], None::<Instant>);
    let mut show = |event: &ringfence::event::Event| {
        if event.body.kind() == "step.finished" {
            let now = Instant::now();
            times.extend(last.replace(now).map(|last| us(now - last)));
        }
    };
    let (caller, cancel) = (Caller::local(), Cancel::new());
    runtime.run(&caller, agent, Input::new("Go."), &cancel, &mut show).await?;
    ensure!(times.len() + 1 >= STEPS, "{} steps", times.len());
    // The first ones load the tool.
    Ok(times.split_off(2))
}

/// A plain loop: a page is written behind the last, and the disk is waited for.
fn disk(file: &mut File, count: usize) -> Result<Vec<f64>> {
    let mut times = vec![];
    for _ in 0..count {
        let began = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times.push(us(began.elapsed()));
    }
    Ok(times)
}

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let tokio =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    tokio.block_on(async {
        let folder = Folder::new().await?;
        let mut file = File::create(folder.path().join("plain"))?;
        one(table, &folder, &mut file).await?;
        many(table, &folder, &mut file).await?;
        resumed(table, &folder).await
    })
}

/// One session's step.
async fn one(table: &mut Table, folder: &Folder, file: &mut File) -> Result<()> {
    let agent = folder.agent(STEPS)?;
    let mut waits = vec![];
    for (tool, bound) in [
        ("pure-one", Bound::AtMost { aim: 1.2, must: 1.7 }),
        ("unsafe-one", Bound::AtMost { aim: 2.4, must: 3.0 }),
    ] {
        folder.script(tool)?;
        let runtime = folder.runtime()?;
        steps(&runtime, &agent).await?;
        let mut ratios = vec![];
        for _ in 0..ROUNDS {
            let mut ours = steps(&runtime, &agent).await?;
            let mut plain = disk(file, STEPS)?;
            ratios.push(median(&mut ours) / median(&mut plain));
            waits.append(&mut plain);
        }
        let what = format!("a durable step, {} call", tool.trim_end_matches("-one"));
        table.bounded(&what, median(&mut ratios), "x one fdatasync", bound);
    }
    table.row(
        "one fdatasync",
        format!("{:.0} us", median(&mut waits)),
        "of a page, the plain loop",
    );
    Ok(())
}

/// Many sessions at one time.
async fn many(table: &mut Table, folder: &Folder, file: &mut File) -> Result<()> {
    folder.script("pure-one")?;
    let runtime = folder.runtime()?;
    let agent = Arc::new(folder.agent(STEPS_OF_EACH)?);
    let (mut rates, mut ratios) = (vec![], vec![]);
    for _ in 0..3 {
        let mut plain = disk(file, 400)?;
        let syncs = 1e6 / median(&mut plain);
        let began = Instant::now();
        let runs = (0..SESSIONS).map(|_| {
            let (runtime, agent) = (runtime.clone(), agent.clone());
            tokio::spawn(async move {
                let (caller, cancel) = (Caller::local(), Cancel::new());
                runtime.run(&caller, &agent, Input::new("Go."), &cancel, &mut |_| {}).await
            })
        });
        for run in runs.collect::<Vec<_>>() {
            run.await??;
        }
        let rate = (SESSIONS * STEPS_OF_EACH) as f64 / began.elapsed().as_secs_f64();
        rates.push(rate);
        ratios.push(rate / syncs);
    }
    let bound = Bound::AtLeast { aim: 40_000.0, must: 10_000.0 };
    table.bounded("256 sessions, durable steps", median(&mut rates), " a second", bound);
    let bound = Bound::AtLeast { aim: 4.0, must: 4.0 };
    table.bounded("256 sessions, steps", median(&mut ratios), "x the disk's own syncs", bound);
    Ok(())
}

/// A long session whose host died: opened, folded and gone on with.
async fn resumed(table: &mut Table, folder: &Folder) -> Result<()> {
    folder.script("pure-one")?;
    let agent = folder.agent(2 * LONG)?;
    let caller = Caller::local();
    let (mut id, mut steps) = (None, 0);
    {
        let runtime = folder.runtime()?;
        let (lost, mut wait) = tokio::sync::mpsc::unbounded_channel();
        let cancel = Cancel::new();
        let mut show = |event: &ringfence::event::Event| {
            if let ringfence::event::Stream::Session(session) = &event.stream {
                id.get_or_insert_with(|| session.clone());
            }
            steps += usize::from(event.body.kind() == "step.finished");
            if steps == LONG {
                let _ = lost.send(());
            }
        };
        let run = runtime.run(&caller, &agent, Input::new("Go."), &cancel, &mut show);
        tokio::select! {
            ended = run => drop(ended?),
            _ = wait.recv() => {}
        }
    }
    let id = id.context("a session")?;
    let mut times = vec![];
    for _ in 0..5 {
        // A host that is killed each time when it has gone on for a step.
        let runtime = folder.runtime()?;
        runtime.sessions(&caller, 1)?;
        let (went_on, mut wait) = tokio::sync::mpsc::unbounded_channel();
        let cancel = Cancel::new();
        let began = Instant::now();
        // The first event is durable when it is shown: from there on it is a run like others.
        let mut first = None;
        let mut show = |event: &ringfence::event::Event| {
            let took = *first.get_or_insert_with(|| began.elapsed());
            if event.body.kind() == "step.finished" {
                let _ = went_on.send(took);
            }
        };
        let resumed = runtime.resume(&caller, &id, &cancel, &mut show);
        let took: Duration = tokio::select! {
            biased;
            Some(took) = wait.recv() => took,
            ended = resumed => bail!("it ended before it was lost again: {:?}", ended?.status),
        };
        times.push(us(took) / 1_000.0);
    }
    let bound = Bound::AtMost { aim: 50.0, must: 50.0 };
    table.bounded("a session of 1,000 steps goes on", median(&mut times), " ms", bound);
    Ok(())
}
