//! A vendor on loopback: says what it is told, and remembers what it was asked.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
};

use serde_json::Value;

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Request {
    /// The next request of a connection; `None` at its end.
    pub(crate) fn read(from: &mut impl BufRead) -> Option<Self> {
        let line = line(from)?;
        let mut fields = Vec::new();
        while let Some((name, value)) = self::line(from)?.split_once(':') {
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut request = Self { line, fields, body: Value::Null };
        let mut body = vec![0; request.field("content-length")?.parse().ok()?];
        from.read_exact(&mut body).ok()?;
        request.body = serde_json::from_slice(&body).expect("a request that is JSON");
        Some(request)
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

fn line(from: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    from.read_line(&mut line).ok().filter(|count| *count > 0)?;
    Some(line.trim_end().to_owned())
}

/// How a server answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// At once: a status, header fields with a line's end after each, a body.
    Whole(&'static str, String, String),
    /// Events, in pieces of so many bytes.
    Stream(String, usize, End),
    /// With nothing, for ever.
    Silence,
}

/// What is behind the last event.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// The end of the body.
    Whole,
    /// The end of the connection.
    Cut,
    /// Nothing, for ever.
    Silence,
    /// The same again, for ever.
    Again,
}

pub(crate) struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
    connections: Arc<AtomicUsize>,
    /// Hears of each connection that the other side closed.
    pub(crate) closed: mpsc::Receiver<()>,
}

impl Server {
    /// Gives each request the next of these answers, and the last of them from then on.
    pub(crate) fn new(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, connections) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicUsize>::default());
        let (hang_up, closed) = mpsc::channel();
        let server = Self { port, seen: seen.clone(), connections: connections.clone(), closed };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                connections.fetch_add(1, SeqCst);
                let (seen, answers, hang_up) = (seen.clone(), answers.clone(), hang_up.clone());
                thread::spawn(move || {
                    let mut from = BufReader::new(&stream);
                    while let Some(request) = Request::read(&mut from) {
                        let number = {
                            let mut seen = seen.lock().unwrap();
                            seen.push(request);
                            seen.len() - 1
                        };
                        let answer = answers.get(number).or(answers.last()).unwrap();
                        if say(&stream, answer).is_err() {
                            break;
                        }
                    }
                    // Whoever listens may be gone before the test's last connection is.
                    let _ = hang_up.send(());
                });
            }
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    pub(crate) fn take(&self) -> Vec<Request> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

fn say(mut stream: &TcpStream, answer: &Answer) -> io::Result<()> {
    match answer {
        Answer::Whole(status, fields, body) => {
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\n{fields}content-length: {length}\r\n\r\n");
            stream.write_all(format!("{head}{body}").as_bytes())
        }
        Answer::Stream(events, size, end) => {
            stream.write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
                  transfer-encoding: chunked\r\n\r\n",
            )?;
            let mut pieces = Vec::new();
            for piece in events.as_bytes().chunks(*size) {
                pieces.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                pieces.extend_from_slice(piece);
                pieces.extend_from_slice(b"\r\n");
            }
            stream.write_all(&pieces)?;
            match end {
                End::Whole => stream.write_all(b"0\r\n\r\n"),
                End::Cut => Err(io::ErrorKind::Other.into()),
                End::Silence => until_closed(stream),
                End::Again => loop {
                    stream.write_all(&pieces)?;
                },
            }
        }
        Answer::Silence => until_closed(stream),
    }
}

/// Waits until the other side hangs up.
fn until_closed(mut stream: &TcpStream) -> io::Result<()> {
    while stream.read(&mut [0; 64])? > 0 {}
    Err(io::ErrorKind::Other.into())
}
