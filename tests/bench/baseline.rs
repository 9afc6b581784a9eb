//! The same component called by wasmtime alone: what an embedder would write who wants the same
//! settings, a fresh instance, a folder, fuel, an epoch deadline and a memory limit, and nothing of
//! what Ringfence adds.

use std::{path::PathBuf, sync::Arc, thread, time::Duration};

use anyhow::{Result, anyhow};
use ringfence_sandbox::EngineConfig;
use wasmtime::{
    Engine, Store, StoreLimits, StoreLimitsBuilder,
    component::{Component, HasSelf, Linker, ResourceTable},
};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

mod bindings {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package bench:baseline;
            world caller {
                import ringfence:tool/context@0.1.0;
                export ringfence:tool/tools@0.1.0;
            }",
        world: "bench:baseline/caller",
        exports: { default: async },
    });
}

use bindings::{
    CallerPre,
    exports::ringfence::tool::tools::Outcome,
    ringfence::tool::{
        context,
        types::{self, Answer, Content, Level},
    },
};

/// The limits of a call; the other side has the same from its manifest.
pub(crate) const FUEL: u64 = 200_000_000;
pub(crate) const MEMORY: usize = 64 << 20;

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    limits: StoreLimits,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl types::Host for State {}

/// What the component imports beside WASI. None of it is called while a file is read.
impl context::Host for State {
    fn call_id(&mut self) -> String {
        String::new()
    }

    fn idempotency_key(&mut self) -> String {
        String::new()
    }

    fn deadline(&mut self) -> u64 {
        0
    }

    fn answer(&mut self) -> Option<Answer> {
        None
    }

    fn progress(&mut self, _: u64, _: Option<u64>, _: Option<String>) {}

    fn log(&mut self, _: Level, _: String) {}

    fn emit(&mut self, _: Content) {}
}

/// A component, ready to be called over and over.
#[derive(Clone)]
pub(crate) struct Baseline(Arc<Inner>);

struct Inner {
    engine: Engine,
    pre: CallerPre<State>,
    folder: PathBuf,
    function: String,
    arguments: String,
}

impl Baseline {
    pub(crate) fn new(
        config: &EngineConfig,
        component: &[u8],
        folder: PathBuf,
        function: &str,
        arguments: &str,
    ) -> Result<Self> {
        let engine = Engine::new(&config.wasmtime()).map_err(bare)?;
        let ticking = engine.weak();
        thread::spawn(move || {
            while let Some(engine) = ticking.upgrade() {
                thread::sleep(Duration::from_millis(10));
                engine.increment_epoch();
            }
        });
        let component = Component::from_binary(&engine, component).map_err(bare)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(bare)?;
        context::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)
            .map_err(bare)?;
        let pre = linker.instantiate_pre(&component).and_then(CallerPre::new).map_err(bare)?;
        let (function, arguments) = (function.to_owned(), arguments.to_owned());
        Ok(Self(Arc::new(Inner { engine, pre, folder, function, arguments })))
    }

    /// One call in a fresh instance; the text it returns.
    pub(crate) async fn call(&self) -> Result<String> {
        let inner = &self.0;
        let mut wasi = WasiCtxBuilder::new();
        // On the call's own thread: the other way costs ten times as much. Before the folder, which
        // takes the setting along.
        wasi.allow_blocking_current_thread(true);
        wasi.preopened_dir(&inner.folder, "/workspace", FsPerms::ReadOnly).map_err(bare)?;
        let state = State {
            wasi: wasi.build(),
            table: ResourceTable::new(),
            limits: StoreLimitsBuilder::new().memory_size(MEMORY).build(),
        };
        let mut store = Store::new(&inner.engine, state);
        store.limiter(|state| &mut state.limits);
        store.set_fuel(FUEL).map_err(bare)?;
        store.set_epoch_deadline(500);
        store.epoch_deadline_async_yield_and_update(1);
        let instance = inner.pre.instantiate_async(&mut store).await.map_err(bare)?;
        let tools = instance.ringfence_tool_tools();
        let ended = tools.call_call(&mut store, &inner.function, &inner.arguments).await;
        match ended.map_err(bare)? {
            Ok(Outcome::Done(output)) => Ok(format!("{:?}", output.content)),
            other => Err(anyhow!("{other:?}")),
        }
    }
}

fn bare(error: wasmtime::Error) -> anyhow::Error {
    anyhow!("{error:#}")
}
