//! `inflight lab list`: lists the experiments.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::Duration;

use inflight_lab::experiment::{Effort, Experiment};
use inflight_lab::experiments;
use inflight_lab::runner::RunConfig;

use crate::exit::{CliError, ExitStatus};

pub(super) fn run() -> Result<ExitStatus, CliError> {
    let mut text = String::new();
    for experiment in experiments::all() {
        push_experiment(&mut text, experiment);
    }
    let all: Vec<_> = experiments::all().iter().collect();
    let _ = writeln!(
        text,
        "All of them take about {} with --effort quick and {} with --effort full.",
        format_estimate(all.clone(), Effort::Quick),
        format_estimate(all, Effort::Full)
    );
    let mut stdout = io::stdout();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| CliError::stdout(&error))?;
    Ok(ExitStatus::Success)
}

fn push_experiment(text: &mut String, experiment: &'static Experiment) {
    let _ = writeln!(text, "{}\n  {}", experiment.name, experiment.question);
    let metrics: Vec<String> = experiment
        .metrics
        .iter()
        .map(|metric| format!("{} ({})", metric.what, metric.unit))
        .collect();
    let _ = writeln!(text, "  measured: {}", metrics.join("; "));
    for (name, effort) in [("quick", Effort::Quick), ("full", Effort::Full)] {
        let _ = writeln!(
            text,
            "  {name}: {}, about {}",
            format_extent(experiment, effort),
            format_estimate(vec![experiment], effort)
        );
    }
    text.push('\n');
}

/// Formats how much is run, such as `100, 1000 pages (at once), 4 rounds`.
fn format_extent(experiment: &Experiment, effort: Effort) -> String {
    let plan = (experiment.plan)(effort);
    let rounds = match plan.rounds {
        1 => "1 round".to_owned(),
        rounds => format!("{rounds} rounds"),
    };
    match experiment.variable {
        Some(variable) => {
            let points: Vec<String> = plan.points.iter().map(f64::to_string).collect();
            let unit = if variable.unit.is_empty() {
                String::new()
            } else {
                format!(" {}", variable.unit)
            };
            format!("{}{unit} ({}), {rounds}", points.join(", "), variable.name)
        }
        None => rounds,
    }
}

fn format_estimate(experiments: Vec<&'static Experiment>, effort: Effort) -> String {
    let seconds = RunConfig::new(experiments, effort)
        .estimated_duration()
        .as_secs()
        .max(1);
    // The estimate is rough, so a long one is rounded up.
    let rounded = match seconds {
        0..120 => seconds,
        120..7200 => seconds.div_ceil(60) * 60,
        _ => seconds.div_ceil(600) * 600,
    };
    humantime::format_duration(Duration::from_secs(rounded)).to_string()
}
