//! `inflight lab cmp`: compares two files of records.

use std::io::{self, Write as _};

use inflight_lab::cmp::compare;
use inflight_lab::data::{ExperimentResults, latest_results};
use inflight_lab::experiment::Better;
use inflight_lab::experiments;
use inflight_lab::report::ExperimentInfo;

use super::{args, read};
use crate::exit::{CliError, ExitStatus};

pub(super) fn run(args: &args::Cmp) -> Result<ExitStatus, CliError> {
    let [before, after] = [&args.before, &args.after].map(|name| read_results(name));
    let comparison = compare(&before?, &after?, better_direction);
    let mut stdout = io::stdout();
    stdout
        .write_all(comparison.to_string().as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| CliError::stdout(&error))?;
    Ok(ExitStatus::Success)
}

/// Reads the results of `FILE` or `FILE@RUN`. The contenders are in the order of the
/// experiment's definition.
fn read_results(name: &str) -> Result<Vec<ExperimentResults>, CliError> {
    let mut results = latest_results(&read::read_file_at_run(name)?);
    for experiment_results in &mut results {
        if let Some(experiment) = experiments::find(&experiment_results.experiment) {
            ExperimentInfo::from(experiment).arrange(experiment_results);
        }
    }
    Ok(results)
}

fn better_direction(experiment: &str, metric: &str) -> Option<Better> {
    let metrics = experiments::find(experiment)?.metrics;
    Some(
        metrics
            .iter()
            .find(|candidate| candidate.name == metric)?
            .better,
    )
}
