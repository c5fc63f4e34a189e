//! Figures on their way from the benchmarks to the summary.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// One row of the summary.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figure {
    /// What was done.
    pub what: String,
    /// Which cell or contender did it.
    pub who: String,
    /// The median, in `unit`.
    pub measured: f64,
    /// The interval around it, in `unit`: of criterion's median, or the extremes of the rounds.
    pub from_to: (f64, f64),
    /// `ms`, `us`, `KB`, ...
    pub unit: String,
    /// What it is compared with.
    pub limit: Option<Limit>,
}

/// What a figure cannot beat, or is measured against.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Limit {
    /// In the figure's unit.
    pub value: f64,
    /// What it is.
    pub what: String,
}

/// Where figures are kept between a benchmark and the summary.
fn folder() -> PathBuf {
    target().join("inflight-bench")
}

fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(target) => PathBuf::from(target),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
    }
}

/// Keeps a benchmark's figures for the summary.
///
/// # Errors
///
/// When they cannot be written.
pub fn save(benchmark: &str, figures: &[Figure]) -> io::Result<()> {
    fs::create_dir_all(folder())?;
    let text = serde_json::to_string_pretty(figures)?;
    fs::write(folder().join(benchmark).with_extension("json"), text)
}

/// The figures that a benchmark kept; none if it did not run.
///
/// # Errors
///
/// When there is a file that cannot be read as figures.
pub fn load(benchmark: &str) -> io::Result<Vec<Figure>> {
    match fs::read_to_string(folder().join(benchmark).with_extension("json")) {
        Ok(text) => Ok(serde_json::from_str(&text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// criterion's median and its confidence interval of a benchmark that just ran, in nanoseconds.
///
/// # Errors
///
/// When criterion kept no such result.
pub fn criterion_median(group: &str, function: &str) -> io::Result<(f64, (f64, f64))> {
    // criterion keeps a slash out of its folders' names.
    let path = target()
        .join("criterion")
        .join(group.replace('/', "_"))
        .join(function.replace('/', "_"))
        .join("new/estimates.json");
    let text = fs::read_to_string(&path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    let estimates: Estimates = serde_json::from_str(&text)?;
    let interval = estimates.median.confidence_interval;
    Ok((
        estimates.median.point_estimate,
        (interval.lower_bound, interval.upper_bound),
    ))
}

#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
    confidence_interval: Interval,
}

#[derive(Deserialize)]
struct Interval {
    lower_bound: f64,
    upper_bound: f64,
}

/// The median of some numbers; `NaN` of none.
pub fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// The smallest and the largest of some numbers.
pub fn extremes(numbers: &[f64]) -> (f64, f64) {
    numbers
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), n| {
            (low.min(*n), high.max(*n))
        })
}
