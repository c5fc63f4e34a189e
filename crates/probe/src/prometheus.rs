//! The histograms of the probe in Prometheus' text format.

use hdrhistogram::Histogram;
use inflight_core::prometheus::{self, MetricText};

use crate::site::PollStats;

/// The upper bounds of the buckets, in microseconds.
const BUCKETS: [u64; 11] = [
    100, 1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000,
];

/// Adds a histogram of nanoseconds under these labels.
pub(crate) fn add_histogram(text: &mut MetricText, labels: &str, nanos: &Histogram<u64>) {
    let buckets = BUCKETS.map(|micros| {
        let count = nanos.count_between(0, micros * 1000);
        (micros as f64 / 1e6, count)
    });
    let count = nanos.len();
    let sum = nanos.mean() * count as f64 / 1e9;
    text.add_histogram(labels, buckets, count, sum);
}

/// Returns the histograms of the polls and waits of each location.
pub(crate) fn polls(places: &[PollStats]) -> String {
    let mut polls = MetricText::histogram(
        "inflight_probe_poll_seconds",
        "How long the polls of probed futures took.",
    );
    let mut waits = MetricText::histogram(
        "inflight_probe_wait_seconds",
        "How long after their wake the polls of probed futures started.",
    );
    for place in places {
        let labels = labels(place.label, place.location.file(), place.location.line());
        add_histogram(&mut polls, &labels, &place.polls);
        add_histogram(&mut waits, &labels, &place.waits);
    }
    polls.finish() + &waits.finish()
}

/// Returns the labels that identify a location.
pub(crate) fn labels(label: &str, file: &str, line: u32) -> String {
    let line = line.to_string();
    prometheus::labels(&[("label", label), ("file", file), ("line", &line)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::{histogram, record};

    #[test]
    fn buckets_are_cumulative() {
        let mut nanos = histogram();
        for micros in [50, 2_000, 2_000, 9_000_000] {
            record(&mut nanos, micros * 1000);
        }
        let mut text = MetricText::histogram("late_seconds", "How late.");
        add_histogram(&mut text, "on=\"timer\"", &nanos);
        let text = text.finish();
        assert!(text.starts_with("# HELP late_seconds How late.\n# TYPE late_seconds histogram\n"));
        for line in [
            "late_seconds_bucket{on=\"timer\",le=\"0.0001\"} 1",
            "late_seconds_bucket{on=\"timer\",le=\"0.001\"} 1",
            "late_seconds_bucket{on=\"timer\",le=\"0.005\"} 3",
            "late_seconds_bucket{on=\"timer\",le=\"5\"} 3",
            "late_seconds_bucket{on=\"timer\",le=\"+Inf\"} 4",
            "late_seconds_count{on=\"timer\"} 4",
        ] {
            assert!(text.lines().any(|have| have == line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_label_cannot_break_the_line() {
        assert_eq!(
            labels("a \"b\"\n", "c\\d.rs", 1),
            r#"label="a \"b\"\n",file="c\\d.rs",line="1""#
        );
    }
}
