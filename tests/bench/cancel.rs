//! From a cancel until the call's outcome, on two threads: alone, and with four guests beside it that
//! never come back by themselves.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use ringfence_event::{Effect, Note, Outcome};
use ringfence_policy::{FlagGrants, Fuel, LimitTable, Millis};
use ringfence_sandbox::{Cancel, Engine, Sink};
use tokio::{runtime::Builder, sync::oneshot};

use crate::{
    measure::{percentile, us},
    ours::{Ours, config, guest},
    table::Table,
};

const MANIFEST: &str = "tool = { name = \"probe\", component = \"probe.wasm\" }";
const TRIES: usize = 200;

/// Tells when the guest says its first word.
struct Started(Mutex<Option<oneshot::Sender<()>>>);

impl Sink for Started {
    fn note(&self, _: Note) {
        if let Some(sender) = self.0.lock().ok().and_then(|mut sender| sender.take()) {
            // Whoever gave up waiting has no use for it.
            let _ = sender.send(());
        }
    }
}

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let limits = LimitTable {
        fuel: Some(Fuel(1 << 50)),
        time: Some(Millis(3_600_000)),
        ..LimitTable::default()
    };
    let grants = FlagGrants { limits, ..FlagGrants::default() };
    let engine = Engine::new(&config())?;
    let function = ("hold", Effect::Read);
    let probe = Ours::new(&engine, &guest("probe")?, function, "{}", MANIFEST, grants)?;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for (what, how, others, tries) in [
        ("spin loop", r#"{"how":"spin"}"#, 0, TRIES),
        ("spin loop, 4 others", r#"{"how":"spin"}"#, 4, TRIES),
        ("asleep in the host", r#"{"how":"sleep","count":3600000}"#, 0, TRIES),
        ("filling 64 MiB", r#"{"how":"fill","count":64}"#, 0, TRIES / 4),
    ] {
        let mut times = runtime.block_on(latencies(&probe, how, others, tries))?;
        let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
        let number = format!("{:.2} ms", p50 / 1_000.0);
        table.row(what, number, &format!("p50; p99 {:.2} ms", p99 / 1_000.0));
    }
    Ok(())
}

/// A guest that has begun, and what stops it.
struct Running {
    cancel: Cancel,
    call: tokio::task::JoinHandle<Result<(Outcome, Instant)>>,
}

async fn start(probe: &Ours, arguments: &'static str) -> Result<Running> {
    let (sender, begun) = oneshot::channel();
    let cancel = Cancel::new();
    let (probe, of_call) = (probe.clone(), cancel.clone());
    let call = tokio::spawn(async move {
        let sink = Arc::new(Started(Mutex::new(Some(sender))));
        let ended = probe.call_with(arguments, &of_call, sink).await?;
        Ok((ended.outcome, Instant::now()))
    });
    begun.await?;
    Ok(Running { cancel, call })
}

impl Running {
    async fn stop(self) -> Result<Duration> {
        // From a thread of its own, as from a signal or a request: not from one that guests use.
        let cancelling = tokio::task::spawn_blocking(move || {
            let asked = Instant::now();
            self.cancel.cancel();
            asked
        });
        let asked = cancelling.await?;
        let (outcome, over) = self.call.await??;
        ensure!(outcome == Outcome::Cancelled, "{outcome:?}");
        Ok(over.saturating_duration_since(asked))
    }
}

async fn latencies(
    probe: &Ours,
    how: &'static str,
    others: usize,
    tries: usize,
) -> Result<Vec<f64>> {
    let mut beside = Vec::new();
    for _ in 0..others {
        beside.push(start(probe, r#"{"how":"spin"}"#).await?);
    }
    let mut times = Vec::with_capacity(tries);
    for turn in 0..tries {
        let running = start(probe, how).await?;
        // At another moment of the guest's work each time.
        tokio::time::sleep(Duration::from_micros((turn as u64 * 37) % 2_000)).await;
        times.push(us(running.stop().await?));
    }
    for running in beside {
        running.stop().await?;
    }
    Ok(times)
}
