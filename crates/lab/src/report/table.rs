//! The tables of an experiment, for the page and for Markdown.

use super::experiment_info::{ExperimentInfo, MetricInfo};
use crate::data::{ExperimentResults, Sample};
use crate::stats::Estimate;
use crate::text::{count, figure, number, with_unit};

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
    /// The interval, if there is one.
    pub(crate) interval: Option<String>,
    /// The source of the value, for checks against the records.
    pub(crate) source: Option<CellSource>,
}

/// The source of a value.
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
            text: figure(estimate.value, &sample.unit),
            interval: interval(&estimate),
            source: Some(CellSource {
                metric: sample.metric.clone(),
                contender: sample.contender.clone(),
                x: sample.x,
                value: estimate.value,
            }),
        }
    }
}

/// Formats both bounds: `102 to 104`. Returns `None` for a single round.
pub(crate) fn interval(estimate: &Estimate) -> Option<String> {
    let (low, high) = (number(estimate.low), number(estimate.high));
    (estimate.rounds > 1).then(|| format!("{low} to {high}"))
}

/// Returns the tables of an experiment.
pub(crate) fn tables(info: &ExperimentInfo, measured: &ExperimentResults) -> Vec<Table> {
    let metrics: Vec<&MetricInfo> = present(info, measured);
    match &info.variable {
        Some(variable) => metrics
            .iter()
            .map(|metric| by_point(metric, &variable.name, &variable.unit, measured))
            .collect(),
        None => vec![by_metric(&metrics, measured)],
    }
}

/// Returns the metrics that have results.
pub(crate) fn present<'a>(
    info: &'a ExperimentInfo,
    measured: &ExperimentResults,
) -> Vec<&'a MetricInfo> {
    let names = measured.metrics();
    let metrics = info.metrics.iter();
    metrics
        .filter(|metric| names.contains(&&*metric.name))
        .collect()
}

/// Returns all contenders, including the second of the A/A pair, which shows the noise.
fn all_contenders(measured: &ExperimentResults, metrics: &[&MetricInfo]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for metric in metrics {
        for sample in measured.of_metric(&metric.name) {
            if !names.contains(&sample.contender) {
                names.push(sample.contender.clone());
            }
        }
    }
    names
}

fn medians(measured: &ExperimentResults) -> String {
    match measured.rounds() {
        1 => "one round".to_owned(),
        rounds => format!("medians of {rounds} rounds, with 95 % intervals"),
    }
}

fn by_point(
    metric: &MetricInfo,
    variable: &str,
    unit: &str,
    measured: &ExperimentResults,
) -> Table {
    let points = measured.points(&metric.name);
    let head = points.iter().map(|x| figure_of(*x, unit));
    let head = std::iter::once(variable.to_owned()).chain(head).collect();
    let mut rows = Vec::new();
    if let Some(limit) = &metric.limit {
        let at = |x: &f64| {
            metric
                .limit_at(*x)
                .map_or(String::new(), |at| chosen(at, &metric.unit))
        };
        rows.push(TableRow {
            name: format!("limit: {}", limit.what),
            cells: points.iter().map(|x| TableCell::text(at(x))).collect(),
        });
    }
    for name in all_contenders(measured, &[metric]) {
        let cell = |x: &f64| TableCell::from_sample(measured.get(&metric.name, &name, *x));
        rows.push(TableRow {
            cells: points.iter().map(cell).collect(),
            name,
        });
    }
    Table {
        metrics: vec![metric.name.clone()],
        caption: format!("{}, {}", capital(&metric.what), medians(measured)),
        head,
        rows,
    }
}

fn by_metric(metrics: &[&MetricInfo], measured: &ExperimentResults) -> Table {
    let head = metrics.iter().map(|metric| capital(&metric.what));
    let head = std::iter::once("Contender".to_owned())
        .chain(head)
        .collect();
    let mut rows = Vec::new();
    if metrics.iter().any(|metric| metric.limit.is_some()) {
        let limit = |metric: &&MetricInfo| match (&metric.limit, metric.limit_at(0.0)) {
            (Some(limit), Some(at)) => format!("{}: {}", chosen(at, &metric.unit), limit.what),
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
    for name in all_contenders(measured, metrics) {
        let cell = |metric: &&MetricInfo| {
            let of_name = |sample: &&Sample| sample.contender == name;
            TableCell::from_sample(measured.of_metric(&metric.name).find(of_name))
        };
        rows.push(TableRow {
            cells: metrics.iter().map(cell).collect(),
            name,
        });
    }
    Table {
        metrics: metrics.iter().map(|metric| metric.name.clone()).collect(),
        caption: capital(&medians(measured)),
        head,
        rows,
    }
}

/// Formats a point with its unit.
pub(crate) fn figure_of(x: f64, unit: &str) -> String {
    with_unit(&count(x), unit)
}

/// Formats an exact value, such as a limit: `40 ms`, not `40.0 ms`.
pub(crate) fn chosen(value: f64, unit: &str) -> String {
    match value.fract() == 0.0 {
        true => figure_of(value, unit),
        false => figure(value, unit),
    }
}

/// Capitalizes the first letter.
pub(crate) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}
