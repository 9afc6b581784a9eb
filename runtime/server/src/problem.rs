//! Errors as clients see them: `application/problem+json` (RFC 9457) with a stable code. What a client is
//! told and what the log is told are two things; here is the one place where both are made.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use ringfence::{Error, Refusal, event::neutralise};
use schemars::JsonSchema;
use serde::Serialize;

macro_rules! codes {
    ($($name:ident $status:literal $word:literal $title:literal,)*) => {
        /// The stable codes of all errors. A client goes by these.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
        pub(crate) enum Code { $(#[serde(rename = $word)] $name,)* }

        impl Code {
            /// All of them.
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code, as it is written.
            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// The status that an answer with it has.
            pub(crate) fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// What it means, the same for every error with it.
            pub(crate) fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    BadRequest 400 "bad-request" "The request cannot be read",
    BadJson 400 "bad-json" "The body is not the JSON that is expected",
    BadQuery 400 "bad-query" "The query is not what is expected",
    BadCursor 400 "bad-cursor" "The cursor is none of this list, or not the caller's",
    BadHeader 400 "bad-header" "A header is not what is expected",
    Unauthenticated 401 "unauthenticated" "No valid API key came with the request",
    OutOfScope 403 "out-of-scope" "The API key is not for this",
    ForeignHost 403 "foreign-host" "The service is not known by this host name",
    ForeignOrigin 403 "foreign-origin" "Pages of this origin may not ask the service",
    NotFound 404 "not-found" "There is nothing at this path",
    NoSuchSession 404 "no-such-session" "There is no such session",
    NoSuchRun 404 "no-such-run" "There is no such run",
    NoSuchStep 404 "no-such-step" "There is no such step",
    NoSuchCall 404 "no-such-call" "There is no such call",
    NoSuchAgent 404 "no-such-agent" "There is no such agent",
    NoSuchTool 404 "no-such-tool" "There is no such tool",
    NoSuchFunction 404 "no-such-function" "There is no such function",
    NoSuchKey 404 "no-such-key" "There is no such API key",
    MethodNotAllowed 405 "method-not-allowed" "The method is not for this path",
    RequestTimeout 408 "request-timeout" "The request did not arrive in time",
    Busy 409 "busy" "A run is under way",
    Driven 409 "driven" "Somebody drives the session",
    Closed 409 "closed" "The session is closed",
    OtherInput 409 "other-input" "Another input came under this key",
    OtherAgent 409 "other-agent" "The session is another agent's",
    KeyReused 409 "key-reused" "Another request came under this idempotency key",
    InProgress 409 "in-progress" "A request under this idempotency key is being carried out",
    OutcomeUnknown 409 "outcome-unknown" "Nobody knows how the request under this key ended",
    NotWaiting 409 "not-waiting" "The call does not wait for this",
    NotUnknown 409 "not-unknown" "The outcome of the call is known",
    StaleAnswer 409 "stale-answer" "The call waits for another answer than was shown",
    Expired 409 "expired" "It is too late to answer",
    NoRun 409 "no-run" "No run is under way",
    NotNow 409 "not-now" "It cannot happen now",
    NotCreated 409 "not-created" "The session was not created",
    NothingUnfinished 409 "nothing-unfinished" "Nothing is unfinished",
    LengthRequired 411 "length-required" "The request does not tell the length of its body",
    BodyTooLarge 413 "body-too-large" "The body is too large",
    UriTooLong 414 "uri-too-long" "The request's target is too long",
    NotJson 415 "not-json" "The body is not JSON",
    Encoded 415 "encoded-body" "The body is compressed",
    Invalid 422 "invalid" "What the request asks for makes no sense",
    EmptyInput 422 "empty-input" "The input says nothing",
    UnfitAnswer 422 "unfit-answer" "The answer does not fit its question",
    OneCallOnly 422 "one-call-only" "The rule allows a yes to one call only",
    RateLimited 429 "rate-limited" "The tenant begins more than it may in this time",
    QueueFull 429 "queue-full" "Too much of the tenant's waits for its turn",
    Spent 429 "spent" "The tenant has spent what it may spend",
    Overloaded 429 "overloaded" "The tenant asks for more than it may at one time",
    Internal 500 "internal" "The host failed",
    ServiceFull 503 "service-full" "The service has as much to do as it can",
    Unavailable 503 "unavailable" "The service cannot do it now",
    ToolUnusable 503 "tool-unusable" "The tool is not what was accepted, or cannot be loaded",
    AgentUnusable 503 "agent-unusable" "The agent cannot be run",
    Draining 503 "draining" "The service is about to end",
    TimedOut 504 "timed-out" "It took longer than a request may",
}

/// An error, as it is answered.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    /// What is wrong with this request, and how to mend it.
    detail: String,
    retry_after: Option<Duration>,
    /// What only the log is told.
    pub(crate) internal: Option<String>,
    /// Whether something of what was asked for may have been done: then it is not done again for the
    /// sake of a client that sends it again.
    pub(crate) may_have_begun: bool,
}

/// The body of an error.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ProblemBody {
    /// Names the code: `urn:ringfence:problem:CODE`.
    #[serde(rename = "type")]
    kind: String,
    /// What the code means.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// The stable code.
    code: Code,
    /// What is wrong with this request.
    detail: String,
    /// How long to wait before asking again.
    #[serde(rename = "retry-after-ms", skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        let detail = neutralise(&detail.into()).into_owned();
        Self { code, detail, retry_after: None, internal: None, may_have_begun: false }
    }

    /// Something of the host's failed: the client hears that, and the log why. Nobody knows how far it
    /// came.
    pub(crate) fn internal(why: impl Into<String>) -> Self {
        let detail = "the host failed; its log says why";
        let problem = Self { internal: Some(why.into()), ..Self::new(Code::Internal, detail) };
        problem.after_it_began()
    }

    /// The same, of something that may have been done by then.
    pub(crate) fn after_it_began(self) -> Self {
        Self { may_have_begun: true, ..self }
    }

    pub(crate) fn retry_after(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    fn logged(self, why: impl Into<String>) -> Self {
        Self { internal: Some(why.into()), ..self }
    }
}

/// What an error of the library and its causes say.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    text
}

/// How long a client that met a failure of the store is asked to wait: a disk that was full is seldom
/// empty a moment later.
const STORE_RETRY: Duration = Duration::from_secs(5);

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::of(&error)
    }
}

