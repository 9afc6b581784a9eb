//! A web server on loopback that remembers what it was asked.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// Such as `GET /hello HTTP/1.1`.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Whole, chunks put together.
    pub body: String,
}

impl Request {
    /// The first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// The server.
pub struct Web {
    port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Web {
    /// Where it listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// By its address.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it was asked since the last time.
    #[must_use]
    pub fn take(&self) -> Vec<Request> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

/// Serves until the test is over.
#[must_use]
pub fn serve() -> Web {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::<Mutex<Vec<Request>>>::default();
    let of_thread = seen.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let seen = of_thread.clone();
            // Whoever went away has no use for the rest.
            thread::spawn(move || while let Some(()) = answer(&stream, &seen) {});
        }
    });
    Web { port, seen }
}

/// Answers one request of a connection; `None` at its end.
fn answer(mut stream: &TcpStream, seen: &Mutex<Vec<Request>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let mut headers = Vec::new();
    loop {
        let header = line()?;
        let Some((name, value)) = header.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request { line: first, headers, body: String::new() };
    let length = request.header("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    if request.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }
    request.body = String::from_utf8_lossy(&body).into_owned();
    let path = request.line.split(' ').nth(1).unwrap_or_default().to_owned();
    seen.lock().unwrap().push(request.clone());
    let large = if path == "/large" { "large".repeat(200_000) } else { String::new() };
    let (status, headers, body) = match path.as_str() {
        "/redirect" => ("302 Found", "location: /hello\r\n", ""),
        "/echo" => ("200 OK", "", request.body.as_str()),
        // Never answers, never hangs up.
        "/silent" => loop {
            thread::park();
        },
        // Half a body, and then nothing more.
        "/half" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").ok()?;
            loop {
                thread::park();
            }
        }
        "/broken" => {
            stream.write_all(b"this is no HTTP\r\n\r\n").ok()?;
            return None;
        }
        "/fields" => {
            let fields: String =
                (0..50).map(|n| format!("x-{n}: {}\r\n", "y".repeat(1_000))).collect();
            stream
                .write_all(
                    format!("HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n").as_bytes(),
                )
                .ok()?;
            return Some(());
        }
        "/large" => ("200 OK", "content-type: text/plain\r\n", large.as_str()),
        _ => ("200 OK", "", "hello"),
    };
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).ok()
}
