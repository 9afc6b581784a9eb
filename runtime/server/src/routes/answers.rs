//! What waits for a person, and what a person says to it. The session goes on by itself then.

use ringfence::{
    Reconciliation, Said, Saying,
    event::{ApprovalScope, CallId, Digest, SessionId},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Page, Paging, owner, runs, runs::CallPath};
use crate::{
    answer::Shown,
    api::{Api, Operation},
    json::Object,
    problem::{Code, Problem},
    request::{Asked, Json, NoBody, Nothing},
    view::WaitingView,
};
use ringfence::event::KeyScope::Approve;

const FAILS: &[Code] = &[
    Code::NoSuchSession,
    Code::NoSuchCall,
    Code::NotWaiting,
    Code::NotUnknown,
    Code::StaleAnswer,
    Code::Expired,
    Code::OneCallOnly,
    Code::UnfitAnswer,
    Code::NoRun,
    Code::NotNow,
    Code::Closed,
];

const LIST: Operation =
    Operation::get("/v1/approvals", "list-approvals", "All calls that wait for a person.")
        .fails(&[Code::BadCursor]);
const APPROVAL: Operation = Operation::post(
    "/v1/sessions/{session}/calls/{call}/approval",
    "answer-approval",
    "Lets a call run that is held, or does not.",
)
.needs(Approve)
.fails(FAILS);
const ANSWER: Operation = Operation::post(
    "/v1/sessions/{session}/calls/{call}/answer",
    "answer-question",
    "Answers what a tool asks in the middle of a call.",
)
.needs(Approve)
.fails(FAILS);
const RECONCILE: Operation = Operation::post(
    "/v1/sessions/{session}/calls/{call}/reconcile",
    "reconcile-call",
    "Says how a call ended that was under way when its host died.",
)
.needs(Approve)
.fails(FAILS);

pub(super) fn add(api: Api) -> Api {
    api.add(LIST, list).add(APPROVAL, approval).add(ANSWER, answer).add(RECONCILE, reconcile)
}

/// A yes or a no.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Decision {
    Approve,
    Decline,
}

/// A yes or a no to a call that is held.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct NewApproval {
    decision: Decision,
    /// How far a yes goes; for the one call if nothing is said.
    #[serde(default)]
    scope: Option<ApprovalScope>,
    /// Why; the model reads it.
    #[serde(default)]
    reason: Option<String>,
    /// Only if the call still waits for what was shown under this digest.
    #[serde(default)]
    shown: Option<Digest>,
}

/// An answer to what a tool asks.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct NewAnswer {
    /// A JSON object that fits the question's schema; `null`: the person would not.
    #[serde(deserialize_with = "Option::deserialize")]
    value: Option<Object>,
    /// What the person was asked: `shown` of the call. Refused if the call asks something else now.
    shown: Option<Digest>,
}

/// How a call of unknown outcome ended.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "how", deny_unknown_fields, rename_all = "kebab-case")]
enum NewReconciliation {
    /// It happened, and this is what it returned.
    Happened { text: String },
    /// It did not happen, and is to run.
    RunIt {},
    /// Nobody can say; the model is told so.
    GiveUp {},
}

/// What was done with something that was said to a session.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct SaidView {
    session: SessionId,
    call: CallId,
    /// `recorded`, or `delivered` to the process that drives the session.
    said: &'static str,
}

async fn list(asked: Asked<Nothing, Paging, NoBody>) -> Result<Shown<Page<WaitingView>>, Problem> {
    let Asked { state, principal, query, .. } = asked;
    let limit = query.limit()?;
    let (list, cursor) = ("approvals", query.cursor.as_deref());
    let place = |cursor| state.seal.place::<(SessionId, CallId)>(list, &principal, cursor);
    let after = cursor.map(place).transpose()?;
    let after = after.as_ref().map(|(session, call)| (session, call));
    let (tenant, only) = (principal.tenant(), principal.only());
    let mut found = state.runtime.waiting_after(tenant, only, after, limit + 1)?;
    let is_last = found.len() <= limit;
    found.truncate(limit);
    let last = found.last().filter(|_| !is_last);
    let next =
        last.map(|(_, last)| state.seal.cursor(list, &principal, &(&last.session, &last.call)));
    let items = found.into_iter().map(|(user, waiting)| WaitingView::of(user, waiting)).collect();
    Ok(Shown(Page { items, next }))
}

async fn approval(
    asked: Asked<CallPath, Nothing, Json<NewApproval>>,
) -> Result<Shown<SaidView>, Problem> {
    let NewApproval { decision, scope, reason, shown } = &asked.body.0;
    let (call, reason, shown) = (asked.path.call.clone(), reason.clone(), *shown);
    let saying = match decision {
        Decision::Approve => {
            let scope = scope.unwrap_or_default();
            Saying::Approve { call, scope, reason, shown }
        }
        Decision::Decline if scope.is_some() => {
            let said = "a no is to one call: leave `scope` out";
            return Err(Problem::new(Code::Invalid, said));
        }
        Decision::Decline => Saying::Decline { call, reason, shown },
    };
    say(asked, saying).await
}

async fn answer(
    asked: Asked<CallPath, Nothing, Json<NewAnswer>>,
) -> Result<Shown<SaidView>, Problem> {
    let value = asked.body.0.value.as_ref().map(|object| serde_json::from_str(object.0.get()));
    let value = value.transpose();
    let value = value.map_err(|error| Problem::new(Code::Invalid, error.to_string()))?;
    let (call, shown) = (asked.path.call.clone(), asked.body.0.shown);
    say(asked, Saying::Answer { call, value, shown }).await
}

async fn reconcile(
    asked: Asked<CallPath, Nothing, Json<NewReconciliation>>,
) -> Result<Shown<SaidView>, Problem> {
    let how = match &asked.body.0 {
        NewReconciliation::Happened { text } => Reconciliation::Happened(text.clone()),
        NewReconciliation::RunIt {} => Reconciliation::RunIt,
        NewReconciliation::GiveUp {} => Reconciliation::GiveUp,
    };
    let call = asked.path.call.clone();
    say(asked, Saying::Reconcile { call, how }).await
}

async fn say<B>(
    asked: Asked<CallPath, Nothing, B>,
    saying: Saying,
) -> Result<Shown<SaidView>, Problem> {
    let Asked { state, principal, path, .. } = asked;
    let CallPath { session, call } = path;
    let owner = owner(&state, &principal, &session)?;
    let by = &principal.caller.user;
    let said = state.runtime.tell_session(&owner, &session, by, saying).await?;
    let said = match said {
        Said::Recorded => {
            runs::go_on(&state, owner, session.clone());
            "recorded"
        }
        Said::Delivered => "delivered",
    };
    Ok(Shown(SaidView { session, call, said }))
}
