//! Why a request has no response, or a response no body.

use std::fmt;
use std::time::Duration;

use wasip2::http::types::ErrorCode;

/// Why a request did not give what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The URL cannot be requested.
    InvalidUrl {
        /// The URL.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A header has a name or value that HTTP does not allow, or that the host keeps for itself.
    InvalidHeader,
    /// The method is not one.
    InvalidMethod,
    /// The call's permit does not cover the request.
    Denied,
    /// The other side did not answer in time, or not at all.
    Unreachable(String),
    /// The other side answered with a status that is no success.
    Status {
        /// What was asked.
        url: String,
        /// The status code.
        status: u16,
        /// The header `retry-after`, where it is a number of seconds.
        retry_after_s: Option<u64>,
    },
    /// The body is longer than the caller is ready to hold.
    BodyTooLong {
        /// What the caller is ready to hold.
        bytes_max: usize,
    },
    /// A body could not be written, read or understood.
    Body(String),
    /// Anything else that the host reports.
    Other(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidUrl { url, why } => write!(f, "`{url}` cannot be requested: {why}"),
            Self::InvalidHeader => f.write_str("a header of the request is not allowed"),
            Self::InvalidMethod => f.write_str("the request's method is not one"),
            Self::Denied => {
                f.write_str("the host denied the request: this call's permit does not cover it")
            }
            Self::Unreachable(why) => write!(f, "no answer: {why}"),
            Self::Status { url, status, .. } => write!(f, "`{url}` answered with status {status}"),
            Self::BodyTooLong { bytes_max } => {
                write!(f, "the response is longer than {bytes_max} bytes")
            }
            Self::Body(why) => write!(f, "body: {why}"),
            Self::Other(why) => write!(f, "the request failed: {why}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<ErrorCode> for Error {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => Self::Denied,
            ErrorCode::DnsTimeout
            | ErrorCode::DestinationNotFound
            | ErrorCode::DestinationUnavailable
            | ErrorCode::DestinationIpUnroutable
            | ErrorCode::ConnectionRefused
            | ErrorCode::ConnectionTerminated
            | ErrorCode::ConnectionTimeout
            | ErrorCode::ConnectionReadTimeout
            | ErrorCode::ConnectionWriteTimeout
            | ErrorCode::ConnectionLimitReached
            | ErrorCode::HttpResponseIncomplete
            | ErrorCode::HttpResponseTimeout
            | ErrorCode::DnsError(_) => Self::Unreachable(sentence(&code)),
            ErrorCode::HttpResponseBodySize(Some(bytes_max)) => {
                Self::BodyTooLong { bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX) }
            }
            ErrorCode::InternalError(Some(message)) => Self::Other(message),
            code => Self::Other(sentence(&code)),
        }
    }
}

/// `ErrorCode::ConnectionRefused` as `connection refused`; what a code carries follows as it is.
fn sentence(code: &ErrorCode) -> String {
    let code = format!("{code:?}");
    let code = code.strip_prefix("ErrorCode::").unwrap_or(&code);
    let (name, carried) = code.split_at(code.find('(').unwrap_or(code.len()));
    let mut sentence = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !sentence.is_empty() {
            sentence.push(' ');
        }
        sentence.push(c.to_ascii_lowercase());
    }
    sentence + carried
}

impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::InvalidUrl { .. } | Error::InvalidHeader | Error::InvalidMethod => {
                Self::invalid_input(message)
            }
            Error::Unreachable(_) => Self::unavailable(message),
            Error::Status { status: 408 | 429 | 502..=504, retry_after_s, .. } => {
                let unavailable = Self::unavailable(message);
                match retry_after_s {
                    Some(delay) => unavailable.retry_after(Duration::from_secs(delay)),
                    None => unavailable,
                }
            }
            Error::Denied
            | Error::Status { .. }
            | Error::BodyTooLong { .. }
            | Error::Body(_)
            | Error::Other(_) => Self::failed(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn an_error_says_what_the_caller_can_do() {
        let check = |error: Error, kind: ErrorKind, message: &str| {
            let error = crate::Error::from(error);
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(message), "{error}");
        };
        let status = |status| Error::Status {
            url: "https://a.example".to_owned(),
            status,
            retry_after_s: None,
        };
        check(
            ErrorCode::HttpRequestDenied.into(),
            ErrorKind::Failed,
            "the host denied the request",
        );
        check(
            ErrorCode::ConnectionRefused.into(),
            ErrorKind::Unavailable,
            "no answer: connection refused",
        );
        check(ErrorCode::TlsCertificateError.into(), ErrorKind::Failed, "certificate error");
        check(status(404), ErrorKind::Failed, "`https://a.example` answered with status 404");
        check(status(429), ErrorKind::Unavailable, "status 429");
        check(status(503), ErrorKind::Unavailable, "status 503");
        check(Error::BodyTooLong { bytes_max: 9 }, ErrorKind::Failed, "longer than 9 bytes");
    }
}
