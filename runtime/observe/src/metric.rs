//! What is counted, from the events of the journal and from what the observer itself does. One set of
//! instruments, read by Prometheus and sent by OTLP.

mod event;

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram, Meter, MeterProvider as _, UpDownCounter},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    metrics::{
        InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Temporality,
        data::ResourceMetrics, reader::MetricReader,
    },
};

pub(crate) use self::event::Counted;
use crate::prometheus;

/// The scope of our own instruments.
const SCOPE: &str = "ringfence";

/// As the convention for durations of models and agents says.
const DURATION: [f64; 14] =
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
/// Calls take from a hundredth of a millisecond on.
const CALL_DURATION: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0];
/// As the convention for tokens says.
const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
/// From one page of a guest to the most that one may have.
const MEMORY: [f64; 9] = [
    65_536.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    33_554_432.0,
    67_108_864.0,
    134_217_728.0,
    536_870_912.0,
    4_294_967_296.0,
];

/// The instruments, and how they are read. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    provider: SdkMeterProvider,
    reader: Reader,
    pub(crate) own: Arc<Own>,
}

/// Our instruments.
pub(crate) struct Own {
    runs: Counter<u64>,
    run_duration: Histogram<f64>,
    runs_open: UpDownCounter<i64>,
    model_duration: Histogram<f64>,
    tokens: Histogram<u64>,
    cost: Counter<f64>,
    calls: Counter<u64>,
    call_duration: Histogram<f64>,
    memory: Histogram<u64>,
    fuel: Counter<u64>,
    host_work: Counter<u64>,
    egress: Counter<u64>,
    requests: Counter<u64>,
    denials: Counter<u64>,
    warnings: Counter<u64>,
    pub(crate) sink_events: Counter<u64>,
    pub(crate) sink_failures: Counter<u64>,
    pub(crate) sink_dropped: Counter<u64>,
    pub(crate) lag: Gauge<u64>,
    pub(crate) spans: Counter<u64>,
    pub(crate) spans_dropped: Counter<u64>,
    pub(crate) export_failures: Counter<u64>,
    pub(crate) lagged: Counter<u64>,
    pub(crate) damaged: Counter<u64>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// All at nothing, of this version of the program.
    #[must_use]
    pub fn new(version: &str) -> Self {
        let reader = Reader(Arc::new(ManualReader::builder().build()));
        // Empty at first: what a process's environment says of resources is the program's to read.
        let resource = Resource::builder_empty()
            .with_attributes([
                KeyValue::new("service.name", "ringfence"),
                KeyValue::new("service.version", version.to_owned()),
                KeyValue::new("service.instance.id", instance()),
            ])
            .build();
        let provider =
            SdkMeterProvider::builder().with_resource(resource).with_reader(reader.clone()).build();
        let own = Arc::new(Own::new(&provider.meter(SCOPE)));
        Self { provider, reader, own }
    }

    /// A meter for what else is to be counted: its instruments are shown and sent with ours.
    #[must_use]
    pub fn meter(&self, scope: &'static str) -> Meter {
        self.provider.meter(scope)
    }

    /// All as Prometheus reads it, of the type [`PROMETHEUS_TYPE`](crate::PROMETHEUS_TYPE).
    #[must_use]
    pub fn render(&self) -> String {
        prometheus::text(&self.collect())
    }

    pub(crate) fn collect(&self) -> ResourceMetrics {
        let mut collected = ResourceMetrics::default();
        // It fails after a shutdown, of which there is none.
        let _ = self.reader.collect(&mut collected);
        collected
    }
}

/// This process among those of the same service.
fn instance() -> String {
    let mut bytes = [0; 8];
    // Without random bytes, processes look alike; none of them would have come so far.
    let _ = getrandom::fill(&mut bytes);
    format!("{:016x}", u64::from_be_bytes(bytes))
}

