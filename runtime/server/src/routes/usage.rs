//! What was spent, and of how much.

use schemars::JsonSchema;
use serde::Serialize;

use super::{SessionPath, session};
use crate::{
    answer::Shown,
    api::{Api, Operation},
    problem::{Code, Problem},
    request::{Asked, NoBody, Nothing},
    view::{SpendingView, TotalsView},
};

const TENANT: Operation = Operation::get(
    "/v1/usage",
    "get-usage",
    "What the tenant has spent of each budget, within the windows of time that are open now.",
);
const SESSION: Operation = Operation::get(
    "/v1/sessions/{session}/usage",
    "get-session-usage",
    "What a session has spent, and of each limit that holds for it.",
)
.fails(&[Code::NoSuchSession]);

pub(super) fn add(api: Api) -> Api {
    api.add(TENANT, tenant).add(SESSION, of_session)
}

/// What a tenant has spent.
#[derive(Debug, Serialize, JsonSchema)]
struct UsageView {
    budgets: Vec<SpendingView>,
}

/// What a session has spent.
#[derive(Debug, Serialize, JsonSchema)]
struct SessionUsageView {
    totals: TotalsView,
    limits: Vec<SpendingView>,
}

async fn tenant(asked: Asked<Nothing, Nothing, NoBody>) -> Result<Shown<UsageView>, Problem> {
    let Asked { state, principal, .. } = asked;
    // All users spend of them: what is left is not one user's to know.
    if principal.only().is_some() {
        let said = "the API key is for one user: what the tenant spends is for keys of all of it";
        return Err(Problem::new(Code::OutOfScope, said));
    }
    let budgets = SpendingView::all(state.runtime.budgets(principal.tenant())?);
    Ok(Shown(UsageView { budgets }))
}

async fn of_session(
    asked: Asked<SessionPath, Nothing, NoBody>,
) -> Result<Shown<SessionUsageView>, Problem> {
    let Asked { state, principal, path, .. } = asked;
    let (owner, _, session) = session(&state, &principal, &path.session)?;
    let limits = SpendingView::all(state.runtime.spending(&owner, &session)?);
    Ok(Shown(SessionUsageView { totals: session.totals().into(), limits }))
}
