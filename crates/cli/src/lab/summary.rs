//! `inflight lab summary`: prints the answers of a run and its tables.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use inflight_lab::markdown;
use inflight_lab::summary::Summary;

use super::run::FOLDER;
use super::{args, read, report};
use crate::exit::{CliError, ExitStatus};

pub(super) fn run(args: args::SummaryArgs) -> Result<ExitStatus, CliError> {
    let records = match args.records {
        Some(records) => records,
        None => read::newest_file()?.display().to_string(),
    };
    let mut runs = read::read_file_at_run(&records)?;
    if args.last_run
        && let Some(last) = runs.last().map(|run| run.id.clone())
    {
        // A resumed run is in the file more than once.
        runs.retain(|run| run.id == last);
    }
    let summary = Summary::new(&runs).ok_or_else(|| {
        CliError::usage(format_args!(
            "{records}: there are no finished measurements"
        ))
    })?;
    // Fills in all pages before the first page is written, so that an invalid page changes no file.
    let mut pages: Vec<(PathBuf, String)> = Vec::new();
    for path in args.markdown {
        pages.push(filled(&summary, path)?);
    }
    let out = match (args.out, pages.is_empty()) {
        (None, true) => Some(default_out(&records)),
        (out, _) => out,
    };
    let mut text = summary.text();
    if let Some(path) = out {
        text += &format!("\nAll figures: {}\n", path.display());
        pages.push((path, summary.everything()));
    }
    for (path, page) in pages {
        report::write(&path, &page)?;
    }
    let mut stdout = io::stdout();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| CliError::stdout(&error))?;
    Ok(ExitStatus::Success)
}

fn filled(summary: &Summary, path: PathBuf) -> Result<(PathBuf, String), CliError> {
    let failed = |error: &dyn std::fmt::Display| {
        CliError::usage(format_args!("{}: {error}", path.display()))
    };
    let page = fs::read_to_string(&path).map_err(|error| failed(&error))?;
    let page = markdown::fill(&page, "bench", |block| summary.markdown(block))
        .map_err(|error| failed(&error))?;
    Ok((path, page))
}

/// Returns the default path of the page with all figures: the name of the records, in the folder of records.
fn default_out(records: &str) -> PathBuf {
    let name = Path::new(records).with_extension("md");
    let name = name.file_name().unwrap_or_default();
    Path::new(FOLDER).join(name)
}
