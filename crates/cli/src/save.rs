//! Output files. They have a temporary name until they are complete.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_channel::{Receiver, Sender};
use inflight::backend::Runtime;
use inflight::{Error, ErrorKind, unblock};
use tempfile::NamedTempFile;

use crate::exit::CliError;

/// How many bytes of a body are buffered before they are written. Each write is one call on the
/// blocking pool.
const WRITE_SIZE: usize = 256 * 1024;

/// A file under a temporary name in the directory of its final path. Dropping the value before
/// [`finish`](Self::finish) deletes the file.
pub(crate) struct PartialFile {
    temporary: NamedTempFile,
    path: PathBuf,
}

impl PartialFile {
    /// Creates a temporary file. [`finish`](Self::finish) moves it to `path`, where it replaces an
    /// existing file.
    fn create(path: &Path) -> io::Result<Self> {
        // Follows a symbolic link, so that the link remains and its target is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".inflight-").suffix(".part");
        // The usual mode of a new file. The default of `tempfile` lets only the owner read the file.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let temporary = builder
            .tempfile_in(directory)
            .map_err(without_temporary_path)?;
        if let Ok(old) = fs::metadata(&path) {
            temporary.as_file().set_permissions(old.permissions())?;
        }
        Ok(Self { temporary, path })
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.temporary.write_all(bytes)
    }

    /// Renames the complete file to its final path.
    fn finish(self) -> io::Result<()> {
        self.temporary.persist(&self.path)?;
        Ok(())
    }
}

/// Removes the temporary path from an error. The path means nothing to the user.
fn without_temporary_path(error: io::Error) -> io::Error {
    let cause = error.get_ref().and_then(|inner| inner.source());
    match cause.map(ToString::to_string) {
        Some(cause) => io::Error::new(error.kind(), cause),
        None => error,
    }
}

/// The destination of a response.
pub(crate) enum ResponseOutput {
    Stdout(io::Stdout),
    /// A pipe or a device, which is written directly.
    Device(File),
    /// A regular file. The complete response replaces it.
    File(PartialFile),
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
            _ => Ok(Self::File(PartialFile::create(path)?)),
        }
    }

    /// Writes and flushes, so that each chunk can be read as soon as it has arrived.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.write_all(bytes).and_then(|()| stdout.flush()),
            Self::Device(file) => file.write_all(bytes),
            Self::File(file) => file.write_all(bytes),
        }
    }

    /// Renames a complete file to its final path.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self {
            Self::File(file) => file.finish(),
            Self::Stdout(_) | Self::Device(_) => Ok(()),
        }
    }
}

/// A directory with a file for each body. The name of a file is the index of its URL.
#[derive(Clone)]
pub(crate) struct OutputDirectory {
    path: Arc<Path>,
    /// Carries no messages. The channel closes when the directory and its writers have been dropped.
    open_files: Sender<Infallible>,
}

/// A handle that waits until the [`OutputDirectory`] and its writers have been dropped.
pub(crate) struct Completion(Receiver<Infallible>);

impl OutputDirectory {
    /// Creates the directory if it does not exist, and checks that it is writable.
    pub(crate) fn open(path: PathBuf) -> Result<(Self, Completion), CliError> {
        fs::create_dir_all(&path)
            .and_then(|()| PartialFile::create(&path.join("000000")))
            .map_err(|error| {
                CliError::usage(format_args!("cannot write to {}: {error}", path.display()))
            })?;
        let (open_files, completion) = async_channel::bounded(1);
        let directory = Self {
            path: path.into(),
            open_files,
        };
        Ok((directory, Completion(completion)))
    }

    /// Returns a writer for the body of the URL with this index. The writer uses the runtime's blocking
    /// pool.
    pub(crate) fn file(&self, index: usize, runtime: Arc<dyn Runtime>) -> BodyWriter {
        BodyWriter {
            runtime,
            state: State {
                path: self.path.join(format!("{index:06}")),
                file: None,
                buffer: Vec::new(),
                _open: self.open_files.clone(),
            },
        }
    }
}

impl Completion {
    /// Waits until every file has been renamed or deleted.
    pub(crate) async fn wait(&self) {
        let Err(async_channel::RecvError) = self.0.recv().await;
    }
}

/// Writes the body of a response to a file on the blocking pool.
pub(crate) struct BodyWriter {
    runtime: Arc<dyn Runtime>,
    state: State,
}

/// The part of a [`BodyWriter`] that each write moves to the blocking pool.
struct State {
    path: PathBuf,
    file: Option<PartialFile>,
    /// Bytes that have not been written yet.
    buffer: Vec<u8>,
    // The last field, because [`Completion`] must wait until the file has been dropped.
    _open: Sender<Infallible>,
}

impl BodyWriter {
    /// Appends bytes to the body. Buffers them until there are enough for a write.
    pub(crate) async fn write(mut self, bytes: &[u8]) -> Result<Self, Error> {
        self.state.buffer.extend_from_slice(bytes);
        if self.state.buffer.len() < WRITE_SIZE {
            return Ok(self);
        }
        let runtime = self.runtime.clone();
        let state = self
            .run_blocking(|mut state| state.write().map(|()| state))
            .await?;
        Ok(Self { runtime, state })
    }

    /// Writes the buffered bytes and renames the file to its final path.
    pub(crate) async fn finish(self) -> Result<(), Error> {
        self.run_blocking(State::finish).await
    }

    /// Runs `work` on the blocking pool.
    async fn run_blocking<T, W>(self, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnOnce(State) -> io::Result<T> + Send + 'static,
    {
        let Self { runtime, state } = self;
        let context = format!("writing {}", state.path.display());
        let result = unblock(&*runtime, move || work(state)).await;
        result
            .unwrap_or_else(|error| Err(io::Error::other(error.to_string())))
            .map_err(|error| {
                Error::new(ErrorKind::Io)
                    .with_context(context)
                    .with_source(error)
            })
    }
}

impl State {
    fn write(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(PartialFile::create(&self.path)?),
        };
        file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.write()?;
        self.file.take().map_or(Ok(()), PartialFile::finish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_only_when_it_is_complete() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("page");
        let mut file = PartialFile::create(&path).unwrap();
        file.write_all(b"all").unwrap();
        assert!(!path.exists());
        file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"all");

        let mut partial = PartialFile::create(&path).unwrap();
        partial.write_all(b"ha").unwrap();
        drop(partial);
        assert_eq!(fs::read(&path).unwrap(), b"all");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_replaced_file_keeps_its_mode_and_its_symbolic_links() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("page"), directory.path().join("link"));
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        symlink(&path, &link).unwrap();
        let mut file = PartialFile::create(&link).unwrap();
        file.write_all(b"new").unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_written_to_and_not_replaced() {
        let mut target = ResponseOutput::open(Some(Path::new("/dev/null"))).unwrap();
        target.write(b"text").unwrap();
        assert!(matches!(target, ResponseOutput::Device(_)));
        target.finish().unwrap();
    }
}
