//! A web server on loopback that tells everybody the credential it was sent, in every form that a
//! path names.

use std::{
    fmt::Write as _,
    io::{self, Write},
    net::TcpStream,
    sync::Mutex,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    coded::gzip,
    web::{Request, Web, keep_silent, say},
};

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

/// Serves until the test is over.
#[must_use]
pub fn serve() -> Web {
    // What it was ever told: `/history` says all of it to everybody.
    let told = Mutex::default();
    Web::new(move |request, stream| answer(request, stream, &told))
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

fn answer(request: &Request, mut stream: &TcpStream, told: &Mutex<Vec<String>>) -> io::Result<()> {
    let path = request.path().split('?').next().unwrap_or_default().trim_start_matches('/');
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
        "silent" => keep_silent(),
        "gzip" => {
            let body = gzip(format!("you sent {sent}, didn't you?").as_bytes());
            return say(stream, "200 OK", "content-encoding: gzip\r\n", &body);
        }
        "gzip-twice" => {
            let body = gzip(&gzip(format!("you sent {sent}, didn't you?").as_bytes()));
            return say(stream, "200 OK", "content-encoding: gzip, gzip\r\n", &body);
        }
        // Nobody here can tell what is in it.
        "brotli" => {
            return say(stream, "200 OK", "content-encoding: br\r\n", sent.as_bytes());
        }
        "compressed-transfer" => {
            head(&["transfer-encoding: gzip, chunked"])
                + &format!("{:x}\r\n{sent}\r\n0\r\n\r\n", sent.len())
        }
        "redirect" => {
            let to = request.path().split_once('?').map_or("/plain", |(_, to)| to);
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
    stream.write_all(bytes.as_bytes())
}

fn head(fields: &[&str]) -> String {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n")
}
