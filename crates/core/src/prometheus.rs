//! Prometheus' text format, for the metrics of this crate and of `inflight-probe`.
//!
//! ```
//! use inflight_core::prometheus::{MetricText, labels};
//!
//! let mut text = MetricText::counter("pages_total", "Pages that were fetched.");
//! text.add(&labels(&[("host", "pages.test")]), 3);
//! let text = text.finish();
//! assert_eq!(text.lines().last(), Some(r#"pages_total{host="pages.test"} 3"#));
//! ```

use std::fmt::{Display, Write as _};

use http::Method;

/// The value of a label that stands for all values without a label of their own. For an example, see
/// [`method_label`].
pub const OTHER: &str = "other";

/// The text of one metric: its description and its samples. For an example, see the
/// [module's documentation](self).
#[derive(Debug, Clone)]
pub struct MetricText {
    name: &'static str,
    text: String,
}

impl MetricText {
    /// Creates the text of a counter. `help` must be a single line.
    pub fn counter(name: &'static str, help: &str) -> Self {
        Self::new(name, help, "counter")
    }

    /// Creates the text of a gauge. `help` must be a single line.
    pub fn gauge(name: &'static str, help: &str) -> Self {
        Self::new(name, help, "gauge")
    }

    /// Creates the text of a histogram. `help` must be a single line.
    pub fn histogram(name: &'static str, help: &str) -> Self {
        Self::new(name, help, "histogram")
    }

    fn new(name: &'static str, help: &str, kind: &str) -> Self {
        let text = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Self { name, text }
    }

    /// Adds a sample. `labels` is the output of [`labels`], or empty.
    pub fn add(&mut self, labels: &str, value: impl Display) {
        self.add_line("", labels, value);
    }

    /// Adds the samples of a histogram: `_bucket`, `_sum` and `_count`. `buckets` contains the upper
    /// bounds and the cumulative counts, without the last bucket, which has no bound.
    pub fn add_histogram(
        &mut self,
        labels: &str,
        buckets: impl IntoIterator<Item = (f64, u64)>,
        count: u64,
        sum: f64,
    ) {
        let comma = if labels.is_empty() { "" } else { "," };
        for (bound, count) in buckets {
            let labels = format!("{labels}{comma}le=\"{bound}\"");
            self.add_line("_bucket", &labels, count);
        }
        let infinite = format!("{labels}{comma}le=\"+Inf\"");
        self.add_line("_bucket", &infinite, count);
        self.add_line("_sum", labels, sum);
        self.add_line("_count", labels, count);
    }

    fn add_line(&mut self, suffix: &str, labels: &str, value: impl Display) {
        let Self { name, text } = self;
        // Writing to a string does not fail.
        let _ = match labels {
            "" => writeln!(text, "{name}{suffix} {value}"),
            _ => writeln!(text, "{name}{suffix}{{{labels}}} {value}"),
        };
    }

    /// Returns the text.
    pub fn finish(self) -> String {
        self.text
    }
}

/// Returns labels in the text format, with escaped values. For an example, see the
/// [module's documentation](self).
pub fn labels(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        for char in value.chars() {
            match char {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                _ => text.push(char),
            }
        }
        text.push('"');
    }
    text
}

/// Returns the name of a standard method, and [`OTHER`] for any other method. The number of results is
/// therefore bounded, even if the peer chooses the method.
///
/// ```
/// use inflight_core::http::Method;
/// use inflight_core::prometheus::method_label;
///
/// assert_eq!(method_label(&Method::GET), "GET");
/// assert_eq!(method_label(&Method::from_bytes(b"PURGE")?), "other");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn method_label(method: &Method) -> &'static str {
    const STANDARD: [&str; 9] = [
        "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE",
    ];
    let name = method.as_str();
    STANDARD
        .into_iter()
        .find(|standard| *standard == name)
        .unwrap_or(OTHER)
}
