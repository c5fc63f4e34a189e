//! The file of `--cookies`. The program reads it at the start and writes it at the end.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use inflight::CookieJar;
use tempfile::NamedTempFile;

use crate::exit::CliError;
use crate::output::describe;

/// A jar with the cookies of a file.
pub(crate) struct CookieFile {
    pub(crate) jar: CookieJar,
    /// The path to write to. `None` if the file is a pipe or a device.
    path: Option<PathBuf>,
}

impl CookieFile {
    /// Reads the file. If it does not exist, the jar is empty.
    pub(crate) fn open(path: &Path) -> Result<Self, CliError> {
        let error = |error: &dyn std::fmt::Display| {
            CliError::usage(format_args!("cannot read {}: {error}", path.display()))
        };
        let file = match File::open(path) {
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
                // Otherwise, only `save` would report this, at the end of the run.
                if !directory_of(path).is_dir() {
                    return Err(error(&"its directory does not exist"));
                }
                return Ok(Self {
                    jar: CookieJar::new(),
                    path: Some(path.to_owned()),
                });
            }
            file => file.map_err(|cause| error(&cause))?,
        };
        let is_regular = file.metadata().map_err(|cause| error(&cause))?.is_file();
        let jar = CookieJar::load_netscape(BufReader::new(file));
        Ok(Self {
            jar: jar.map_err(|cause| error(&describe(&cause)))?,
            path: is_regular.then(|| path.to_owned()),
        })
    }

    /// Replaces the file with one that only its owner can read.
    pub(crate) fn save(&self) -> Result<(), CliError> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let save = || {
            // If the path is a symbolic link, replaces its target and keeps the link.
            let path = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            let mut file = NamedTempFile::new_in(directory_of(&path))?;
            let saved = self.jar.save_netscape(&mut file);
            saved.map_err(|error| io::Error::other(describe(&error)))?;
            file.persist(&path)?;
            Ok(())
        };
        save().map_err(|error: io::Error| {
            CliError::failed(format_args!("cannot write {}: {error}", path.display()))
        })
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}
