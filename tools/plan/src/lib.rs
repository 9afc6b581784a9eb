//! Keeps the plan of a session: what is to be done, and how far each of it is.

use ringfence_sdk::memory::{self, Bucket};
use ringfence_sdk::prelude::*;

/// Where the host looks for the plan.
const KEY: &str = "plan";

/// More is a list of everything, not a plan.
const ITEMS_MAX: usize = 64;

/// A line.
const TITLE_CHARS_MAX: usize = 200;

#[derive(Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Status {
    /// Not begun.
    Pending,
    /// Under way.
    InProgress,
    /// Done.
    Done,
}

#[derive(Deserialize, Serialize)]
struct Item {
    title: String,
    status: Status,
}

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
    if args.items.is_empty() || args.items.len() > ITEMS_MAX {
        let message = format!("a plan has from 1 to {ITEMS_MAX} items, not {}", args.items.len());
        return Err(Error::invalid_input(message).at("/items"));
    }
    let mut plan = vec![];
    for (place, item) in args.items.into_iter().enumerate() {
        let title = item.title.trim();
        let fits = title.chars().count() <= TITLE_CHARS_MAX && !title.contains(['\n', '\r']);
        if title.is_empty() || !fits {
            let message = format!("a title is one line of 1 to {TITLE_CHARS_MAX} characters");
            return Err(Error::invalid_input(message).at(format!("/items/{place}/title")));
        }
        plan.push(Item { title: title.to_owned(), status: item.status });
    }
    store(&plan)
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
    let count = plan.len();
    let Some(item) = args.item.checked_sub(1).and_then(|place| plan.get_mut(place)) else {
        let message = match count {
            0 => "there is no plan yet: `write` one".to_owned(),
            count => format!("the plan has {count} items"),
        };
        return Err(Error::invalid_input(message).at("/item"));
    };
    item.status = args.status;
    store(&plan)
}

#[derive(Deserialize, JsonSchema)]
struct Show {}

/// Shows the plan as it is.
#[tool(effect = "read")]
fn show(_: Show) -> Result<String> {
    let plan = load()?;
    Ok(if plan.is_empty() { "there is no plan yet".to_owned() } else { shown(&plan) })
}

fn bucket() -> Result<Bucket> {
    Ok(memory::open("session")?)
}

fn load() -> Result<Vec<Item>> {
    match bucket()?.get(KEY)? {
        None => Ok(vec![]),
        Some(value) => serde_json::from_slice(&value)
            .map_err(|error| Error::failed(format!("what is kept as the plan is none: {error}"))),
    }
}

fn store(plan: &[Item]) -> Result<String> {
    let value = serde_json::to_vec(plan).map_err(|error| Error::failed(error.to_string()))?;
    bucket()?.set(KEY, value)?;
    Ok(shown(plan))
}

fn shown(plan: &[Item]) -> String {
    let line = |(place, item): (usize, &Item)| {
        let mark = match item.status {
            Status::Pending => ' ',
            Status::InProgress => '~',
            Status::Done => 'x',
        };
        format!("{}. [{mark}] {}", place + 1, item.title)
    };
    plan.iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}

ringfence_sdk::export!(write, mark, show);
