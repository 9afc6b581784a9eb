//! The agents that a tenant may start.

use ringfence::event::{AgentName, Digest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Page, Paging};
use crate::{
    answer::Shown,
    api::{Api, Operation},
    problem::{Code, Problem},
    request::{Asked, NoBody, Nothing},
};

const LIST: Operation =
    Operation::get("/v1/agents", "list-agents", "The agents that the tenant may start.")
        .fails(&[Code::BadCursor]);
const GET: Operation = Operation::get("/v1/agents/{agent}", "get-agent", "One agent.")
    .fails(&[Code::NoSuchAgent, Code::AgentUnusable]);

pub(super) fn add(api: Api) -> Api {
    api.add(LIST, list).add(GET, get)
}

#[derive(Debug, Deserialize, JsonSchema)]
struct AgentPath {
    agent: AgentName,
}

/// An agent.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct AgentView {
    name: AgentName,
    /// Of its definition, its instructions included.
    digest: Digest,
    /// The functions that it has, as its model sees them.
    functions: Vec<String>,
}

async fn list(asked: Asked<Nothing, Paging, NoBody>) -> Result<Shown<Page<AgentName>>, Problem> {
    let Asked { state, principal, query, .. } = asked;
    let names = state.runtime.agents_of(principal.tenant());
    let page = Page::of(&state, &principal, "agents", &query, names, Clone::clone)?;
    Ok(Shown(page))
}

async fn get(asked: Asked<AgentPath, Nothing, NoBody>) -> Result<Shown<AgentView>, Problem> {
    let Asked { state, principal, path, .. } = asked;
    let agent = super::runs::agent(&state, &principal, &path.agent)?;
    let functions = state.runtime.functions_of(&agent)?;
    Ok(Shown(AgentView { name: path.agent, digest: agent.digest(), functions }))
}
