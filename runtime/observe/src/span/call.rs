//! `execute_tool`: one try of a call. A call that is made again has a span for each try; one that was
//! never started has one that says why.

use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use ringfence_event::{
    Body, CallId, CallResult, Event, FunctionName, Outcome, SpanId, Timestamp, ToolName,
    TraceContext, Usage,
};

use super::{
    Telling,
    attribute::{number, text, texts},
    context,
    made::{Draft, event as within},
    run::{OpenRun, whose, work},
};

/// A call that was proposed.
pub(super) struct OpenCall {
    trace: TraceContext,
    proposed: Timestamp,
    /// As the model said it.
    name: String,
    arguments: String,
    intent: Option<(ToolName, FunctionName, &'static str)>,
    started: Option<(u64, Timestamp)>,
    tries: u64,
}

/// The call that an event is about.
pub(super) fn of(body: &Body) -> Option<&CallId> {
    match body {
        Body::CallProposed { call, .. }
        | Body::CallInvalid { call, .. }
        | Body::CallDenied { call, .. }
        | Body::CallHold { call, .. }
        | Body::CallApproved { call, .. }
        | Body::CallDeclined { call, .. }
        | Body::InputAsked { call, .. }
        | Body::InputAnswered { call, .. }
        | Body::CallRetryScheduled { call, .. }
        | Body::CallIntended { call, .. }
        | Body::CallStarted { call }
        | Body::CallFinished { call, .. }
        | Body::CallOutcomeUnknown { call }
        | Body::CallReconciled { call, .. } => Some(call),
        _ => None,
    }
}

/// Whether what began before must be known to say what this is.
pub(super) fn goes_on(body: &Body) -> bool {
    matches!(
        body,
        Body::CallInvalid { .. }
            | Body::CallDenied { .. }
            | Body::CallDeclined { .. }
            | Body::InputAsked { .. }
            | Body::CallRetryScheduled { .. }
            | Body::CallIntended { .. }
            | Body::CallStarted { .. }
            | Body::CallFinished { .. }
            | Body::CallOutcomeUnknown { .. }
    )
}

/// Whether nothing of a call comes after it.
pub(super) fn is_end(body: &Body) -> bool {
    matches!(
        body,
        Body::CallInvalid { .. }
            | Body::CallDenied { .. }
            | Body::CallDeclined { .. }
            | Body::CallFinished { .. }
    )
}

impl OpenCall {
    pub(super) fn new(event: &Event, trace: TraceContext) -> Self {
        let (name, arguments) = match &event.body {
            Body::CallProposed { function, arguments, .. } => (function.clone(), arguments.clone()),
            _ => (String::new(), String::new()),
        };
        let (intent, started) = (None, None);
        Self { trace, proposed: event.at, name, arguments, intent, started, tries: 0 }
    }

    /// One whose beginning is nowhere to be found.
    pub(super) fn unknown(event: &Event) -> Self {
        Self::new(event, context(event))
    }

    /// What an event after the proposal says; a span if something ends with it.
    pub(super) fn went_on(
        &mut self,
        event: &Event,
        mut run: Option<&mut OpenRun>,
        telling: &Telling,
    ) -> Option<Span> {
        let call = of(&event.body)?.as_str();
        let mut told = |name: &str| {
            if let Some(run) = run.as_deref_mut() {
                run.happened(event.at, name, vec![text("gen_ai.tool.call.id", call)]);
            }
        };
        let outcome = |outcome| CallResult { outcome, denials: vec![], usage: Usage::default() };
        let result = match &event.body {
            Body::CallIntended { intent, .. } => {
                let effect = intent.effect.as_str();
                self.intent = Some((intent.tool.clone(), intent.function.clone(), effect));
                return None;
            }
            Body::CallStarted { .. } => {
                self.started = Some((event.seq, event.at));
                self.tries += 1;
                return None;
            }
            Body::CallHold { .. } => {
                told("ringfence.call.hold");
                return None;
            }
            Body::CallApproved { .. } => {
                told("ringfence.call.approved");
                return None;
            }
            Body::InputAnswered { .. } => {
                told("ringfence.input.answered");
                return None;
            }
            Body::CallReconciled { .. } => {
                told("ringfence.call.reconciled");
                return None;
            }
            Body::CallFinished { result, .. } | Body::CallRetryScheduled { result, .. } => {
                result.as_ref().clone()
            }
            Body::InputAsked { question, denials, usage, .. } => CallResult {
                outcome: Outcome::NeedsInput { question: question.clone() },
                denials: denials.clone(),
                usage: *usage,
            },
            Body::CallDenied { denials, .. } => {
                CallResult { denials: denials.clone(), ..outcome(Outcome::Denied) }
            }
            Body::CallInvalid { failure, .. } => {
                outcome(Outcome::Invalid { failure: failure.clone() })
            }
            Body::CallDeclined { by, reason, .. } => {
                outcome(Outcome::Declined { by: by.clone(), reason: reason.clone() })
            }
            Body::CallOutcomeUnknown { .. } => outcome(Outcome::OutcomeUnknown),
            _ => return None,
        };
        if let Some(run) = run.as_deref_mut() {
            let denials = result.denials.iter().map(|denial| denial.times.max(1)).sum();
            run.called(&result.usage, denials);
        }
        let span = self.executed(event, call, &result, run.as_deref(), telling);
        self.started = None;
        span
    }

