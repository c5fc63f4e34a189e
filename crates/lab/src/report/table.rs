//! The tables of an experiment, for HTML and for Markdown.

use super::experiment_info::{ExperimentInfo, MetricInfo};
use crate::data::{ExperimentResults, Sample};
use crate::stats::Estimate;
use crate::text::{format_count, format_figure, format_number, with_unit};

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Table {
    pub(crate) caption: String,
    /// The metrics in the table.
    pub(crate) metrics: Vec<String>,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<TableRow>,
}

/// A row of a table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TableRow {
    pub(crate) name: String,
    pub(crate) cells: Vec<TableCell>,
}

/// A cell of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TableCell {
    pub(crate) text: String,
    /// The formatted confidence interval, if there is one.
    pub(crate) interval: Option<String>,
    /// The source of the value, for checks against the records.
    pub(crate) source: Option<CellSource>,
}

/// Identifies the sample whose median a cell shows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CellSource {
    pub(crate) metric: String,
    pub(crate) contender: String,
    pub(crate) x: f64,
    pub(crate) value: f64,
}

impl TableCell {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    fn from_sample(sample: Option<&Sample>) -> Self {
        let estimate = sample.and_then(|sample| Some((sample, sample.estimate()?)));
        let Some((sample, estimate)) = estimate else {
            return Self::text("");
        };
        Self {
            text: format_figure(estimate.value, &sample.unit),
            interval: format_interval(&estimate),
            source: Some(CellSource {
                metric: sample.metric.clone(),
                contender: sample.contender.clone(),
                x: sample.x,
                value: estimate.value,
            }),
        }
    }
}

/// Formats the bounds of an interval: `102 to 104`. Returns `None` for a single round.
pub(crate) fn format_interval(estimate: &Estimate) -> Option<String> {
    let (low, high) = (format_number(estimate.low), format_number(estimate.high));
    (estimate.rounds > 1).then(|| format!("{low} to {high}"))
}

/// The smallest and the largest number of rounds of some samples.
pub(crate) struct RoundCounts {
    least: usize,
    most: usize,
}

/// The number of rounds from which an interval can be narrower than the range of all values.
const ROUNDS_OF_AN_INTERVAL: usize = 6;

impl RoundCounts {
    pub(crate) fn new<'a>(samples: impl Iterator<Item = &'a Sample>) -> Self {
        let counts: Vec<usize> = samples.map(|sample| sample.rounds.len()).collect();
        Self {
            least: counts.iter().copied().min().unwrap_or(0),
            most: counts.iter().copied().max().unwrap_or(0),
        }
    }

    /// Returns the number of rounds and what the intervals show: `median of 4 rounds`, `lowest to highest round`.
    /// Returns `None` for a single round, which has no interval.
    pub(crate) fn describe(&self) -> Option<(String, &'static str)> {
        let number = match self.least == self.most {
            true => self.most.to_string(),
            false => format!("{} to {}", self.least, self.most),
        };
        let intervals = match [self.least, self.most].map(|n| n >= ROUNDS_OF_AN_INTERVAL) {
            [true, _] => "95 % interval",
            [false, false] => "lowest to highest round",
            [false, true] => "95 % interval, or lowest to highest of fewer than six rounds",
        };
        (self.most > 1).then(|| (format!("median of {number} rounds"), intervals))
    }
}

/// Returns the tables of an experiment.
pub(crate) fn tables(info: &ExperimentInfo, results: &ExperimentResults) -> Vec<Table> {
    let metrics: Vec<&MetricInfo> = measured_metrics(info, results);
    match &info.variable {
        Some(variable) => metrics
            .iter()
            .map(|metric| table_by_point(metric, &variable.name, &variable.unit, results))
            .collect(),
        None => vec![table_by_metric(&metrics, results)],
    }
}

/// Returns the metrics that have results.
pub(crate) fn measured_metrics<'a>(
    info: &'a ExperimentInfo,
    results: &ExperimentResults,
) -> Vec<&'a MetricInfo> {
    let names = results.metrics();
    let metrics = info.metrics.iter();
    metrics
        .filter(|metric| names.contains(&&*metric.name))
        .collect()
}

