//! `inflight lab report`: writes a report as HTML and Markdown.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use inflight_lab::experiments;
use inflight_lab::report::{ExperimentInfo, Report};

use super::{args, read};
use crate::exit::{CliError, ExitStatus};

pub(super) fn run(args: args::Report) -> Result<ExitStatus, CliError> {
    let files = match args.records.is_empty() {
        true => read::record_files()?,
        false => args.records,
    };
    let mut runs = Vec::new();
    for path in &files {
        runs.extend(read::read_file(path)?);
    }
    let report = Report::new(&runs, experiments::all().iter().map(ExperimentInfo::from));
    if report.is_empty() {
        let names: Vec<String> = files
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        return Err(CliError::usage(format_args!(
            "no valid turns in {}",
            match names.is_empty() {
                true => "any file".to_owned(),
                false => names.join(", "),
            }
        )));
    }
    // Fills in all Markdown pages before the first page is written, so that an invalid page changes no file.
    let mut pages: Vec<(PathBuf, String)> = Vec::new();
    for path in &args.markdown {
        let failed = |error: &dyn std::fmt::Display| {
            CliError::usage(format_args!("{}: {error}", path.display()))
        };
        let page = fs::read_to_string(path).map_err(|error| failed(&error))?;
        let filled = report.fill(&page).map_err(|error| failed(&error))?;
        pages.push((path.clone(), filled));
    }
    if let Some(folder) = args.figures {
        // Experiments that the lab no longer defines have no place on a page.
        let charts = report.main_charts().into_iter();
        let defined = charts.filter(|(name, _)| experiments::find(name).is_some());
        pages.extend(
            defined.map(|(name, chart)| (folder.join(format!("chart-{name}.html")), chart)),
        );
    }
    // With --markdown or --figures and without --out, no HTML page is written.
    let out = match (args.out, pages.is_empty()) {
        (None, true) => Some(PathBuf::from(args::DEFAULT_REPORT_PATH)),
        (out, _) => out,
    };
    pages.extend(out.map(|path| (path, report.html())));
    let mut text = String::new();
    for (path, page) in pages {
        write(&path, &page)?;
        text += &format!("{}\n", path.display());
    }
    let missing = report.missing();
    if !missing.is_empty() {
        text += &format!("not measured in these records: {}\n", missing.join(", "));
    }
    let mut stdout = io::stdout();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| CliError::stdout(&error))?;
    Ok(ExitStatus::Success)
}

pub(super) fn write(path: &Path, page: &str) -> Result<(), CliError> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    folder
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(path, page))
        .map_err(|error| CliError::failed(format_args!("{}: {error}", path.display())))
}
