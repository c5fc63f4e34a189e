//! Reads records for reports and comparisons.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use inflight_lab::record::{self, Run};

use super::run::FOLDER;
use crate::exit::CliError;

/// Reads all runs of a file.
pub(super) fn file(path: &Path) -> Result<Vec<Run>, CliError> {
    let shown = path.display();
    File::open(path)
        .and_then(record::read)
        .map_err(|error| CliError::usage(format_args!("{shown}: {error}")))
}

/// Returns the files in the folder where runs store their records.
pub(super) fn folder() -> Result<Vec<PathBuf>, CliError> {
    let entries = fs::read_dir(FOLDER).map_err(|error| {
        CliError::usage(format_args!(
            "{FOLDER}: {error}; create records with `inflight lab run`, or name files with --records"
        ))
    })?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "csv"))
        .collect();
    files.sort();
    Ok(files)
}

/// Reads the runs of `FILE`, or the run of `FILE@RUN` whose name starts with `RUN`.
pub(super) fn file_at_run(name: &str) -> Result<Vec<Run>, CliError> {
    if Path::new(name).exists() {
        return file(Path::new(name));
    }
    let Some((path, id)) = name.rsplit_once('@') else {
        return file(Path::new(name));
    };
    let mut runs = file(Path::new(path))?;
    let all: BTreeSet<String> = runs.iter().map(|run| run.id.clone()).collect();
    runs.retain(|run| run.id.starts_with(id));
    let found: BTreeSet<&str> = runs.iter().map(|run| &*run.id).collect();
    if found.len() == 1 {
        return Ok(runs);
    }
    let all: Vec<String> = all.into_iter().collect();
    Err(CliError::usage(format_args!(
        "{path}: {} runs start with {id:?}; the runs are {}",
        found.len(),
        all.join(", ")
    )))
}
