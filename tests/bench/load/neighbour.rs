//! A quiet tenant's latency while another tenant takes everything that it can get, beside the same alone.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::{runtime::Runtime, time::interval};

use super::{
    client::{Connection, closed, request},
    service::Service,
};
use crate::{
    measure::{median, percentile, us},
    table::{Bound, Table},
};

/// What the noisy tenant's calls do until a limit ends them, or until they are through.
const NOISES: &[(&str, &str, &str)] = &[
    ("spin", "hold", r#"{"how":"spin"}"#),
    ("allocation", "hold", r#"{"how":"grow","count":48}"#),
    ("host calls", "hold", r#"{"how":"host-calls"}"#),
    ("logs", "flood", r#"{"what":"log","bytes":100000000}"#),
    ("files", "hold", r#"{"how":"files"}"#),
];

/// More than it may have running at one time, and no more than may wait.
const NOISY: usize = 96;
const ROUNDS: usize = 5;
const BLOCK: Duration = Duration::from_secs(3);
/// How often the quiet tenant asks.
const EVERY: Duration = Duration::from_millis(10);

const FILE: &str = "
[tenant.quiet]
[tenant.quiet.tool.hello]
[tenant.noisy]
[tenant.noisy.tool.probe]
fs.workspace = { path = \"files\", access = \"read\" }
";

const PROBE: &str = "[needs.fs.workspace]\naccess = \"read\"\n";

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let service = Service::start(FILE, PROBE)?;
    let (quiet, noisy) = (service.key("quiet")?, service.key("noisy")?);
    let greet = "/v1/tools/hello/functions/greet/call";
    let quiet = request("POST", greet, &quiet, r#"{"arguments":{"name":"Ann"}}"#);
    let runtime = Runtime::new()?;
    for (name, function, arguments) in NOISES {
        let path = format!("/v1/tools/probe/functions/{function}/call");
        let noise = request("POST", &path, &noisy, &format!(r#"{{"arguments":{arguments}}}"#));
        let (mut solo, mut beside, mut ratios) = (vec![], vec![], vec![]);
        let mut calls = 0;
        for _ in 0..ROUNDS {
            let (alone, loud, made) = runtime.block_on(async {
                let alone = paced(&service, &quiet, BLOCK).await?;
                let all = tokio::spawn({
                    let (to, noise) = (service.address, noise.clone());
                    async move { closed(to, NOISY, &noise, BLOCK).await }
                });
                let loud = paced(&service, &quiet, BLOCK).await?;
                let made = all.await??;
                ensure!(made.refused == 0, "{} of its calls were refused", made.refused);
                anyhow::Ok((alone, loud, made.times.len()))
            })?;
            ratios.push(loud / alone);
            solo.push(alone);
            beside.push(loud);
            calls += made;
        }
        ensure!(calls > 0, "the noisy tenant made no call");
        let (alone, loud) = (median(&mut solo) / 1_000.0, median(&mut beside) / 1_000.0);
        let note = format!("alone {alone:.2} ms, and {calls} calls of the other's");
        table.row(&format!("p99 beside {name}"), format!("{loud:.2} ms"), &note);
        let most = Bound::AtMost { aim: 2.0, must: 2.0 };
        table.bounded("to its own alone", median(&mut ratios), "×", most);
    }
    Ok(())
}

/// The 99th percentile of calls that begin at even times.
async fn paced(service: &Service, request: &[u8], time: Duration) -> Result<f64> {
    let mut connection = Connection::open(service.address).await?;
    let (end, mut beat) = (Instant::now() + time, interval(EVERY));
    let mut times = vec![];
    while Instant::now() < end {
        beat.tick().await;
        let began = Instant::now();
        let status = connection.ask(request).await?;
        ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(connection.body()));
        times.push(us(began.elapsed()));
    }
    Ok(percentile(&mut times, 99))
}
