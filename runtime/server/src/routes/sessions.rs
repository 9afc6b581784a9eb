//! Sessions: made, listed, looked at, closed.

use ringfence::{
    Caller,
    event::{AgentName, SessionId, Timestamp},
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Page, Paging, SessionPath, owner, runs, session, session_beside};
use crate::{
    answer::{Done, Made, Shown},
    api::{Api, Operation},
    problem::{Code, Problem},
    request::{Asked, Json, NoBody, Nothing},
    view::{SessionDetail, SessionView},
};

const LIST: Operation =
    Operation::get("/v1/sessions", "list-sessions", "Sessions, the one used last first.")
        .fails(&[Code::BadCursor]);
const CREATE: Operation =
    Operation::post("/v1/sessions", "create-session", "Makes a session with an agent.")
        .makes()
        .fails(&[
            Code::NoSuchAgent,
            Code::AgentUnusable,
            Code::ToolUnusable,
            Code::EmptyInput,
            Code::RateLimited,
            Code::QueueFull,
            Code::Spent,
        ]);
const GET: Operation =
    Operation::get("/v1/sessions/{session}", "get-session", "A session with its runs.")
        .fails(&[Code::NoSuchSession]);
const CLOSE: Operation = Operation::post(
    "/v1/sessions/{session}/close",
    "close-session",
    "Closes a session for good: it takes nothing more, and its scratch files are removed.",
)
.fails(&[Code::NoSuchSession, Code::Busy, Code::Driven, Code::NotNow]);

pub(super) fn add(api: Api) -> Api {
    api.add(LIST, list).add(CREATE, create).add(GET, get).add(CLOSE, close)
}

/// A session that is to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct NewSession {
    /// The agent.
    agent: AgentName,
    /// What is said to it first; without it no run begins.
    #[serde(default)]
    input: Option<String>,
}

async fn list(asked: Asked<Nothing, Paging, NoBody>) -> Result<Shown<Page<SessionView>>, Problem> {
    let Asked { state, principal, query, .. } = asked;
    let limit = query.limit()?;
    let (list, cursor) = ("sessions", query.cursor.as_deref());
    let place = |cursor| state.seal.place::<(u64, SessionId)>(list, &principal, cursor);
    let after = cursor.map(place).transpose()?;
    let after = after.as_ref().map(|(last, id)| (Timestamp(*last), id));
    let (tenant, only) = (principal.tenant(), principal.only());
    let mut found = state.runtime.sessions_after(tenant, only, after, limit as u32 + 1)?;
    let is_last = found.len() <= limit;
    found.truncate(limit);
    let last = found.last().filter(|_| !is_last);
    let next = last.map(|last| state.seal.cursor(list, &principal, &(last.last_at.0, &last.id)));
    let items = found.into_iter().map(SessionView::from).collect();
    Ok(Shown(Page { items, next }))
}

async fn create(
    asked: Asked<Nothing, Nothing, Json<NewSession>>,
) -> Result<Made<SessionDetail>, Problem> {
    let trace = asked.trace();
    let Asked { state, principal, body: Json(new), until, once, place, .. } = asked;
    if new.input.as_ref().is_some_and(|input| input.trim().is_empty()) {
        let said = "the input is empty: say something, or leave it out";
        return Err(Problem::new(Code::EmptyInput, said));
    }
    let agent = runs::agent(&state, &principal, &new.agent)?;
    let caller: Caller = principal.caller.clone();
    let id: Option<SessionId> = once.as_ref().and_then(|once| once.resource.parse().ok());
    let id = match new.input {
        None => state.runtime.create_session(&caller, &agent, id, &mut |_| {}).await?,
        // Made with what is said in it, or not at all.
        Some(input) => {
            let id = id.map_or_else(runs::new_session, Ok)?;
            let starting = runs::Starting {
                caller: caller.clone(),
                session: id.clone(),
                is_new: true,
                agent,
                input,
                busy: ringfence::Busy::Reject,
                key: once.map(|once| once.key),
                not_after: None,
                until: until.at,
                trace,
            };
            place.only_waits();
            runs::start(&state, &principal, starting).await?;
            id
        }
    };
    // From here on it is there, whatever the client is told.
    let shown = session_beside(&state, &principal, &id).await;
    let (_, summary, session) = shown.map_err(Problem::after_it_began)?;
    let what = SessionDetail::of(summary, &session);
    Ok(Made { location: format!("/v1/sessions/{id}"), what })
}

async fn get(asked: Asked<SessionPath, Nothing, NoBody>) -> Result<Shown<SessionDetail>, Problem> {
    let Asked { state, principal, path, .. } = asked;
    let (_, summary, session) = session(&state, &principal, &path.session)?;
    Ok(Shown(SessionDetail::of(summary, &session)))
}

async fn close(asked: Asked<SessionPath, Nothing, NoBody>) -> Result<Done, Problem> {
    let Asked { state, principal, path, .. } = asked;
    let owner = owner(&state, &principal, &path.session)?;
    state.runtime.close_session(&owner, &path.session).await?;
    Ok(Done)
}
