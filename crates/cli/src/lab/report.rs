//! `inflight lab report`.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use inflight_lab::experiments;
use inflight_lab::report::{Report, Subject};

use super::{args, read};
use crate::exit::{Exit, Stop};

pub(super) fn run(args: args::Report) -> Result<Exit, Stop> {
    let files = match args.records.is_empty() {
        true => read::folder()?,
        false => args.records,
    };
    let mut runs = Vec::new();
    for path in &files {
        runs.extend(read::file(path)?);
    }
    let report = Report::new(&runs, experiments::all().iter().map(Subject::from));
    if report.is_empty() {
        let names: Vec<String> = files
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        return Err(Stop::usage(format_args!(
            "there are no turns that count in {}",
            match names.is_empty() {
                true => "any file".to_owned(),
                false => names.join(", "),
            }
        )));
    }
    // All pages before any is written: one that cannot be filled in leaves none half done.
    let mut pages: Vec<(PathBuf, String)> = Vec::new();
    for path in &args.markdown {
        let failed = |error: &dyn std::fmt::Display| {
            Stop::usage(format_args!("{}: {error}", path.display()))
        };
        let page = fs::read_to_string(path).map_err(|error| failed(&error))?;
        let filled = report.fill(&page).map_err(|error| failed(&error))?;
        pages.push((path.clone(), filled));
    }
    // Whoever asks for Markdown alone gets it alone.
    let out = match (args.out, pages.is_empty()) {
        (None, true) => Some(PathBuf::from(args::REPORT)),
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
        .map_err(|error| Stop::stdout(&error))?;
    Ok(Exit::Success)
}

fn write(path: &Path, page: &str) -> Result<(), Stop> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    folder
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(path, page))
        .map_err(|error| Stop::failed(format_args!("{}: {error}", path.display())))
}
