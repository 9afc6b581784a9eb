//! The agent's plan: the tool `plan` keeps it in the session's memory, and what it writes there is
//! told in the journal.

use ringfence_capability::memory::{Change, Writes};
use ringfence_event::{PlanItem, Scope, ToolName};

/// The tool whose writes are the plan.
const TOOL: &str = "plan";
/// The key it writes to.
const KEY: &str = "plan";

/// The plan that a call wrote, if it did. What cannot be read as one is a value like any other.
pub(crate) fn written(tool: Option<&ToolName>, writes: &Writes) -> Option<Vec<PlanItem>> {
    tool.filter(|tool| tool.as_str() == TOOL)?;
    let (_, change) =
        writes.iter().find(|((scope, key), _)| *scope == Scope::Session && key == KEY)?;
    match change {
        Change::Set(value) => serde_json::from_slice(value).ok(),
        Change::Delete => Some(vec![]),
        Change::Increment { .. } => None,
    }
}
