//! The tables of the summary.

use inflight::Cell;

use super::disturbance::Disturbances;
use super::layout::{Mark, SummaryCell, SummaryTable};
use super::ranking::{Ranking, cost, is_worse};
use crate::data::{ExperimentResults, Sample};
use crate::experiment::{Better, Experiment, Metric};
use crate::experiments;
use crate::stats::{Estimate, may_claim};
use crate::text::{format_count, format_figure, format_number};

/// The runtimes of the table of gaps.
pub(super) const RUNTIMES: [&str; 3] = ["tokio", "smol", "async-std"];

/// The contenders of the experiment with a blocking call, after the name of the runtime.
const IDLE: &str = "idle";
pub(super) const BLOCKING_CALL: &str = "inline";
const POOL: &str = "offloaded";
pub(super) const ASYNC_CLIENT: &str = "async";

pub(super) const GAP: &str = "gap";
pub(super) const CPU: &str = "cpu";

/// The results of a run, and the figures that were measured while the machine was busy.
#[derive(Clone, Copy)]
pub(super) struct Measured<'a> {
    pub(super) results: &'a [ExperimentResults],
    pub(super) disturbances: &'a Disturbances,
}

impl<'a> Measured<'a> {
    pub(super) fn find(self, experiment: &Experiment) -> Option<&'a ExperimentResults> {
        let mut results = self.results.iter();
        results.find(|one| one.experiment == experiment.name)
    }

    fn figure(self, results: &ExperimentResults, sample: &Sample) -> SummaryCell {
        let estimate = sample.estimate();
        SummaryCell {
            text: estimate.map_or(String::new(), |one| format_figure(one.value, &sample.unit)),
            mark: None,
            is_disturbed: self.disturbances.contains(results, sample),
        }
    }
}

fn names(head: &[&str]) -> Vec<String> {
    head.iter().map(|name| (*name).to_owned()).collect()
}

fn cell_names() -> Vec<String> {
    Cell::ALL.iter().map(ToString::to_string).collect()
}

pub(super) fn contender(runtime: &str, mode: &str) -> String {
    format!("{runtime}: {mode}")
}

/// Formats a ratio and its interval, such as `1.71 (1.65 to 1.78)`.
pub(super) fn format_ratio(ratio: &Estimate) -> String {
    let figure = format_number(ratio.value);
    match format_interval(ratio) {
        Some(interval) => format!("{figure} ({interval})"),
        None => figure,
    }
}

fn format_interval(estimate: &Estimate) -> Option<String> {
    let (low, high) = (format_number(estimate.low), format_number(estimate.high));
    (estimate.rounds > 1).then(|| format!("{low} to {high}"))
}

/// Marks the best contender and those that the run cannot tell from it. A single contender is not marked.
fn mark(ranking: &Ranking<'_>, contender: &str) -> Option<Mark> {
    let entry = ranking.find(contender)?;
    let is_best = ranking.best().is_some_and(|best| best.name() == contender);
    match ranking.entries.len() {
        0 | 1 => None,
        _ if is_best => Some(Mark::Best),
        _ => entry.is_tied.then_some(Mark::Tied),
    }
}

/// Returns the table of the gaps of the heartbeat, with a row for each runtime.
pub(super) fn stalls(measured: Measured<'_>) -> Option<SummaryTable> {
    let results = measured.find(experiments::BLOCKING)?;
    let mut rows = Vec::new();
    for runtime in RUNTIMES {
        let compared = [BLOCKING_CALL, POOL, ASYNC_CLIENT].map(|mode| contender(runtime, mode));
        let ranking = Ranking::new(results, GAP, Better::Lower, 0.0, &compared);
        let mut row = vec![SummaryCell::new(runtime)];
        for name in std::iter::once(contender(runtime, IDLE)).chain(compared.clone()) {
            let sample = results.get(GAP, &name, 0.0);
            let figure = sample.map(|sample| measured.figure(results, sample));
            row.push(SummaryCell {
                mark: mark(&ranking, &name),
                ..figure.unwrap_or_default()
            });
        }
        let ratio = blocking_cost(results, runtime);
        row.push(SummaryCell {
            text: ratio.as_ref().map(format_ratio).unwrap_or_default(),
            mark: ratio
                .filter(|ratio| !may_claim(ratio, results.smallest_difference(GAP)))
                .map(|_| Mark::Tied),
            is_disturbed: false,
        });
        if row.iter().skip(1).any(|cell| !cell.text.is_empty()) {
            rows.push(row);
        }
    }
    (!rows.is_empty()).then(|| SummaryTable {
        title: format!(
            "Largest gap of the heartbeat, in ms: one worker thread fetches a page with a delay of {} ms",
            experiments::BLOCKING_DELAY_MS
        ),
        head: names(&[
            "runtime",
            "no page",
            "blocking call",
            "blocking pool",
            "async client",
            "blocking call / async client",
        ]),
        rows,
        names: 1,
    })
}

