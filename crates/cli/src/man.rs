//! `inflight man`: prints a manual page, or writes the pages of all commands to a directory.

use std::fs;
use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::args::{self, Args};
use crate::exit::{CliError, ExitStatus, print_output};

pub(crate) fn run(args: &args::Man) -> Result<ExitStatus, CliError> {
    let mut root = Args::command().disable_help_subcommand(true);
    // Gives each command its full name, such as `inflight-lab-run`.
    root.build();
    match &args.output {
        Some(directory) => write_pages(&root, directory).map_err(|error| {
            let directory = directory.display();
            CliError::usage(format_args!(
                "cannot write the manual pages to {directory}: {error}"
            ))
        })?,
        None => {
            let page = page(find(&root, &args.command)?).map_err(CliError::failed)?;
            print_output(&page)?;
        }
    }
    Ok(ExitStatus::Success)
}

fn find<'a>(root: &'a Command, path: &[String]) -> Result<&'a Command, CliError> {
    path.iter().try_fold(root, |command, name| {
        command.find_subcommand(name).ok_or_else(|| {
            let path = path.join(" ");
            CliError::usage(format_args!(
                "inflight has no command `{path}`: see `inflight --help`"
            ))
        })
    })
}

/// Writes the page of a command and the pages of its subcommands.
fn write_pages(command: &Command, directory: &Path) -> io::Result<()> {
    let file = Man::new(command.clone()).get_filename();
    fs::write(directory.join(file), page(command)?)?;
    command
        .get_subcommands()
        .try_for_each(|subcommand| write_pages(subcommand, directory))
}

/// Returns the page of a command, in the format of `man`.
fn page(command: &Command) -> io::Result<String> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    // The examples and explanations at the end of the help. `.nf` keeps their lines as they are.
    Ok(String::from_utf8_lossy(&page).replace("\n.SH EXTRA\n", "\n.SH NOTES\n.nf\n"))
}
