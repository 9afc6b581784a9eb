//! From a cancel until whoever waits for the call has its one outcome: alone, and with twice as many
//! guests beside it as there are cores, which never come back by themselves.

use std::{
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use ringfence_event::{Effect, Note, Outcome};
use ringfence_policy::{Bytes, FlagGrants, Fuel, LimitTable, Millis};
use ringfence_sandbox::{Cancel, Engine, Sink};
use tokio::{runtime::Builder, sync::oneshot};

use crate::{
    measure::{percentile, us},
    ours::{Ours, config, guest},
    table::{Bound, Table},
};

const MANIFEST: &str = "tool = { name = \"probe\", component = \"probe.wasm\" }";
const SPIN: &str = r#"{"how":"spin"}"#;
const SLEEP: &str = r#"{"how":"sleep","count":3600000}"#;
/// Enough for a 99th percentile that is not the worst of all.
const TRIES: usize = 400;
/// Each of these takes tens of milliseconds to come to its point.
const BULK_TRIES: usize = 200;
/// What of its memory limit the probe leaves for itself, in MiB.
const ROOM: u64 = 2;

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
    let cores = thread::available_parallelism()?.get();
    let engine = Engine::new(&config())?;
    let component = guest("probe")?;
    let probe = |memory: u64| {
        let limits = LimitTable {
            fuel: Some(Fuel(1 << 50)),
            time: Some(Millis(3_600_000)),
            memory: Some(Bytes(memory << 20)),
            ..LimitTable::default()
        };
        let grants = FlagGrants { limits, ..FlagGrants::default() };
        Ours::new(&engine, &component, ("hold", Effect::Read), "{}", MANIFEST, grants)
    };
    let runtime = Builder::new_multi_thread().worker_threads(cores).enable_all().build()?;
    let p99 = |probe: &Ours, how: &str, others: usize, tries: usize| -> Result<f64> {
        let mut times = runtime.block_on(latencies(probe, how, others, tries))?;
        Ok(percentile(&mut times, 99) / 1_000.0)
    };
    let small = probe(8)?;
    let (idle, loaded) =
        (Bound::AtMost { aim: 0.5, must: 2.0 }, Bound::AtMost { aim: 2.0, must: 20.0 });
    let mut spinning = [0.0; 2];
    for (load, (others, beside, bound)) in
        [(0, "idle", idle), (2 * cores, "loaded", loaded)].into_iter().enumerate()
    {
        for (what, how) in [("spinning", SPIN), ("blocked in the host", SLEEP)] {
            let number = p99(&small, how, others, TRIES)?;
            table.bounded(&format!("{what}, {beside}, p99"), number, " ms", bound);
            if how == SPIN {
                spinning[load] = number;
            }
        }
    }
    // What a memory limit adds to the bound of one that only spins, by the MiB of that limit.
    for limit in [16, 64, 128] {
        let large = probe(limit)?;
        let how = format!(r#"{{"how":"fill","count":{}}}"#, limit - ROOM);
        let per_mib = |number: f64, load: usize| (number - spinning[load]).max(0.0) / limit as f64;
        let number = per_mib(p99(&large, &how, 0, BULK_TRIES)?, 0);
        let bound = Bound::AtMost { aim: 0.9, must: 0.9 };
        let what = format!("filling memory of {limit} MiB, idle, p99 a MiB");
        table.bounded(&what, number, " ms", bound);
        let number = per_mib(p99(&large, &how, 2 * cores, BULK_TRIES)?, 1);
        let what = format!("filling memory of {limit} MiB, loaded, p99 a MiB");
        table.row(&what, format!("{number:.2} ms"), "to be known");
    }
    Ok(())
}

/// A guest that has begun, and what stops it.
struct Running {
    cancel: Cancel,
    call: tokio::task::JoinHandle<Result<(Outcome, Instant)>>,
}

async fn start(probe: &Ours, arguments: &str) -> Result<Running> {
    let (sender, begun) = oneshot::channel();
    let cancel = Cancel::new();
    let (probe, of_call, arguments) = (probe.clone(), cancel.clone(), arguments.to_owned());
    let call = tokio::spawn(async move {
        let sink = Arc::new(Started(Mutex::new(Some(sender))));
        let ended = probe.call_with(&arguments, &of_call, sink).await?;
        Ok((ended.outcome, Instant::now()))
    });
    begun.await?;
    Ok(Running { cancel, call })
}

impl Running {
    /// Cancels it after a while; `None` if it had come to its end by itself, as one that fills
    /// memory does.
    async fn stop(self, after: Duration) -> Result<Option<Duration>> {
        // From a thread of its own, as from a signal or a request: not from one that guests use. It
        // sleeps there too, because a timer of the runtime is late where all its threads have guests.
        let cancelling = tokio::task::spawn_blocking(move || {
            thread::sleep(after);
            let asked = Instant::now();
            self.cancel.cancel();
            asked
        });
        let asked = cancelling.await?;
        let (outcome, over) = self.call.await??;
        let by_itself = matches!(outcome, Outcome::Succeeded { .. });
        ensure!(by_itself || outcome == Outcome::Cancelled, "{outcome:?}");
        Ok((!by_itself).then(|| over.saturating_duration_since(asked)))
    }
}

async fn latencies(probe: &Ours, how: &str, others: usize, tries: usize) -> Result<Vec<f64>> {
    let mut beside = Vec::new();
    for _ in 0..others {
        beside.push(start(probe, SPIN).await?);
    }
    let mut times = Vec::with_capacity(tries);
    for turn in 0..2 * tries {
        if times.len() == tries {
            break;
        }
        let running = start(probe, how).await?;
        // At another moment of the guest's work each time.
        let after = Duration::from_micros((turn as u64 * 37) % 2_000);
        times.extend(running.stop(after).await?.map(us));
    }
    ensure!(times.len() == tries, "most guests came to their end before they were cancelled");
    for running in beside {
        running.stop(Duration::ZERO).await?;
    }
    Ok(times)
}
