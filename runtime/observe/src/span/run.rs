//! `invoke_agent`: a run; and `chat`: a request to a model within it.

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    trace::v1::{
        Span,
        span::{Event as SpanEvent, SpanKind},
    },
};
use ringfence_event::{
    AgentName, Body, Event, ModelName, ModelReply, Money, RunId, SpanId, StepId, Stream, Timestamp,
    TokenUsage, TraceContext, Usage,
};
use serde_json::{Value, json};

use super::{
    Telling,
    attribute::{number, real, text, texts},
    context,
    made::{Draft, event},
};

/// How much happens within a run and is kept with its span.
const EVENTS_MAX: usize = 128;

/// A run that has begun.
pub(super) struct OpenRun {
    trace: TraceContext,
    agent: Option<AgentName>,
    said: Timestamp,
    started: Option<Timestamp>,
    input: Option<String>,
    answer: Option<String>,
    request: Option<OpenRequest>,
    steps: u64,
    calls: u64,
    denials: u64,
    tokens: TokenUsage,
    cost: Money,
    usage: Usage,
    events: Vec<SpanEvent>,
    events_dropped: u32,
}

/// A request that has no reply yet.
struct OpenRequest {
    seq: u64,
    at: Timestamp,
    step: StepId,
    model: ModelName,
}

/// Whether a run ends with it.
pub(super) fn is_end(body: &Body) -> bool {
    matches!(
        body,
        Body::RunCompleted { .. }
            | Body::RunFailed { .. }
            | Body::RunCancelled { .. }
            | Body::RunLimitReached { .. }
    )
}

impl OpenRun {
    pub(super) fn new(event: &Event, agent: Option<AgentName>, input: Option<String>) -> Self {
        Self {
            trace: context(event),
            agent,
            said: event.at,
            started: None,
            input,
            answer: None,
            request: None,
            steps: 0,
            calls: 0,
            denials: 0,
            tokens: TokenUsage::default(),
            cost: Money::ZERO,
            usage: Usage::default(),
            events: vec![],
            events_dropped: 0,
        }
    }

    pub(super) fn trace(&self) -> TraceContext {
        self.trace
    }

    pub(super) fn agent(&self) -> Option<&AgentName> {
        self.agent.as_ref()
    }

    /// A call of it has come to something.
    pub(super) fn called(&mut self, usage: &Usage, denials: u64) {
        self.usage.add(usage);
        self.denials += denials;
    }

    /// Something within it that is no span.
    pub(super) fn happened(&mut self, at: Timestamp, name: &str, attributes: Vec<KeyValue>) {
        if self.events.len() < EVENTS_MAX {
            self.events.push(event(at, name, attributes));
        } else {
            self.events_dropped += 1;
        }
    }

    /// What an event says of the run and its requests. A request that is made again before there was a
    /// reply to it was left by a host that died.
    pub(super) fn requested(&mut self, event: &Event, telling: &Telling) -> Option<Span> {
        match &event.body {
            Body::RunStarted { .. } => {
                self.started = Some(event.at);
                None
            }
            Body::StepStarted { .. } => {
                self.steps += 1;
                None
            }
            Body::CallProposed { .. } => {
                self.calls += 1;
                None
            }
            Body::ModelRequested { step, model, .. } => {
                let lost = self.request.replace(OpenRequest {
                    seq: event.seq,
                    at: event.at,
                    step: *step,
                    model: model.clone(),
                });
                let error = Some(("lost".to_owned(), String::new()));
                self.chat(lost?, event, telling, (TokenUsage::default(), None), None, error)
            }
            Body::ModelCompleted { reply, cost, .. } => {
                self.spent(reply.tokens, *cost);
                if telling.payloads {
                    self.answer = Some(reply.text.clone());
                }
                let request = self.request.take()?;
                self.chat(request, event, telling, (reply.tokens, *cost), Some(reply), None)
            }
            Body::ModelFailed { failure, tokens, cost, .. } => {
                self.spent(*tokens, *cost);
                // What a vendor says may quote what it was asked.
                let message =
                    if telling.payloads { failure.message.clone() } else { String::new() };
                let error = Some((failure.class.as_str().to_owned(), message));
                let request = self.request.take()?;
                self.chat(request, event, telling, (*tokens, *cost), None, error)
            }
            Body::ConversationCompacted { compaction, .. } => {
                self.spent(compaction.tokens, compaction.cost);
                let mut attributes = usage(compaction.tokens);
                attributes
                    .push(text("ringfence.compacted.through", compaction.through.to_string()));
                self.happened(event.at, "ringfence.conversation.compacted", attributes);
                None
            }
            Body::RunWaiting { on, .. } => {
                let on = text("ringfence.waiting.on", on.as_str());
                self.happened(event.at, "ringfence.run.waiting", vec![on]);
                None
            }
            Body::RunLeft { .. } => {
                self.happened(event.at, "ringfence.run.left", vec![]);
                None
            }
            Body::RunResumed { .. } => {
                self.happened(event.at, "ringfence.run.resumed", vec![]);
                None
            }
            Body::RunStopping { limit, .. } => {
                let limit = limit.map(|limit| text("ringfence.limit", limit.as_str()));
                self.happened(event.at, "ringfence.run.stopping", limit.into_iter().collect());
                None
            }
            _ => None,
        }
    }

