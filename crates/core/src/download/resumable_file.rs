//! A partial file that a later download continues.
//!
//! Next to a file `book.pdf`, the bytes are in `book.pdf.part`, and what identifies their representation is in
//! `book.pdf.part.json`. The order of the writes ensures that the bytes always belong to this
//! representation: a download of another representation first empties the partial file, then writes the
//! description, then the bytes.

use std::ffi::OsString;
#[cfg(unix)]
use std::fs::TryLockError;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::partial_file::{
    CompleteFile, WRITE_SIZE, no_content_error, not_a_regular_file, resolve_target, write_on_pool,
};
use super::representation::Representation;
use crate::error::Error;
use crate::message::response::BlockingPool;

/// How often, and with which pause, a download tries to lock the partial file. A download that was dropped
/// may still write its last bytes.
const LOCK_ATTEMPTS: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A partial file. It is locked, so only one download writes to it.
///
/// Dropping the value keeps the partial file if a later download can continue it, and deletes it otherwise.
pub(crate) struct ResumableFile {
    pool: Arc<dyn BlockingPool>,
    path: PathBuf,
    /// `None` while a write is in progress, and after a failed write.
    content: Option<PartContent>,
    /// How many bytes of `representation` the file has, including the buffered bytes.
    position: u64,
    representation: Option<Representation>,
}

impl ResumableFile {
    /// Opens and locks the partial file for `path`, or creates it. If it has bytes of another URL, they are
    /// kept until `restart`.
    pub(crate) async fn open(
        pool: Arc<dyn BlockingPool>,
        path: PathBuf,
        url: &str,
    ) -> Result<Self, Error> {
        let target = path.clone();
        let (content, representation) =
            write_on_pool(&*pool, &path, move || PartContent::open(&target)).await?;
        let representation = representation.filter(|known| known.url == url);
        Ok(Self {
            pool,
            path,
            position: match representation {
                Some(_) => content.written,
                None => 0,
            },
            content: Some(content),
            representation,
        })
    }

    /// Returns the number of bytes of the file so far.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn representation(&self) -> Option<&Representation> {
        self.representation.as_ref()
    }

    /// Sets the length of the representation, which the first response did not contain.
    pub(crate) fn set_total(&mut self, total: Option<u64>) {
        if let Some(representation) = &mut self.representation {
            representation.total = total;
        }
    }

    /// Empties the file, so that bytes of this representation can be appended.
    pub(crate) async fn restart(&mut self, representation: Representation) -> Result<(), Error> {
        self.position = 0;
        self.representation = Some(representation.clone());
        self.run(move |content| content.restart(&representation))
            .await
    }

    /// Empties the file. Dropping the value then deletes it.
    pub(crate) async fn clear(&mut self) -> Result<(), Error> {
        self.position = 0;
        self.representation = None;
        self.run(PartContent::clear).await
    }

    /// Appends bytes. Buffers them until there are 256 KiB.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let content = self.content.as_mut().ok_or_else(no_content_error)?;
        content.buffer.extend_from_slice(bytes);
        self.position += bytes.len() as u64;
        match content.buffer.len() < WRITE_SIZE {
            true => Ok(()),
            false => self.flush().await,
        }
    }

    /// Writes the buffered bytes.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        let content = self.content.as_ref().ok_or_else(no_content_error)?;
        match content.buffer.is_empty() {
            true => Ok(()),
            false => self.run(PartContent::write).await,
        }
    }

    /// Calls `commit`, which gives the complete file its name. Keeps the partial file if it gets no name.
    pub(crate) async fn finish_with<T, C>(mut self, commit: C) -> Result<T, Error>
    where
        T: Send + 'static,
        C: FnOnce(CompleteFile) -> io::Result<T> + Send + 'static,
    {
        let mut content = self.content.take().ok_or_else(no_content_error)?;
        write_on_pool(&*self.pool, &self.path, move || content.finish_with(commit)).await
    }

    /// Runs `work` on the blocking pool.
    async fn run<W>(&mut self, work: W) -> Result<(), Error>
    where
        W: FnOnce(&mut PartContent) -> io::Result<()> + Send + 'static,
    {
        let mut content = self.content.take().ok_or_else(no_content_error)?;
        let work = move || work(&mut content).map(|()| content);
        let written = write_on_pool(&*self.pool, &self.path, work);
        self.content = Some(written.await?);
        Ok(())
    }
}

/// The part of a [`ResumableFile`] that each write moves to the blocking pool.
struct PartContent {
    paths: Paths,
    /// The locked partial file. Its position is its end.
    file: File,
    /// The permissions of the file that the complete file replaces.
    permissions: Option<fs::Permissions>,
    written: u64,
    buffer: Vec<u8>,
    /// Whether a later download can continue the partial file.
    is_resumable: bool,
    is_finished: bool,
}

struct Paths {
    target: PathBuf,
    part: PathBuf,
    description: PathBuf,
}

