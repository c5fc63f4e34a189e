//! Files that appear when they are complete.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_channel::{Receiver, Sender};
use inflight::bytes::Bytes;
use inflight::{Error, ErrorKind, Runtime, unblock};
use tempfile::NamedTempFile;

use crate::exit::Stop;

/// How much of a body is gathered before it is written: one call to the blocking pool for each.
const WRITE: usize = 256 * 1024;

/// A file under a temporary name beside its own. Dropped before it is complete, it is deleted.
pub(crate) struct Unfinished {
    temporary: NamedTempFile,
    path: PathBuf,
}

impl Unfinished {
    /// A new file that will be at `path`, in the place of what is there then.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        // Through a link, so that the link stays and its target is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(".inflight-").suffix(".part");
        // As any new file, and not as a secret.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let temporary = builder.tempfile_in(directory).map_err(unnamed)?;
        if let Ok(old) = fs::metadata(&path) {
            temporary.as_file().set_permissions(old.permissions())?;
        }
        Ok(Self { temporary, path })
    }

    /// The file is complete: it gets its name.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.temporary.persist(&self.path)?;
        Ok(())
    }
}

/// The system's error, without the temporary name that nobody has asked about.
fn unnamed(error: io::Error) -> io::Error {
    let cause = error.get_ref().and_then(|inner| inner.source());
    match cause.map(ToString::to_string) {
        Some(cause) => io::Error::new(error.kind(), cause),
        None => error,
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.temporary.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.temporary.flush()
    }
}

/// A file that is written as asked: in one step where it is a file, directly where it is a
/// pipe or a device, which nobody wants replaced.
pub(crate) enum Target {
    New(Unfinished),
    Direct(File),
}

impl Target {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        match fs::metadata(path) {
            Ok(there) if there.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Ok(there) if !there.is_file() => {
                Ok(Self::Direct(File::options().write(true).open(path)?))
            }
            _ => Ok(Self::New(Unfinished::create(path)?)),
        }
    }

    pub(crate) fn finish(self) -> io::Result<()> {
        match self {
            Self::New(file) => file.finish(),
            Self::Direct(_) => Ok(()),
        }
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::New(file) => file.write(bytes),
            Self::Direct(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::New(file) => file.flush(),
            Self::Direct(file) => file.flush(),
        }
    }
}

/// A directory with a file for each index.
#[derive(Clone)]
pub(crate) struct Directory {
    path: Arc<Path>,
    unfinished: Sender<Infallible>,
}

/// Knows when nobody holds a [`Directory`] or one of its files any more.
pub(crate) struct Finished(Receiver<Infallible>);

impl Directory {
    /// Takes the directory, created if need be, and makes sure that it can be written to.
    pub(crate) fn open(path: PathBuf) -> Result<(Self, Finished), Stop> {
        fs::create_dir_all(&path)
            .and_then(|()| Unfinished::create(&path.join("000000")))
            .map_err(|error| {
                Stop::usage(format_args!("cannot write to {}: {error}", path.display()))
            })?;
        let (unfinished, finished) = async_channel::bounded(1);
        let directory = Self {
            path: path.into(),
            unfinished,
        };
        Ok((directory, Finished(finished)))
    }

    /// The body of this index, to be written on the runtime's blocking pool.
    pub(crate) fn file(&self, index: usize, runtime: Arc<dyn Runtime>) -> Saving {
        Saving {
            runtime,
            state: State {
                path: self.path.join(format!("{index:06}")),
                file: None,
                waiting: Vec::new(),
                len: 0,
                _unfinished: self.unfinished.clone(),
            },
        }
    }
}

impl Finished {
    /// Completes when every file has its name or is deleted.
    pub(crate) async fn wait(&self) {
        let Err(async_channel::RecvError) = self.0.recv().await;
    }
}

/// A file that is written beside the event loop.
pub(crate) struct Saving {
    runtime: Arc<dyn Runtime>,
    state: State,
}

struct State {
    path: PathBuf,
    file: Option<Unfinished>,
    waiting: Vec<Bytes>,
    /// How many bytes wait to be written.
    len: usize,
    // The last field: dropped after the file.
    _unfinished: Sender<Infallible>,
}

impl Saving {
    /// Adds to the file, sooner or later.
    pub(crate) async fn write(mut self, bytes: Bytes) -> Result<Self, Error> {
        self.state.len += bytes.len();
        self.state.waiting.push(bytes);
        if self.state.len < WRITE {
            return Ok(self);
        }
        let runtime = self.runtime.clone();
        let state = self
            .beside(|mut state| state.write().map(|()| state))
            .await?;
        Ok(Self { runtime, state })
    }

    /// Writes what is left and gives the file its name.
    pub(crate) async fn finish(self) -> Result<(), Error> {
        self.beside(State::finish).await
    }

    /// Works with the file on the blocking pool.
    async fn beside<T, W>(self, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnOnce(State) -> io::Result<T> + Send + 'static,
    {
        let Self { runtime, state } = self;
        let context = format!("writing {}", state.path.display());
        let done = unblock(&*runtime, move || work(state)).await;
        done.unwrap_or_else(|lost| Err(io::Error::other(lost.to_string())))
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
            none => none.insert(Unfinished::create(&self.path)?),
        };
        self.len = 0;
        self.waiting
            .drain(..)
            .try_for_each(|bytes| file.write_all(&bytes))
    }

    fn finish(mut self) -> io::Result<()> {
        self.write()?;
        self.file.take().map_or(Ok(()), Unfinished::finish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_when_it_is_finished_and_not_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("page");
        let mut file = Unfinished::create(&path).unwrap();
        file.write_all(b"all").unwrap();
        assert!(!path.exists());
        file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"all");

        let mut half = Unfinished::create(&path).unwrap();
        half.write_all(b"ha").unwrap();
        drop(half);
        assert_eq!(fs::read(&path).unwrap(), b"all");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_replaced_file_keeps_its_mode_and_its_links() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("page"), directory.path().join("link"));
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        symlink(&path, &link).unwrap();
        let mut file = Unfinished::create(&link).unwrap();
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
    fn a_device_is_written_and_not_replaced() {
        let mut target = Target::create(Path::new("/dev/null")).unwrap();
        target.write_all(b"gone").unwrap();
        assert!(matches!(target, Target::Direct(_)));
        target.finish().unwrap();
    }
}
