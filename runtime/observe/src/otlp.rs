//! Traces and metrics on their way to an OTLP endpoint, as protobuf over HTTP. The messages are those of
//! opentelemetry-proto; how they are sent, and what becomes of them if they are not taken, is ours.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE};
use opentelemetry::KeyValue;
use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse},
        trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    },
    common::v1::InstrumentationScope,
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message as _;
use ringfence_event::Commit;
use tokio::sync::watch;
use url::Url;

use crate::{
    config::OtlpConfig,
    gate::Gate,
    http::Client,
    metric::Metrics,
    sink::Backoff,
    source::Source,
    span::{Spans, Telling, attribute::text},
    tail::Tail,
};

/// What the exporter of spans is called among the sinks.
pub(crate) const OTLP: &str = "otlp";

/// How many spans go with one request: endpoints take some megabytes.
const SPANS: usize = 512;
/// How long is waited after the first try that failed, and at the most.
const FIRST: Duration = Duration::from_millis(500);
const MOST: Duration = Duration::from_secs(30);

/// An endpoint, as far as sending goes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Endpoint {
    config: Arc<OtlpConfig>,
    client: Client,
    traces: Url,
    metrics: Url,
}

/// Why something was not taken.
enum Refused {
    /// It may be later.
    Later(String, Option<Duration>),
    /// It never will.
    Never(String),
}

impl Endpoint {
    /// # Errors
    /// What is wrong with its settings.
    pub(crate) fn new(config: OtlpConfig, authorities: &[Vec<u8>]) -> Result<Self, String> {
        let client = Client::new(&config.endpoint, authorities, config.timeout)?;
        let base = config.endpoint.as_str().trim_end_matches('/');
        let below = |path| Url::parse(&format!("{base}{path}")).map_err(|error| error.to_string());
        let (traces, metrics) = (below("/v1/traces")?, below("/v1/metrics")?);
        Ok(Self { config: Arc::new(config), client, traces, metrics })
    }

    async fn send(&self, url: &Url, body: Bytes) -> Result<Bytes, Refused> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        for (name, reader) in &self.config.headers {
            // A secret that cannot be read now may be there later.
            let later = |why: String| Refused::Later(format!("header {name}: {why}"), None);
            let value = reader.read().await.map_err(|fault| later(fault.to_string()))?;
            let parsed: Result<HeaderName, _> = name.parse();
            let parsed = parsed.map_err(|error| later(error.to_string()))?;
            let mut value =
                HeaderValue::from_bytes(&value).map_err(|error| later(error.to_string()))?;
            value.set_sensitive(true);
            headers.insert(parsed, value);
        }
        let answer = self.client.post(url, headers, body).await;
        let answer = answer.map_err(|why| Refused::Later(why, None))?;
        match answer.status {
            status if status.is_success() => Ok(answer.body),
            // As the protocol says which may be tried again.
            status @ (StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT) => {
                Err(Refused::Later(format!("it answers {status}"), answer.retry_after))
            }
            status => Err(Refused::Never(format!("it answers {status}"))),
        }
    }
}

/// Spans on their way.
pub(crate) struct Traces {
    endpoint: Endpoint,
    metrics: Metrics,
    source: Arc<dyn Source>,
    gate: Arc<Gate>,
    spans: Option<Spans>,
    resource: Resource,
    scope: InstrumentationScope,
}

impl Traces {
    pub(crate) fn new(
        endpoint: Endpoint,
        metrics: Metrics,
        source: Arc<dyn Source>,
        gate: Arc<Gate>,
        telling: Telling,
        version: &str,
    ) -> Self {
        let attributes = vec![text("service.name", "ringfence"), text("service.version", version)];
        let resource = Resource { attributes, ..Resource::default() };
        let (name, version) = ("ringfence".to_owned(), version.to_owned());
        let scope = InstrumentationScope { name, version, ..InstrumentationScope::default() };
        Self { endpoint, metrics, source, gate, spans: Some(Spans::new(telling)), resource, scope }
    }

    /// Sends what comes until everything is to end; says whether nothing is left.
    pub(crate) async fn run(mut self, mut tail: Tail) -> bool {
        if !tail.open().await {
            return tail.is_elsewhere();
        }
        let lag_of = [KeyValue::new("ringfence.sink", "otlp")];
        while let Some(batch) = tail.next().await {
            let position = batch.position;
            let Some(spans) = self.fold(batch.commits, &mut tail).await else { return false };
            let mut sent = true;
            for part in spans.chunks(SPANS) {
                sent = sent && self.send(part, &mut tail).await;
            }
            if !sent {
                tail.keep().await;
                return false;
            }
            tail.done(position).await;
            self.metrics.own.lag.record(tail.lag(), &lag_of);
        }
        tail.keep().await;
        tail.is_done()
    }

