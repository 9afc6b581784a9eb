//! Events, counted. What an end is counted with and does not say itself is kept from its beginning.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::Arc,
};

use opentelemetry::KeyValue;
use ringfence_event::{
    Asked, Body, CallId, CallResult, Denial, Event, FunctionName, ModelName, Money, Outcome, RunId,
    Stream, TenantId, Timestamp, TokenUsage, ToolName,
};

use super::Own;
use crate::config::ModelIdentity;

/// How many beginnings are kept of each kind. Those of what never ended are forgotten with all others
/// then; what they would have said is left out.
const OPEN_MAX: usize = 65_536;

/// Counts the events of all tenants, in their order.
pub(crate) struct Counted {
    own: Arc<Own>,
    models: BTreeMap<ModelName, ModelIdentity>,
    runs: HashMap<(Stream, RunId), Timestamp>,
    requests: HashMap<Stream, (ModelName, Timestamp)>,
    calls: HashMap<(Stream, CallId), (ToolName, FunctionName)>,
}

impl Counted {
    pub(crate) fn new(own: Arc<Own>, models: BTreeMap<ModelName, ModelIdentity>) -> Self {
        let (runs, requests, calls) = Default::default();
        Self { own, models, runs, requests, calls }
    }

    pub(crate) fn count(&mut self, event: &Event) {
        let Event { tenant, stream, at, body, .. } = event;
        match body {
            Body::RunStarted { run } | Body::RunResumed { run } => {
                let known = keep(&mut self.runs, (stream.clone(), *run), *at);
                self.own.runs_open.add(i64::from(known.is_none()), &[of(tenant)]);
            }
            Body::RunCompleted { run } => self.run_ended(event, *run, "completed", None),
            Body::RunFailed { run, .. } => self.run_ended(event, *run, "failed", None),
            Body::RunCancelled { run } => self.run_ended(event, *run, "cancelled", None),
            Body::RunLimitReached { run, limit, .. } => {
                self.run_ended(event, *run, "limit-reached", Some(limit.as_str()));
            }
            Body::ModelRequested { model, .. } => {
                keep(&mut self.requests, stream.clone(), (model.clone(), *at));
            }
            Body::ModelCompleted { reply, cost, .. } => {
                self.replied(event, reply.tokens, *cost, None);
            }
            Body::ModelFailed { failure, tokens, cost, .. } => {
                self.replied(event, *tokens, *cost, Some(failure.class.as_str()));
            }
            Body::ConversationCompacted { compaction, .. } => {
                let attributes = self.model(tenant, &compaction.model);
                self.spent(&attributes, tenant, compaction.tokens, compaction.cost);
            }
            Body::CallIntended { call, intent } => {
                let function = (intent.tool.clone(), intent.function.clone());
                keep(&mut self.calls, (stream.clone(), call.clone()), function);
            }
            Body::CallDenied { call, denials } => {
                let function = denials.iter().find_map(asked);
                let function = self.function(stream, call).or(function);
                self.denied(tenant, function.as_ref(), denials);
                self.call_ended(tenant, function.as_ref(), "denied", None);
            }
            Body::CallInvalid { call, .. } => {
                let function = self.function(stream, call);
                self.call_ended(tenant, function.as_ref(), "invalid", None);
            }
            Body::CallDeclined { call, .. } => {
                let function = self.function(stream, call);
                self.call_ended(tenant, function.as_ref(), "declined", None);
            }
            Body::CallOutcomeUnknown { call } => {
                let function = self.function(stream, call);
                self.call_ended(tenant, function.as_ref(), "outcome-unknown", None);
            }
            Body::CallFinished { call, result } => {
                let function = self.function(stream, call);
                self.tried(tenant, function.as_ref(), result);
                let limit = match &result.outcome {
                    Outcome::LimitReached { limit } => Some(limit.as_str()),
                    _ => None,
                };
                self.call_ended(tenant, function.as_ref(), result.outcome.as_str(), limit);
            }
            // A try that is repeated has cost something and has not ended the call.
            Body::CallRetryScheduled { call, result, .. } => {
                let function = self.function(stream, call);
                self.tried(tenant, function.as_ref(), result);
            }
            Body::InputAsked { call, denials, usage, question, .. } => {
                let function = self.function(stream, call);
                let outcome = Outcome::NeedsInput { question: question.clone() };
                let result = CallResult { outcome, denials: denials.clone(), usage: *usage };
                self.tried(tenant, function.as_ref(), &result);
            }
            Body::BudgetWarned { limit, .. } => {
                let limit = KeyValue::new("ringfence.limit", limit.as_str());
                self.own.warnings.add(1, &[of(tenant), limit]);
            }
            _ => {}
        }
    }

    fn run_ended(&mut self, event: &Event, run: RunId, status: &'static str, limit: Option<&str>) {
        let mut attributes = vec![of(&event.tenant), KeyValue::new("ringfence.run.status", status)];
        let limit = limit.map(|limit| KeyValue::new("ringfence.limit", limit.to_owned()));
        attributes.extend(limit);
        self.own.runs.add(1, &attributes);
        if let Some(began) = self.runs.remove(&(event.stream.clone(), run)) {
            self.own.runs_open.add(-1, &attributes[..1]);
            self.own.run_duration.record(seconds(began, event.at), &attributes);
        }
    }