/// Returns how many times longer the gap is with a blocking call than with an asynchronous client.
pub(super) fn blocking_cost(results: &ExperimentResults, runtime: &str) -> Option<Estimate> {
    let [of, than] = [BLOCKING_CALL, ASYNC_CLIENT].map(|mode| contender(runtime, mode));
    cost(results, GAP, Better::Lower, &of, &than, 0.0)
}

/// Ranks the cells by CPU time.
pub(super) fn cpu_ranking(results: &ExperimentResults) -> Ranking<'_> {
    Ranking::new(results, CPU, Better::Lower, 0.0, &cell_names())
}

/// Returns the table of the CPU time of a request, with a row for each cell, the cheapest first.
pub(super) fn costs(measured: Measured<'_>) -> Option<SummaryTable> {
    let results = measured.find(experiments::OVERHEAD)?;
    let ranking = cpu_ranking(results);
    let best = ranking.best()?.name();
    let mut rows = Vec::new();
    for entry in &ranking.entries {
        let mut figure = measured.figure(results, entry.sample);
        figure.mark = mark(&ranking, entry.name());
        rows.push(vec![
            SummaryCell::new(entry.name()),
            figure,
            SummaryCell::new(format_interval(&entry.estimate).unwrap_or_default()),
            SummaryCell::new(entry.cost.as_ref().map(format_ratio).unwrap_or_default()),
        ]);
    }
    Some(SummaryTable {
        title: "CPU time of the client for each request, in µs, with 64 requests at once"
            .to_owned(),
        head: vec![
            "cell".to_owned(),
            "CPU time".to_owned(),
            "95 % interval".to_owned(),
            format!("times {best} (95 % interval)"),
        ],
        rows,
        names: 1,
    })
}

/// A column of the table of cells: its title, and the experiment, the metric and the point from which it takes its
/// values.
struct CellColumn {
    title: &'static str,
    experiment: &'static Experiment,
    metric: &'static str,
    x: f64,
}

const CELL_COLUMNS: [CellColumn; 5] = [
    CellColumn {
        title: "100 pages, 100 ms",
        experiment: experiments::GATHER,
        metric: "wall",
        x: 100.0,
    },
    CellColumn {
        title: "5,000 pages, 2 s",
        experiment: experiments::THREADS,
        metric: "wall",
        x: 5000.0,
    },
    CellColumn {
        title: "memory",
        experiment: experiments::THREADS,
        metric: "memory",
        x: 5000.0,
    },
    CellColumn {
        title: "requests",
        experiment: experiments::OVERHEAD,
        metric: experiments::REQUEST_RATE,
        x: 0.0,
    },
    CellColumn {
        title: "CPU time",
        experiment: experiments::OVERHEAD,
        metric: CPU,
        x: 0.0,
    },
];

impl CellColumn {
    /// Returns the figures of the cells, in the order of `cells`.
    fn figures(&self, measured: Measured<'_>, cells: &[String]) -> Vec<SummaryCell> {
        let Some(results) = measured.find(self.experiment) else {
            return vec![SummaryCell::default(); cells.len()];
        };
        let mut metrics = self.experiment.metrics.iter();
        let metric = metrics.find(|metric| metric.name == self.metric);
        let better = metric.map_or(Better::Lower, |metric| metric.better);
        let ranking = Ranking::new(results, self.metric, better, self.x, cells);
        let figures = cells.iter().map(|name| SummaryCell {
            mark: mark(&ranking, name),
            ..ranking
                .find(name)
                .map(|entry| measured.figure(results, entry.sample))
                .unwrap_or_default()
        });
        figures.collect()
    }
}

/// Returns the table with a row for each cell that has results.
pub(super) fn cells(measured: Measured<'_>) -> Option<SummaryTable> {
    let names = cell_names();
    let columns = CELL_COLUMNS
        .each_ref()
        .map(|column| column.figures(measured, &names));
    let rows: Vec<Vec<SummaryCell>> = names
        .iter()
        .enumerate()
        .map(|(n, name)| {
            let figures = columns.iter().map(|figures| figures[n].clone());
            std::iter::once(SummaryCell::new(name))
                .chain(figures)
                .collect()
        })
        .filter(|row: &Vec<SummaryCell>| row.iter().skip(1).any(|cell| !cell.text.is_empty()))
        .collect();
    let mut head = vec!["cell".to_owned()];
    head.extend(CELL_COLUMNS.iter().map(|column| column.title.to_owned()));
    (!rows.is_empty()).then(|| SummaryTable {
        title: "Time until the last of 100 pages with a delay of 100 ms and of 5,000 pages with a delay of 2 s; \
                peak memory for each of the 5,000 pages; requests per second; CPU time for each request"
            .to_owned(),
        head,
        rows,
        names: 1,
    })
}

