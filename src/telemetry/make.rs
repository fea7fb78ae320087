//! Makes metrics and registers them.

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts};

use super::series::{Children, Families};

/// A family of counters.
pub(super) fn counters(registry: &Families, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let metric = IntCounterVec::new(Opts::new(name, help), labels).expect("names and labels are valid constants");
    registry.add_labelled(name, Children::Counters(metric.clone()));
    metric
}

/// One counter.
pub(super) fn counter(registry: &Families, name: &str, help: &str) -> IntCounter {
    let metric = IntCounter::new(name, help).expect("the name is a valid constant");
    registry.add(metric.clone());
    metric
}

/// One gauge.
pub(super) fn int_gauge(registry: &Families, name: &str, help: &str) -> IntGauge {
    let metric = IntGauge::new(name, help).expect("the name is a valid constant");
    registry.add(metric.clone());
    metric
}

/// A family of gauges.
pub(super) fn int_gauges(registry: &Families, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    let metric = IntGaugeVec::new(Opts::new(name, help), labels).expect("names and labels are valid constants");
    registry.add_labelled(name, Children::Gauges(metric.clone()));
    metric
}

/// A histogram for each value of a label.
pub(super) fn histograms(
    registry: &Families,
    name: &str,
    help: &str,
    label: &'static str,
    buckets: &[f64],
) -> HistogramVec {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    let metric = HistogramVec::new(options, &[label]).expect("names and labels are valid constants");
    registry.add_labelled(name, Children::Histograms(metric.clone(), buckets.len()));
    metric
}

/// One histogram.
pub(super) fn histogram(registry: &Families, name: &str, help: &str, buckets: &[f64]) -> Histogram {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    let metric = Histogram::with_opts(options).expect("names are valid constants");
    registry.add(metric.clone());
    metric
}
