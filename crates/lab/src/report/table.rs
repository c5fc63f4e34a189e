//! The figures of an experiment as tables: the same for the page and for Markdown.

use super::subject::{Measure, Subject};
use crate::data::{Measured, Sample};
use crate::stats::Estimate;
use crate::text::{count, figure, number, with_unit};

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Table {
    pub(crate) caption: String,
    /// The metrics that it shows.
    pub(crate) metrics: Vec<String>,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

/// A row: who, and the figures.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) cells: Vec<Cell>,
}

/// A figure, and what it is of.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cell {
    pub(crate) text: String,
    /// Its interval, where there is one.
    pub(crate) interval: Option<String>,
    /// What it is of, for those who check it against the records.
    pub(crate) source: Option<Source>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Source {
    pub(crate) metric: String,
    pub(crate) contender: String,
    pub(crate) x: f64,
    pub(crate) value: f64,
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    fn of(sample: Option<&Sample>) -> Self {
        let estimate = sample.and_then(|sample| Some((sample, sample.estimate()?)));
        let Some((sample, estimate)) = estimate else {
            return Self::text("");
        };
        Self {
            text: figure(estimate.value, &sample.unit),
            interval: interval(&estimate),
            source: Some(Source {
                metric: sample.metric.clone(),
                contender: sample.contender.clone(),
                x: sample.x,
                value: estimate.value,
            }),
        }
    }
}

/// Both bounds: `102 to 104`. One round has none.
pub(crate) fn interval(estimate: &Estimate) -> Option<String> {
    let (low, high) = (number(estimate.low), number(estimate.high));
    (estimate.rounds > 1).then(|| format!("{low} to {high}"))
}

/// The tables of an experiment.
pub(crate) fn tables(subject: &Subject, measured: &Measured) -> Vec<Table> {
    let metrics: Vec<&Measure> = present(subject, measured);
    if subject.trace {
        return vec![if metrics.len() > 1 {
            events(&metrics, subject, measured)
        } else {
            longest(&metrics, measured)
        }];
    }
    match &subject.variable {
        Some(variable) => metrics
            .iter()
            .map(|metric| by_point(metric, &variable.name, &variable.unit, measured))
            .collect(),
        None => vec![by_metric(&metrics, measured)],
    }
}

/// The metrics that were measured.
pub(crate) fn present<'a>(subject: &'a Subject, measured: &Measured) -> Vec<&'a Measure> {
    let names = measured.metrics();
    let metrics = subject.metrics.iter();
    metrics
        .filter(|metric| names.contains(&&*metric.name))
        .collect()
}

/// Everyone in a metric, the second of the A/A pair too: what it differs is the noise.
fn everyone(measured: &Measured, metrics: &[&Measure]) -> Vec<String> {
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

fn medians(measured: &Measured) -> String {
    match measured.rounds() {
        1 => "one round".to_owned(),
        rounds => format!("medians of {rounds} rounds, with the interval of 95 %"),
    }
}

fn by_point(metric: &Measure, variable: &str, unit: &str, measured: &Measured) -> Table {
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
        rows.push(Row {
            name: format!("limit: {}", limit.what),
            cells: points.iter().map(|x| Cell::text(at(x))).collect(),
        });
    }
    for name in everyone(measured, &[metric]) {
        let cell = |x: &f64| Cell::of(measured.get(&metric.name, &name, *x));
        rows.push(Row {
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

fn by_metric(metrics: &[&Measure], measured: &Measured) -> Table {
    let head = metrics.iter().map(|metric| capital(&metric.what));
    let head = std::iter::once("Contender".to_owned())
        .chain(head)
        .collect();
    let mut rows = Vec::new();
    if metrics.iter().any(|metric| metric.limit.is_some()) {
        let limit = |metric: &&Measure| match (&metric.limit, metric.limit_at(0.0)) {
            (Some(limit), Some(at)) => format!("{}: {}", chosen(at, &metric.unit), limit.what),
            _ => String::new(),
        };
        rows.push(Row {
            name: "limit".to_owned(),
            cells: metrics
                .iter()
                .map(|metric| Cell::text(limit(metric)))
                .collect(),
        });
    }
    for name in everyone(measured, metrics) {
        let cell = |metric: &&Measure| {
            let of_name = |sample: &&Sample| sample.contender == name;
            Cell::of(measured.of_metric(&metric.name).find(of_name))
        };
        rows.push(Row {
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

/// A trace of several metrics: a row for each event.
fn events(metrics: &[&Measure], subject: &Subject, measured: &Measured) -> Table {
    let names = everyone(measured, metrics);
    let of = names
        .iter()
        .flat_map(|name| metrics.iter().map(move |metric| (name, metric)));
    let of: Vec<_> = of.collect();
    let variable = subject
        .variable
        .as_ref()
        .map_or("event", |variable| &variable.name);
    let head = of
        .iter()
        .map(|(name, metric)| format!("{name}: {}", metric.what));
    let head = std::iter::once(variable.to_owned()).chain(head).collect();
    let points = metrics.first().map(|metric| measured.points(&metric.name));
    let row = |x: f64| Row {
        name: count(x),
        cells: of
            .iter()
            .map(|(name, metric)| Cell::of(measured.get(&metric.name, name, x)))
            .collect(),
    };
    Table {
        metrics: metrics.iter().map(|metric| metric.name.clone()).collect(),
        caption: "Events of one round".to_owned(),
        head,
        rows: points.unwrap_or_default().into_iter().map(row).collect(),
    }
}

/// A trace of one metric: hundreds of events, of which the largest says what there is to say.
fn longest(metrics: &[&Measure], measured: &Measured) -> Table {
    let mut rows = Vec::new();
    for metric in metrics {
        for name in everyone(measured, &[metric]) {
            let samples = || {
                measured
                    .of_metric(&metric.name)
                    .filter(|sample| sample.contender == name)
            };
            let largest = samples().max_by(|one, other| {
                let value = |sample: &Sample| sample.values().first().copied().unwrap_or(0.0);
                value(one).total_cmp(&value(other))
            });
            let Some(largest) = largest else { continue };
            rows.push(Row {
                cells: vec![
                    Cell::of(Some(largest)),
                    Cell::text(number(largest.x)),
                    Cell::text(count(samples().count() as f64)),
                ],
                name,
            });
        }
    }
    let what = metrics.first().map_or("value", |metric| &metric.what);
    Table {
        metrics: metrics.iter().map(|metric| metric.name.clone()).collect(),
        caption: "Events of one round".to_owned(),
        head: vec![
            "Contender".to_owned(),
            format!("Largest {what}"),
            "When it ended".to_owned(),
            "Events".to_owned(),
        ],
        rows,
    }
}

/// A point with its unit.
pub(crate) fn figure_of(x: f64, unit: &str) -> String {
    with_unit(&count(x), unit)
}

/// A value that somebody chose, and nobody measured: `40 ms` and not `40.0 ms`.
pub(crate) fn chosen(value: f64, unit: &str) -> String {
    match value.fract() == 0.0 {
        true => figure_of(value, unit),
        false => figure(value, unit),
    }
}

/// With a capital.
pub(crate) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}
