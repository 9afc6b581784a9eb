//! A thousand readers of events at one time: what each gets, how soon, and what it costs.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    runtime::Runtime,
    sync::Barrier,
    task::JoinSet,
    time::interval,
};

use super::{
    client::{Connection, request},
    process::held,
    service::Service,
};
use crate::{
    measure::percentile,
    table::{Bound, Table},
};

const SESSIONS: usize = 10;
/// Readers of each session, and of the tenant as a whole.
const OF_SESSION: usize = 90;
const OF_TENANT: usize = 100;
/// How many runs each session makes.
const RUNS: usize = 10;
/// How often one begins.
const EVERY: Duration = Duration::from_millis(100);

const FILE: &str = "
[tenant.acme]
agents = [\"greeter\"]
[tenant.acme.tool.hello]
";

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let service = Service::start(FILE, "")?;
    let key = service.key("acme")?;
    Runtime::new()?.block_on(async {
        let mut client = Connection::open(service.address).await?;
        let mut sessions = vec![];
        for _ in 0..SESSIONS {
            let new = request("POST", "/v1/sessions", &key, r#"{"agent":"greeter"}"#);
            let status = client.ask(&new).await?;
            let body = String::from_utf8_lossy(client.body()).into_owned();
            ensure!(status == 201, "{status}: {body}");
            let made: Value = serde_json::from_str(&body)?;
            sessions.push(made["id"].as_str().context("an id")?.to_owned());
        }
        let before = held(service.pid())?;
        let count = SESSIONS * OF_SESSION + OF_TENANT;
        let ready = Arc::new(Barrier::new(count + 1));
        let mut readers = JoinSet::new();
        for session in &sessions {
            for _ in 0..OF_SESSION {
                let path = format!("/v1/sessions/{session}/events?after=0");
                let (to, key, ready) = (service.address, key.clone(), ready.clone());
                readers.spawn(async move { read(to, &path, &key, &ready, RUNS).await });
            }
        }
        for _ in 0..OF_TENANT {
            let (to, key, ready) = (service.address, key.clone(), ready.clone());
            let runs = RUNS * SESSIONS;
            readers.spawn(async move { read(to, "/v1/events?after=0", &key, &ready, runs).await });
        }
        ready.wait().await;
        let open = held(service.pid())?;
        let mut beat = interval(EVERY);
        for _ in 0..RUNS {
            for session in &sessions {
                beat.tick().await;
                let path = format!("/v1/sessions/{session}/runs?wait=true");
                let status = client.ask(&request("POST", &path, &key, r#"{"input":"x"}"#)).await?;
                ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(client.body()));
            }
        }
        let (mut delays, mut events) = (vec![], HashMap::new());
        while let Some(read) = readers.join_next().await {
            let mut read = read??;
            // All readers of a stream read the same.
            *events.entry((read.path, read.events)).or_insert(0) += 1;
            delays.append(&mut read.delays);
        }
        ensure!(events.len() == SESSIONS + 1, "readers of one stream read different things");
        table.row("event streams at one time", count.to_string(), "each read everything, once");
        table.row("events read", delays.len().to_string(), "");
        let p50 = percentile(&mut delays, 50);
        table.row("from recorded to read, median", format!("{p50:.1} ms"), "");
        let p99 = percentile(&mut delays, 99);
        table.row("from recorded to read, p99", format!("{p99:.1} ms"), "");
        let each = (open.memory - before.memory) * 1024.0 / count as f64;
        table.bounded("memory of a stream", each, " KiB", Bound::AtMost { aim: 64.0, must: 256.0 });
        Ok(())
    })
}

/// What a reader got.
struct Read {
    path: String,
    /// The places, in their order.
    events: Vec<String>,
    /// From when an event was recorded to when it was read, in milliseconds.
    delays: Vec<f64>,
}

/// Reads until so many runs have ended.
async fn read(to: SocketAddr, path: &str, key: &str, ready: &Barrier, runs: usize) -> Result<Read> {
    let mut stream = BufReader::new(TcpStream::connect(to).await?);
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\
         accept: text/event-stream\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    ensure!(line.starts_with("HTTP/1.1 200 "), "{line}");
    while !line.trim().is_empty() {
        line.clear();
        stream.read_line(&mut line).await?;
    }
    ready.wait().await;
    let began = now();
    let mut whole = Read { path: path.to_owned(), events: vec![], delays: vec![] };
    let (mut text, mut ended) = (String::new(), 0);
    while ended < runs {
        // A chunk is its length, itself and a line's end.
        line.clear();
        stream.read_line(&mut line).await?;
        let length = usize::from_str_radix(line.trim(), 16)
            .with_context(|| format!("it ended after {} events: {line:?}", whole.events.len()))?;
        let mut chunk = vec![0; length + 2];
        stream.read_exact(&mut chunk).await?;
        text.push_str(std::str::from_utf8(&chunk[..length])?);
        while let Some((event, rest)) = text.split_once("\n\n") {
            let field = |name| event.lines().find_map(|line| line.strip_prefix(name));
            ensure!(field("event: ") != Some("gap"), "a gap: {event}");
            if let (Some(id), Some(data)) = (field("id: "), field("data: ")) {
                let data: Value = serde_json::from_str(data)?;
                ended += usize::from(data["type"] == "run.completed");
                let at = data["at"].as_u64().context("when")? as f64;
                if at >= began {
                    whole.delays.push(now() - at);
                }
                if path.starts_with("/v1/sessions") {
                    let next = (whole.events.len() + 1).to_string();
                    ensure!(id == next, "{id} stands where {next} should");
                }
                whole.events.push(id.to_owned());
            }
            text = rest.to_owned();
        }
    }
    Ok(whole)
}

/// Milliseconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1_000.0
}
