//! `inflight lab cmp`.

use std::io::{self, Write as _};

use inflight_lab::cmp::compare;
use inflight_lab::data::{Measured, latest};
use inflight_lab::experiment::Better;
use inflight_lab::experiments;
use inflight_lab::report::Subject;

use super::{args, read};
use crate::exit::{Exit, Stop};

pub(super) fn run(args: &args::Cmp) -> Result<Exit, Stop> {
    let [before, after] = [&args.before, &args.after].map(|name| measured(name));
    let comparison = compare(&before?, &after?, better);
    let mut stdout = io::stdout();
    stdout
        .write_all(comparison.to_string().as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| Stop::stdout(&error))?;
    Ok(Exit::Success)
}

/// In the order of the contenders, where there is a definition.
fn measured(name: &str) -> Result<Vec<Measured>, Stop> {
    let mut measured = latest(&read::file_at_run(name)?);
    for one in &mut measured {
        if let Some(experiment) = experiments::find(&one.experiment) {
            Subject::from(experiment).arrange(one);
        }
    }
    Ok(measured)
}

fn better(experiment: &str, metric: &str) -> Option<Better> {
    let metrics = experiments::find(experiment)?.metrics;
    Some(metrics.iter().find(|one| one.name == metric)?.better)
}
