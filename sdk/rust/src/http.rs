//! Requests over HTTP, one after the other: `send` waits, the host does the waiting.
//!
//! The host checks every request against the call's permit and follows no redirect: that is a request
//! of its own.
//!
//! A tool holds no credential. Its `tool.toml` names the header that is to have one, and the host sets
//! it in the requests that match that need; where the operator keeps it is nobody else's business:
//!
//! ```toml
//! [needs.http."https://api.example.com"]
//! methods = ["GET", "POST"]
//! paths = ["/items/**"]
//! secret = { header = "authorization", value = "Bearer {EXAMPLE_TOKEN}" }
//! ```
//!
//! A request that lacks its secret is [`Denied`](Error::Denied). Where a server repeats the secret, the
//! tool reads `[redacted:EXAMPLE_TOKEN]`, and `range` is not sent along with a secret.
//!
//! Answers are plain: the host sends `accept-encoding: identity` whatever a tool sets, and decodes gzip
//! and deflate where they come all the same. A body in another coding is an error.
//!
//! ```no_run
//! use ringfence_sdk::http;
//!
//! # fn tool() -> ringfence_sdk::Result<String> {
//! let response = http::get("https://api.example.com/items").header("accept", "application/json").send()?;
//! let text = response.ok()?.body.text(64 * 1024)?;
//! # Ok(text)
//! # }
//! ```

pub use body::Body;
pub use error::Error;
pub use headers::Headers;
pub use request::{Method, Request};
pub use response::Response;

mod body;
mod error;
mod headers;
mod request;
mod response;
mod target;

/// A GET request.
pub fn get(url: impl Into<String>) -> Request {
    Request::new(Method::Get, url)
}

/// A HEAD request.
pub fn head(url: impl Into<String>) -> Request {
    Request::new(Method::Head, url)
}

/// A POST request.
pub fn post(url: impl Into<String>) -> Request {
    Request::new(Method::Post, url)
}

/// A PUT request.
pub fn put(url: impl Into<String>) -> Request {
    Request::new(Method::Put, url)
}

/// A PATCH request.
pub fn patch(url: impl Into<String>) -> Request {
    Request::new(Method::Patch, url)
}

/// A DELETE request.
pub fn delete(url: impl Into<String>) -> Request {
    Request::new(Method::Delete, url)
}
