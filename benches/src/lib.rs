//! Functions that the benchmarks share.
//!
//! The experiments are defined in `inflight-lab`. The benchmark `lab` and the command `inflight lab run`
//! start different programs as workers, but these workers run the same code from `inflight-lab`.

use std::io;
use std::path::{Path, PathBuf};

/// Returns the most recently modified `.csv` file in a folder. This file contains the newest records.
///
/// # Errors
///
/// If the folder cannot be read, or contains no `.csv` file.
pub fn newest_records(folder: &Path) -> io::Result<PathBuf> {
    let mut newest = None;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "csv") {
            newest = newest.max(Some((entry.metadata()?.modified()?, path)));
        }
    }
    match newest {
        Some((_, path)) => Ok(path),
        None => Err(io::Error::other(format!(
            "{} has no records; run `inflight lab run` first",
            folder.display()
        ))),
    }
}
