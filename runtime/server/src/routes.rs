//! All operations, by what they are about.

mod agents;
mod answers;
mod call;
mod events;
mod health;
mod keys;
mod runs;
mod sessions;
mod tools;
mod usage;

use axum::Router;
use ringfence::{
    Caller, Session, SessionSummary,
    event::{SessionId, UserId},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    api::Api,
    keys::Principal,
    problem::{Code, Problem},
    state::State,
};

/// All operations.
pub(crate) fn api() -> Api {
    let api = Api::new();
    let api = agents::add(api);
    let api = sessions::add(api);
    let api = runs::add(api);
    let api = answers::add(api);
    let api = events::add(api);
    let api = tools::add(api);
    let api = call::add(api);
    let api = usage::add(api);
    keys::add(api)
}

/// What is beside the operations: health, readiness, the document.
pub(crate) fn beside(router: Router<State>) -> Router<State> {
    health::add(router)
}

/// How many things a page has at most, and how many if nobody says.
const PAGE_MAX: u32 = 200;
const PAGE: u32 = 50;

/// Which page of a list.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Paging {
    /// How many at most; 50 if nothing is said.
    #[schemars(range(min = 1, max = 200))]
    limit: Option<u32>,
    /// Where the list goes on: the `next` of the page before.
    cursor: Option<String>,
}

impl Paging {
    fn limit(&self) -> Result<usize, Problem> {
        match self.limit.unwrap_or(PAGE) {
            limit @ 1..=PAGE_MAX => Ok(limit as usize),
            _ => {
                let said = format!("`limit` is a number from 1 to {PAGE_MAX}");
                Err(Problem::new(Code::BadQuery, said))
            }
        }
    }
}

/// A page of a list.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Page<T> {
    items: Vec<T>,
    /// The `cursor` of the next page; absent at the list's end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl<T: Serialize> Page<T> {
    /// The page of a whole list that is sorted by what `place` says of an item.
    fn of<P: Serialize + serde::de::DeserializeOwned + Ord>(
        state: &State,
        principal: &Principal,
        list: &str,
        paging: &Paging,
        all: impl IntoIterator<Item = T>,
        place: impl Fn(&T) -> P,
    ) -> Result<Self, Problem> {
        let limit = paging.limit()?;
        let cursor = paging.cursor.as_deref();
        let after =
            cursor.map(|cursor| state.seal.place::<P>(list, principal, cursor)).transpose()?;
        let mut all: Vec<(P, T)> = all.into_iter().map(|item| (place(&item), item)).collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all.retain(|(at, _)| after.as_ref().is_none_or(|after| at > after));
        let is_last = all.len() <= limit;
        all.truncate(limit);
        let last = all.last().filter(|_| !is_last);
        let next = last.map(|(at, _)| state.seal.cursor(list, principal, at));
        Ok(Self { items: all.into_iter().map(|(_, item)| item).collect(), next })
    }
}

/// The path of a session.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct SessionPath {
    session: SessionId,
}

/// Whose a session is, if the key may see it. One of somebody else is as one that is not there.
fn owner(state: &State, principal: &Principal, id: &SessionId) -> Result<Caller, Problem> {
    let owner = state.runtime.owner(principal.tenant(), id)?;
    let may_see = |user: &UserId| *user == owner.user;
    match principal.only().is_none_or(may_see) {
        true => Ok(owner),
        false => Err(ringfence::Error::NoSuchSession { given: id.to_string() }.into()),
    }
}

/// A session that the key may see, as its journal tells it. Takes as long as that is.
fn session(
    state: &State,
    principal: &Principal,
    id: &SessionId,
) -> Result<(Caller, SessionSummary, Session), Problem> {
    let owner = owner(state, principal, id)?;
    let summary = state.runtime.summary(&owner, id)?;
    let session = state.runtime.session(&owner, id)?;
    Ok((owner, summary, session))
}

/// The same for whoever does more than to read: beside the threads that answer.
async fn session_beside(
    state: &State,
    principal: &Principal,
    id: &SessionId,
) -> Result<(Caller, SessionSummary, Session), Problem> {
    let (of, by, id) = (state.clone(), principal.clone(), id.clone());
    state.reading.read(principal.tenant(), move || session(&of, &by, &id)).await?
}
