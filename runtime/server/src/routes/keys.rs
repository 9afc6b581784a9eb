//! The API keys of a tenant, as far as anybody but their holders may know them. They are made and ended
//! by `ringfence key` alone: a key that leaks makes no others.

use ringfence::event::{Key, KeyScope};

use super::{Page, Paging};
use crate::{
    answer::Shown,
    api::{Api, Operation},
    problem::{Code, Problem},
    request::{Asked, NoBody, Nothing},
};

const LIST: Operation = Operation::get("/v1/keys", "list-keys", "The tenant's API keys.")
    .needs(KeyScope::Admin)
    .fails(&[Code::BadCursor]);

pub(super) fn add(api: Api) -> Api {
    api.add(LIST, list)
}

async fn list(asked: Asked<Nothing, Paging, NoBody>) -> Result<Shown<Page<Key>>, Problem> {
    let Asked { state, principal, query, .. } = asked;
    let all = state.runtime.keys(principal.tenant())?.into_iter();
    // A key for one user shows those of that user.
    let seen =
        all.filter(|key| principal.only().is_none_or(|only| key.user.as_ref() == Some(only)));
    Ok(Shown(Page::of(&state, &principal, "keys", &query, seen, |key| key.id.clone())?))
}