    /// The spans that end with some commits; `None` if everything is to end before they are known.
    async fn fold(&mut self, commits: Vec<Commit>, tail: &mut Tail) -> Option<Vec<Span>> {
        let mut backoff = Backoff::new(FIRST, MOST);
        let mut found = vec![];
        let commits = Arc::new(commits);
        let mut from = 0;
        loop {
            let (source, mut spans) = (self.source.clone(), self.spans.take()?);
            let commits = commits.clone();
            // Reads the store where something began in another process.
            let folded = tokio::task::spawn_blocking(move || {
                let history = |tenant: &_, stream: &_, from, limit| {
                    source.recorded(tenant, stream, from, limit)
                };
                let (mut made, mut done) = (vec![], from);
                let events = commits.iter().flat_map(|commit| &*commit.events);
                for event in events.skip(from) {
                    match spans.add(event, &history) {
                        Ok(more) => made.extend(more),
                        Err(error) => return (spans, made, done, Some(error)),
                    }
                    done += 1;
                }
                (spans, made, done, None)
            });
            // A panic ends this task, and nothing else.
            let (spans, made, done, failed) = folded.await.ok()?;
            self.spans = Some(spans);
            found.extend(made);
            from = done;
            let Some(error) = failed else { return Some(found) };
            tracing::error!(%error, "cannot read where a span began");
            if tail.pause(backoff.wait()).await {
                return None;
            }
        }
    }

    /// Sends spans until they are taken, never will be, or too much has come behind them; `false` if
    /// everything is to end before.
    async fn send(&self, spans: &[Span], tail: &mut Tail) -> bool {
        let scope_spans = ScopeSpans {
            scope: Some(self.scope.clone()),
            spans: spans.to_vec(),
            ..ScopeSpans::default()
        };
        let resource_spans = ResourceSpans {
            resource: Some(self.resource.clone()),
            scope_spans: vec![scope_spans],
            ..ResourceSpans::default()
        };
        let request = ExportTraceServiceRequest { resource_spans: vec![resource_spans] };
        let body = Bytes::from(request.encode_to_vec());
        let own = &self.metrics.own;
        let of_traces = [KeyValue::new("ringfence.otlp.signal", "traces")];
        let count = spans.len() as u64;
        let mut backoff = Backoff::new(FIRST, MOST);
        loop {
            let (why, asked) = match self.endpoint.send(&self.endpoint.traces, body.clone()).await {
                Ok(answer) => {
                    let answer = ExportTraceServiceResponse::decode(answer).unwrap_or_default();
                    let rejected = answer.partial_success.map_or(0, |partial| {
                        if partial.rejected_spans > 0 {
                            let why = partial.error_message;
                            tracing::error!(
                                count = partial.rejected_spans,
                                why,
                                "spans were rejected"
                            );
                        }
                        u64::try_from(partial.rejected_spans).unwrap_or(0).min(count)
                    });
                    self.gate.works(None, OTLP);
                    own.spans.add(count - rejected, &[]);
                    own.spans_dropped.add(rejected, &[]);
                    return true;
                }
                Err(Refused::Never(why)) => {
                    own.export_failures.add(1, &of_traces);
                    own.spans_dropped.add(count, &[]);
                    tracing::error!(
                        why,
                        count,
                        "the OTLP endpoint refuses spans: they are dropped"
                    );
                    return true;
                }
                Err(Refused::Later(why, asked)) => (why, asked),
            };
            own.export_failures.add(1, &of_traces);
            self.gate.fails(None, OTLP, false, &why);
            if tail.lag() > self.endpoint.config.backlog {
                own.spans_dropped.add(count, &[]);
                tracing::error!(
                    why,
                    count,
                    "too much waits for the OTLP endpoint: spans are dropped"
                );
                return true;
            }
            tracing::warn!(why, "the OTLP endpoint takes no spans; it is tried again");
            if tail.pause(backoff.wait().max(asked.unwrap_or_default().min(MOST))).await {
                return false;
            }
        }
    }
}

/// Sends metrics at each interval, and once at the end; says whether the last arrived. They are sums since
/// the start: one that does not arrive is made up for by the next.
pub(crate) async fn send_metrics(
    endpoint: Endpoint,
    metrics: Metrics,
    mut stop: watch::Receiver<bool>,
) -> bool {
    let of_metrics = [KeyValue::new("ringfence.otlp.signal", "metrics")];
    loop {
        let is_last = tokio::select! {
            () = tokio::time::sleep(endpoint.config.interval) => false,
            // Whoever could stop it is gone.
            changed = stop.changed() => changed.is_err() || *stop.borrow(),
        };
        let request = ExportMetricsServiceRequest::from(&metrics.collect());
        let body = Bytes::from(request.encode_to_vec());
        let arrived = match endpoint.send(&endpoint.metrics, body).await {
            Ok(answer) => {
                let answer = ExportMetricsServiceResponse::decode(answer).unwrap_or_default();
                let rejected =
                    answer.partial_success.filter(|partial| partial.rejected_data_points > 0);
                if let Some(partial) = rejected {
                    let (count, why) = (partial.rejected_data_points, partial.error_message);
                    tracing::error!(count, why, "metrics were rejected");
                }
                true
            }
            Err(Refused::Later(why, _) | Refused::Never(why)) => {
                metrics.own.export_failures.add(1, &of_metrics);
                tracing::warn!(
                    why,
                    "the OTLP endpoint takes no metrics; the next go at the next interval"
                );
                false
            }
        };
        if is_last {
            return arrived;
        }
    }
}
