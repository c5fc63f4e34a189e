//! `inflight lab`: the experiments, on this machine.

pub(crate) mod args;
mod cmp;
mod list;
mod read;
mod report;
mod run;

use std::io::{stdin, stdout};

use inflight_lab::{process, worker};

use crate::exit::{Exit, Stop};
use args::Command;

pub(crate) fn run(lab: args::Lab) -> Result<Exit, Stop> {
    match lab.command {
        Command::List => list::run(),
        Command::Run(run) => run::run(run),
        Command::Report(report) => report::run(report),
        Command::Cmp(cmp) => cmp::run(&cmp),
        Command::Worker(setup) => worker::serve(&setup.into(), stdin().lock(), stdout().lock())
            .map(|()| Exit::Success)
            .map_err(Stop::failed),
        Command::Origin => process::serve_origin(stdin().lock(), stdout().lock())
            .map(|()| Exit::Success)
            .map_err(Stop::failed),
    }
}
