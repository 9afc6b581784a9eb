//! A request as a handler gets it: whose it is, what its path, query and body say, each read strictly
//! into a type that also documents it.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequestParts as _, Path, Query, RawPathParams},
};
use bytes::Bytes;
use http::{HeaderMap, header, request::Parts};
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use ringfence::{
    Cancel,
    event::{Timestamp, TraceContext},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::Instant;

use crate::{
    json,
    keys::Principal,
    problem::{Code, Problem},
    room::Place,
    state::State,
};

/// What a handler gets.
pub(crate) struct Asked<P, Q, B> {
    pub(crate) state: State,
    pub(crate) principal: Principal,
    pub(crate) path: P,
    pub(crate) query: Q,
    pub(crate) body: B,
    pub(crate) headers: HeaderMap,
    /// Until when its answer is waited for.
    pub(crate) until: Until,
    /// Requested once the client has gone away.
    pub(crate) gone: Cancel,
    /// Where the request has an idempotency key.
    pub(crate) once: Option<Once>,
    /// Its place among all that are answered.
    pub(crate) place: Arc<Place>,
}

impl<P, Q, B> Asked<P, Q, B> {
    /// The trace that the client is in. What is none begins another one, as W3C's Trace Context has it.
    pub(crate) fn trace(&self) -> Option<TraceContext> {
        let mut given = self.headers.get_all("traceparent").iter();
        match (given.next(), given.next()) {
            (Some(one), None) => TraceContext::from_traceparent(one.to_str().ok()?).ok(),
            _ => None,
        }
    }
}

/// When an answer is waited for no longer: what has not begun by then does not begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Until {
    /// By the clock that nobody sets.
    pub(crate) at: Instant,
    /// By the runtime's.
    pub(crate) time: Timestamp,
}

/// A request that is carried out once.
#[derive(Clone, Debug)]
pub(crate) struct Once {
    /// What the client calls it.
    pub(crate) key: String,
    /// The name of what comes of it: the same when it is tried again.
    pub(crate) resource: String,
    /// Whether a process that is gone began it before.
    pub(crate) again: bool,
}

/// Nothing is said there.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// A body.
pub(crate) trait RequestBody: Sized + Send {
    /// What its document says; nothing where there is none.
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema>;

    /// Reads it, with its bytes.
    fn read(
        state: &State,
        headers: &HeaderMap,
        body: Body,
    ) -> impl Future<Output = Result<(Self, Bytes), Problem>> + Send;
}

/// No body.
#[derive(Debug)]
pub(crate) struct NoBody;

impl RequestBody for NoBody {
    fn schema(_: &mut SchemaGenerator) -> Option<Schema> {
        None
    }

    async fn read(
        state: &State,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Self, Bytes), Problem> {
        if body.is_end_stream() {
            return Ok((Self, Bytes::new()));
        }
        match collect(state, headers, body).await? {
            bytes if bytes.is_empty() => Ok((Self, bytes)),
            _ => Err(Problem::new(Code::BadRequest, "the request has a body, and it takes none")),
        }
    }
}

/// A body of JSON.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned + JsonSchema + Send> RequestBody for Json<T> {
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<T>())
    }

    async fn read(
        state: &State,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Self, Bytes), Problem> {
        is_json(headers)?;
        let bytes = collect(state, headers, body).await?;
        Ok((Self(json::read(&bytes)?), bytes))
    }
}

fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(header::CONTENT_ENCODING) {
        let said = "the body is compressed or encoded: send it as it is";
        return Err(Problem::new(Code::Encoded, said));
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let essence = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim());
    match essence {
        Some(kind) if kind.eq_ignore_ascii_case("application/json") => Ok(()),
        _ => {
            let said = "send the body as `content-type: application/json`";
            Err(Problem::new(Code::NotJson, said))
        }
    }
}

/// All of a body, no longer and for no longer than the service reads.
async fn collect(state: &State, headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let most = state.config.body_bytes;
    let too_large = || {
        let said = format!("the body is larger than {most} bytes, which is what is read");
        Problem::new(Code::BodyTooLarge, said)
    };
    // Refused before any of it is read, where it says so.
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if length.and_then(|length| length.parse::<u64>().ok()).is_some_and(|told| told > most as u64) {
        return Err(too_large());
    }
    let reading = tokio::time::timeout(state.config.body_time, Limited::new(body, most).collect());
    match reading.await {
        Err(_) => {
            let said = format!("the body did not arrive within {}", words(state.config.body_time));
            Err(Problem::new(Code::RequestTimeout, said))
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => {
            Err(Problem::new(Code::BadRequest, "the body broke off, or is framed wrongly"))
        }
        Ok(Ok(body)) => Ok(body.to_bytes()),
    }
}

pub(crate) fn words(time: Duration) -> String {
    format!("{time:?}")
}

/// What the path names.
pub(crate) async fn path<P: DeserializeOwned + Send>(parts: &mut Parts) -> Result<P, Problem> {
    // What cannot be a name names nothing.
    let unknown = |_| Problem::new(Code::NotFound, "there is nothing at this path");
    match Path::<P>::from_request_parts(parts, &()).await {
        Ok(Path(path)) => Ok(path),
        Err(rejection) => match RawPathParams::from_request_parts(parts, &()).await {
            Ok(named) => Err(unknown_name(&named)),
            Err(_) => Err(unknown(rejection)),
        },
    }
}

/// A name that breaks its rule is answered like one that nobody has.
fn unknown_name(named: &RawPathParams) -> Problem {
    for (what, given) in named {
        let given: String = given.chars().take(80).collect();
        let (code, is_name) = match what {
            "session" => {
                (Code::NoSuchSession, given.parse::<ringfence::event::SessionId>().is_ok())
            }
            "run" => (Code::NoSuchRun, given.parse::<u32>().is_ok()),
            "step" => (Code::NoSuchStep, given.parse::<u32>().is_ok()),
            "call" => (Code::NoSuchCall, given.parse::<ringfence::event::CallId>().is_ok()),
            "agent" => (Code::NoSuchAgent, given.parse::<ringfence::event::AgentName>().is_ok()),
            "tool" => (Code::NoSuchTool, given.parse::<ringfence::event::ToolName>().is_ok()),
            _ => (Code::NoSuchFunction, given.parse::<ringfence::event::FunctionName>().is_ok()),
        };
        if !is_name {
            return Problem::new(code, format!("there is no {what} `{given}`"));
        }
    }
    Problem::new(Code::NotFound, "there is nothing at this path")
}

/// What the query says.
pub(crate) fn query<Q: DeserializeOwned>(parts: &Parts) -> Result<Q, Problem> {
    let read = Query::<Q>::try_from_uri(&parts.uri);
    read.map(|Query(query)| query).map_err(|error| {
        let why = std::error::Error::source(&error);
        let why = why.map_or_else(|| error.to_string(), ToString::to_string);
        Problem::new(Code::BadQuery, format!("the query: {why}"))
    })
}
