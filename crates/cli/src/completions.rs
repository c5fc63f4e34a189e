//! `inflight completions`: prints a completion script for a shell.

use clap::CommandFactory;

use crate::args::{self, Args};
use crate::exit::{CliError, ExitStatus, print_output};

pub(crate) fn run(args: &args::Completions) -> Result<ExitStatus, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "inflight", &mut script);
    print_output(&String::from_utf8_lossy(&script))?;
    Ok(ExitStatus::Success)
}
