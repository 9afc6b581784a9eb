//! Sinks of tenants: each is a task of its own that takes the tenant's events in their order and tries
//! again for as long as it takes.

mod backoff;
mod file;
mod signature;
mod webhook;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use opentelemetry::KeyValue;
use ringfence_event::Commit;

pub(crate) use self::backoff::Backoff;
use self::{file::FileSink, webhook::Webhook};
use crate::{
    config::{SinkConfig, Target},
    gate::Gate,
    metric::Metrics,
    tail::Tail,
};

/// One sink with what it reports to.
pub(crate) struct Sink {
    config: SinkConfig,
    gate: Arc<Gate>,
    metrics: Metrics,
    attributes: [KeyValue; 2],
    target: Kind,
}

enum Kind {
    File(FileSink),
    Webhook(Box<Webhook>),
}

/// What a sink counts and tells.
pub(crate) struct Report<'a> {
    config: &'a SinkConfig,
    gate: &'a Gate,
    metrics: &'a Metrics,
    attributes: &'a [KeyValue],
    /// How many lists of events are held up by one that is not taken.
    held_up: AtomicU32,
}

/// A list of events is held up until this is dropped.
pub(crate) struct HeldUp<'a>(&'a AtomicU32);

impl Drop for HeldUp<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Sink {
    /// # Errors
    /// What is wrong with its settings.
    pub(crate) fn new(
        config: SinkConfig,
        gate: Arc<Gate>,
        metrics: Metrics,
        authorities: &[Vec<u8>],
    ) -> Result<Self, String> {
        let target = match &config.target {
            Target::File(file) => Kind::File(FileSink::new(file.clone())),
            Target::Webhook(webhook) => {
                Kind::Webhook(Box::new(Webhook::new(webhook.clone(), authorities)?))
            }
        };
        let attributes = [
            KeyValue::new("ringfence.tenant", config.tenant.to_string()),
            KeyValue::new("ringfence.sink", config.name.clone()),
        ];
        Ok(Self { config, gate, metrics, attributes, target })
    }

    /// Delivers until everything is to end; says whether nothing is left.
    pub(crate) async fn run(mut self, mut tail: Tail) -> bool {
        if !tail.open().await {
            // Another process delivers, or nobody knows how far it is.
            return tail.is_elsewhere();
        }
        while let Some(batch) = tail.next().await {
            self.metrics.own.lag.record(tail.lag(), &self.attributes);
            if !self.deliver(&batch.commits, &mut tail).await {
                tail.keep().await;
                return false;
            }
            tail.done(batch.position).await;
            self.metrics.own.lag.record(tail.lag(), &self.attributes);
        }
        tail.keep().await;
        tail.is_done()
    }

    /// Delivers some commits; `false` if everything is to end before they are delivered.
    async fn deliver(&mut self, commits: &[Commit], tail: &mut Tail) -> bool {
        let Self { config, gate, metrics, attributes, target } = self;
        let events = commits.iter().flat_map(|commit| &*commit.events);
        let mine =
            events.filter(|event| event.tenant == config.tenant && config.takes(event.body.kind()));
        let held_up = AtomicU32::new(0);
        let report = Report { config, gate, metrics, attributes, held_up };
        match target {
            Kind::File(file) => file.deliver(mine, tail, &report).await,
            Kind::Webhook(webhook) => webhook.deliver(mine, tail, &report).await,
        }
    }
}

impl Report<'_> {
    /// Some events arrived. While others are held up beside them the sink does not work all the same.
    fn delivered(&self, count: u64) {
        self.metrics.own.sink_events.add(count, self.attributes);
        if self.held_up.load(Relaxed) == 0 {
            self.gate.works(Some(&self.config.tenant), &self.config.name);
        }
    }

    /// An event is not taken, and holds up those behind it until it is or is given up.
    fn holds_up(&self) -> HeldUp<'_> {
        self.held_up.fetch_add(1, Relaxed);
        HeldUp(&self.held_up)
    }

    /// A try failed, and there will be another.
    fn failed(&self, why: &str) {
        self.metrics.own.sink_failures.add(1, self.attributes);
        let SinkConfig { tenant, name, required, .. } = self.config;
        tracing::warn!(%tenant, sink = name, why, "a sink takes nothing; it is tried again");
        self.gate.fails(Some(tenant), name, *required, why);
    }

    /// An event is given up.
    fn dropped(&self, id: &str, why: &str) {
        self.metrics.own.sink_dropped.add(1, self.attributes);
        let (tenant, sink) = (self.config.tenant.as_str(), self.config.name.as_str());
        tracing::error!(tenant, sink, id, why, "an event was not taken in time and is given up");
    }
}
