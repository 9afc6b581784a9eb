//! Events in the log: what an operator must look at is a warning, what begins and ends of runs is told,
//! the rest is for who wants to see everything. What was said, asked and returned only where it is wanted.

use ringfence_event::{Body, Event, Outcome};
use tracing::{Level, enabled};

/// Tells one event.
pub(crate) fn event(event: &Event, payloads: bool) {
    match level(&event.body) {
        Level::WARN if enabled!(Level::WARN) => {
            let (data, outcome) = (data(event, payloads), outcome(&event.body));
            let Event { tenant, user, stream, seq, body, .. } = event;
            tracing::warn!(%tenant, %user, %stream, seq, kind = body.kind(), outcome, data, "event");
        }
        Level::INFO if enabled!(Level::INFO) => {
            let (data, outcome) = (data(event, payloads), outcome(&event.body));
            let Event { tenant, user, stream, seq, body, .. } = event;
            tracing::info!(%tenant, %user, %stream, seq, kind = body.kind(), outcome, data, "event");
        }
        Level::DEBUG if enabled!(Level::DEBUG) => {
            let (data, outcome) = (data(event, payloads), outcome(&event.body));
            let Event { tenant, user, stream, seq, body, .. } = event;
            tracing::debug!(%tenant, %user, %stream, seq, kind = body.kind(), outcome, data, "event");
        }
        _ => {}
    }
}

fn level(body: &Body) -> Level {
    match body {
        Body::RunFailed { .. }
        | Body::ModelFailed { .. }
        | Body::CallOutcomeUnknown { .. }
        | Body::BudgetWarned { .. } => Level::WARN,
        Body::CallFinished { result, .. } => match result.outcome {
            Outcome::HostError { .. } | Outcome::Trapped { .. } => Level::WARN,
            _ => Level::DEBUG,
        },
        Body::CallDenied { .. }
        | Body::SessionCreated { .. }
        | Body::SessionClosed {}
        | Body::RunStarted { .. }
        | Body::RunLeft { .. }
        | Body::RunResumed { .. }
        | Body::RunWaiting { .. }
        | Body::RunStopping { .. }
        | Body::RunCompleted { .. }
        | Body::RunCancelled { .. }
        | Body::RunLimitReached { .. }
        | Body::ToolAdded { .. }
        | Body::ToolAccepted { .. }
        | Body::ToolRemoved { .. }
        | Body::GrantChanged { .. } => Level::INFO,
        _ => Level::DEBUG,
    }
}

/// How a call ended, in a word of ours.
fn outcome(body: &Body) -> Option<&'static str> {
    match body {
        Body::CallFinished { result, .. } => Some(result.outcome.as_str()),
        _ => None,
    }
}

fn data(event: &Event, payloads: bool) -> Option<String> {
    payloads.then(|| serde_json::to_string(&event.body).unwrap_or_default())
}
