//! Web servers on loopback that remember what they were asked.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
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
    /// The same as it came.
    pub bytes: Vec<u8>,
}

impl Request {
    /// The next request of a connection; `None` at its end.
    pub fn read(from: &mut impl BufRead) -> Option<Self> {
        let first = line(from)?;
        let mut headers = Vec::new();
        loop {
            let header = line(from)?;
            let Some((name, value)) = header.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut request = Self { line: first, headers, body: String::new(), bytes: vec![] };
        let length = request.header("content-length").and_then(|length| length.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        from.read_exact(&mut body).ok()?;
        while request.header("transfer-encoding") == Some("chunked") {
            let size = usize::from_str_radix(&line(from)?, 16).ok()?;
            let mut chunk = vec![0; size + 2];
            from.read_exact(&mut chunk).ok()?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
        request.body = String::from_utf8_lossy(&body).into_owned();
        request.bytes = body;
        Some(request)
    }

    /// What is asked for, with its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// The first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// The next line without its end; `None` if there is none.
fn line(from: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    from.read_line(&mut line).ok().filter(|count| *count > 0)?;
    Some(line.trim_end().to_owned())
}

/// A server.
pub struct Web {
    port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
    connections: Arc<AtomicUsize>,
}

impl Web {
    /// Answers every request as it is told, until the test is over. An answer that is an error ends
    /// its connection.
    #[must_use]
    pub fn new(
        answer: impl Fn(&Request, &TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let web = Self { port, seen: Arc::default(), connections: Arc::default() };
        let (seen, connections) = (web.seen.clone(), web.connections.clone());
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, SeqCst);
                let (seen, answer) = (seen.clone(), answer.clone());
                thread::spawn(move || {
                    let mut from = BufReader::new(&stream);
                    while let Some(request) = Request::read(&mut from) {
                        seen.lock().unwrap().push(request.clone());
                        // Whoever went away has no use for the rest.
                        if answer(&request, &stream).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        web
    }

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

    /// How many connections were made to it.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

/// Says a whole answer: a status, header fields with a line's end after each, a body.
///
/// # Errors
/// Nobody is there any more.
pub fn say(mut stream: &TcpStream, status: &str, fields: &str, body: &[u8]) -> io::Result<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{fields}content-length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat())
}

/// A server with a page for each way to answer, and `hello` everywhere else.
#[must_use]
pub fn serve() -> Web {
    Web::new(answer)
}

fn answer(request: &Request, mut stream: &TcpStream) -> io::Result<()> {
    match request.path() {
        "/redirect" => say(stream, "302 Found", "location: /hello\r\n", b""),
        "/echo" => say(stream, "200 OK", "", request.body.as_bytes()),
        "/silent" => keep_silent(),
        // Half a body, and then nothing more.
        "/half" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")?;
            keep_silent()
        }
        "/broken" => {
            stream.write_all(b"this is no HTTP\r\n\r\n")?;
            Err(io::ErrorKind::Other.into())
        }
        "/fields" => {
            let fields: String =
                (0..50).map(|n| format!("x-{n}: {}\r\n", "y".repeat(1_000))).collect();
            say(stream, "200 OK", &fields, b"")
        }
        "/large" => {
            say(stream, "200 OK", "content-type: text/plain\r\n", &b"large".repeat(200_000))
        }
        _ => say(stream, "200 OK", "", b"hello"),
    }
}

/// Never answers, never hangs up.
pub fn keep_silent() -> ! {
    loop {
        thread::park();
    }
}
