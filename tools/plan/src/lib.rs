//! Keeps the plan of a session: what is to be done, and how far each of it is.

mod plan;

use ringfence_sdk::memory::{self, Bucket};
use ringfence_sdk::prelude::*;

use crate::plan::{Plan, Status};

/// Where the host looks for the plan.
const KEY: &str = "plan";

#[derive(Deserialize, JsonSchema)]
struct Write {
    /// What is to be done, in the order in which to do it: a line each, at most 64.
    items: Vec<NewItem>,
}

#[derive(Deserialize, JsonSchema)]
struct NewItem {
    /// What is to be done, at most 200 characters on one line.
    title: String,
    /// How far it is.
    #[serde(default = "pending")]
    status: Status,
}

fn pending() -> Status {
    Status::Pending
}

/// Writes the plan, in the place of the one there is. Do it before work that takes several steps, and
/// again when the plan turns out to be another one.
#[tool(effect = "idempotent")]
fn write(args: Write) -> Result<String> {
    store(&Plan::new(args.items.into_iter().map(|item| (item.title, item.status)))?)
}

#[derive(Deserialize, JsonSchema)]
struct Mark {
    /// Which line of the plan, from 1.
    #[schemars(range(min = 1, max = 64))]
    item: usize,
    /// How far it is now.
    status: Status,
}

/// Says how far one line of the plan is.
#[tool(effect = "idempotent")]
fn mark(args: Mark) -> Result<String> {
    let mut plan = load()?;
    plan.mark(args.item, args.status)?;
    store(&plan)
}

#[derive(Deserialize, JsonSchema)]
struct Show {}

/// Shows the plan as it is.
#[tool(effect = "read")]
fn show(_: Show) -> Result<String> {
    Ok(load()?.shown())
}

fn bucket() -> Result<Bucket> {
    Ok(memory::open("session")?)
}

fn load() -> Result<Plan> {
    match bucket()?.get(KEY)? {
        None => Ok(Plan::default()),
        Some(value) => serde_json::from_slice(&value)
            .map_err(|error| Error::failed(format!("what is kept as the plan is none: {error}"))),
    }
}

fn store(plan: &Plan) -> Result<String> {
    let value = serde_json::to_vec(plan).map_err(|error| Error::failed(error.to_string()))?;
    bucket()?.set(KEY, value)?;
    Ok(plan.shown())
}

ringfence_sdk::export!(write, mark, show);