    fn model(&self, tenant: &TenantId, model: &ModelName) -> Vec<KeyValue> {
        let mut attributes = vec![of(tenant), KeyValue::new("gen_ai.operation.name", "chat")];
        attributes.extend(named(self.models.get(model), model));
        attributes
    }

    fn replied(
        &mut self,
        event: &Event,
        tokens: TokenUsage,
        cost: Option<Money>,
        failed: Option<&'static str>,
    ) {
        let Some((model, asked)) = self.requests.remove(&event.stream) else { return };
        let mut attributes = self.model(&event.tenant, &model);
        self.spent(&attributes, &event.tenant, tokens, cost);
        attributes.extend(failed.map(|class| KeyValue::new("error.type", class)));
        self.own.model_duration.record(seconds(asked, event.at), &attributes);
    }

    fn spent(
        &self,
        attributes: &[KeyValue],
        tenant: &TenantId,
        tokens: TokenUsage,
        cost: Option<Money>,
    ) {
        for (kind, count) in [("input", tokens.input), ("output", tokens.output)] {
            if count > 0 {
                let kind = KeyValue::new("gen_ai.token.type", kind);
                self.own.tokens.record(count, &[attributes, &[kind]].concat());
            }
        }
        if let Some(cost) = cost.filter(|cost| *cost > Money::ZERO) {
            let model = attributes.iter().filter(|a| a.key.as_str() == "gen_ai.request.model");
            let attributes: Vec<KeyValue> =
                [of(tenant)].into_iter().chain(model.cloned()).collect();
            self.own.cost.add(cost.nanos() as f64 / 1e9, &attributes);
        }
    }

    fn function(&mut self, stream: &Stream, call: &CallId) -> Option<(ToolName, FunctionName)> {
        self.calls.remove(&(stream.clone(), call.clone()))
    }

    fn call_ended(
        &self,
        tenant: &TenantId,
        function: Option<&(ToolName, FunctionName)>,
        outcome: &'static str,
        limit: Option<&'static str>,
    ) {
        let mut attributes = vec![of(tenant)];
        if let Some((tool, function)) = function {
            attributes.push(KeyValue::new("ringfence.tool", tool.to_string()));
            attributes.push(KeyValue::new("ringfence.function", function.to_string()));
        }
        attributes.push(KeyValue::new("ringfence.call.outcome", outcome));
        attributes.extend(limit.map(|limit| KeyValue::new("ringfence.limit", limit)));
        self.own.calls.add(1, &attributes);
    }

    /// What one try of a call was refused and cost.
    fn tried(
        &self,
        tenant: &TenantId,
        function: Option<&(ToolName, FunctionName)>,
        result: &CallResult,
    ) {
        self.denied(tenant, function, &result.denials);
        let mut attributes = vec![of(tenant)];
        attributes
            .extend(function.map(|(tool, _)| KeyValue::new("ringfence.tool", tool.to_string())));
        let usage = &result.usage;
        if usage.wall_us > 0 {
            let wall = usage.wall_us as f64 / 1e6;
            self.own.call_duration.record(wall, &attributes);
            self.own.memory.record(usage.memory_peak_bytes, &attributes);
        }
        for (counter, amount) in [
            (&self.own.fuel, usage.fuel),
            (&self.own.host_work, usage.host_work),
            (&self.own.egress, usage.egress_bytes),
            (&self.own.requests, usage.requests),
        ] {
            if amount > 0 {
                counter.add(amount, &attributes);
            }
        }
    }

    fn denied(
        &self,
        tenant: &TenantId,
        function: Option<&(ToolName, FunctionName)>,
        denials: &[Denial],
    ) {
        for denial in denials {
            let mut attributes = vec![of(tenant)];
            attributes.extend(
                function.map(|(tool, _)| KeyValue::new("ringfence.tool", tool.to_string())),
            );
            attributes.push(KeyValue::new("ringfence.denial.code", denial.code.as_str()));
            self.own.denials.add(denial.times.max(1), &attributes);
        }
    }
}

fn of(tenant: &TenantId) -> KeyValue {
    KeyValue::new("ringfence.tenant", tenant.to_string())
}

/// Who is behind a model, as the convention names it.
fn named(identity: Option<&ModelIdentity>, model: &ModelName) -> Vec<KeyValue> {
    let Some(ModelIdentity { provider, name, .. }) = identity else {
        return vec![KeyValue::new("gen_ai.request.model", model.to_string())];
    };
    vec![
        KeyValue::new("gen_ai.provider.name", provider.clone()),
        KeyValue::new("gen_ai.request.model", name.clone()),
    ]
}

/// The function that was refused whole, if it is one.
fn asked(denial: &Denial) -> Option<(ToolName, FunctionName)> {
    match &denial.asked {
        Asked::Function { tool: Some(tool), function: Some(function), .. } => {
            // What no tool has is whatever a model says: no two of them are alike.
            let known = denial.code != ringfence_event::DenialCode::NoSuchFunction;
            known.then(|| (tool.clone(), function.clone()))
        }
        _ => None,
    }
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.0.saturating_sub(from.0) as f64 / 1000.0
}

/// Keeps a beginning, forgetting all others if there are too many.
fn keep<K: Eq + Hash, V>(open: &mut HashMap<K, V>, key: K, value: V) -> Option<V> {
    if open.len() >= OPEN_MAX && !open.contains_key(&key) {
        open.clear();
    }
    open.insert(key, value)
}
