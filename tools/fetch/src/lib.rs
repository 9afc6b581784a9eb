//! Gets a page or JSON from the web, as text that a model can read.
//!
//! It follows redirects itself: each is a request of its own, which the host decides on anew.

mod address;
mod markdown;
mod page;

use ringfence_sdk::context;
use ringfence_sdk::http::{self, Body, Response};
use ringfence_sdk::prelude::*;
use url::Url;

use crate::page::Page;

/// As many as a site moved twice, with `www` and `https` added, needs.
const REDIRECTS_MAX: usize = 5;

/// A page longer than this is no page to read. What comes after it is not even received.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How much is received between two words of progress: a large page says some, a small one none.
const PROGRESS_BYTES: usize = 256 * 1024;

/// About as much as a model can use of one page.
const TEXT_CHARS_MAX: usize = 200_000;

/// Sites turn away who does not say who they are.
const USER_AGENT: &str = concat!("ringfence-fetch/", env!("CARGO_PKG_VERSION"));

/// HTML last of the four, though it is what most answer with: a site that has something simpler
/// sends it.
const ACCEPT: &str = "text/markdown, text/plain, application/json, text/html;q=0.9, */*;q=0.5";

#[derive(Deserialize, JsonSchema)]
struct Get {
    /// An absolute `https://` or `http://` URL.
    url: String,
    /// Whether to return HTML as it is, instead of Markdown.
    #[serde(default)]
    raw: bool,
    /// From which character on to show the text, to read on in a long page.
    #[serde(default)]
    start: usize,
    /// At most so many characters.
    #[serde(default = "chars_max")]
    #[schemars(range(min = 1, max = 200_000))]
    chars_max: usize,
}

fn chars_max() -> usize {
    50_000
}

/// Gets a page, text or JSON from the web by its URL. HTML becomes Markdown, JSON is indented. The
/// first lines name the URL it came from and the page's title; a text that was cut says how to
/// read on.
#[tool(effect = "read")]
fn get(args: Get) -> Result<String> {
    let url = address::parse(&args.url)?;
    let (url, response) = follow(url)?;
    let content_type = response.headers.get("content-type").unwrap_or_default().to_owned();
    let length = response.headers.get("content-length").and_then(|length| length.parse().ok());
    let (body, cut) = received(response.body, length)?;
    let page = Page::read(&url, &content_type, &body, args.raw)?;
    Ok(page.show(args.start, args.chars_max.min(TEXT_CHARS_MAX), cut))
}

/// The body as far as a page goes, and whether more would follow.
fn received(mut body: Body, length: Option<u64>) -> Result<(Vec<u8>, bool)> {
    let mut bytes = Vec::new();
    let mut told = 0;
    while let Some(chunk) = body.chunk()? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > BODY_BYTES_MAX {
            bytes.truncate(BODY_BYTES_MAX);
            return Ok((bytes, true));
        }
        if bytes.len() / PROGRESS_BYTES > told {
            told = bytes.len() / PROGRESS_BYTES;
            context::progress_with(bytes.len() as u64, length, "bytes received");
        }
    }
    Ok((bytes, false))
}

/// The first response that is no redirect, and where it came from.
fn follow(mut url: Url) -> Result<(Url, Response)> {
    let mut redirects = 0;
    loop {
        // Said before the wait: how long that is, the other side decides.
        let asked = format!("asking {}", url.host_str().unwrap_or_default());
        context::progress_with(redirects as u64, None, &asked);
        let response = http::get(url.as_str())
            .header("accept", ACCEPT)
            .header("user-agent", USER_AGENT)
            .send()
            .map_err(|error| Error::from(error).context(format_args!("`{url}`")).at("/url"))?;
        let Some(next) =
            address::redirected(&url, response.status, response.headers.get("location"))?
        else {
            return Ok((url, response.ok()?));
        };
        if redirects == REDIRECTS_MAX {
            return Err(Error::failed(format!(
                "`{url}` redirects again, after {REDIRECTS_MAX} redirects"
            )));
        }
        redirects += 1;
        url = next;
    }
}

ringfence_sdk::export!(get);
