//! Ten times the load that the service can take: what it still does, what it holds, and how soon it is as it
//! was.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use tokio::{runtime::Runtime, sync::Semaphore, task::JoinSet, time::interval};

use super::{
    client::{Connection, closed, request},
    process::held,
    service::Service,
};
use crate::{
    measure::{median, us},
    table::{Bound, Table},
};

/// As many clients as keep it busy, and no more.
const CLIENTS: usize = 16;
const PEAK: Duration = Duration::from_secs(10);
const LOAD: Duration = Duration::from_secs(60);
/// How many times the load that it can take.
const TIMES: f64 = 10.0;
/// More connections than calls that run and wait: the rest are being refused.
const CONNECTIONS: usize = 512;

/// Some milliseconds of a processor, so that it is the calls that are too many, and refusing them is the
/// small part that it is in use.
const WORK: &str = r#"{"arguments":{"how":"fill","count":1}}"#;

const FILE: &str = "
[host]
concurrent-calls = 16
[tenant.acme]
queue = 32
[tenant.acme.tool.probe]
";

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let service = Service::start(FILE, "")?;
    let path = "/v1/tools/probe/functions/hold/call";
    let request = request("POST", path, &service.key("acme")?, WORK);
    let runtime = Runtime::new()?;
    runtime.block_on(async {
        closed(service.address, CLIENTS, &request, PEAK / 5).await?;
        let peak = closed(service.address, CLIENTS, &request, PEAK).await?;
        ensure!(peak.refused == 0, "{} were refused below the peak", peak.refused);
        let mut solo = closed(service.address, 1, &request, PEAK / 5).await?;
        let usual = median(&mut solo.times);
        let rate = peak.rate();
        table.row("the most it does", format!("{rate:.0} calls/s"), "");

        let watch = tokio::spawn(memory(service.pid()));
        let load = open(&service, &request, rate * TIMES).await?;
        let over = Instant::now();
        let mut connection = Connection::open(service.address).await?;
        let recovered = loop {
            let began = Instant::now();
            let status = connection.ask(&request).await?;
            if status == 200 && us(began.elapsed()) <= 2.0 * usual {
                break over.elapsed();
            }
        };
        let memory = watch.await??;
        let seconds = load.lasted.as_secs_f64();
        let offered = load.offered as f64 / seconds / rate;
        let exact = Bound::AtLeast { aim: TIMES * 0.95, must: TIMES * 0.95 };
        table.bounded("what it was asked, to that", offered, "×", exact);
        let refused = format!("{:.0}/s", load.refused as f64 / seconds);
        table.row("refused at once with 429 or 503", refused, "");
        let goodput = load.done as f64 / seconds / rate;
        table.bounded(
            "what it did, to the most",
            goodput,
            "×",
            Bound::AtLeast { aim: 0.9, must: 0.9 },
        );
        let (first, last) = memory.split_at(memory.len() / 2);
        let (first, last) = (median(&mut first.to_vec()), median(&mut last.to_vec()));
        table.row("memory, the first half minute", format!("{first:.1} MiB"), "");
        let flat = Bound::AtMost { aim: 1.05, must: 1.1 };
        table.bounded("the second half minute to it", last / first, "×", flat);
        let second = Bound::AtMost { aim: 1.0, must: 1.0 };
        table.bounded("as it was after", recovered.as_secs_f64(), " s", second);
        Ok(())
    })
}

/// What came of a load.
struct Load {
    offered: usize,
    done: usize,
    refused: usize,
    lasted: Duration,
}

/// Requests that come at a rate, whatever becomes of those before.
async fn open(service: &Service, request: &[u8], rate: f64) -> Result<Load> {
    let due = Arc::new(Semaphore::new(0));
    let (done, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut all = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let mut connection = Connection::open(service.address).await?;
        let (due, request) = (due.clone(), request.to_vec());
        let (done, refused) = (done.clone(), refused.clone());
        all.spawn(async move {
            // Until nothing more is to be asked.
            while let Ok(one) = due.acquire().await {
                one.forget();
                match connection.ask(&request).await? {
                    200 => done.fetch_add(1, Relaxed),
                    429 | 503 => refused.fetch_add(1, Relaxed),
                    status => bail!("{status}: {}", String::from_utf8_lossy(connection.body())),
                };
            }
            anyhow::Ok(())
        });
    }
    let began = Instant::now();
    let mut beat = interval(Duration::from_millis(1));
    let mut offered = 0;
    while began.elapsed() < LOAD {
        beat.tick().await;
        let by_now = (began.elapsed().as_secs_f64() * rate) as usize;
        due.add_permits(by_now - offered);
        offered = by_now;
    }
    let lasted = began.elapsed();
    // What no connection was free for was not asked.
    offered -= due.available_permits();
    let (done, refused) = (done.load(Relaxed), refused.load(Relaxed));
    due.close();
    while let Some(ended) = all.join_next().await {
        ended??;
    }
    Ok(Load { offered, done, refused, lasted })
}

/// What a process holds, once a second for as long as the load lasts, after it has warmed up.
async fn memory(pid: u32) -> Result<Vec<f64>> {
    let mut beat = interval(Duration::from_secs(1));
    let mut all = vec![];
    for second in 0..LOAD.as_secs() - 1 {
        beat.tick().await;
        if second >= 5 {
            all.push(held(pid)?.memory);
        }
    }
    Ok(all)
}
