//! `inflight lab cmp`: compares two files of records.

use std::io::{self, Write as _};

use inflight_lab::cmp::compare;
use inflight_lab::data::{ExperimentResults, latest};
use inflight_lab::experiment::Better;
use inflight_lab::experiments;
use inflight_lab::report::ExperimentInfo;

use super::{args, read};
use crate::exit::{CliError, ExitStatus};

pub(super) fn run(args: &args::Cmp) -> Result<ExitStatus, CliError> {
    let [before, after] = [&args.before, &args.after].map(|name| measured(name));
    let comparison = compare(&before?, &after?, better);
    let mut stdout = io::stdout();
    stdout
        .write_all(comparison.to_string().as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| CliError::stdout(&error))?;
    Ok(ExitStatus::Success)
}

/// Reads the measurements, with the contenders in the order of the experiment's definition.
fn measured(name: &str) -> Result<Vec<ExperimentResults>, CliError> {
    let mut measured = latest(&read::file_at_run(name)?);
    for one in &mut measured {
        if let Some(experiment) = experiments::find(&one.experiment) {
            ExperimentInfo::from(experiment).arrange(one);
        }
    }
    Ok(measured)
}

fn better(experiment: &str, metric: &str) -> Option<Better> {
    let metrics = experiments::find(experiment)?.metrics;
    Some(metrics.iter().find(|one| one.name == metric)?.better)
}
