//! Histograms in Prometheus' text format.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use crate::site::PollStats;

/// The upper bounds of the buckets: in microseconds, and as text in seconds.
const BUCKETS: [(u64, &str); 11] = [
    (100, "0.0001"),
    (1_000, "0.001"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (5_000_000, "5"),
];

/// The text of one histogram metric.
pub(crate) struct Prometheus {
    name: &'static str,
    text: String,
}

impl Prometheus {
    pub(crate) fn new(name: &'static str, help: &str) -> Self {
        let text = format!("# HELP {name} {help}\n# TYPE {name} histogram\n");
        Self { name, text }
    }

    /// Adds a histogram of nanoseconds under these labels.
    pub(crate) fn histogram(&mut self, labels: &str, nanos: &Histogram<u64>) {
        let Self { name, text } = self;
        for (end, seconds) in BUCKETS {
            let count = nanos.count_between(0, end * 1000);
            let _ = writeln!(text, "{name}_bucket{{{labels},le=\"{seconds}\"}} {count}");
        }
        let count = nanos.len();
        let sum = nanos.mean() * count as f64 / 1e9;
        let _ = writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
        let _ = writeln!(text, "{name}_sum{{{labels}}} {sum}");
        let _ = writeln!(text, "{name}_count{{{labels}}} {count}");
    }

    pub(crate) fn finish(self) -> String {
        self.text
    }
}

/// Returns the histograms of the polls and waits of each location.
pub(crate) fn polls(places: &[PollStats]) -> String {
    let mut polls = Prometheus::new(
        "inflight_probe_poll_seconds",
        "How long the polls of probed futures took.",
    );
    let mut waits = Prometheus::new(
        "inflight_probe_wait_seconds",
        "How long after their wake the polls of probed futures started.",
    );
    for place in places {
        let labels = labels(place.label, place.location.file(), place.location.line());
        polls.histogram(&labels, &place.polls);
        waits.histogram(&labels, &place.waits);
    }
    polls.finish() + &waits.finish()
}

/// Returns the labels that identify a location.
pub(crate) fn labels(label: &str, file: &str, line: u32) -> String {
    let (label, file) = (escape(label), escape(file));
    format!("label=\"{label}\",file=\"{file}\",line=\"{line}\"")
}

fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
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
        let mut text = Prometheus::new("late_seconds", "How late.");
        text.histogram("on=\"timer\"", &nanos);
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