impl Own {
    fn new(meter: &Meter) -> Self {
        let count = |name: &'static str, unit: &'static str, what: &'static str| {
            meter.u64_counter(name).with_unit(unit).with_description(what).build()
        };
        let seconds = |name: &'static str, bounds: &[f64], what: &'static str| {
            let histogram = meter.f64_histogram(name).with_unit("s").with_description(what);
            histogram.with_boundaries(bounds.to_vec()).build()
        };
        let amounts = |name: &'static str, unit, bounds: &[f64], what: &'static str| {
            let histogram = meter.u64_histogram(name).with_unit(unit).with_description(what);
            histogram.with_boundaries(bounds.to_vec()).build()
        };
        Self {
            runs: count("ringfence.runs", "{run}", "Runs that have ended"),
            run_duration: seconds(
                "gen_ai.invoke_agent.duration",
                &DURATION,
                "How long runs took, from the first step on",
            ),
            runs_open: meter
                .i64_up_down_counter("ringfence.runs.open")
                .with_unit("{run}")
                .with_description("Runs that this process has under way")
                .build(),
            model_duration: seconds(
                "gen_ai.client.operation.duration",
                &DURATION,
                "How long models took to reply",
            ),
            tokens: amounts(
                "gen_ai.client.token.usage",
                "{token}",
                &TOKENS,
                "Tokens that models read and wrote",
            ),
            cost: meter
                .f64_counter("ringfence.model.cost")
                .with_unit("{USD}")
                .with_description("What models cost, in US dollars")
                .build(),
            calls: count("ringfence.calls", "{call}", "Calls that have ended"),
            call_duration: seconds(
                "gen_ai.execute_tool.duration",
                &CALL_DURATION,
                "How long calls took in the sandbox",
            ),
            memory: amounts(
                "ringfence.call.memory",
                "By",
                &MEMORY,
                "The most memory that a call took at one time",
            ),
            fuel: count("ringfence.fuel", "{unit}", "Work of guests, in units of fuel"),
            host_work: count(
                "ringfence.host_work",
                "{unit}",
                "Work of the host for guests, in units of fuel",
            ),
            egress: count("ringfence.egress", "By", "Bytes that tools sent to the network"),
            requests: count("ringfence.requests", "{request}", "HTTP requests of tools"),
            denials: count("ringfence.denials", "{denial}", "What was asked for and refused"),
            warnings: count(
                "ringfence.budget.warnings",
                "{warning}",
                "Budgets of which four fifths were spent",
            ),
            sink_events: count("ringfence.sink.events", "{event}", "Events delivered to a sink"),
            sink_failures: count(
                "ringfence.sink.failures",
                "{failure}",
                "Tries to deliver to a sink that failed; each is tried again",
            ),
            sink_dropped: count(
                "ringfence.sink.dropped",
                "{event}",
                "Events that a sink did not take in time, and will not get",
            ),
            lag: meter
                .u64_gauge("ringfence.observer.lag")
                .with_unit("{commit}")
                .with_description("Commits that are not delivered yet, of all tenants")
                .build(),
            spans: count("ringfence.otlp.spans", "{span}", "Spans that were sent"),
            spans_dropped: count(
                "ringfence.otlp.spans.dropped",
                "{span}",
                "Spans that the endpoint did not take, and will not get",
            ),
            export_failures: count(
                "ringfence.otlp.failures",
                "{failure}",
                "Tries to send traces or metrics that failed",
            ),
            lagged: count(
                "ringfence.observer.lagged",
                "{lag}",
                "How often commits came faster than they were observed, and were read again",
            ),
            damaged: count(
                "ringfence.observer.damaged",
                "{row}",
                "Rows of the journal that could not be read, and were passed over",
            ),
        }
    }
}

/// A reader that is kept, so that it can be asked.
#[derive(Clone, Debug)]
struct Reader(Arc<ManualReader>);

impl MetricReader for Reader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}
