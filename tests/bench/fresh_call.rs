//! A fresh, fully limited call that reads a small file, beside the same call by wasmtime alone.

use anyhow::{Result, ensure};
use ringfence_event::{Access, Effect, Outcome};
use ringfence_policy::FlagGrants;
use ringfence_sandbox::Engine;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    baseline::Baseline,
    measure::{Pair, interleaved, times},
    ours::{Ours, config, guest},
    table::{Bound, Table},
};

/// The limits that the other side has too.
const LIMITS: &str = r#"
[limits]
fuel = "200M"
memory = "64MiB"
time = "5s"
"#;

/// What is read: some lines of text.
const FILE: &str = "The quick brown fox jumps over the lazy dog.\n";

/// Both ways to make the same call, each tried once.
pub(crate) struct Sides {
    pub(crate) ours: Ours,
    pub(crate) baseline: Baseline,
    _folder: TempDir,
}

impl Sides {
    /// A tool as it is: what it reads, it reads as a stream. WASI's own host hands each part of a
    /// stream to another thread, and Ringfence does not.
    pub(crate) async fn files_read() -> Result<Self> {
        Self::new("files", ("read", Effect::Read), r#"{"path":"a.txt"}"#, "brown fox").await
    }

    /// A read that WASI's own host does in place as well.
    pub(crate) async fn in_place() -> Result<Self> {
        Self::new("reader", ("read", Effect::Read), r#"{"path":"a.txt"}"#, "brown fox").await
    }

    /// No work for the host at all.
    pub(crate) async fn greeting() -> Result<Self> {
        Self::new("hello", ("greet", Effect::Read), r#"{"name":"Ann"}"#, "Hello, Ann!").await
    }

    async fn new(
        tool: &str,
        (function, effect): (&str, Effect),
        arguments: &str,
        said: &str,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("a.txt"), FILE.repeat(20))?;
        let component = guest(tool)?;
        let manifest = format!(
            "tool = {{ name = \"{tool}\", component = \"{tool}.wasm\" }}\n\
             [needs.fs.workspace]\naccess = \"write\"\n{LIMITS}"
        );
        let grants = FlagGrants {
            fs: vec![("workspace".parse()?, folder.path().to_owned(), Access::Read)],
            ..FlagGrants::default()
        };
        let engine = Engine::new(&config())?;
        let ours =
            Ours::new(&engine, &component, (function, effect), arguments, &manifest, grants)?;
        let path = folder.path().to_owned();
        let baseline = Baseline::new(&config(), &component, path, function, arguments)?;
        let ended = ours.call().await?;
        ensure!(matches!(ended.outcome, Outcome::Succeeded { .. }), "{ended:?}");
        ensure!(ended.denials.is_empty() && format!("{ended:?}").contains(said), "{ended:?}");
        ensure!(baseline.call().await?.contains(said), "the baseline does something else");
        Ok(Self { ours, baseline, _folder: folder })
    }
}

const ROUNDS: usize = 400;
const BLOCK: usize = 25;

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bound = Bound::AtMost { aim: 1.10, must: 1.25 };
    let mut pair = |what: &str, sides: Sides| {
        let Pair { ours, baseline, ratio } = measured(&runtime, &sides);
        table.row(&format!("{what}, through the sandbox"), format!("{ours:.1} µs"), "p50");
        table.row(&format!("{what}, wasmtime alone"), format!("{baseline:.1} µs"), "p50");
        table.bounded(&format!("{what}, ratio"), ratio, "×", bound);
    };
    pair("files_read", runtime.block_on(Sides::files_read())?);
    pair("read in place", runtime.block_on(Sides::in_place())?);
    pair("hello_greet", runtime.block_on(Sides::greeting())?);
    Ok(())
}

fn measured(runtime: &Runtime, sides: &Sides) -> Pair {
    let ours = || {
        runtime.block_on(times(BLOCK, async || {
            drop(sides.ours.call().await.expect("the call was tried before"));
        }))
    };
    let baseline = || {
        runtime.block_on(times(BLOCK, async || {
            drop(sides.baseline.call().await.expect("the call was tried before"));
        }))
    };
    interleaved(ROUNDS / 10, ours, baseline); // warms caches and the pool's slots
    interleaved(ROUNDS, ours, baseline)
}
