//! A client that sends what it is told to, byte for byte where that matters.

use std::{
    io::{BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

/// Longer than anything takes here, so that a test that hangs says where.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client with a key, or without one.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) key: Option<String>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn get(&self, path: &str) -> Answered {
        self.send("GET", path, &[], None)
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Answered {
        self.send("POST", path, &[], Some(body.to_string().as_bytes()))
    }

    /// One with no body.
    pub(crate) fn act(&self, path: &str) -> Answered {
        self.send("POST", path, &[], None)
    }

    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Answered {
        let mut stream = self.open(method, path, headers, body);
        let mut reader = BufReader::new(&mut stream);
        if method == "HEAD" {
            // It tells the length of what it leaves out.
            let (status, headers) = head(&mut reader);
            return Answered { status, headers, body: vec![] };
        }
        Answered::read(&mut reader)
    }

    /// Sends a request, and leaves the answer to be read.
    pub(crate) fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> TcpStream {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        if let Some(key) = &self.key {
            head += &format!("authorization: Bearer {key}\r\n");
        }
        if let Some(body) = body {
            if !headers.iter().any(|(name, _)| *name == "content-type") {
                head += "content-type: application/json\r\n";
            }
            head += &format!("content-length: {}\r\n", body.len());
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "connection: close\r\n\r\n";
        let mut stream = self.connect();
        stream.write_all(head.as_bytes()).unwrap();
        // A body that is refused unread may be cut off by the other side.
        let _ = stream.write_all(body.unwrap_or_default());
        stream
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends these bytes and nothing else; everything that comes until the other side closes.
    pub(crate) fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        let _ = stream.write_all(bytes);
        let mut all = vec![];
        // A reset ends it, too.
        let _ = stream.read_to_end(&mut all);
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Opens a stream of events.
    pub(crate) fn stream(&self, path: &str, headers: &[(&str, &str)]) -> Stream {
        let mut all = vec![("accept", "text/event-stream")];
        all.extend_from_slice(headers);
        let mut reader = BufReader::new(self.open("GET", path, &all, None));
        let (status, headers) = head(&mut reader);
        Stream { status, headers, reader: Chunked { reader, left: 0 } }
    }
}

impl Answered {
    pub(crate) fn read(reader: &mut impl std::io::BufRead) -> Self {
        let (status, headers) = head(reader);
        let mut body = vec![];
        let chunked = headers.iter().any(|(name, _)| name == "transfer-encoding");
        match chunked {
            true => drop(Chunked { reader, left: 0 }.read_to_end(&mut body).unwrap()),
            false => {
                let length = headers.iter().find(|(name, _)| name == "content-length");
                let length = length.map_or(0, |(_, length)| length.parse().unwrap());
                body.resize(length, 0);
                reader.read_exact(&mut body).unwrap();
            }
        }
        Self { status, headers, body }
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    /// That it is an error with this code, and of the form that all errors have.
    #[track_caller]
    pub(crate) fn fails(self, status: u16, code: &str) -> Self {
        let this = self.expect(status);
        assert_eq!(this.header("content-type"), Some("application/problem+json"));
        let body = this.json();
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(body["status"], status, "{body}");
        assert_eq!(body["type"], format!("urn:ringfence:problem:{code}"), "{body}");
        assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
        this
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// A stream of events that is being read.
pub(crate) struct Stream {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    reader: Chunked<BufReader<TcpStream>>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) data: Value,
}

impl Stream {
    /// The next event; nothing at the end. Comments are passed over.
    pub(crate) fn next(&mut self) -> Option<Told> {
        let (mut id, mut kind, mut data) = (String::new(), String::new(), String::new());
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some(("id", text)) => id = text.to_owned(),
                Some(("event", text)) => kind = text.to_owned(),
                Some(("data", text)) => data = text.to_owned(),
                _ if line.is_empty() && !kind.is_empty() => {
                    let data = serde_json::from_str(&data).unwrap();
                    return Some(Told { id, kind, data });
                }
                _ => {}
            }
        }
    }

    /// The events up to the first one of this kind.
    pub(crate) fn until(&mut self, kind: &str) -> Vec<Told> {
        let mut all = vec![];
        loop {
            let Some(told) = self.next() else { panic!("it ended before {kind}: {all:?}") };
            let is_last = told.kind == kind;
            all.push(told);
            if is_last {
                return all;
            }
        }
    }

    /// The next line, comments too.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = vec![];
        loop {
            let mut byte = [0];
            match self.reader.read(&mut byte) {
                Ok(0) => return None,
                Ok(_) if byte[0] == b'\n' => return Some(String::from_utf8(line).unwrap()),
                Ok(_) => line.push(byte[0]),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn head(reader: &mut impl std::io::BufRead) -> (u16, Vec<(String, String)>) {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {line:?}"));
    let status = status.parse().unwrap();
    let mut headers = vec![];
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    (status, headers)
}

/// A body that comes in pieces.
struct Chunked<R> {
    reader: R,
    left: usize,
}

impl<R: std::io::BufRead> std::io::Read for Chunked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            let mut line = String::new();
            self.reader.read_line(&mut line)?;
            if line.trim().is_empty() {
                line.clear();
                self.reader.read_line(&mut line)?;
            }
            self.left = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
            if self.left == 0 {
                return Ok(0);
            }
        }
        let most = buffer.len().min(self.left);
        let read = self.reader.read(&mut buffer[..most])?;
        self.left -= read;
        if self.left == 0 {
            let mut end = [0; 2];
            self.reader.read_exact(&mut end)?;
        }
        Ok(read)
    }
}
