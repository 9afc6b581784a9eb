//! The log: what the host says of itself, as JSON lines on standard error. What libraries say is left
//! out: at their loudest they print whole requests.

use std::io;

use ringfence::LogLevel;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{Layer as _, filter::filter_fn, layer::SubscriberExt as _};

/// Starts it, so loud at the most. Once for each process.
pub(crate) fn start(level: LogLevel) {
    let level = match level {
        LogLevel::Off => return,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(io::stderr)
        .with_filter(filter_fn(|about| about.target().starts_with("ringfence")))
        .with_filter(level);
    // There is one already only in a program that starts it twice, and then it is as loud as that one.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines));
}
