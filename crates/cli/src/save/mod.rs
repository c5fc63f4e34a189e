//! The outputs of responses: standard output, one file, or a directory with a file for each body.

mod directory;
mod names;

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_channel::{Receiver, Sender};
use inflight::backend::Runtime;
use inflight::download::PartialFile;

pub(crate) use directory::{
    BodyInfo, DirectoryOptions, MANIFEST, OutputDirectory, SaveDecision, SavedBody,
};
pub(crate) use names::{NameTemplate, file_name, relative_path};

/// The destination of a response.
pub(crate) enum ResponseOutput {
    Stdout(io::Stdout),
    /// A pipe or a device. The program writes to it directly.
    Device(File),
    /// A regular file. The complete response replaces it.
    File(PathBuf),
}

impl ResponseOutput {
    /// Opens the file at `path`. Returns standard output if there is no path, or if the path is `-`.
    pub(crate) fn open(path: Option<&Path>) -> io::Result<Self> {
        let Some(path) = path.filter(|path| path.as_os_str() != "-") else {
            return Ok(Self::Stdout(io::stdout()));
        };
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Ok(metadata) if !metadata.is_file() => {
                Ok(Self::Device(File::options().write(true).open(path)?))
            }
            _ => {
                PartialFile::check_writable(path)?;
                Ok(Self::File(path.to_owned()))
            }
        }
    }

    /// Returns the path of the regular file, or `None` if the output is not a regular file.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Stdout(_) | Self::Device(_) => None,
        }
    }

    /// Returns the file, which keeps `open_files` until it is renamed or deleted. Returns `None` if the output is
    /// not a regular file.
    pub(crate) fn partial_file(
        &self,
        runtime: &Arc<dyn Runtime>,
        open_files: OpenFiles,
    ) -> Option<PartialFile> {
        let path = self.path()?;
        Some(PartialFile::new(runtime.clone(), path).with_guard(open_files))
    }

    /// Writes to standard output or a device, and flushes, so that the reader receives each chunk immediately.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.write_all(bytes).and_then(|()| stdout.flush()),
            Self::Device(file) => file.write_all(bytes),
            Self::File(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

/// A guard for open files. The channel carries no messages, and closes when all clones of the guard have been
/// dropped.
#[derive(Clone)]
pub(crate) struct OpenFiles(
    #[expect(dead_code, reason = "held until it is dropped")] Sender<Infallible>,
);

/// A handle that waits until all clones of an [`OpenFiles`] have been dropped.
pub(crate) struct Completion(Receiver<Infallible>);

impl OpenFiles {
    pub(crate) fn new() -> (Self, Completion) {
        let (sender, receiver) = async_channel::bounded(1);
        (Self(sender), Completion(receiver))
    }
}

impl Completion {
    /// Waits until every file has been renamed or deleted.
    pub(crate) async fn wait(&self) {
        let Err(async_channel::RecvError) = self.0.recv().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_device_is_written_to_and_not_replaced() {
        let mut target = ResponseOutput::open(Some(Path::new("/dev/null"))).unwrap();
        target.write(b"text").unwrap();
        assert!(matches!(target, ResponseOutput::Device(_)));
    }
}
