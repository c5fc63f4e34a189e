//! Reads records for reports and comparisons.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use inflight_lab::record::{self, Run};

use super::run::FOLDER;
use crate::exit::CliError;

/// Reads all runs in a file.
pub(super) fn read_file(path: &Path) -> Result<Vec<Run>, CliError> {
    let path_text = path.display();
    File::open(path)
        .and_then(record::read)
        .map_err(|error| CliError::usage(format_args!("{path_text}: {error}")))
}

/// Returns the `.csv` files in the default folder of records.
pub(super) fn record_files() -> Result<Vec<PathBuf>, CliError> {
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

/// Returns the most recently modified `.csv` file in the default folder of records.
pub(super) fn newest_file() -> Result<PathBuf, CliError> {
    let modified = |path: &PathBuf| fs::metadata(path).and_then(|data| data.modified()).ok();
    let newest = record_files()?.into_iter().max_by_key(modified);
    newest.ok_or_else(|| {
        CliError::usage(format_args!(
            "{FOLDER} has no records; create records with `inflight lab run`, or name a file with --records"
        ))
    })
}

/// Reads all runs of `FILE`. For `FILE@RUN`, reads only the run whose ID starts with `RUN`.
pub(super) fn read_file_at_run(name: &str) -> Result<Vec<Run>, CliError> {
    if Path::new(name).exists() {
        return read_file(Path::new(name));
    }
    let Some((path, id)) = name.rsplit_once('@') else {
        return read_file(Path::new(name));
    };
    let mut runs = read_file(Path::new(path))?;
    let all: BTreeSet<String> = runs.iter().map(|run| run.id.clone()).collect();
    runs.retain(|run| run.id.starts_with(id));
    let found: BTreeSet<&str> = runs.iter().map(|run| &*run.id).collect();
    if found.len() == 1 {
        return Ok(runs);
    }
    let all: Vec<String> = all.into_iter().collect();
    Err(CliError::usage(format_args!(
        "{path}: {id:?} selects {} runs, but must select one; the runs are {}",
        found.len(),
        all.join(", ")
    )))
}
