//! What a store holds for one call.

use std::sync::Arc;

use ringfence_capability::{Clock, Meter, Opened, cost, http::field_bytes_max};
use ringfence_event::{Content, Note};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::{
    host::{http::Hooks, keyvalue::Cursors, random::Streams, sockets, stdio},
    limiter::Limiter,
    run::{Call, Sink},
};

/// The data of a call's store.
pub(crate) struct State {
    pub(crate) table: ResourceTable,
    pub(crate) limiter: Limiter,
    pub(crate) meter: Arc<Meter>,
    /// `None` while a component says what it offers: nothing is open then.
    pub(crate) opened: Option<Opened>,
    pub(crate) call: Option<Call>,
    pub(crate) deadline_ms: u64,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) emitted: Vec<Content>,
    pub(crate) random: Streams,
    pub(crate) cursors: Cursors,
    pub(crate) last_words: stdio::LastWords,
    pub(crate) printed: [stdio::Printed; 2],
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
}

impl State {
    pub(crate) fn new(
        opened: Option<Opened>,
        meter: Arc<Meter>,
        clock: Clock,
        seed: u64,
        call: Option<Call>,
        sink: Arc<dyn Sink>,
    ) -> Self {
        let limits = *meter.limits();
        let mut table = ResourceTable::new();
        table.set_max_capacity(usize::try_from(limits.handles).unwrap_or(usize::MAX));
        let mut http = WasiHttpCtx::new();
        let fields = field_bytes_max(&limits);
        http.set_field_size_limit(usize::try_from(fields).unwrap_or(usize::MAX));
        let last_words = stdio::LastWords::default();
        let printed = [
            stdio::Printed::stdout(meter.clone(), sink.clone()),
            stdio::Printed::stderr(meter.clone(), sink.clone(), last_words.clone()),
        ];
        let mut wasi = WasiCtxBuilder::new();
        wasi.wall_clock(host_clock::Wall(clock))
            .monotonic_clock(host_clock::Monotonic(clock))
            .stdout(printed[0].clone())
            .stderr(printed[1].clone());
        sockets::allow(&mut wasi, opened.as_ref().map(|opened| opened.sockets.clone()));
        let started = call.as_ref().map_or(0, |call| call.start.0);
        Self {
            table,
            limiter: Limiter::new(meter.clone()),
            hooks: Hooks::new(opened.as_ref().map(|opened| opened.gate.clone())),
            opened,
            call,
            deadline_ms: started.saturating_add(limits.time),
            sink,
            emitted: Vec::new(),
            random: Streams::new(seed),
            cursors: Cursors::default(),
            last_words,
            printed,
            wasi: wasi.build(),
            http,
            meter,
        }
    }

    /// The most resources that were held at one time; to be asked once, at the end. The table tells
    /// nobody how long it grew, but it fills its free places first and, full, takes no more.
    pub(crate) fn handles_peak(&mut self) -> u64 {
        self.table.set_max_capacity(0);
        while self.table.push(()).is_ok() {}
        self.table.iter_mut().count() as u64
    }

    /// What a host function works on: asked for by each when it begins, and by nothing else.
    pub(crate) fn of_host_function(&mut self) -> &mut Self {
        self.meter.is_called();
        self
    }

    /// Hands a note to whoever listens, after it was counted.
    pub(crate) fn note(&self, note: Note) {
        self.sink.note(note);
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.meter.is_called();
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    /// Asked for by each function of the interface, before it does anything. What does not fit is
    /// noted by the meter, and ends the call with that function.
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.meter.is_called();
        let _ = self.meter.charge(cost::HTTP_CALL);
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

/// The call's clock as upstream wants it.
mod host_clock {
    use std::time::Duration;

    use ringfence_capability::Clock;
    use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

    pub(super) struct Wall(pub(super) Clock);
    pub(super) struct Monotonic(pub(super) Clock);

    /// What guests are told: enough to measure with, the same on every machine.
    const RESOLUTION: Duration = Duration::from_micros(1);

    impl HostWallClock for Wall {
        fn resolution(&self) -> Duration {
            RESOLUTION
        }
        fn now(&self) -> Duration {
            self.0.wall()
        }
    }

    impl HostMonotonicClock for Monotonic {
        fn resolution(&self) -> u64 {
            RESOLUTION.as_nanos() as u64
        }
        fn now(&self) -> u64 {
            u64::try_from(self.0.monotonic().as_nanos()).unwrap_or(u64::MAX)
        }
    }
}
