//! `inflight lab list`: lists the experiments.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use inflight_lab::experiment::{Effort, Experiment};
use inflight_lab::experiments;

use crate::exit::{CliError, ExitStatus};

const DURATION: &str = "On 2 cores, all experiments together take about 5 minutes with --effort quick, and more than an hour with --effort full.\n";

pub(super) fn run() -> Result<ExitStatus, CliError> {
    let mut text = String::new();
    for experiment in experiments::all() {
        push_experiment(&mut text, experiment);
    }
    text.push_str(DURATION);
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
        .map(|metric| match metric.unit {
            "" | "1" => metric.label.to_owned(),
            unit => format!("{} ({unit})", metric.label),
        })
        .collect();
    let _ = writeln!(text, "  measured: {}", metrics.join("; "));
    for (name, effort) in [("quick", Effort::Quick), ("full", Effort::Full)] {
        let _ = writeln!(text, "  {name}: {}", format_plan(experiment, effort));
    }
    text.push('\n');
}

/// Formats the points and the rounds of an experiment, such as `10, 100 (pages at once), 4 rounds`. A
/// point is a value of the experiment's variable, here the number of pages at once.
fn format_plan(experiment: &Experiment, effort: Effort) -> String {
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
