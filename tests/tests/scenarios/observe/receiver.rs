//! An OTLP receiver: it keeps what it is sent, and answers as it is told.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::ExportMetricsServiceRequest,
        trace::v1::{
            ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        },
    },
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{Span, status::StatusCode},
};
use prost::Message as _;
use ringfence_tests::web::{Web, say};
use tokio::sync::mpsc;

/// How it answers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Mood {
    /// It takes everything.
    #[default]
    Well,
    /// It answers with this status.
    Status(&'static str),
    /// It hangs up.
    Gone,
    /// It never answers.
    Silent,
    /// It takes it, and says that so many spans were not.
    Rejects(i64),
}

/// What arrived.
#[derive(Default)]
struct Kept {
    mood: Mood,
    spans: Vec<Span>,
    metrics: Vec<ExportMetricsServiceRequest>,
}

pub(crate) struct Receiver {
    pub(crate) web: Web,
    kept: Arc<Mutex<Kept>>,
    /// A word for each request, once it is answered.
    asked: mpsc::UnboundedReceiver<()>,
}

impl Receiver {
    pub(crate) fn new(mood: Mood) -> Self {
        let kept = Arc::new(Mutex::new(Kept { mood, ..Kept::default() }));
        let (sender, asked) = mpsc::unbounded_channel();
        let keep = kept.clone();
        let web = Web::new(move |request, stream| {
            let mood = keep.lock().unwrap().mood;
            let answer = match mood {
                Mood::Well | Mood::Rejects(_) => {
                    let mut kept = keep.lock().unwrap();
                    assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
                    let mut answer = vec![];
                    match request.path() {
                        "/v1/traces" => {
                            let sent =
                                ExportTraceServiceRequest::decode(&request.bytes[..]).unwrap();
                            let scopes =
                                sent.resource_spans.into_iter().flat_map(|one| one.scope_spans);
                            kept.spans.extend(scopes.flat_map(|scope| scope.spans));
                            if let Mood::Rejects(rejected_spans) = mood {
                                let partial_success = Some(ExportTracePartialSuccess {
                                    rejected_spans,
                                    error_message: "too many".to_owned(),
                                });
                                answer =
                                    ExportTraceServiceResponse { partial_success }.encode_to_vec();
                            }
                        }
                        "/v1/metrics" => kept
                            .metrics
                            .push(ExportMetricsServiceRequest::decode(&request.bytes[..]).unwrap()),
                        other => panic!("{other}"),
                    }
                    say(stream, "200 OK", "", &answer)
                }
                Mood::Status(status) => say(stream, status, "", b""),
                Mood::Gone => Err(io::Error::from(ErrorKind::ConnectionAborted)),
                Mood::Silent => {
                    let _ = sender.send(());
                    loop {
                        std::thread::park();
                    }
                }
            };
            let _ = sender.send(());
            answer
        });
        Self { web, kept, asked }
    }

    pub(crate) fn endpoint(&self) -> String {
        self.web.origin()
    }

    pub(crate) fn mood(&self, mood: Mood) {
        self.kept.lock().unwrap().mood = mood;
    }

    /// Returns once it was asked another time.
    pub(crate) async fn asked(&mut self) {
        self.asked.recv().await.expect("the receiver is there");
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        self.kept.lock().unwrap().spans.clone()
    }

    pub(crate) fn metrics(&self) -> Vec<ExportMetricsServiceRequest> {
        self.kept.lock().unwrap().metrics.clone()
    }
}

/// Attributes by name, as text.
pub(crate) fn attributes(all: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &AnyValue| match value.value.as_ref() {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::ArrayValue(list)) => {
            format!("{:?}", list.values.iter().map(word).collect::<Vec<_>>())
        }
        other => format!("{other:?}"),
    };
    let pair =
        |pair: &KeyValue| (pair.key.clone(), pair.value.as_ref().map(text).unwrap_or_default());
    all.iter().map(pair).collect()
}

fn word(value: &AnyValue) -> String {
    match value.value.as_ref() {
        Some(Value::StringValue(text)) => text.clone(),
        other => format!("{other:?}"),
    }
}

/// What differs from run to run.
const VARY: [&str; 7] = [
    "gen_ai.usage.input_tokens",
    "gen_ai.conversation.id",
    "ringfence.fuel",
    "ringfence.host_work",
    "ringfence.memory.peak",
    "ringfence.host_calls",
    "ringfence.egress",
];

/// Spans as a tree, in the order of their beginnings; what differs from run to run is left out.
pub(crate) fn tree(spans: &[Span]) -> String {
    let mut shown = String::new();
    let is_root = |span: &&Span| !spans.iter().any(|other| other.span_id == span.parent_span_id);
    for root in spans.iter().filter(is_root) {
        show(root, spans, 0, &mut shown);
    }
    shown
}

fn show(span: &Span, all: &[Span], depth: usize, shown: &mut String) {
    let margin = "    ".repeat(depth);
    let status = span.status.as_ref().filter(|status| status.code() == StatusCode::Error);
    let error = status.map_or(String::new(), |status| format!(" ERROR {}", status.message));
    *shown += &format!("{margin}{} ({:?}){error}\n", span.name, span.kind());
    for (key, value) in attributes(&span.attributes) {
        let value = if VARY.contains(&key.as_str()) { "…".to_owned() } else { value };
        *shown += &format!("{margin}  {key} = {value}\n");
    }
    for event in &span.events {
        *shown += &format!("{margin}  - {} {:?}\n", event.name, attributes(&event.attributes));
    }
    assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{}", span.name);
    let mut inner: Vec<&Span> =
        all.iter().filter(|inner| inner.parent_span_id == span.span_id).collect();
    // What begins in the same millisecond has no other order.
    inner.sort_by_key(|inner| {
        let told = attributes(&inner.attributes);
        told.get("ringfence.step").or(told.get("gen_ai.tool.call.id")).cloned()
    });
    for inner in inner {
        assert_eq!(inner.trace_id, span.trace_id, "one trace");
        show(inner, all, depth + 1, shown);
    }
}

/// A span's id in hexadecimal.
pub(crate) fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
