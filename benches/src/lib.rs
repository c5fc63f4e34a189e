//! What the benchmarks share: where the last records are.
//!
//! What is measured is defined once, in `inflight-lab`: criterion and the lab's runner start the same
//! workers.

use std::io;
use std::path::{Path, PathBuf};

/// The file of records in a folder that was written last.
///
/// # Errors
///
/// When the folder cannot be read or has none.
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
            "{} has no records: `inflight lab run` makes them",
            folder.display()
        ))),
    }
}
