//! `inflight lab`: runs experiments on this machine and reports their results.

pub(crate) mod args;
mod cmp;
mod list;
mod read;
mod report;
mod run;
mod summary;

use std::io::{stdin, stdout};

use inflight_lab::{process, worker_loop};

use crate::exit::{CliError, ExitStatus};
use args::LabCommand;

pub(crate) fn run(lab: args::Lab) -> Result<ExitStatus, CliError> {
    match lab.command {
        LabCommand::List => list::run(),
        LabCommand::Run(run) => run::run(run),
        LabCommand::Report(report) => report::run(report),
        LabCommand::Summary(summary) => summary::run(summary),
        LabCommand::Cmp(cmp) => cmp::run(&cmp),
        LabCommand::Worker(config) => {
            worker_loop::serve(&config.into(), stdin().lock(), stdout().lock())
                .map(|()| ExitStatus::Success)
                .map_err(CliError::failed)
        }
        LabCommand::Origin => process::serve_origin(stdin().lock(), stdout().lock())
            .map(|()| ExitStatus::Success)
            .map_err(CliError::failed),
    }
}
