//! What the session machine knows of an agent: its file joined with the catalog and the models.

use ringfence_agent::Place;
use ringfence_catalog::model_name;
use ringfence_event::{FunctionSpec, ModelName, Parameters};
use ringfence_session::{Definition, Fallback, ModelChoice, RunLimits, Session};

use crate::{Agent, Error, runtime::Inner};

/// The agent as the machine sees it.
pub(crate) fn definition(inner: &Inner, agent: &Agent) -> Result<Definition, Error> {
    let mut functions = Vec::new();
    for (tool, listed) in &agent.definition.tools {
        let Some(entry) = inner.tools.entry(tool) else {
            let message = format!("there is no tool `{tool}`");
            let error = agent.definition.wrong(Place::Tool(listed), message);
            return Err(error.with_help("`ringfence tool add FOLDER` adds one").into());
        };
        if let ringfence_agent::FunctionList::Named(names) = &listed.functions
            && let Some(missing) = names.iter().find(|name| entry.function(name).is_none())
        {
            let message = format!("tool `{tool}` has no function `{missing}`");
            let names: Vec<&str> = entry.functions.iter().map(|f| f.name.as_str()).collect();
            let error = agent.definition.wrong(Place::Tool(listed), message);
            return Err(error.with_help(format!("it has {}", names.join(", "))).into());
        }
        for function in entry.functions.iter().filter(|f| listed.functions.contains(&f.name)) {
            functions.push(FunctionSpec {
                name: model_name(tool, &function.name),
                description: function.description.clone(),
                input_schema: function.input_schema.clone(),
            });
        }
    }
    if let Some(model) = agent.other_model() {
        // No line of the agent's file is wrong if there is no such model.
        inner.model(model)?;
    }
    functions.sort_by(|a, b| a.name.cmp(&b.name));
    let limits = agent.definition.limits;
    let fallback = agent.definition.fallback.as_ref().map(|rule| {
        let model = choice(inner, agent, Place::Fallback, &rule.model)?;
        Ok::<_, Error>(Fallback { model, on: rule.on.clone(), after: rule.after })
    });
    let fallback = fallback.transpose()?;
    let of = Definition::of(
        agent.definition.name.clone(),
        agent.digest(),
        agent.definition.model.clone(),
    );
    Ok(Definition {
        instructions: agent.instructions.as_str().into(),
        functions: functions.into(),
        model: choice(inner, agent, Place::Model, &agent.definition.model)?,
        fallback,
        session_limits: agent.definition.session_limits,
        retry: agent.definition.retry,
        compaction: agent.definition.compaction,
        limits: RunLimits {
            steps: limits.steps,
            calls: limits.calls,
            tokens: limits.tokens,
            fuel: limits.fuel,
            usd: limits.usd,
            time_ms: limits.time_ms,
            concurrent_calls: limits.concurrent_calls,
        },
        ..of
    })
}

/// A model of the agent's, as the operator set it up.
fn choice(
    inner: &Inner,
    agent: &Agent,
    place: Place<'_>,
    name: &ModelName,
) -> Result<ModelChoice, Error> {
    let current = inner.current();
    let Some(config) = current.models.get(name) else {
        let file = inner.config.file_name();
        let error = agent.definition.wrong(place, format!("there is no model `{name}`"));
        return Err(error.with_help(format!("[model.{name}] in {file} sets one up")).into());
    };
    let parameters = Parameters { output_tokens: config.limits.output };
    Ok(ModelChoice { name: name.clone(), price: config.price, parameters })
}

/// The agent of a session for what needs nothing of it but who it is: a session of a version that
/// kept no agents.
pub(crate) fn stand_in(session: &Session) -> Option<Definition> {
    let (agent, digest) = session.agent()?;
    let model = "none".parse().expect("a model's name");
    Some(Definition::of(agent.clone(), digest, model))
}
