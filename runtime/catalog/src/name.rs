//! `TOOL_FUNCTION`: the name under which a model sees a function.

use ringfence_event::{FunctionName, ToolName};

/// What model vendors take at most.
pub const FUNCTION_NAME_BYTES_MAX: usize = 64;

/// The name a model sees. Unique as long as tools' names are: a tool's has no underscore, so the
/// first one ends it.
#[must_use]
pub fn model_name(tool: &ToolName, function: &FunctionName) -> String {
    format!("{tool}_{function}")
}

/// What a model's name for a function means; `None` for one that cannot be any.
///
/// ```
/// let (tool, function) = ringfence_catalog::resolve("repo-search_find_all").unwrap();
/// assert_eq!((tool.as_str(), function.as_str()), ("repo-search", "find_all"));
/// assert!(ringfence_catalog::resolve("rm -rf /").is_none());
/// ```
#[must_use]
pub fn resolve(name: &str) -> Option<(ToolName, FunctionName)> {
    let (tool, function) = name.split_once('_')?;
    Some((tool.parse().ok()?, function.parse().ok()?))
}
