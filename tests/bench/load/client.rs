//! A client that costs as little as a client can: one connection that stays open, and as much of HTTP/1.1
//! as the answers of a service need.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use crate::measure::{percentile, us};

/// A request, ready to be sent over and over.
pub(crate) fn request(method: &str, path: &str, key: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A connection.
pub(crate) struct Connection {
    stream: TcpStream,
    /// What was read: the last answer.
    read: Vec<u8>,
    body: usize,
}

impl Connection {
    pub(crate) async fn open(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::with_capacity(4096), body: 0 })
    }

    /// Sends a request, and reads all of the answer; its status.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<u16> {
        self.stream.write_all(request).await?;
        self.read.clear();
        let (status, body, length) = loop {
            if let Some(head) = head(&self.read)? {
                break head;
            }
            self.more().await?;
        };
        while self.read.len() < body + length {
            self.more().await?;
        }
        self.body = body;
        Ok(status)
    }

    /// The body of the last answer.
    pub(crate) fn body(&self) -> &[u8] {
        self.read.get(self.body..).unwrap_or_default()
    }

    async fn more(&mut self) -> Result<()> {
        ensure!(self.stream.read_buf(&mut self.read).await? > 0, "the service hung up");
        Ok(())
    }
}

/// Status, where the body begins, and its length, once all of the head is there.
fn head(read: &[u8]) -> Result<Option<(u16, usize, usize)>> {
    let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&read[..end])?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.get(9..12)).context("no status")?.parse()?;
    let mut length = None;
    for line in lines {
        let (name, value) = line.split_once(':').context("no header")?;
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse()?);
        }
    }
    let Some(length) = length else { bail!("an answer without its length: {text}") };
    Ok(Some((status, end + 4, length)))
}

/// What came of a block of requests.
#[derive(Default)]
pub(crate) struct Block {
    /// How long each took that was answered with 200, in microseconds.
    pub(crate) times: Vec<f64>,
    /// How many were refused.
    pub(crate) refused: usize,
    /// How long the block lasted.
    pub(crate) lasted: Duration,
}

impl Block {
    /// Answers with 200 a second.
    pub(crate) fn rate(&self) -> f64 {
        self.times.len() as f64 / self.lasted.as_secs_f64()
    }

    pub(crate) fn p99(&mut self) -> f64 {
        percentile(&mut self.times, 99)
    }
}

/// Clients that each ask as soon as they were answered, for some time.
pub(crate) async fn closed(
    to: SocketAddr,
    clients: usize,
    request: &[u8],
    time: Duration,
) -> Result<Block> {
    let began = Instant::now();
    let end = began + time;
    let mut all = JoinSet::new();
    for _ in 0..clients {
        let request = request.to_vec();
        let mut connection = Connection::open(to).await?;
        all.spawn(async move {
            let mut block = Block::default();
            while Instant::now() < end {
                let began = Instant::now();
                match connection.ask(&request).await? {
                    200 => block.times.push(us(began.elapsed())),
                    429 | 503 => block.refused += 1,
                    status => bail!("{status}: {}", String::from_utf8_lossy(connection.body())),
                }
            }
            anyhow::Ok(block)
        });
    }
    let mut whole = Block::default();
    while let Some(done) = all.join_next().await {
        let mut block = done??;
        whole.times.append(&mut block.times);
        whole.refused += block.refused;
    }
    whole.lasted = began.elapsed();
    Ok(whole)
}
