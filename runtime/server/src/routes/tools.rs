//! The tools that a tenant is given, their functions, and what those may do for the caller.

use ringfence::{
    Entry, Function, ToolRef,
    event::{Denial, Digest, Effect, FunctionName, Remedy, ToolName},
    policy,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Page, Paging};
use crate::{
    answer::Shown,
    api::{Api, Operation},
    keys::Principal,
    problem::{Code, Problem},
    request::{Asked, NoBody, Nothing},
    state::State,
};

const LIST: Operation =
    Operation::get("/v1/tools", "list-tools", "The tools that the tenant is given.")
        .fails(&[Code::BadCursor]);
const GET: Operation =
    Operation::get("/v1/tools/{tool}", "get-tool", "A tool.").fails(&[Code::NoSuchTool]);
const FUNCTIONS: Operation =
    Operation::get("/v1/tools/{tool}/functions", "list-functions", "The functions of a tool.")
        .fails(&[Code::NoSuchTool, Code::BadCursor]);
const FUNCTION: Operation = Operation::get(
    "/v1/tools/{tool}/functions/{function}",
    "get-function",
    "A function with its schemas.",
)
.fails(&[Code::NoSuchTool, Code::NoSuchFunction]);
const GRANTS: Operation = Operation::get(
    "/v1/grants",
    "list-grants",
    "What the functions of each tool may do for the caller, and by which lines.",
)
.fails(&[Code::BadCursor]);

pub(super) fn add(api: Api) -> Api {
    api.add(LIST, list)
        .add(GET, get)
        .add(FUNCTIONS, functions)
        .add(FUNCTION, function)
        .add(GRANTS, grants)
}

#[derive(Debug, Deserialize, JsonSchema)]
struct ToolPath {
    tool: ToolName,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct FunctionPath {
    pub(super) tool: ToolName,
    pub(super) function: FunctionName,
}

/// A tool.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct ToolView {
    name: ToolName,
    /// Of its component.
    component: Digest,
    /// Of what its functions say of themselves.
    definitions: Digest,
    functions: Vec<FunctionName>,
}

/// A function of a tool.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct FunctionView {
    name: FunctionName,
    /// A short name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    description: String,
    /// What calling it twice would do.
    effect: Effect,
    /// JSON Schema of its arguments.
    input_schema: serde_json::Value,
    /// JSON Schema of its structured output.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_schema: Option<serde_json::Value>,
}

/// What a function may do.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct GrantView {
    tool: ToolName,
    function: FunctionName,
    /// As it is enforced.
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<Effect>,
    /// Whether it may be called: `allowed`, `held` until a person says yes, `denied`, or `unusable` as long as its
    /// tool cannot be loaded, which its operator can mend.
    call: &'static str,
    /// Why it may not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    denials: Vec<Denial>,
    /// The rules that hold it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    held_by: Vec<Remedy>,
    /// What is open to it.
    open: Vec<OpeningView>,
    /// What it asks and is not granted, or is granted and does not ask.
    shut: Vec<Denial>,
}

/// Something that is open to a function.
#[derive(Debug, Serialize, JsonSchema)]
struct OpeningView {
    what: String,
    /// The lines that open it.
    by: Vec<Remedy>,
}

/// What there is to see in a tool that the tenant is given. One of others is as one that is not there.
fn tool<T>(
    state: &State,
    principal: &Principal,
    name: &ToolName,
    look: impl FnOnce(&Entry) -> T,
) -> Result<T, Problem> {
    let found = state.runtime.look_at_tool(principal.tenant(), name, look);
    found.ok_or_else(|| Problem::new(Code::NoSuchTool, format!("there is no tool `{name}`")))
}

/// What there is to see in a function of such a tool.
pub(super) fn function_of<T>(
    state: &State,
    principal: &Principal,
    path: &FunctionPath,
    look: impl FnOnce(&Function) -> T,
) -> Result<T, Problem> {
    let found =
        tool(state, principal, &path.tool, |entry| entry.function(&path.function).map(look))?;
    found.ok_or_else(|| {
        let FunctionPath { tool, function } = path;
        Problem::new(Code::NoSuchFunction, format!("tool `{tool}` has no function `{function}`"))
    })
}

