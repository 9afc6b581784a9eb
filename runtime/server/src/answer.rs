//! What a handler answers, each kind with what the document says of it.

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, StatusCode, header};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

use crate::problem::Problem;

/// One way in which a request may be answered, for the document.
pub(crate) struct Documented {
    pub(crate) status: u16,
    pub(crate) description: &'static str,
    /// The media types, with what is in them.
    pub(crate) content: Vec<(&'static str, Schema)>,
    pub(crate) has_location: bool,
}

/// An answer.
pub(crate) trait Answer: Sized {
    /// All ways in which it may look.
    fn document(generator: &mut SchemaGenerator) -> Vec<Documented>;

    /// As it is sent.
    fn reply(self) -> Result<Reply, Problem>;
}

/// An answer on its way.
#[derive(Debug)]
pub(crate) enum Reply {
    /// All of it.
    Whole(Whole),
    /// One that goes on.
    Going(Response),
}

/// An answer that can be kept and given again.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Whole {
    fn of(status: u16, location: Option<String>, value: &impl Serialize) -> Result<Self, Problem> {
        let body =
            serde_json::to_vec(value).map_err(|error| Problem::internal(error.to_string()))?;
        Ok(Self { status, location, body })
    }

    /// As it is kept: the place on a line of its own.
    pub(crate) fn kept(&self) -> Vec<u8> {
        let mut bytes = self.location.clone().unwrap_or_default().into_bytes();
        bytes.push(b'\n');
        bytes.extend(&self.body);
        bytes
    }

    /// One that was kept.
    pub(crate) fn from_kept(status: u16, kept: &[u8]) -> Self {
        let end = kept.iter().position(|byte| *byte == b'\n').unwrap_or_default();
        let location = String::from_utf8_lossy(&kept[..end]).into_owned();
        let location = Some(location).filter(|location| !location.is_empty());
        Self { status, location, body: kept.get(end + 1..).unwrap_or_default().to_vec() }
    }
}

impl Reply {
    pub(crate) fn response(self) -> Response {
        let Whole { status, location, body } = match self {
            Self::Going(response) => return response,
            Self::Whole(whole) => whole,
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if body.is_empty() {
            return status.into_response();
        }
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(location) = location.and_then(|place| HeaderValue::from_str(&place).ok()) {
            headers.insert(header::LOCATION, location);
        }
        response
    }
}

const JSON: &str = "application/json";

/// 200, with this.
pub(crate) struct Shown<T>(pub(crate) T);

impl<T: Serialize + JsonSchema> Answer for Shown<T> {
    fn document(generator: &mut SchemaGenerator) -> Vec<Documented> {
        let content = vec![(JSON, generator.subschema_for::<T>())];
        vec![Documented {
            status: 200,
            description: "What was asked for.",
            content,
            has_location: false,
        }]
    }

    fn reply(self) -> Result<Reply, Problem> {
        Ok(Reply::Whole(Whole::of(200, None, &self.0)?))
    }
}

/// 201: this was made, and is there.
pub(crate) struct Made<T> {
    pub(crate) location: String,
    pub(crate) what: T,
}

impl<T: Serialize + JsonSchema> Answer for Made<T> {
    fn document(generator: &mut SchemaGenerator) -> Vec<Documented> {
        let content = vec![(JSON, generator.subschema_for::<T>())];
        vec![Documented { status: 201, description: "It was made.", content, has_location: true }]
    }

    fn reply(self) -> Result<Reply, Problem> {
        Ok(Reply::Whole(Whole::of(201, Some(self.location), &self.what)?))
    }
}

/// 202 if it goes on, 200 if it is over or waits for somebody.
pub(crate) struct Begun<T> {
    pub(crate) location: String,
    pub(crate) what: T,
    pub(crate) goes_on: bool,
}

impl<T: Serialize + JsonSchema> Answer for Begun<T> {
    fn document(generator: &mut SchemaGenerator) -> Vec<Documented> {
        let one = |status, description, schema| Documented {
            status,
            description,
            content: vec![(JSON, schema)],
            has_location: true,
        };
        vec![
            one(200, "It is over, or waits for somebody.", generator.subschema_for::<T>()),
            one(202, "It was begun, and goes on.", generator.subschema_for::<T>()),
        ]
    }

    fn reply(self) -> Result<Reply, Problem> {
        let status = if self.goes_on { 202 } else { 200 };
        Ok(Reply::Whole(Whole::of(status, Some(self.location), &self.what)?))
    }
}

/// 204.
pub(crate) struct Done;

impl Answer for Done {
    fn document(_: &mut SchemaGenerator) -> Vec<Documented> {
        let description = "It is done.";
        vec![Documented { status: 204, description, content: vec![], has_location: false }]
    }

    fn reply(self) -> Result<Reply, Problem> {
        Ok(Reply::Whole(Whole { status: 204, location: None, body: vec![] }))
    }
}
