//! A response whose body was not read yet.

use super::{Body, Error, Headers};

/// The head of a response, with the body behind it.
#[derive(Debug)]
pub struct Response {
    /// What was asked.
    pub url: String,
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: Headers,
    /// The body.
    pub body: Body,
}

impl Response {
    /// The response if its status is 2xx, and else an error that says which it is.
    pub fn ok(self) -> Result<Self, Error> {
        match self.status {
            200..=299 => Ok(self),
            status => {
                let retry_after =
                    self.headers.get("retry-after").and_then(|value| value.parse().ok());
                Err(Error::Status { url: self.url, status, retry_after_s: retry_after })
            }
        }
    }
}
