//! The last step of `just bench`: prints the newest records in `target/lab` as tables.
//!
//! The first table shows every result, its physical limit, and the ratio of the result to the limit. The
//! other tables show some of these results, with a row for each cell (a runtime and a client), for each
//! runtime, or for each pair of contenders (the programs that an experiment compares).
//!
//! `-- --records FILE` reads the records from FILE. `-- --markdown FILE` also writes the tables into FILE,
//! between markers such as `<!-- bench:begin cells -->` and `<!-- bench:end cells -->`. The names of the
//! tables are `cells`, `stalls`, `ratios` and `everything`. The option `--markdown` can be repeated.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

use std::path::Path;
use std::process::ExitCode;

use inflight::Cell;
use inflight_benches::newest_records;
use inflight_lab::data::{self, ExperimentResults, Sample};
use inflight_lab::experiment::Metric;
use inflight_lab::record::{self, Run};
use inflight_lab::stats::Estimate;
use inflight_lab::{experiments, markdown, text};

const RECORDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/lab");

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("summary: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let path = match options("--records")?.pop() {
        Some(file) => file.into(),
        None => newest_records(Path::new(RECORDS))?,
    };
    let runs = record::read(std::fs::File::open(path)?)?;
    let results = data::latest_results(&runs);
    let everything = table(everything(&results));
    let by_cell = table(by_cell(&results));
    let stalls = table(stalls(&results));
    let ratios = table(ratios(&results));
    let provenance = provenance(&runs, &results);
    println!("{everything}\n{by_cell}\n{stalls}\n{ratios}\n{provenance}");
    let tables = [
        ("cells", by_cell),
        ("stalls", stalls),
        ("ratios", ratios),
        ("everything", everything),
    ];
    let blocks = tables.map(|(name, table)| (name, format!("{table}\n{provenance}")));
    for path in options("--markdown")? {
        let page = std::fs::read_to_string(&path)?;
        let text = |name: &str| {
            let mut blocks = blocks.iter();
            Some(blocks.find(|(block, _)| *block == name)?.1.clone())
        };
        let filled =
            markdown::fill(&page, "bench", text).map_err(|error| format!("{path}: {error}"))?;
        std::fs::write(&path, filled)?;
    }
    Ok(())
}

/// Returns the values of an option, which can occur several times on the command line.
fn options(name: &str) -> Result<Vec<String>, Failure> {
    let mut files = Vec::new();
    let mut arguments = std::env::args();
    while let Some(argument) = arguments.next() {
        if argument == name {
            files.push(arguments.next().ok_or(format!("{name} needs a file"))?);
        }
    }
    Ok(files)
}

/// Describes each run whose results are in the tables: its machine, its date and its command.
fn provenance(runs: &[Run], results: &[ExperimentResults]) -> String {
    let mut sentences: Vec<String> = Vec::new();
    for run in runs {
        if results.iter().all(|measured| measured.run != run.id) {
            continue;
        }
        let get = |key| run.environment.get(key).map_or("", String::as_str);
        let names: Vec<&str> = get("experiments").split(' ').collect();
        let mut all = experiments::all().iter();
        let names = match all.all(|experiment| names.contains(&experiment.name)) {
            true => String::new(),
            false => format!(" {}", names.join(" ")),
        };
        let effort = get("effort");
        let description = record::describe_run(&run.id, &run.environment);
        let sentence =
            format!("{description} Made by `inflight lab run{names} --effort {effort}`.");
        if !sentences.contains(&sentence) {
            sentences.push(sentence);
        }
    }
    sentences.join(" ")
}

/// A column of the table of cells: its title, and the experiment, the metric and the point (the value of
/// the experiment's variable) from which it takes its values.
type Column = (&'static str, (&'static str, &'static str, f64));

const BY_CELL: [Column; 6] = [
    (
        "100 pages of 100 ms (limit 100 ms)",
        ("gather", "wall", 100.0),
    ),
    ("over the slowest page", ("gather", "over", 100.0)),
    (
        "5,000 pages of 2 s (limit 2 s)",
        ("threads", "wall", 5000.0),
    ),
    ("memory for each", ("threads", "memory", 5000.0)),
    ("requests per second", ("overhead", "rate", 0.0)),
    ("CPU for each", ("overhead", "cpu", 0.0)),
];

fn sample<'a>(
    results: &'a [ExperimentResults],
    (experiment, metric, x): (&str, &str, f64),
    contender: &str,
) -> Option<&'a Sample> {
    let measured = results.iter().find(|one| one.experiment == experiment)?;
    measured.get(metric, contender, x)
}

/// Formats a table. The first row is the head.
fn table(rows: Vec<Vec<String>>) -> String {
    match rows.split_first() {
        Some((head, rows)) => markdown::table(head, rows),
        None => String::new(),
    }
}

fn format_sample(sample: Option<&Sample>) -> String {
    let estimate = sample.and_then(|sample| Some((sample.estimate()?.value, &*sample.unit)));
    estimate.map_or(String::new(), |(value, unit)| {
        text::format_figure(value, unit)
    })
}

