//! What an operator sees of a runtime: its events as CloudEvents, in files and webhooks of tenants; as
//! spans and metrics over OTLP; and as text for Prometheus. All of it follows from the journal. Knows events
//! and nothing else of Ringfence: a runtime is a [`Source`].
//!
//! ```
//! use ringfence_observe::{Metrics, PROMETHEUS_TYPE};
//!
//! let metrics = Metrics::new("0.1.0");
//! let asked = metrics.meter("example").u64_counter("example.asked").build();
//! asked.add(2, &[]);
//! assert!(metrics.render().contains("example_asked_total 2\n"));
//! assert!(PROMETHEUS_TYPE.starts_with("text/plain"));
//! ```

#![forbid(unsafe_code)]

mod cloudevent;
mod config;
mod cursor;
mod gate;
mod http;
mod hub;
mod log;
mod metric;
mod observer;
mod otlp;
mod prometheus;
mod sink;
mod source;
mod span;
mod tail;

pub use cloudevent::{CONTENT_TYPE as CLOUDEVENT_TYPE, CloudEvent};
pub use config::{
    Config, FileConfig, ModelIdentity, OtlpConfig, SecretReader, SinkConfig, Target, WebhookConfig,
};
pub use cursor::{Cursors, FileCursors, Held};
pub use gate::{Failing, Failures};
pub use http::check as check_url;
pub use metric::Metrics;
pub use observer::{Error, Observer};
/// Instruments of others, to be counted with [`Metrics::meter`].
pub use opentelemetry;
pub use prometheus::PROMETHEUS_TYPE;
pub use source::{Follow, Source, SourceError};
