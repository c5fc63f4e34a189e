//! `inflight lab cmp`.

use std::io::{self, Write as _};

use inflight_lab::cmp::compare;
use inflight_lab::data::latest;
use inflight_lab::experiment::Better;
use inflight_lab::experiments;

use super::{args, read};
use crate::exit::{Exit, Stop};

pub(super) fn run(args: &args::Cmp) -> Result<Exit, Stop> {
    let [before, after] = [&args.before, &args.after].map(|name| read::file_at_run(name));
    let comparison = compare(&latest(&before?), &latest(&after?), better);
    let mut stdout = io::stdout();
    stdout
        .write_all(comparison.to_string().as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| Stop::stdout(&error))?;
    Ok(Exit::Success)
}

fn better(experiment: &str, metric: &str) -> Option<Better> {
    let metrics = experiments::find(experiment)?.metrics;
    Some(metrics.iter().find(|one| one.name == metric)?.better)
}
