//! Reading records, for those who tell of them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use inflight_lab::record::{self, Run};

use super::run::FOLDER;
use crate::exit::Stop;

/// Every run of a file.
pub(super) fn file(path: &Path) -> Result<Vec<Run>, Stop> {
    let shown = path.display();
    File::open(path)
        .and_then(record::read)
        .map_err(|error| Stop::usage(format_args!("{shown}: {error}")))
}

/// The files of the folder in which runs leave their records.
pub(super) fn folder() -> Result<Vec<PathBuf>, Stop> {
    let entries = fs::read_dir(FOLDER).map_err(|error| {
        Stop::usage(format_args!(
            "{FOLDER}: {error}; `inflight lab run` makes records, and --records names them"
        ))
    })?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "csv"))
        .collect();
    files.sort();
    Ok(files)
}

/// `FILE`, or `FILE@RUN` with the beginning of a run's name.
pub(super) fn file_at_run(name: &str) -> Result<Vec<Run>, Stop> {
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
    Err(Stop::usage(format_args!(
        "{path}: {} of its runs begin with {id:?}; it has {}",
        found.len(),
        all.join(", ")
    )))
}
