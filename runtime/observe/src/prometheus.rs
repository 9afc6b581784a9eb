//! Metrics as text, in the format that Prometheus reads.

use std::{collections::BTreeMap, fmt::Write as _};

use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::data::{
    AggregatedMetrics, HistogramDataPoint, Metric, MetricData, ResourceMetrics, ScopeMetrics,
};

/// The media type of the text.
pub const PROMETHEUS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics, by name.
pub(crate) fn text(metrics: &ResourceMetrics) -> String {
    let mut families = BTreeMap::new();
    let resource =
        metrics.resource().iter().map(|(key, value)| label(key.as_str(), value.as_str()));
    let mut resource: Vec<String> = resource.collect();
    resource.sort();
    let info = format!(
        "# HELP target_info What is observed\n# TYPE target_info gauge\ntarget_info{{{}}} 1\n",
        resource.join(",")
    );
    families.insert("target_info".to_owned(), info);
    for metric in metrics.scope_metrics().flat_map(ScopeMetrics::metrics) {
        let (name, text) = family(metric);
        // Two scopes with an instrument of one name would be two families of it, which nobody reads.
        families.entry(name).or_insert(text);
    }
    families.into_values().collect()
}

fn family(metric: &Metric) -> (String, String) {
    match metric.data() {
        AggregatedMetrics::F64(data) => family_of(metric, data),
        AggregatedMetrics::U64(data) => family_of(metric, data),
        AggregatedMetrics::I64(data) => family_of(metric, data),
    }
}

fn family_of<T: Copy + std::fmt::Display>(
    metric: &Metric,
    data: &MetricData<T>,
) -> (String, String) {
    let base = with_unit(metric);
    let (name, kind) = match data {
        MetricData::Sum(sum) if sum.is_monotonic() => (with_suffix(base, "_total"), "counter"),
        MetricData::Sum(_) | MetricData::Gauge(_) => (base, "gauge"),
        MetricData::Histogram(_) | MetricData::ExponentialHistogram(_) => (base, "histogram"),
    };
    let what = metric.description().replace('\\', "\\\\").replace('\n', "\\n");
    let mut lines = vec![];
    match data {
        MetricData::Sum(sum) => {
            for point in sum.data_points() {
                lines.push(line(&name, labels(point.attributes()), point.value()));
            }
        }
        MetricData::Gauge(gauge) => {
            for point in gauge.data_points() {
                lines.push(line(&name, labels(point.attributes()), point.value()));
            }
        }
        MetricData::Histogram(histogram) => {
            for point in histogram.data_points() {
                lines.push(buckets(&name, point));
            }
        }
        // No instrument of ours has one, and the text has no form for it.
        MetricData::ExponentialHistogram(_) => {}
    }
    lines.sort();
    let head = format!("# HELP {name} {what}\n# TYPE {name} {kind}\n");
    let text = head + &lines.concat();
    (name, text)
}

fn buckets<T: Copy + std::fmt::Display>(name: &str, point: &HistogramDataPoint<T>) -> String {
    let labels = labels(point.attributes());
    let mut text = String::new();
    let (mut sum, mut bounds) = (0, point.bounds());
    for count in point.bucket_counts() {
        sum += count;
        let bound = bounds.next().map_or_else(|| "+Inf".to_owned(), |bound| bound.to_string());
        let with_bound = [&labels[..], &[format!("le=\"{bound}\"")]].concat();
        text += &line(&format!("{name}_bucket"), with_bound, sum);
    }
    text += &line(&format!("{name}_sum"), labels.clone(), point.sum());
    text + &line(&format!("{name}_count"), labels, point.count())
}

fn line(name: &str, labels: Vec<String>, value: impl std::fmt::Display) -> String {
    match labels.is_empty() {
        true => format!("{name} {value}\n"),
        false => format!("{name}{{{}}} {value}\n", labels.join(",")),
    }
}

fn labels<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> Vec<String> {
    let labels = attributes.map(|pair| label(pair.key.as_str(), pair.value.as_str()));
    let mut labels: Vec<String> = labels.collect();
    labels.sort();
    labels
}

fn label(key: &str, value: impl AsRef<str>) -> String {
    let mut text = format!("{}=\"", plain(key));
    for letter in value.as_ref().chars() {
        match letter {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            letter => text.push(letter),
        }
    }
    text + "\""
}

/// The name with its unit at the end, as the convention between both worlds has it.
fn with_unit(metric: &Metric) -> String {
    let name = plain(metric.name());
    match metric.unit() {
        "s" => with_suffix(name, "_seconds"),
        "By" => with_suffix(name, "_bytes"),
        "1" => with_suffix(name, "_ratio"),
        _ => name,
    }
}

fn with_suffix(name: String, suffix: &str) -> String {
    if name.ends_with(suffix) { name } else { name + suffix }
}

/// A name with the letters that names have.
fn plain(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for (at, letter) in name.chars().enumerate() {
        if at == 0 && letter.is_ascii_digit() {
            let _ = text.write_char('_');
        }
        text.push(if letter.is_ascii_alphanumeric() || letter == ':' { letter } else { '_' });
    }
    text
}