impl Paths {
    fn of(target: PathBuf) -> Self {
        let with_suffix = |suffix: &str| {
            let mut path = OsString::from(&target);
            path.push(suffix);
            PathBuf::from(path)
        };
        Self {
            part: with_suffix(".part"),
            description: with_suffix(".part.json"),
            target,
        }
    }
}

impl PartContent {
    fn open(target: &Path) -> io::Result<(Self, Option<Representation>)> {
        let (target, permissions) = resolve_target(target)?;
        let paths = Paths::of(target);
        let mut file = lock(&paths.part)?;
        if !file.metadata()?.is_file() {
            return Err(not_a_regular_file());
        }
        // A file that only its owner may read must not be readable by others meanwhile. A read-only partial
        // file could not be opened again.
        if let Some(permissions) = permissions.clone().filter(|old| !old.readonly()) {
            file.set_permissions(permissions)?;
        }
        let written = file.seek(SeekFrom::End(0))?;
        // A description that is missing or incomplete describes no bytes.
        let representation = fs::read(&paths.description)
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok());
        let content = Self {
            paths,
            file,
            permissions,
            written,
            buffer: Vec::new(),
            is_resumable: true,
            is_finished: false,
        };
        Ok((content, representation))
    }

    fn clear(&mut self) -> io::Result<()> {
        self.buffer.clear();
        self.file.set_len(0)?;
        self.written = 0;
        self.file.rewind()
    }

    fn restart(&mut self, representation: &Representation) -> io::Result<()> {
        self.clear()?;
        self.is_resumable = representation.validator.is_some();
        if !self.is_resumable {
            return remove(&self.paths.description);
        }
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        // The URL may contain secrets.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut description = options.open(&self.paths.description)?;
        description.write_all(&serde_json::to_vec(representation)?)
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish_with<T>(
        &mut self,
        commit: impl FnOnce(CompleteFile) -> io::Result<T>,
    ) -> io::Result<T> {
        self.write()?;
        if let Some(permissions) = self.permissions.take() {
            self.file.set_permissions(permissions)?;
        }
        // The name must not appear before the bytes, even if the system crashes.
        self.file.sync_all()?;
        let paths = &self.paths;
        let file = CompleteFile::kept_on_drop(paths.part.clone(), paths.target.clone())?;
        let value = commit(file)?;
        if !self.paths.part.exists() {
            self.is_finished = true;
            remove(&self.paths.description)?;
        }
        Ok(value)
    }
}

impl Drop for PartContent {
    fn drop(&mut self) {
        let is_useful = self.is_resumable && self.written > 0;
        if self.is_finished || is_useful {
            return;
        }
        // Ignores errors, because the next download empties the file.
        for path in [&self.paths.part, &self.paths.description] {
            let _ = remove(path);
        }
    }
}

/// Deletes a file, if it exists.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Opens a file for this download alone. Fails if another download writes to the file.
fn lock(path: &Path) -> io::Result<File> {
    for _ in 0..LOCK_ATTEMPTS {
        if let Some(file) = try_lock(path)? {
            return Ok(file);
        }
        thread::sleep(LOCK_PAUSE);
    }
    Err(io::Error::new(
        io::ErrorKind::ResourceBusy,
        "another download writes to the partial file",
    ))
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options
}

/// Returns `None` if another download has the file. The system releases the lock when the file is closed or
/// the process ends.
#[cfg(unix)]
fn try_lock(path: &Path) -> io::Result<Option<File>> {
    use std::os::unix::fs::MetadataExt;

    let file = options().open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Another download may have renamed or deleted the file before the lock.
    let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let locked = id(file.metadata()?);
    let is_current = fs::metadata(path).is_ok_and(|current| id(current) == locked);
    Ok(is_current.then_some(file))
}

#[cfg(windows)]
fn try_lock(path: &Path) -> io::Result<Option<File>> {
    use std::os::windows::fs::OpenOptionsExt;

    // Other processes may rename and delete the file, and not open it.
    const FILE_SHARE_DELETE: u32 = 4;
    const ERROR_SHARING_VIOLATION: i32 = 32;
    match options().share_mode(FILE_SHARE_DELETE).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.raw_os_error() == Some(ERROR_SHARING_VIOLATION) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    /// Each download deletes or renames the file before it releases the lock. Another one may have opened the
    /// file before that.
    #[test]
    fn the_locked_file_is_the_one_that_has_the_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("book.part");
        let contend = || {
            let mut locks = 0;
            while locks < 1000 {
                let Some(file) = try_lock(&path).unwrap() else {
                    continue;
                };
                let named = fs::metadata(&path).map(|named| named.ino()).ok();
                assert_eq!(named, Some(file.metadata().unwrap().ino()));
                fs::remove_file(&path).unwrap();
                locks += 1;
            }
        };
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(contend);
            }
        });
    }

    #[test]
    fn a_locked_file_cannot_be_locked_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("book.part");
        let file = try_lock(&path).unwrap();
        assert!(file.is_some());
        assert!(try_lock(&path).unwrap().is_none());
        drop(file);
        assert!(try_lock(&path).unwrap().is_some());
    }
}
