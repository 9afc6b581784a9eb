//! What a session must know of its agent. The driver makes it of `agent.toml` and the catalog.

use std::sync::Arc;

use ringfence_event::{
    AgentName, CompactionRule, Digest, FunctionSpec, ModelFailureClass, ModelName, Money,
    Parameters, Price, RetryRules, SessionLimits, Shared,
};

/// An agent as the machine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// Its name. A session belongs to one agent for good.
    pub name: AgentName,
    /// The digest of its definition, recorded when a session is created.
    pub digest: Digest,
    /// What the model is told before anything else.
    pub instructions: Arc<str>,
    /// What the model may call, in the order of their names.
    pub functions: Shared<Vec<FunctionSpec>>,
    /// The model it uses.
    pub model: ModelChoice,
    /// The model that is asked when that one fails.
    pub fallback: Option<Fallback>,
    /// What one run may spend.
    pub limits: RunLimits,
    /// What all its runs together may spend.
    pub session_limits: SessionLimits,
    /// How often and when what failed is tried again.
    pub retry: RetryRules,
    /// When a long conversation is told in short; absent: never.
    pub compaction: Option<CompactionRule>,
}

impl Definition {
    /// One that nothing is to be tried again in, for what needs nothing of an agent but its name.
    #[must_use]
    pub fn of(name: AgentName, digest: Digest, model: ModelName) -> Self {
        Self {
            name,
            digest,
            instructions: "".into(),
            functions: Shared::new(vec![]),
            model: ModelChoice { name: model, price: None, parameters: Parameters::default() },
            fallback: None,
            limits: RunLimits::DEFAULT,
            session_limits: SessionLimits::default(),
            retry: RetryRules::NONE,
            compaction: None,
        }
    }
}

/// A model as an agent uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelChoice {
    /// Its name in the operator's file.
    pub name: ModelName,
    /// What its tokens cost; absent: nothing that is counted.
    pub price: Option<Price>,
    /// How it is to reply.
    pub parameters: Parameters,
}

/// The second model, and when it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    /// Which.
    pub model: ModelChoice,
    /// After failures of these classes.
    pub on: Vec<ModelFailureClass>,
    /// So many of them in one step; one, where trying again would not help.
    pub after: u32,
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
    /// What its models may cost; absent: no matter.
    pub usd: Option<Money>,
    /// Wall-clock time in milliseconds. What the host was down or the run waited is not counted.
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
        usd: None,
        time_ms: 600_000,
        concurrent_calls: 4,
    };
}
