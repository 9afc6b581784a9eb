//! A span, put together.

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    trace::v1::{
        Span, Status,
        span::{Event as SpanEvent, SpanKind},
        status::StatusCode,
    },
};
use ringfence_event::{SpanId, Timestamp, TraceContext};

use super::attribute::text;

/// Flags of OTLP: of the trace, that it is known whether the parent is remote, and that it is.
const SAMPLED: u32 = 0x01;
const KNOWS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// Everything that a span is made of.
pub(super) struct Draft {
    pub(super) trace: TraceContext,
    pub(super) id: SpanId,
    /// Within this process; `None`: that of whoever asked, if they said so.
    pub(super) parent: Option<SpanId>,
    pub(super) name: String,
    pub(super) kind: SpanKind,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) attributes: Vec<KeyValue>,
    pub(super) events: Vec<SpanEvent>,
    pub(super) events_dropped: u32,
    /// `error.type`, and what is said of it.
    pub(super) error: Option<(String, String)>,
}

impl Draft {
    /// The span; none in a trace that whoever asked does not keep.
    pub(super) fn span(self) -> Option<Span> {
        let Self { trace, id, parent, mut attributes, error, .. } = self;
        if !trace.is_sampled() {
            return None;
        }
        let remote = trace.parent().filter(|_| parent.is_none());
        let parent_span = parent.or(remote).map(|parent| parent.get().to_be_bytes().to_vec());
        let status = error.map(|(kind, message)| {
            attributes.push(text("error.type", kind));
            Status { message, code: StatusCode::Error.into() }
        });
        let flags = SAMPLED | KNOWS_REMOTE | if remote.is_some() { IS_REMOTE } else { 0 };
        Some(Span {
            trace_id: trace.trace().to_be_bytes().to_vec(),
            span_id: id.get().to_be_bytes().to_vec(),
            parent_span_id: parent_span.unwrap_or_default(),
            flags,
            name: self.name,
            kind: self.kind.into(),
            start_time_unix_nano: nanos(self.from),
            end_time_unix_nano: nanos(self.to.max(self.from)),
            attributes,
            events: self.events,
            dropped_events_count: self.events_dropped,
            status,
            ..Span::default()
        })
    }
}

pub(super) fn nanos(at: Timestamp) -> u64 {
    at.0.saturating_mul(1_000_000)
}

/// Something that happened within a span.
pub(super) fn event(at: Timestamp, name: &str, attributes: Vec<KeyValue>) -> SpanEvent {
    let (time_unix_nano, name) = (nanos(at), name.to_owned());
    SpanEvent { time_unix_nano, name, attributes, ..SpanEvent::default() }
}
