//! What a session must know of its agent. The driver makes it of `agent.toml` and the catalog.

use ringfence_event::{AgentName, Digest, FunctionSpec, ModelName, Parameters};

/// An agent as the machine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its name. A session belongs to one agent for good.
    pub name: AgentName,
    /// The digest of its definition, recorded when a session is created.
    pub digest: Digest,
    /// What the model is told before anything else.
    pub instructions: String,
    /// What the model may call, in the order of their names.
    pub functions: Vec<FunctionSpec>,
    /// The model it uses.
    pub model: ModelName,
    /// How that model is to reply.
    pub parameters: Parameters,
    /// What one run may spend.
    pub limits: RunLimits,
}

/// What one run may spend, and how much of it at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLimits {
    /// Steps: model replies with the calls they ask for.
    pub steps: u32,
    /// Calls proposed, refused ones included.
    pub calls: u32,
    /// Tokens read and written by the model.
    pub tokens: u64,
    /// Units of fuel over all its calls.
    pub fuel: u64,
    /// Wall-clock time in milliseconds. What the host was down or waited for a person is not
    /// counted.
    pub time_ms: u64,
    /// Calls that run at one time. At least one does.
    pub concurrent_calls: u32,
}

impl RunLimits {
    /// What a run gets when neither agent nor operator says anything: enough for an afternoon's
    /// task, and an end to one that goes in circles.
    pub const DEFAULT: Self = Self {
        steps: 30,
        calls: 200,
        tokens: 1_000_000,
        fuel: 500_000_000_000, // fifty calls that spend all of their default
        time_ms: 600_000,
        concurrent_calls: 4,
    };
}