    fn executed(
        &self,
        event: &Event,
        call: &str,
        result: &CallResult,
        run: Option<&OpenRun>,
        telling: &Telling,
    ) -> Option<Span> {
        let outcome = result.outcome.as_str();
        let name = match (&self.intent, self.name.as_str()) {
            (Some((tool, function, _)), "") => format!("{tool}_{function}"),
            (_, name) => name.to_owned(),
        };
        let mut attributes = vec![
            text("gen_ai.operation.name", "execute_tool"),
            text("gen_ai.tool.name", name.as_str()),
            text("gen_ai.tool.type", "function"),
            text("gen_ai.tool.call.id", call),
            text("ringfence.call.outcome", outcome),
        ];
        attributes.extend(whose(event, run.and_then(OpenRun::agent)));
        if let Some((tool, function, effect)) = &self.intent {
            attributes.push(text("ringfence.tool", tool.as_str()));
            attributes.push(text("ringfence.function", function.as_str()));
            attributes.push(text("ringfence.effect", *effect));
        }
        if self.tries > 1 {
            attributes.push(number("ringfence.call.try", self.tries));
        }
        if let Outcome::LimitReached { limit } = &result.outcome {
            attributes.push(text("ringfence.limit", limit.as_str()));
        }
        attributes.extend(work(&result.usage));
        if !result.denials.is_empty() {
            let codes = result.denials.iter().map(|denial| denial.code.as_str().to_owned());
            attributes.push(texts("ringfence.denial.codes", codes));
        }
        if telling.payloads {
            attributes.push(text("gen_ai.tool.call.arguments", self.arguments.as_str()));
            if let Outcome::Succeeded { output } = &result.outcome {
                let output = serde_json::to_string(output).unwrap_or_default();
                attributes.push(text("gen_ai.tool.call.result", output));
            }
        }
        let events = result.denials.iter().map(|denial| {
            let code = text("ringfence.denial.code", denial.code.as_str());
            // What was asked for may be a path or an address that a person would keep to themselves.
            let asked = telling.payloads.then(|| text("ringfence.denial", denial.to_string()));
            within(event.at, "ringfence.denial", [code].into_iter().chain(asked).collect())
        });
        let (seq, from) = self.started.unwrap_or((event.seq, self.proposed));
        let draft = Draft {
            trace: self.trace,
            id: SpanId::of_event(&event.stream, seq),
            parent: of(&event.body)?.run().map(|run| SpanId::of_run(&event.stream, run)),
            name: format!("execute_tool {name}"),
            kind: SpanKind::Internal,
            from,
            to: event.at,
            attributes,
            events: events.collect(),
            events_dropped: 0,
            error: error(&result.outcome, telling),
        };
        draft.span()
    }
}

/// What is wrong, if that is an error; in words only where they may be told.
fn error(outcome: &Outcome, telling: &Telling) -> Option<(String, String)> {
    let message = match outcome {
        Outcome::Succeeded { .. } | Outcome::NeedsInput { .. } | Outcome::Cancelled => return None,
        Outcome::Failed { failure } | Outcome::Invalid { failure } => failure.message.as_str(),
        Outcome::Trapped { message } | Outcome::HostError { message } => message,
        _ => "",
    };
    let message = if telling.payloads { message.to_owned() } else { String::new() };
    Some((outcome.as_str().to_owned(), message))
}
