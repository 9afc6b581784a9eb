//! Whether the process lives and whether it can work, and the document. None of these needs a key.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract,
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{HeaderValue, Request, header};
use ringfence::StoreHealth;
use ringfence_observe::{Failing, Failures, PROMETHEUS_TYPE};
use serde_json::json;

use crate::{
    api::nothing_there,
    config::MetricsFor,
    listen::Peer,
    problem::{Code, Problem},
    state::State,
};

pub(super) fn add(router: Router<State>) -> Router<State> {
    router
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/v1/openapi.json", get(document))
}

/// How long the store is waited for: who asks whether it is ready asks again soon, and takes no answer for no.
const PATIENCE: Duration = Duration::from_secs(2);

/// What comes of something, if it comes in time.
async fn within<F: Future>(patience: Duration, what: F) -> Option<F::Output> {
    tokio::time::timeout(patience, what).await.ok()
}

async fn alive() -> Response {
    answer(b"{\"status\":\"ok\"}".to_vec())
}

async fn ready(extract::State(state): extract::State<State>) -> Response {
    let unready = |code, said: &str| Problem::new(code, said).into_response();
    if state.is_draining() {
        return unready(Code::Draining, "the service is about to end");
    }
    if !state.tide.store_answers() {
        return unready(Code::Unavailable, "the store cannot be read");
    }
    // While nothing can be kept it is tried anew meanwhile, so that the next look may say otherwise.
    if let StoreHealth::Failing(failing) = state.runtime.load().store {
        let said = format!("the store keeps nothing at present: {}", failing.kind.as_str());
        return unready(Code::Unavailable, &said);
    }
    let runtime = state.runtime.clone();
    let asking = tokio::spawn(async move { runtime.is_ready().await });
    let Some(asked) = within(PATIENCE, asking).await else {
        return unready(Code::Unavailable, "the store does not answer");
    };
    match asked.unwrap_or_else(|_| Err(ringfence::Refusal::Cancelled.into())) {
        Ok(()) => answer(ready_but(&state)),
        Err(error) => {
            let problem = Problem::from(error);
            if let Some(why) = &problem.internal {
                state.log.failed("readyz", why);
            }
            unready(Code::Unavailable, "the store cannot be written")
        }
    }
}

/// What a service says that is ready. Whoever asks needs no key, so whose sink takes nothing, and why, is for the log
/// and the metrics.
fn ready_but(state: &State) -> Vec<u8> {
    let failing = state.failures.get().map(Failures::now).unwrap_or_default();
    let count = |is_meant: fn(&Failing) -> bool| failing.iter().filter(|one| is_meant(one)).count();
    let mut said = json!({ "status": "ready" });
    if !failing.is_empty() {
        said["failing"] = json!({
            "sinks": count(|one| one.tenant.is_some()),
            "required-sinks": count(|one| one.tenant.is_some() && one.required),
            "traces": count(|one| one.tenant.is_none()) > 0,
        });
    }
    said.to_string().into_bytes()
}

/// What happened and how much there is to do, of all tenants, as Prometheus reads it.
async fn metrics(extract::State(state): extract::State<State>, request: Request<Body>) -> Response {
    let peer = request.extensions().get::<Peer>();
    let may = match state.config.metrics {
        MetricsFor::Nobody => false,
        MetricsFor::Machine => peer.is_some_and(|Peer(peer)| peer.is_loopback()),
        MetricsFor::Everybody => true,
    };
    let Some(metrics) = state.metrics.as_ref().filter(|_| may) else { return nothing_there() };
    let mut response = Response::new(Body::from(metrics.render()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROMETHEUS_TYPE));
    response
}

async fn document(extract::State(state): extract::State<State>) -> Response {
    answer(state.document.clone())
}

fn answer(body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store that hangs is one that is not ready.
    #[tokio::test]
    async fn what_does_not_come_in_time_is_not_waited_for() {
        assert_eq!(within(Duration::ZERO, std::future::pending::<()>()).await, None);
        assert_eq!(within(Duration::ZERO, async { 1 }).await, Some(1));
    }
}
