//! A web server on loopback that tells everybody the credential it was sent, in every form that a
//! path names.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::web::Request;

/// The paths by which it says the credential somewhere in a body, each in another form.
pub const FORMS: [&str; 14] = [
    "plain",
    "upper",
    "base64",
    "base64-1",
    "base64-2",
    "base64-url",
    "url",
    "url-all",
    "json",
    "json-all",
    "html",
    "hex",
    "utf16",
    "all",
];

/// The server.
pub struct Mirror {
    port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Mirror {
    /// By its address.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where it listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it was asked since the last time.
    #[must_use]
    pub fn take(&self) -> Vec<Request> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

/// Serves until the test is over.
#[must_use]
pub fn serve() -> Mirror {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::<Mutex<Vec<Request>>>::default();
    let of_thread = seen.clone();
    thread::spawn(move || {
        // What it was ever told: `/history` says all of it to everybody.
        let told = Arc::<Mutex<Vec<String>>>::default();
        for stream in listener.incoming().flatten() {
            let (seen, told) = (of_thread.clone(), told.clone());
            thread::spawn(move || while let Some(()) = answer(&stream, &seen, &told) {});
        }
    });
    Mirror { port, seen }
}

/// `secret` as a server of that form writes it.
#[must_use]
pub fn written(form: &str, secret: &str) -> String {
    let each = |write: fn(u8) -> String| secret.bytes().map(write).collect::<String>();
    match form {
        "plain" => secret.to_owned(),
        "upper" => secret.to_ascii_uppercase(),
        "base64" => STANDARD.encode(secret),
        "base64-1" => STANDARD.encode(format!("u{secret}")),
        "base64-2" => STANDARD.encode(format!("u:{secret}")),
        "base64-url" => STANDARD.encode(secret).replace('+', "-").replace('/', "_"),
        "url" => each(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).into(),
            byte => format!("%{byte:02X}"),
        }),
        "url-all" => each(|byte| format!("%{byte:02x}")),
        "json" => serde_json::Value::from(secret).to_string().replace('/', "\\/"),
        "json-all" => each(|byte| format!("\\u{byte:04x}")),
        "html" => secret.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;"),
        "hex" => each(|byte| format!("{byte:02x}")),
        "utf16" => each(|byte| format!("{}\0", char::from(byte))),
        "all" => {
            FORMS.iter().filter(|form| **form != "all").fold(String::new(), |mut all, form| {
                let _ = write!(all, "{form}: {}; ", written(form, secret));
                all
            })
        }
        other => panic!("no form {other}"),
    }
}

/// Answers one request of a connection; `None` at its end.
fn answer(
    mut stream: &TcpStream,
    seen: &Mutex<Vec<Request>>,
    told: &Mutex<Vec<String>>,
) -> Option<()> {
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
    request.body = String::from_utf8_lossy(&body).into_owned();
    seen.lock().unwrap().push(request.clone());
    let path = request.line.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default().trim_start_matches('/');
    let sent = request.header("authorization").unwrap_or_default();
    let secret = match sent.strip_prefix("Bearer ") {
        Some(secret) => {
            told.lock().unwrap().push(secret.to_owned());
            secret.to_owned()
        }
        None => told.lock().unwrap().last().cloned().unwrap_or_default(),
    };
    let bytes = match path {
        "chunks" => {
            let text = format!("you sent {sent}, didn't you? {}", written("base64", &secret));
            let chunks: String = text.chars().map(|c| format!("1\r\n{c}\r\n")).collect();
            head(&["transfer-encoding: chunked"]) + &chunks + "0\r\n\r\n"
        }
        "header" => {
            let fields = [
                format!("x-echo: you sent {sent}"),
                format!("x-encoded: {}", written("base64", &secret)),
                format!("location: /next?token={}", written("url", &secret)),
                format!("x-{}: in a name", written("hex", &secret)),
                "content-length: 5".to_owned(),
            ];
            head(&fields.each_ref().map(String::as_str)) + "hello"
        }
        "trailer" => {
            let fields = head(&["transfer-encoding: chunked", "trailer: x-echo"]);
            format!("{fields}5\r\nhello\r\n0\r\nx-echo: {sent}\r\n\r\n")
        }
        // Never answers, never hangs up.
        "silent" => loop {
            thread::park();
        },
        "gzip" => {
            let body = gzip(format!("you sent {sent}").as_bytes());
            let length = format!("content-length: {}", body.len());
            let head = head(&["content-encoding: gzip", &length]);
            stream.write_all(&[head.as_bytes(), &body].concat()).ok()?;
            return Some(());
        }
        "compressed-transfer" => {
            head(&["transfer-encoding: gzip, chunked"])
                + &format!("{:x}\r\n{sent}\r\n0\r\n\r\n", sent.len())
        }
        "redirect" => {
            let to = request.line.split(['?', ' ']).nth(2).unwrap_or("/plain");
            format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
        }
        form => {
            let form = if FORMS.contains(&form) { form } else { "plain" };
            let said = match path {
                "history" => told.lock().unwrap().join(", "),
                _ => format!("you sent <{}>, didn't you?", written(form, &secret)),
            };
            head(&[&format!("content-length: {}", said.len())]) + &said
        }
    };
    stream.write_all(bytes.as_bytes()).ok()
}

fn head(fields: &[&str]) -> String {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n")
}

/// A gzip file of one stored block.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap();
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg());
        }
    }
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    file.extend(length.to_le_bytes());
    file.extend((!length).to_le_bytes());
    file.extend(bytes);
    file.extend((!sum).to_le_bytes());
    file.extend(u32::from(length).to_le_bytes());
    file
}