impl Problem {
    fn of(error: &Error) -> Self {
        let code = error.code();
        let known = Code::ALL.iter().copied().find(|known| known.as_str() == code);
        match error {
            Error::Shared(error) => Self::of(error),
            Error::NotTaken(refusal) => Self::not_taken(refusal),
            Error::Left { .. } => Self::not_taken(&Refusal::Draining),
            Error::Suspended { .. } => {
                let said = "the tenant begins nothing now: what must be kept of it cannot be kept";
                Self::new(Code::Unavailable, said).retry_after(STORE_RETRY).logged(whole(error))
            }
            Error::Store(failure) if code == Code::KeyReused.as_str() => {
                Self::new(Code::KeyReused, whole(failure))
            }
            Error::Refused(_)
            | Error::NoSuchSession { .. }
            | Error::NothingWaits { .. }
            | Error::SeveralWait { .. }
            | Error::UnfitAnswer { .. }
            | Error::NothingUnfinished
            | Error::NoSuchKey { .. } => {
                let code = known.unwrap_or(Code::NotNow);
                Self::new(code, whole(error))
            }
            Error::Driven { .. } => {
                Self::new(Code::Driven, "the session is being driven: wait, or cancel its run")
            }
            Error::Spent { tenant: _, limit, spent, .. } => {
                let said = format!("the limit of {limit} is spent, {}", spent.words(*limit));
                let problem = Self::new(Code::Spent, said);
                match spent.reopens {
                    // The time of it stands in events; what is left of it the edge works out.
                    Some(at) => problem.retry_after(until(at)),
                    None => problem,
                }
            }
            Error::Changed(_) | Error::Tool { .. } | Error::Catalog(_) => {
                let said = "the tool is not what was accepted, or cannot be loaded; its operator can mend it";
                Self::new(Code::ToolUnusable, said).logged(whole(error))
            }
            Error::Config(_) | Error::Script(_) | Error::File { .. } => {
                let said = "a file of the operator's is missing or wrong; its operator can mend it";
                Self::new(Code::AgentUnusable, said).logged(whole(error))
            }
            Error::Store(ringfence_error) => {
                let why = whole(ringfence_error);
                Self::new(Code::Unavailable, "the store cannot do it now")
                    .retry_after(STORE_RETRY)
                    .logged(why)
            }
            Error::Input { message } => Self::new(Code::Invalid, message.clone()),
            Error::Lost { .. } => Self::internal(whole(error)),
            // The library says by `Lost` that it began.
            _ => Self { may_have_begun: false, ..Self::internal(whole(error)) },
        }
    }

    /// Work that was not begun: 429 is the tenant's own limit, 503 the host's.
    fn not_taken(refusal: &Refusal) -> Self {
        let problem = match refusal {
            // Where the line stands is the operator's to know.
            Refusal::Rate { rate, .. } => {
                Self::new(Code::RateLimited, format!("the tenant has begun its {rate}"))
            }
            Refusal::Queue { queue, .. } => {
                let said = format!("{queue} calls and inputs of the tenant wait already");
                Self::new(Code::QueueFull, said)
            }
            Refusal::Host { .. } => {
                Self::new(Code::ServiceFull, "as much waits for its turn as may")
            }
            Refusal::Store { .. } => {
                Self::new(Code::Unavailable, "the store keeps nothing at present")
                    .logged(refusal.to_string())
            }
            Refusal::Draining => Self::new(Code::Draining, refusal.to_string()),
            Refusal::Late => Self::new(Code::TimedOut, refusal.to_string()),
            Refusal::Cancelled => Self::new(Code::NotNow, refusal.to_string()),
        };
        match refusal.retry_after_ms() {
            Some(after) => problem.retry_after(Duration::from_millis(after)),
            None => problem,
        }
    }
}

fn until(at: ringfence::event::Timestamp) -> Duration {
    let now = ringfence::Clock::system().now();
    Duration::from_millis(at.0.saturating_sub(now.0))
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let retry_after = self.retry_after;
        let body = ProblemBody {
            kind: format!("urn:ringfence:problem:{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status(),
            code: self.code,
            detail: self.detail,
            retry_after_ms: retry_after
                .map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
        };
        let text = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(axum::body::Body::from(text));
        *response.status_mut() =
            StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = retry_after {
            // In whole seconds, and never too early.
            let seconds = after.as_millis().div_ceil(1000).max(1);
            if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
                headers.insert(header::RETRY_AFTER, value);
            }
        }
        if self.code == Code::Unauthenticated {
            let challenge = HeaderValue::from_static("Bearer realm=\"ringfence\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_have_the_status_of_an_error() {
        for (at, code) in Code::ALL.iter().enumerate() {
            assert!((400..=599).contains(&code.status()), "{code:?}");
            let text = code.as_str();
            assert!(Code::ALL[at + 1..].iter().all(|other| other.as_str() != text), "{text}");
            assert_eq!(serde_json::to_value(code).unwrap(), text);
        }
    }
}
