//! Fresh calls a second on one thread and on two, beside the same by wasmtime alone.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::runtime::{Builder, Runtime};

use crate::{
    fresh_call::Sides,
    measure::median,
    quiet::Ticks,
    table::{Bound, Table},
};

/// Rounds that count: those in which the machine did nothing else.
const ROUNDS: usize = 25;
/// With fewer there is no median worth the name.
const ROUNDS_MIN: usize = 5;
/// How long to wait for them.
const PATIENCE: Duration = Duration::from_secs(60);
/// Calls of one task in one block: some hundredths of a second, which is what the machine's own
/// accounting can see.
const CALLS: usize = 3_000;

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let workers = |count| Builder::new_multi_thread().worker_threads(count).enable_all().build();
    let (one, two) = (workers(1)?, workers(2)?);
    let sides = one.block_on(Sides::files_read())?;
    let ours = |runtime: &Runtime, tasks| {
        let side = sides.ours.clone();
        rate(runtime, tasks, move || {
            let side = side.clone();
            async move { drop(side.call().await.expect("it was tried before")) }
        })
    };
    let baseline = |runtime: &Runtime, tasks| {
        let side = sides.baseline.clone();
        rate(runtime, tasks, move || {
            let side = side.clone();
            async move { drop(side.call().await.expect("it was tried before")) }
        })
    };
    let bound = Bound::AtLeast { aim: 1.8, must: 1.6 };
    match rows(table, "files_read", &one, &two, ours) {
        Some(speedup) => table.bounded("files_read, speed-up", speedup, "×", bound),
        None => table.missing("files_read, speed-up", "somebody else used the machine throughout"),
    }
    if let Some(speedup) = rows(table, "wasmtime alone", &one, &two, baseline) {
        table.row("wasmtime alone, speed-up", format!("{speedup:.2}×"), "for comparison");
    }
    Ok(())
}

/// Measures both rates in turn; the median of their ratios, if there were rounds that count.
fn rows(
    table: &mut Table,
    what: &str,
    one: &Runtime,
    two: &Runtime,
    rate: impl Fn(&Runtime, usize) -> f64,
) -> Option<f64> {
    let began = Instant::now();
    let (mut ones, mut twos, mut ratios) = (vec![], vec![], vec![]);
    // Processor time of one call, summed up over all rounds.
    let (mut rounds, mut spent) = (0, [0.0; 2]);
    while ratios.len() < ROUNDS && began.elapsed() < PATIENCE {
        let before = Ticks::now();
        let a = rate(one, 1);
        let between = Ticks::now();
        let b = rate(two, 2);
        let after = Ticks::now();
        rounds += 1;
        if let (Some(before), Some(between), Some(after)) = (before, between, after) {
            spent[0] += between.own_since(before);
            spent[1] += after.own_since(between) / 2.0;
            if !after.quiet_since(before) {
                continue;
            }
        }
        ones.push(a);
        twos.push(b);
        ratios.push(b / a);
    }
    let counted = format!("{} of {rounds} rounds, the machine idle otherwise", ratios.len());
    if !ratios.is_empty() {
        let rate = |rates: &mut [f64]| format!("{:.0} calls/s", median(rates));
        table.row(&format!("{what}, one thread"), rate(&mut ones), &counted);
        table.row(&format!("{what}, two threads"), rate(&mut twos), "");
    }
    let each = |spent: f64| spent * 1e6 / (rounds * CALLS) as f64;
    let [one, two] = spent.map(each);
    let note = format!("{:.2}× by this alone, whoever else uses the machine", 2.0 * one / two);
    table.row(&format!("{what}, processor time"), format!("{one:.1} and {two:.1} µs"), &note);
    (ratios.len() >= ROUNDS_MIN).then(|| median(&mut ratios))
}

/// Calls a second of that many tasks, each of which calls over and over.
fn rate<F: Future<Output = ()> + Send>(
    runtime: &Runtime,
    tasks: usize,
    act: impl Fn() -> F + Clone + Send + 'static,
) -> f64 {
    runtime.block_on(async {
        let began = Instant::now();
        let tasks: Vec<_> = (0..tasks)
            .map(|_| {
                let act = act.clone();
                tokio::spawn(async move {
                    for _ in 0..CALLS {
                        act().await;
                    }
                })
            })
            .collect();
        let calls = tasks.len() * CALLS;
        for task in tasks {
            task.await.expect("a task of calls");
        }
        calls as f64 / began.elapsed().as_secs_f64()
    })
}
