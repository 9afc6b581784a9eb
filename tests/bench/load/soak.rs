//! Five minutes of everything at random, and what is left of it.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, runtime::Runtime, task::JoinSet};

use super::{
    client::{Connection, request},
    process::{Held, held},
    service::Service,
};
use crate::table::{Bound, Table};

const CLIENTS: usize = 24;
/// After that it holds what it will hold.
const WARM: Duration = Duration::from_secs(60);
const SOAK: Duration = Duration::from_secs(300);
/// How long everything may take to end.
const ENDS: Duration = Duration::from_secs(30);

const FILE: &str = "
[tenant.acme]
agents = [\"greeter\"]
limits = { time = \"200ms\" }
[tenant.acme.tool.hello]
[tenant.acme.tool.probe]
fs.workspace = { path = \"files\", access = \"read\" }
[tenant.globex]
agents = [\"greeter\"]
rate = \"10 per s\"
[tenant.globex.tool.hello]
";

const PROBE: &str = "[needs.fs.workspace]\naccess = \"read\"\n[limits]\ntime = \"200ms\"\n";

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let service = Service::start(FILE, PROBE)?;
    let keys = [service.key("acme")?, service.key("globex")?];
    let runtime = Runtime::new()?;
    let (before, after, did) = runtime.block_on(async {
        mixture(service.address, &keys, WARM, 1).await?;
        let before = settled(&service).await?;
        let did = mixture(service.address, &keys, SOAK, 2).await?;
        anyhow::Ok((before, settled(&service).await?, did))
    })?;
    table.row("requests", did.to_string(), "of eleven kinds, by 24 clients");
    table.row("memory before", format!("{:.1} MiB", before.memory), "");
    let flat = Bound::AtMost { aim: 1.1, must: 1.25 };
    table.bounded("memory after, to that", after.memory / before.memory, "×", flat);
    let same = |before: usize| Bound::AtMost { aim: before as f64, must: before as f64 };
    table.bounded("open files after", after.files as f64, "", same(before.files));
    table.bounded("threads after", after.threads as f64, "", same(before.threads));
    table.row("work that runs or waits after", "0".to_owned(), "by its own metrics");
    Ok(())
}

/// What it holds when nothing is under way any more.
async fn settled(service: &Service) -> Result<Held> {
    let end = Instant::now() + ENDS;
    loop {
        let mut client = Connection::open(service.address).await?;
        ensure!(client.ask(&request("GET", "/metrics", "none", "")).await? == 200);
        let text = String::from_utf8_lossy(client.body()).into_owned();
        drop(client);
        let is_work = |line: &&str| {
            line.starts_with("ringfence_place_running")
                || line.starts_with("ringfence_place_waiting")
        };
        let lines: Vec<&str> = text.lines().filter(is_work).collect();
        ensure!(!lines.is_empty(), "no metric of the work: {text}");
        if lines.iter().all(|line| line.ends_with(" 0")) {
            // Connections that were left are closed by then, and threads without work have ended.
            tokio::time::sleep(Duration::from_secs(20)).await;
            return held(service.pid());
        }
        if Instant::now() > end {
            bail!("work is still under way: {lines:#?}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Many clients that each do one thing after another; how many things.
async fn mixture(to: SocketAddr, keys: &[String; 2], time: Duration, seed: u64) -> Result<usize> {
    let end = Instant::now() + time;
    let mut all = JoinSet::new();
    for client in 0..CLIENTS {
        let key = keys[client % 2].clone();
        let mut dice = Dice(seed * 1_000 + client as u64);
        all.spawn(async move {
            let mut connection = Connection::open(to).await?;
            let mut count = 0;
            while Instant::now() < end {
                act(&mut connection, to, &key, &mut dice).await?;
                count += 1;
            }
            anyhow::Ok(count)
        });
    }
    let mut count = 0;
    while let Some(done) = all.join_next().await {
        count += done??;
    }
    Ok(count)
}

async fn act(
    connection: &mut Connection,
    to: SocketAddr,
    key: &str,
    dice: &mut Dice,
) -> Result<()> {
    let greet = "/v1/tools/hello/functions/greet/call";
    let hold = "/v1/tools/probe/functions/hold/call";
    let flood = "/v1/tools/probe/functions/flood/call";
    let (path, body) = match dice.below(11) {
        0 | 1 => (greet, r#"{"arguments":{"name":"Ann"}}"#),
        2 => (hold, r#"{"arguments":{"how":"spin"}}"#),
        3 => (hold, r#"{"arguments":{"how":"panic"}}"#),
        4 => (hold, r#"{"arguments":{"how":"grow","count":16}}"#),
        5 => (flood, r#"{"arguments":{"what":"log","bytes":100000}}"#),
        6 => ("/v1/sessions", r#"{"agent":"greeter","input":"Greet."}"#),
        7 => (greet, r#"{"arguments":"#),
        8 => {
            // Whoever leaves while it runs.
            let leaving = format!("{hold}?cancel-on-disconnect=true");
            let body = r#"{"arguments":{"how":"sleep","count":150}}"#;
            return leave(to, &request("POST", &leaving, key, body), dice).await;
        }
        9 => {
            let stream = request("GET", "/v1/events?after=0", key, "");
            return leave(to, &stream, dice).await;
        }
        _ => {
            let status = connection.ask(&request("GET", "/v1/sessions?limit=5", key, "")).await?;
            ensure!(status == 200, "{status}");
            return Ok(());
        }
    };
    let status = connection.ask(&request("POST", path, key, body)).await?;
    ensure!(status < 500 || status == 503, "{status} to {path} {body}");
    Ok(())
}

/// Asks, reads a little or nothing, and goes.
async fn leave(to: SocketAddr, request: &[u8], dice: &mut Dice) -> Result<()> {
    let mut stream = TcpStream::connect(to).await.context("a connection")?;
    stream.write_all(request).await?;
    if dice.below(2) == 0 {
        stream.readable().await?;
    }
    Ok(())
}

/// Chance that is the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        // SplitMix64: https://prng.di.unimi.it/splitmix64.c
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}
