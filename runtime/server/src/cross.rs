//! Pages of other origins: what a browser must be told before it lets those that the operator lists ask, and read
//! the answer. Keys are sent in a header that the page sets itself, so no cookie and no credential of the browser's
//! has to be let through.

use axum::body::Body;
use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
        ORIGIN, VARY,
    },
    request::Parts,
};

use crate::config::ServiceConfig;

/// What a page may send, all that the service reads.
const SENT: &str = "authorization, content-type, idempotency-key, last-event-id, traceparent";
/// What it may read, beside what every page may.
const READ: &str = "allow, location, retry-after, www-authenticate";
/// For how many seconds a browser need not ask again: an origin that is taken out is refused all the same.
const ASKED_FOR: &str = "600";

/// The origin of the page that asks, if the operator lists it.
pub(crate) fn listed(config: &ServiceConfig, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    let is_listed = origin.to_str().is_ok_and(|origin| config.origins.contains(origin));
    is_listed.then(|| origin.clone())
}

/// The answer to a browser that asks whether a page may ask.
pub(crate) fn preflight(parts: &Parts) -> Option<Response<Body>> {
    let asks = parts.method == Method::OPTIONS
        && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    asks.then(|| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(SENT));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(ASKED_FOR));
        response
    })
}

/// Lets the page read an answer.
pub(crate) fn let_read(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(READ));
    // It is another answer to another page.
    headers.append(VARY, HeaderValue::from_static("origin"));
}