fn view(name: ToolName, entry: &Entry) -> ToolView {
    ToolView {
        name,
        component: entry.component,
        definitions: entry.definitions,
        functions: entry.functions.iter().map(|function| function.name.clone()).collect(),
    }
}

fn function_view(function: &Function) -> FunctionView {
    FunctionView {
        name: function.name.clone(),
        title: function.title.clone(),
        description: function.description.clone(),
        effect: function.effect,
        input_schema: function.input_schema.clone(),
        output_schema: function.output_schema.clone(),
    }
}

async fn list(asked: Asked<Nothing, Paging, NoBody>) -> Result<Shown<Page<ToolView>>, Problem> {
    let Asked { state, principal, query, .. } = asked;
    let all = state.runtime.tools_of(principal.tenant());
    let all = all.into_iter().map(|(name, entry)| view(name, &entry));
    Ok(Shown(Page::of(&state, &principal, "tools", &query, all, |tool| tool.name.clone())?))
}

async fn get(asked: Asked<ToolPath, Nothing, NoBody>) -> Result<Shown<ToolView>, Problem> {
    let Asked { state, principal, path, .. } = asked;
    let seen = tool(&state, &principal, &path.tool, |entry| view(path.tool.clone(), entry))?;
    Ok(Shown(seen))
}

async fn functions(
    asked: Asked<ToolPath, Paging, NoBody>,
) -> Result<Shown<Page<FunctionView>>, Problem> {
    let Asked { state, principal, path, query, .. } = asked;
    let views = |entry: &Entry| entry.functions.iter().map(function_view).collect::<Vec<_>>();
    let all = tool(&state, &principal, &path.tool, views)?;
    let list = format!("functions/{}", path.tool);
    Ok(Shown(Page::of(&state, &principal, &list, &query, all, |function| function.name.clone())?))
}

async fn function(
    asked: Asked<FunctionPath, Nothing, NoBody>,
) -> Result<Shown<FunctionView>, Problem> {
    let Asked { state, principal, path, .. } = asked;
    Ok(Shown(function_of(&state, &principal, &path, function_view)?))
}

async fn grants(asked: Asked<Nothing, Paging, NoBody>) -> Result<Shown<Page<GrantView>>, Problem> {
    let Asked { state, principal, query, .. } = asked;
    let mut all = vec![];
    for (name, entry) in state.runtime.tools_of(principal.tenant()) {
        let tool = ToolRef::Accepted(name.clone());
        match state.runtime.explain(&principal.caller, &tool, None, None).await {
            Ok(explained) => {
                all.extend(explained.into_iter().map(|explained| grant(name.clone(), explained)));
            }
            // One that cannot be loaded hides nothing of the others.
            Err(error) => {
                let problem = Problem::from(error);
                let why = problem.internal.as_deref().unwrap_or(problem.code.title());
                state.log.failed(&format!("what tool {name} may do"), why);
                let functions = entry.functions.into_iter();
                all.extend(functions.map(|function| unusable(name.clone(), function.name)));
            }
        }
    }
    let place = |grant: &GrantView| (grant.tool.clone(), grant.function.clone());
    Ok(Shown(Page::of(&state, &principal, "grants", &query, all, place)?))
}

/// A function that nobody can call as things are.
fn unusable(tool: ToolName, function: FunctionName) -> GrantView {
    let (denials, held_by, open, shut) = (vec![], vec![], vec![], vec![]);
    GrantView { tool, function, effect: None, call: "unusable", denials, held_by, open, shut }
}

fn grant(tool: ToolName, explanation: policy::Explanation) -> GrantView {
    let policy::Explanation { function, effect, holds, call, asked: _, open, shut } = explanation;
    let is_held = !holds.is_empty();
    let (call, denials) = match call {
        policy::Answer::Denied(denial) => ("denied", vec![denial]),
        _ if is_held => ("held", vec![]),
        _ => ("allowed", vec![]),
    };
    let open = open.into_iter().map(|policy::Opening { what, by }| OpeningView { what, by });
    GrantView { tool, function, effect, call, denials, held_by: holds, open: open.collect(), shut }
}