    fn spent(&mut self, tokens: TokenUsage, cost: Option<Money>) {
        self.tokens.add(tokens);
        self.cost = self.cost.plus(cost.unwrap_or_default());
    }

    fn chat(
        &self,
        request: OpenRequest,
        event: &Event,
        telling: &Telling,
        (tokens, cost): (TokenUsage, Option<Money>),
        reply: Option<&ModelReply>,
        error: Option<(String, String)>,
    ) -> Option<Span> {
        let OpenRequest { seq, at, step, model } = request;
        let identity = telling.models.get(&model);
        let name = identity.map_or(model.as_str(), |identity| identity.name.as_str());
        let mut attributes = vec![
            text("gen_ai.operation.name", "chat"),
            text("gen_ai.request.model", name),
            text("ringfence.model", model.as_str()),
            text("ringfence.step", step.to_string()),
        ];
        if let Some(identity) = identity {
            attributes.push(text("gen_ai.provider.name", identity.provider.as_str()));
            if let Some((address, port)) = &identity.server {
                attributes.push(text("server.address", address.as_str()));
                attributes.push(number("server.port", u64::from(*port)));
            }
        }
        attributes.extend(whose(event, self.agent.as_ref()));
        attributes.extend(usage(tokens));
        attributes.extend(cost.map(|cost| real("ringfence.cost", dollars(cost))));
        if let Some(reply) = reply {
            let reason = if reply.calls.is_empty() { "stop" } else { "tool_calls" };
            attributes.push(texts("gen_ai.response.finish_reasons", [reason.to_owned()]));
            if telling.payloads {
                attributes.push(text("gen_ai.output.messages", told(reply, reason).to_string()));
            }
        }
        let draft = Draft {
            trace: self.trace,
            id: SpanId::of_event(&event.stream, seq),
            parent: Some(SpanId::of_run(&event.stream, step.run)),
            name: format!("chat {name}"),
            kind: SpanKind::Client,
            from: at,
            to: event.at,
            attributes,
            events: vec![],
            events_dropped: 0,
            error,
        };
        draft.span()
    }

    /// The spans that end with the run: its own, and that of a request which nobody waits for any more.
    pub(super) fn ended(mut self, event: &Event, telling: &Telling) -> Vec<Span> {
        let Some(run) = event.body.run() else { return vec![] };
        let nothing = (TokenUsage::default(), None);
        let called_off = Some(("cancelled".to_owned(), String::new()));
        let request = self.request.take();
        let request = request
            .and_then(|request| self.chat(request, event, telling, nothing, None, called_off));
        request.into_iter().chain(self.invoked(run, event, telling)).collect()
    }

