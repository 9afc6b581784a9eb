//! The events of one session, and of all of a tenant.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{SessionPath, owner};
use crate::{
    api::{Api, Operation},
    events::{self, Events, Form, Opening, Place, Source},
    problem::{Code, Problem},
    request::{Asked, NoBody, Nothing},
};
use ringfence::{Saying, event::KeyScope};

const SESSION: Operation = Operation::get(
    "/v1/sessions/{session}/events",
    "session-events",
    "The events of a session, from a place on, as they happen; a page of them where `accept` is `application/json`.",
)
.streams()
.fails(&[Code::NoSuchSession, Code::Overloaded]);
const TENANT: Operation = Operation::get(
    "/v1/events",
    "tenant-events",
    "The events of all sessions and of the tenant itself: a page of them, or where `accept` is `text/event-stream` as they happen.",
)
.streams()
.fails(&[Code::Overloaded]);

pub(super) fn add(api: Api) -> Api {
    api.add(SESSION, session).add(TENANT, tenant)
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Reading {
    /// The `id` of the event behind which to begin; `0`: from the first one.
    #[schemars(regex(pattern = r"^[0-9]{1,18}(\.[0-9]{1,9})?$"))]
    after: Option<String>,
    /// Whether a stream goes on when everything that is there was sent; `true` if nothing is said.
    follow: bool,
    /// How the events are written.
    form: Form,
}

impl Default for Reading {
    fn default() -> Self {
        Self { after: None, follow: true, form: Form::default() }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct ReadingSession {
    /// The `seq` of the event behind which to begin; `0`: from the first one.
    #[schemars(regex(pattern = r"^[0-9]{1,18}$"))]
    after: Option<String>,
    /// Whether a stream goes on when everything that is there was sent; `true` if nothing is said.
    follow: bool,
    /// How the events are written.
    form: Form,
    /// Whether the run under way is cancelled when the client goes away.
    cancel_on_disconnect: bool,
}

impl Default for ReadingSession {
    fn default() -> Self {
        let Reading { after, follow, form } = Reading::default();
        Self { after, follow, form, cancel_on_disconnect: false }
    }
}

async fn session(asked: Asked<SessionPath, ReadingSession, NoBody>) -> Result<Events, Problem> {
    let Asked { state, principal, path, query, headers, .. } = asked;
    let owner = owner(&state, &principal, &path.session)?;
    let after = events::place(&headers, query.after.as_deref())?.unwrap_or_default();
    let source = Source::Session(owner.clone(), path.session.clone());
    if events::accepts(&headers) == Some(false) {
        return events::page(&state, &source, after, query.form);
    }
    let held: Option<Box<dyn Send + Sync>> = match query.cancel_on_disconnect {
        false => None,
        true => {
            principal.require(KeyScope::Run)?;
            let (state, by) = (state.clone(), principal.caller.user.clone());
            let session = path.session;
            Some(Box::new(OnDrop(Some(Box::new(move || {
                tokio::spawn(async move {
                    // Nothing is under way any more, or the session is not there: then that is done.
                    let saying = Saying::Cancel { run: None };
                    let _ = state.runtime.tell_session(&owner, &session, &by, saying).await;
                });
            })))))
        }
    };
    let opening = Opening { source, after, form: query.form, follow: query.follow, held };
    events::stream(&state, &principal, opening)
}

async fn tenant(asked: Asked<Nothing, Reading, NoBody>) -> Result<Events, Problem> {
    let Asked { state, principal, query, headers, .. } = asked;
    let after = events::place(&headers, query.after.as_deref())?;
    let source = Source::Tenant(principal.caller.clone(), principal.only().cloned());
    if events::accepts(&headers) != Some(true) {
        return events::page(&state, &source, after.unwrap_or_default(), query.form);
    }
    // Whoever says nothing wants to know what happens from now on.
    let after = match after {
        Some(after) => after,
        None => Place::after(state.runtime.position()?),
    };
    let (form, follow) = (query.form, query.follow);
    events::stream(&state, &principal, Opening { source, after, form, follow, held: None })
}

/// Does something when it is dropped.
struct OnDrop(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(act) = self.0.take() {
            act();
        }
    }
}
