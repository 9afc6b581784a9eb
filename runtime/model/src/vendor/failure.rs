//! What a vendor says when there is no reply, by class.

use std::time::Duration;

use http::{Response, header::LOCATION};
use hyper::body::Incoming;
use ringfence_event::{ModelFailure, ModelFailureClass as Class};
use serde_json::Value;

use super::{body, retry_after};

/// How much is read of an answer that is an error. Vendors say a sentence; proxies send a page.
const BODY_BYTES: usize = 64 << 10;

/// What an error is, as the vendor says it.
#[derive(Debug, Default)]
struct Said {
    /// Its code and its type, in lower case.
    words: String,
    /// The code, where it is the number of a status.
    status: Option<u16>,
    message: String,
}

/// The failure that an answer with another status than 2xx is.
pub(super) async fn of_response(response: Response<Incoming>, idle: Duration) -> ModelFailure {
    let (head, body) = response.into_parts();
    let status = head.status.as_u16();
    let body = body::beginning(body, idle, BODY_BYTES).await;
    let said = match serde_json::from_slice::<Value>(&body) {
        Ok(json) => said(&json),
        Err(_) => Said { message: plain(&body), ..Said::default() },
    };
    let mut message = match said.message.is_empty() {
        true => format!("status {status}"),
        false => format!("status {status}: {}", said.message),
    };
    if let Some(to) = head.headers.get(LOCATION).filter(|_| head.status.is_redirection()) {
        let to = String::from_utf8_lossy(to.as_bytes());
        message.push_str(&format!(": it leads to {to}, and no redirect is followed: mend `url`"));
    }
    let class = class(Some(status), &said);
    ModelFailure { class, message, retry_after_ms: retry_after::read(&head.headers) }
}

/// The failure that an event of a stream is.
pub(super) fn in_stream(event: &Value) -> ModelFailure {
    let said = said(event);
    let message = match said.message.is_empty() {
        true => "the stream ended with an error".to_owned(),
        false => said.message.clone(),
    };
    ModelFailure { class: class(said.status, &said), message, retry_after_ms: None }
}

/// The failure in an answer that came with a good status, or in an event.
pub(super) fn in_answer(answer: &Value) -> Option<ModelFailure> {
    let error = answer.get("error").filter(|error| !error.is_null())?;
    // What is empty is no error: some servers always have the key.
    let is_one = error.as_object().is_none_or(|error| !error.is_empty());
    is_one.then(|| in_stream(answer))
}

/// `{error: {message, type, code}}`, `{error: "…"}`, `{message, type, code}` or `{detail: "…"}`.
fn said(json: &Value) -> Said {
    let error = json.get("error").filter(|error| !error.is_null()).unwrap_or(json);
    let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
    let message = match error {
        Value::String(message) => message,
        _ => [text("message"), text("detail")]
            .into_iter()
            .find(|text| !text.is_empty())
            .unwrap_or(""),
    };
    let code = error.get("code");
    Said {
        words: format!("{} {}", text("code"), text("type")).to_ascii_lowercase(),
        status: code.and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok()),
        message: message.to_owned(),
    }
}

/// A body that is no JSON, if it is for people.
fn plain(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    // The page of a proxy is no sentence.
    if text.trim_start().starts_with('<') { String::new() } else { text.trim().to_owned() }
}

fn class(status: Option<u16>, said: &Said) -> Class {
    let words = |parts: &[&str]| parts.iter().any(|part| said.words.contains(part));
    // It does not open again by waiting.
    if words(&["insufficient_quota", "billing"]) {
        return Class::Refused;
    }
    let long = ["context_length_exceeded", "exceed_context_size", "request_too_large"];
    if words(&long) || (matches!(status, None | Some(400 | 413 | 422)) && is_too_long(said)) {
        return Class::TooLong;
    }
    match status {
        Some(413) => Class::TooLong,
        Some(429) => Class::RateLimited,
        Some(408 | 409 | 425 | 500..) => Class::Unavailable,
        Some(300..500) => Class::Refused,
        _ if words(&["rate_limit"]) => Class::RateLimited,
        _ if words(&["invalid", "authentication", "permission", "not_found", "policy"]) => {
            Class::Refused
        }
        _ => Class::Unavailable,
    }
}

/// What servers say that have no word of their own for it.
fn is_too_long(said: &Said) -> bool {
    let message = said.message.to_ascii_lowercase();
    let parts = [
        "context length",
        "context window",
        "context size",
        "context limit",
        "maximum context",
        "prompt is too long",
    ];
    parts.iter().any(|part| message.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_a_class() {
        let check = |status: Option<u16>, json: &str, expected: Class| {
            let said = said(&serde_json::from_str(json).unwrap());
            let status = status.or(said.status);
            assert_eq!(class(status, &said), expected, "{status:?} {json}");
        };
        check(Some(429), "{}", Class::RateLimited);
        check(Some(429), r#"{"error":{"code":"insufficient_quota"}}"#, Class::Refused);
        check(Some(401), r#"{"error":{"type":"authentication_error"}}"#, Class::Refused);
        check(Some(404), "{}", Class::Refused);
        check(Some(301), "{}", Class::Refused);
        check(Some(408), "{}", Class::Unavailable);
        check(Some(409), "{}", Class::Unavailable);
        check(Some(425), "{}", Class::Unavailable);
        check(Some(500), "{}", Class::Unavailable);
        check(Some(529), r#"{"error":{"type":"overloaded_error"}}"#, Class::Unavailable);
        check(Some(413), r#"{"error":{"type":"request_too_large"}}"#, Class::TooLong);
        check(Some(400), r#"{"error":{"code":"context_length_exceeded"}}"#, Class::TooLong);
        check(
            Some(400),
            r#"{"error":{"type":"exceed_context_size_error","code":400}}"#,
            Class::TooLong,
        );
        check(Some(400), r#"{"error":{"message":"prompt is too long: 9 > 8"}}"#, Class::TooLong);
        check(
            Some(400),
            r#"{"message":"This model's maximum context length is 8"}"#,
            Class::TooLong,
        );
        check(Some(400), r#"{"error":{"message":"messages: wrong"}}"#, Class::Refused);
        check(None, r#"{"error":{"type":"overloaded_error"}}"#, Class::Unavailable);
        check(None, r#"{"error":{"type":"rate_limit_error"}}"#, Class::RateLimited);
        check(None, r#"{"error":{"type":"invalid_request_error"}}"#, Class::Refused);
        check(None, r#"{"error":{"code":429}}"#, Class::RateLimited);
        check(None, r#"{"error":{"code":"server_error"}}"#, Class::Unavailable);
        check(None, r#"{"error":"out of memory"}"#, Class::Unavailable);
    }
}