/// Returns all contenders, including the second contender of the A/A pair.
fn all_contenders(results: &ExperimentResults, metrics: &[&MetricInfo]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for metric in metrics {
        for sample in results.of_metric(&metric.name) {
            if !names.contains(&sample.contender) {
                names.push(sample.contender.clone());
            }
        }
    }
    names
}

fn describe_medians(results: &ExperimentResults, metrics: &[&MetricInfo]) -> String {
    let samples = results.samples.iter();
    let of_metrics = samples.filter(|one| metrics.iter().any(|metric| metric.name == one.metric));
    match RoundCounts::new(of_metrics).describe() {
        Some((median, intervals)) => format!("{median} ({intervals})"),
        None => "one round".to_owned(),
    }
}

fn table_by_point(
    metric: &MetricInfo,
    variable: &str,
    unit: &str,
    results: &ExperimentResults,
) -> Table {
    let points = results.points(&metric.name);
    let head = points.iter().map(|x| format_point(*x, unit));
    let head = std::iter::once(variable.to_owned()).chain(head).collect();
    let mut rows = Vec::new();
    for (name, at) in references(metric) {
        let cells = points.iter().map(|x| at(metric, *x)).map(|at| {
            let text = at.map(|at| format_exact(at, &metric.unit));
            TableCell::text(text.unwrap_or_default())
        });
        rows.push(TableRow {
            name,
            cells: cells.collect(),
        });
    }
    for name in all_contenders(results, &[metric]) {
        let cell = |x: &f64| TableCell::from_sample(results.get(&metric.name, &name, *x));
        rows.push(TableRow {
            cells: points.iter().map(cell).collect(),
            name,
        });
    }
    Table {
        metrics: vec![metric.name.clone()],
        caption: format!(
            "{}, {}",
            capitalize(&metric.label),
            describe_medians(results, &[metric])
        ),
        head,
        rows,
    }
}

/// Returns the value of a limit or of a target at a point.
type ReferenceAt = fn(&MetricInfo, f64) -> Option<f64>;

/// Returns the names of the limit and of the target, and the functions that return their values.
fn references(metric: &MetricInfo) -> Vec<(String, ReferenceAt)> {
    let mut references: Vec<(String, ReferenceAt)> = Vec::new();
    if let Some(limit) = &metric.limit {
        references.push((
            format!("limit: {}", limit.description),
            MetricInfo::limit_at,
        ));
    }
    if let Some(target) = &metric.target {
        references.push((
            format!("target: {}", target.description),
            MetricInfo::target_at,
        ));
    }
    references
}

fn table_by_metric(metrics: &[&MetricInfo], results: &ExperimentResults) -> Table {
    let head = metrics.iter().map(|metric| capitalize(&metric.label));
    let head = std::iter::once("Contender".to_owned())
        .chain(head)
        .collect();
    let mut rows = Vec::new();
    if metrics.iter().any(|metric| metric.limit.is_some()) {
        let limit = |metric: &&MetricInfo| match (&metric.limit, metric.limit_at(0.0)) {
            (Some(limit), Some(at)) => {
                format!("{}: {}", format_exact(at, &metric.unit), limit.description)
            }
            _ => String::new(),
        };
        rows.push(TableRow {
            name: "limit".to_owned(),
            cells: metrics
                .iter()
                .map(|metric| TableCell::text(limit(metric)))
                .collect(),
        });
    }
    for name in all_contenders(results, metrics) {
        let cell = |metric: &&MetricInfo| {
            let of_name = |sample: &&Sample| sample.contender == name;
            TableCell::from_sample(results.of_metric(&metric.name).find(of_name))
        };
        rows.push(TableRow {
            cells: metrics.iter().map(cell).collect(),
            name,
        });
    }
    Table {
        metrics: metrics.iter().map(|metric| metric.name.clone()).collect(),
        caption: capitalize(&describe_medians(results, metrics)),
        head,
        rows,
    }
}

/// Formats a point with its unit.
pub(crate) fn format_point(x: f64, unit: &str) -> String {
    with_unit(&format_count(x), unit)
}

/// Formats a value that is not measured, such as a limit. Whole numbers are not rounded: `40 ms`, not
/// `40.0 ms`.
pub(crate) fn format_exact(value: f64, unit: &str) -> String {
    match value.fract() == 0.0 {
        true => format_point(value, unit),
        false => format_figure(value, unit),
    }
}

/// Capitalizes the first letter.
pub(crate) fn capitalize(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}
