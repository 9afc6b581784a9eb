//! An event of the journal as a CloudEvent 1.0, in the structured JSON form.

use ringfence_event::{Event, SpanId, Stream, TraceContext};
use serde::Serialize;
use serde_json::Value;

/// The media type of one of these.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// What stands before the kind of an event in its type.
const TYPE: &str = "ringfence.";

/// An event as other programs take it. Made in memory, written with serde.
///
/// ```
/// use ringfence_event::{Body, Event, FORMAT, RunId, SessionId, Stream, TenantId, Timestamp, UserId};
/// use ringfence_observe::CloudEvent;
///
/// let event = Event {
///     format: FORMAT,
///     tenant: "acme".parse()?,
///     user: "ann".parse()?,
///     stream: Stream::Session(SessionId::from_random([7; 16])),
///     seq: 12,
///     at: Timestamp(1_700_000_000_000),
///     body: Body::RunCompleted { run: RunId(1) },
///     cause: None,
///     trace: None,
/// };
/// let made = CloudEvent::of(&event);
/// assert_eq!(made.kind, "ringfence.run.completed");
/// assert_eq!(made.id, "session/07070707070707070707070707070707/12");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CloudEvent<'a> {
    /// The version of the specification.
    pub specversion: &'static str,
    /// Stream and place: the same for the same event, however often it is delivered.
    pub id: String,
    /// Whose it is, as a URI reference.
    pub source: String,
    /// `ringfence.` and the kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is about: a session, a run, a step or a call.
    pub subject: String,
    /// When it was recorded.
    pub time: String,
    /// That of `data`.
    pub datacontenttype: &'static str,
    /// Extension of CloudEvents: the span that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Extension of CloudEvents: its place in its stream, such that texts have the order of numbers.
    pub sequence: String,
    /// Whose it is.
    pub tenant: &'a str,
    /// On whose behalf.
    pub user: &'a str,
    /// The version of the format that `data` is of.
    pub format: u32,
    /// What happened, as the journal has it.
    pub data: Value,
}

impl<'a> CloudEvent<'a> {
    /// The event in this form.
    #[must_use]
    pub fn of(event: &'a Event) -> Self {
        let Event { format, tenant, user, stream, seq, at, body, cause: _, trace } = event;
        // Plain data with string keys is always JSON.
        let mut data = serde_json::to_value(body).unwrap_or_default();
        let data = data.get_mut("data").map(Value::take).unwrap_or_default();
        let context: Option<TraceContext> = trace.as_deref().and_then(|trace| trace.parse().ok());
        let span = body.run().map(|run| SpanId::of_run(stream, run));
        let asked = context.and_then(|context| context.parent());
        let span = span.or(asked).unwrap_or_else(|| SpanId::of_event(stream, *seq));
        Self {
            specversion: "1.0",
            id: format!("{stream}/{seq}"),
            source: format!("/ringfence/tenants/{tenant}"),
            kind: format!("{TYPE}{}", body.kind()),
            subject: subject(stream, &data),
            time: at.rfc3339(),
            datacontenttype: "application/json",
            traceparent: context.map(|context| context.traceparent(span)),
            sequence: format!("{seq:020}"),
            tenant: tenant.as_str(),
            user: user.as_str(),
            format: *format,
            data,
        }
    }

    /// As JSON on one line, without a line's end.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn subject(stream: &Stream, data: &Value) -> String {
    let number = |value: &Value| value.as_u64();
    let about = match (&data["call"], &data["step"], &data["run"]) {
        (Value::String(call), ..) => Some(call.clone()),
        (_, step @ Value::Object(_), _) => {
            let (run, step) = (number(&step["run"]), number(&step["step"]));
            run.zip(step).map(|(run, step)| format!("r{run}.s{step}"))
        }
        (_, _, run) => number(run).map(|run| format!("r{run}")),
    };
    match about {
        Some(about) => format!("{stream}/{about}"),
        None => stream.to_string(),
    }
}
