//! What came back, as text.

use encoding_rs::{Encoding, UTF_8};
use ringfence_sdk::{Error, Result};
use serde_json::Value;
use url::Url;

use crate::markdown;

/// Where a page's own word about its encoding stands, if it has one.
const ENCODING_BYTES: usize = 1_024;

/// What was fetched, readable.
pub(crate) struct Page {
    url: Url,
    title: Option<String>,
    text: String,
}

/// What a media type means for a reader.
enum Kind {
    Html,
    Json,
    Text,
    Binary,
}

impl Page {
    /// Turns a body into text, by what the response says it is.
    pub(crate) fn read(url: &Url, content_type: &str, body: &[u8], raw: bool) -> Result<Self> {
        let kind = Kind::of(content_type, body);
        let text = match kind {
            Kind::Binary => {
                let kind = if content_type.is_empty() { "binary data" } else { content_type };
                return Err(Error::invalid_input(format!(
                    "`{url}` is {kind}, {} bytes: only text, HTML and JSON can be read",
                    body.len()
                ))
                .at("/url"));
            }
            Kind::Html | Kind::Json | Kind::Text => decode(content_type, body),
        };
        let page = |title, text| Self { url: url.clone(), title, text };
        match kind {
            Kind::Html if !raw => {
                let converted = markdown::convert(&text, url).map_err(|error| {
                    Error::failed(format!("`{url}` is HTML that cannot be read: {error}"))
                })?;
                Ok(page(converted.title, converted.text))
            }
            // What says it is JSON and is not is shown as it came: a model can still read it.
            Kind::Json => Ok(page(None, indented(&text).unwrap_or(text))),
            Kind::Html | Kind::Text | Kind::Binary => Ok(page(None, text)),
        }
    }

    /// The head, and at most `chars_max` characters of the text from `start` on. `cut` says that the
    /// body was longer than what was received.
    pub(crate) fn show(&self, start: usize, chars_max: usize, cut: bool) -> String {
        let mut shown = format!("URL: {}\n", self.url);
        if let Some(title) = &self.title {
            shown.push_str(&format!("Title: {title}\n"));
        }
        shown.push('\n');
        let mut rest = self.text.chars().skip(start);
        shown.extend(rest.by_ref().take(chars_max));
        let left = rest.count();
        if left > 0 {
            shown.push_str(&format!(
                "\n[truncated: {left} characters follow; go on with `start` {}]",
                start + chars_max
            ));
        } else if cut {
            shown.push_str("\n[truncated: the rest of the page is too long to be received]");
        }
        shown
    }
}

impl Kind {
    fn of(content_type: &str, body: &[u8]) -> Self {
        let essence =
            content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "text/html" | "application/xhtml+xml" => Self::Html,
            "application/json" | "text/json" => Self::Json,
            "application/xml"
            | "application/javascript"
            | "application/x-ndjson"
            | "application/yaml"
            | "application/toml" => Self::Text,
            "" if body.contains(&0) => Self::Binary,
            "" => Self::Text,
            essence if essence.ends_with("+json") => Self::Json,
            essence if essence.ends_with("+xml") || essence.starts_with("text/") => Self::Text,
            _ => Self::Binary,
        }
    }
}

/// The encoding is what the response says, else what the page says, else UTF-8; a byte order mark
/// stands above all three.
fn decode(content_type: &str, body: &[u8]) -> String {
    let head = String::from_utf8_lossy(&body[..body.len().min(ENCODING_BYTES)]);
    let encoding = charset(content_type).or_else(|| charset(&head)).unwrap_or(UTF_8);
    let (text, _, _) = encoding.decode(body);
    text.into_owned()
}

/// The encoding named after `charset=`.
fn charset(text: &str) -> Option<&'static Encoding> {
    let text = text.to_ascii_lowercase();
    let (_, label) = text.split_once("charset=")?;
    let label = label.trim_start_matches(['"', '\'']);
    let end = label
        .find(|c: char| !(c.is_ascii_alphanumeric() || "-_:.".contains(c)))
        .unwrap_or(label.len());
    Encoding::for_label(&label.as_bytes()[..end])
}

fn indented(json: &str) -> Option<String> {
    let value: Value = serde_json::from_str(json).ok()?;
    serde_json::to_string_pretty(&value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(content_type: &str, body: &[u8], expected: &str) {
        let url = Url::parse("https://a.example/").expect("a URL");
        let found = match Page::read(&url, content_type, body, false) {
            Ok(page) => {
                page.show(0, 40, false).trim_start_matches("URL: https://a.example/\n").to_owned()
            }
            Err(error) => error.to_string(),
        };
        assert!(found.contains(expected), "{content_type}: {found}");
    }

    #[test]
    fn a_body_is_read_as_what_it_is() {
        check("text/html; charset=utf-8", b"<title>T</title><p>a <i>b</i>", "Title: T\n\na *b*");
        check("application/json", br#"{"a":[1]}"#, "{\n  \"a\": [\n    1\n  ]\n}");
        check("application/problem+json", br#"{"a":1}"#, "{\n  \"a\": 1\n}");
        check("application/json", b"{not json", "{not json");
        check("text/plain", b"<p>a</p>", "<p>a</p>");
        check("image/svg+xml", b"<svg/>", "<svg/>");
        check("", b"a", "a");
        check("image/png", b"\x89PNG", "`https://a.example/` is image/png, 4 bytes: only text");
        check("", b"\0", "is binary data, 1 bytes");
    }

    #[test]
    fn an_encoding_is_found_where_it_is_named() {
        check("text/plain; charset=ISO-8859-1", b"caf\xe9", "café");
        check("text/html", b"<meta charset='windows-1252'><p>caf\xe9", "café");
        check("text/plain; charset=\"utf-8\"", "café".as_bytes(), "café");
        check("text/plain; charset=nonsense", "café".as_bytes(), "café");
        check("text/plain", b"\xef\xbb\xbfa", "\na");
    }

    #[test]
    fn a_long_text_is_read_in_parts() {
        let page = Page {
            url: Url::parse("https://a.example").expect("a URL"),
            title: None,
            text: "äbcdef".to_owned(),
        };
        let check = |start: usize, chars_max: usize, cut: bool, expected: &str| {
            assert_eq!(
                page.show(start, chars_max, cut).trim_start_matches("URL: https://a.example/\n\n"),
                expected
            );
        };
        check(0, 6, false, "äbcdef");
        check(0, 2, false, "äb\n[truncated: 4 characters follow; go on with `start` 2]");
        check(2, 2, true, "cd\n[truncated: 2 characters follow; go on with `start` 4]");
        check(4, 9, true, "ef\n[truncated: the rest of the page is too long to be received]");
        check(9, 9, false, "");
    }
}