    fn invoked(self, run: RunId, event: &Event, telling: &Telling) -> Option<Span> {
        let (status, limit) = match &event.body {
            Body::RunCompleted { .. } => ("completed", None),
            Body::RunCancelled { .. } => ("cancelled", None),
            Body::RunLimitReached { limit, .. } => ("limit-reached", Some(limit)),
            _ => ("failed", None),
        };
        let mut attributes = vec![
            text("gen_ai.operation.name", "invoke_agent"),
            text("ringfence.run", run.to_string()),
            text("ringfence.run.status", status),
            number("ringfence.steps", self.steps),
            number("ringfence.calls", self.calls),
            number("ringfence.denials", self.denials),
            real("ringfence.cost", dollars(self.cost)),
        ];
        attributes.extend(limit.map(|limit| text("ringfence.limit", limit.as_str())));
        attributes.extend(whose(event, self.agent.as_ref()));
        attributes.extend(usage(self.tokens));
        attributes.extend(work(&self.usage));
        if let Some(input) = &self.input {
            let said = json!([{ "role": "user", "parts": [{ "type": "text", "content": input }] }]);
            attributes.push(text("gen_ai.input.messages", said.to_string()));
        }
        if let Some(answer) = self.answer.filter(|_| status == "completed") {
            let reply = ModelReply { text: answer, ..ModelReply::default() };
            attributes.push(text("gen_ai.output.messages", told(&reply, "stop").to_string()));
        }
        let message = match &event.body {
            Body::RunFailed { message, .. } if telling.payloads => message.clone(),
            _ => String::new(),
        };
        // Somebody wanted it so: that is no error.
        let is_error = !matches!(status, "completed" | "cancelled");
        let name = match &self.agent {
            Some(agent) => format!("invoke_agent {agent}"),
            None => "invoke_agent".to_owned(),
        };
        let draft = Draft {
            trace: self.trace,
            id: SpanId::of_run(&event.stream, run),
            parent: None,
            name,
            kind: SpanKind::Internal,
            from: self.started.unwrap_or(self.said),
            to: event.at,
            attributes,
            events: self.events,
            events_dropped: self.events_dropped,
            error: is_error.then(|| (status.to_owned(), message)),
        };
        draft.span()
    }
}

/// Whose work it is, in which conversation and by which agent.
pub(super) fn whose(event: &Event, agent: Option<&AgentName>) -> Vec<KeyValue> {
    let mut attributes = vec![
        text("ringfence.tenant", event.tenant.as_str()),
        text("ringfence.user", event.user.as_str()),
    ];
    if let Stream::Session(session) = &event.stream {
        attributes.push(text("gen_ai.conversation.id", session.as_str()));
    }
    attributes.extend(agent.map(|agent| text("gen_ai.agent.name", agent.as_str())));
    attributes
}

fn usage(tokens: TokenUsage) -> Vec<KeyValue> {
    let mut attributes = vec![
        number("gen_ai.usage.input_tokens", tokens.input),
        number("gen_ai.usage.output_tokens", tokens.output),
    ];
    if tokens.cached > 0 {
        attributes.push(number("gen_ai.usage.cache_read.input_tokens", tokens.cached));
    }
    attributes
}

/// What calls cost.
pub(super) fn work(usage: &Usage) -> Vec<KeyValue> {
    vec![
        number("ringfence.fuel", usage.fuel),
        number("ringfence.host_work", usage.host_work),
        number("ringfence.memory.peak", usage.memory_peak_bytes),
        number("ringfence.host_calls", usage.host_calls),
        number("ringfence.egress", usage.egress_bytes),
        number("ringfence.requests", usage.requests),
    ]
}

fn dollars(cost: Money) -> f64 {
    cost.nanos() as f64 / 1e9
}

/// A reply as the convention writes messages.
fn told(reply: &ModelReply, reason: &str) -> Value {
    let said = (!reply.text.is_empty()).then(|| json!({ "type": "text", "content": reply.text }));
    let calls = reply.calls.iter().map(|call| {
        let arguments = serde_json::from_str(&call.arguments);
        let arguments: Value = arguments.unwrap_or_else(|_| Value::String(call.arguments.clone()));
        json!({ "type": "tool_call", "id": call.id, "name": call.function, "arguments": arguments })
    });
    let parts: Vec<Value> = said.into_iter().chain(calls).collect();
    json!([{ "role": "assistant", "parts": parts, "finish_reason": reason }])
}