/// Returns the table with a row for each cell that has results.
fn by_cell(results: &[ExperimentResults]) -> Vec<Vec<String>> {
    let mut cells = vec![vec!["cell".to_owned()]];
    cells[0].extend(BY_CELL.map(|(title, _)| title.to_owned()));
    for cell in Cell::ALL {
        let name = cell.to_string();
        let figures = BY_CELL.map(|(_, of)| format_sample(sample(results, of, &name)));
        if figures.iter().any(|figure| !figure.is_empty()) {
            let mut row = vec![name];
            row.extend(figures);
            cells.push(row);
        }
    }
    cells
}

/// Returns the table of the largest gaps of a heartbeat on one worker thread, with a row for each runtime
/// and a column for each way to fetch a page.
fn stalls(results: &[ExperimentResults]) -> Vec<Vec<String>> {
    const MODES: [(&str, &str); 4] = [
        ("nothing is fetched", "idle"),
        ("ureq inside the task", "inline"),
        ("ureq on the blocking pool", "offloaded"),
        ("hyper", "async"),
    ];
    let mut cells = vec![vec!["runtime".to_owned()]];
    cells[0].extend(MODES.map(|(title, _)| title.to_owned()));
    for runtime in ["tokio", "smol", "async-std"] {
        let gap = |(_, mode)| {
            let contender = format!("{runtime}: {mode}");
            format_sample(sample(results, ("blocking", "gap", 0.0), &contender))
        };
        let mut row = vec![runtime.to_owned()];
        row.extend(MODES.map(gap));
        cells.push(row);
    }
    cells
}

/// Returns the table that shows what inflight's layers cost, as ratios of the CPU times of two contenders.
/// The last row shows the noise, from the A/A pair. A smaller difference cannot be claimed.
fn ratios(results: &[ExperimentResults]) -> Vec<Vec<String>> {
    const PAIRS: [(&str, &str); 5] = [
        ("tokio/hyper", "hyper-util alone"),
        ("tokio/hyper, gather.on", "hyper-util alone"),
        ("tokio/hyper", "reqwest"),
        ("reqwest", "hyper-util alone"),
        ("tokio/hyper, probed", "tokio/hyper"),
    ];
    let mut cells = vec![
        ["contender", "CPU as a ratio to", "ratio"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let overhead = results.iter().find(|one| one.experiment == "overhead");
    for (of, to) in PAIRS {
        if let Some(ratio) = overhead.and_then(|results| results.ratio("cpu", of, to, 0.0)) {
            cells.push(vec![
                of.to_owned(),
                to.to_owned(),
                format_estimate(&ratio, "x"),
            ]);
        }
    }
    if let Some(smallest) = overhead.and_then(|results| results.smallest_difference("cpu")) {
        cells.push(vec![
            "any program".to_owned(),
            "a second copy of itself".to_owned(),
            format!("up to {} x (noise)", text::format_number(smallest)),
        ]);
    }
    cells
}

/// Returns the table of all results, grouped by experiment.
fn everything(results: &[ExperimentResults]) -> Vec<Vec<String>> {
    let head = ["metric", "contender", "measured", "limit", "ratio"];
    let mut cells = vec![head.map(str::to_owned).to_vec()];
    for measured in results {
        let Some(experiment) = experiments::find(&measured.experiment) else {
            continue;
        };
        for metric in experiment.metrics {
            for x in measured.points(metric.name) {
                let at = match experiment.variable {
                    Some(variable) => {
                        let unit = match variable.unit {
                            "" => String::new(),
                            unit => format!(" {unit}"),
                        };
                        format!(", {} {}{unit}", variable.name, text::format_count(x))
                    }
                    None => String::new(),
                };
                let mut label = format!("{}{at}: {}", experiment.name, metric.name);
                // Uses the order of the definition, because the records are in random order.
                for contender in experiment.contenders() {
                    let Some(sample) = measured.get(metric.name, &contender.name, x) else {
                        continue;
                    };
                    if sample.is_duplicate() {
                        continue;
                    }
                    if let Some(estimate) = sample.estimate() {
                        let label = std::mem::take(&mut label);
                        cells.push(result_row(label, sample, &estimate, metric));
                    }
                }
            }
        }
    }
    cells
}

fn result_row(label: String, sample: &Sample, estimate: &Estimate, metric: &Metric) -> Vec<String> {
    let limit = metric
        .limit
        .map(|limit| ((limit.at)(sample.x), limit.description));
    let (limit, ratio) = match limit {
        Some((value, label)) if value > 0.0 => (
            format!("{}, {label}", text::format_figure(value, metric.unit)),
            text::format_number(estimate.value / value),
        ),
        _ => (String::new(), String::new()),
    };
    vec![
        label,
        sample.contender.clone(),
        format_estimate(estimate, metric.unit),
        limit,
        ratio,
    ]
}

/// Formats the median and, if there are at least two rounds, its confidence interval.
fn format_estimate(estimate: &Estimate, unit: &str) -> String {
    let figure = text::format_figure(estimate.value, unit);
    if estimate.rounds < 2 {
        return figure;
    }
    let (low, high) = (
        text::format_number(estimate.low),
        text::format_number(estimate.high),
    );
    format!("{figure} ({low} to {high})")
}