/// Returns the table that shows what inflight's layers cost, as ratios of the CPU times of two contenders.
pub(super) fn ratios(measured: Measured<'_>) -> Option<SummaryTable> {
    const PAIRS: [(&str, &str); 6] = [
        ("tokio/hyper", "hyper-util alone"),
        ("tokio/hyper, gather.on", "hyper-util alone"),
        ("tokio/hyper", "reqwest"),
        ("reqwest", "hyper-util alone"),
        ("tokio/hyper, probed", "tokio/hyper"),
        ("tokio/hyper, recorded", "tokio/hyper, probed"),
    ];
    let results = measured.find(experiments::OVERHEAD)?;
    let smallest = results.smallest_difference(CPU);
    let mut rows = Vec::new();
    for (of, to) in PAIRS {
        let Some(ratio) = results.ratio(CPU, of, to, 0.0) else {
            continue;
        };
        let samples = [of, to]
            .into_iter()
            .filter_map(|name| results.get(CPU, name, 0.0));
        rows.push(vec![
            SummaryCell::new(of),
            SummaryCell::new(to),
            SummaryCell {
                text: format_ratio(&ratio),
                mark: (!may_claim(&ratio, smallest)).then_some(Mark::Tied),
                is_disturbed: samples
                    .into_iter()
                    .any(|sample| measured.disturbances.contains(results, sample)),
            },
        ]);
    }
    if let Some(smallest) = smallest {
        rows.push(vec![
            SummaryCell::new("any program"),
            SummaryCell::new("a second copy of itself"),
            SummaryCell::new(format!("up to {} (noise)", format_number(smallest))),
        ]);
    }
    (!rows.is_empty()).then(|| SummaryTable {
        title: "CPU time of a request, as a ratio of two contenders (95 % interval)".to_owned(),
        head: names(&["contender", "divided by", "ratio"]),
        rows,
        names: 2,
    })
}

/// Returns a table for each metric at each point of every experiment.
pub(super) fn everything(measured: Measured<'_>) -> Vec<SummaryTable> {
    let mut tables = Vec::new();
    for results in measured.results {
        let Some(experiment) = experiments::find(&results.experiment) else {
            continue;
        };
        for metric in experiment.metrics {
            for x in results.points(metric.name) {
                tables.push(point_table(measured, experiment, results, metric, x));
            }
        }
    }
    tables
}

fn point_table(
    measured: Measured<'_>,
    experiment: &Experiment,
    results: &ExperimentResults,
    metric: &Metric,
    x: f64,
) -> SummaryTable {
    let limit = metric.limit.map(|limit| ((limit.at)(x), limit.description));
    let limit = limit.filter(|(value, _)| *value > 0.0 && value.is_finite());
    let mut title = format!("{}: {}", experiment.name, metric.label);
    if let Some(variable) = experiment.variable {
        title += &format!(
            "; {}: {}",
            variable.name,
            format_figure_or_count(x, variable.unit)
        );
    }
    if let Some((value, description)) = limit {
        title += &format!(
            "; limit: {}, {description}",
            format_figure(value, metric.unit)
        );
    }
    let mut rows = Vec::new();
    // Uses the order of the definition, because the records are in random order.
    for contender in experiment.contenders() {
        let sample = results.get(metric.name, &contender.name, x);
        let sample = sample.filter(|sample| !sample.is_duplicate());
        let Some((sample, estimate)) = sample.and_then(|one| Some((one, one.estimate()?))) else {
            continue;
        };
        let mut row = vec![
            SummaryCell::new(&contender.name),
            measured.figure(results, sample),
            SummaryCell::new(format_interval(&estimate).unwrap_or_default()),
        ];
        row.extend(limit.map(|(value, _)| SummaryCell::new(format_number(estimate.value / value))));
        rows.push(row);
    }
    let mut head = names(&["contender", "median", "95 % interval"]);
    head.extend(limit.map(|_| "times the limit".to_owned()));
    SummaryTable {
        title,
        head,
        rows,
        names: 1,
    }
}

fn format_figure_or_count(x: f64, unit: &str) -> String {
    match unit {
        "" => format_count(x),
        unit => format_figure(x, unit),
    }
}

/// Returns whether the blocking call lengthened the gap for certain.
pub(super) fn is_stalled(cost: &Estimate, results: &ExperimentResults) -> bool {
    is_worse(cost, results, GAP)
}
