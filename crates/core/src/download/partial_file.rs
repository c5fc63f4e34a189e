//! A file that appears under its name only when it is complete.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::{NamedTempFile, TempPath};

use crate::backend::runtime::Runtime;
use crate::backend::task::blocking_work;
use crate::error::{Error, ErrorKind};
use crate::message::response::BlockingPool;

/// How many bytes are buffered before they are written. Each write is one call on the blocking pool.
pub(super) const WRITE_SIZE: usize = 256 * 1024;

/// The start and the end of temporary names.
const PREFIX: &str = ".inflight-";
const SUFFIX: &str = ".part";

/// The end of the name of a file that describes a partial file.
const DESCRIPTION_SUFFIX: &str = ".part.json";

/// A file that is written on a runtime's blocking pool, and appears under its name only when it is complete.
///
/// Until then, it has a temporary name in the same directory. Dropping the value before
/// [`finish`](Self::finish) deletes the temporary file. An existing file with the name stays unchanged until
/// `finish` replaces it. The new file gets the permissions of the existing file. If the name is a symbolic
/// link, `finish` replaces its target and keeps the link.
///
/// [`Response::save_to`](crate::Response::save_to) writes a whole response. Use this type if your program
/// also needs the bytes, for example to compute a digest.
///
/// ```
/// use std::sync::Arc;
///
/// use inflight_core::{BlockOn, Error, PartialFile};
/// use inflight_threads::Threads;
///
/// let directory = tempfile::tempdir()?;
/// let path = directory.path().join("page");
/// let threads = Threads::new();
/// threads.block_on(async {
///     let mut file = PartialFile::new(Arc::new(threads.clone()), &path);
///     file.write(b"all of ").await?;
///     assert!(!path.exists());
///     file.write(b"it").await?;
///     file.finish().await
/// })?;
/// assert_eq!(std::fs::read(&path)?, b"all of it");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PartialFile {
    pool: Arc<dyn BlockingPool>,
    /// `None` while a write is in progress, and after a failed write.
    content: Option<FileContent>,
}

/// The part of a [`PartialFile`] that each write moves to the blocking pool.
struct FileContent {
    path: PathBuf,
    /// `None` before the first write.
    file: Option<TemporaryFile>,
    /// Bytes that have not been written yet.
    buffer: Vec<u8>,
    // The last field, because it must be dropped after the file.
    guard: Option<Box<dyn Send + Sync>>,
}

impl PartialFile {
    /// Returns a file that is written on the blocking pool of `runtime`. Creates nothing before the first
    /// write.
    pub fn new(runtime: Arc<dyn Runtime>, path: impl Into<PathBuf>) -> Self {
        Self::on_pool(Arc::new(runtime), path.into())
    }

    pub(crate) fn on_pool(pool: Arc<dyn BlockingPool>, path: PathBuf) -> Self {
        Self {
            pool,
            content: Some(FileContent {
                path,
                file: None,
                buffer: Vec::new(),
                guard: None,
            }),
        }
    }

    /// Checks that a file can be created at `path`: creates a temporary file and deletes it. Blocks the
    /// thread.
    ///
    /// # Errors
    ///
    /// The error of the system, for example if the directory does not exist.
    pub fn check_writable(path: &Path) -> io::Result<()> {
        TemporaryFile::create(path).map(drop)
    }

    /// Keeps `guard` until the file has its name or is deleted.
    ///
    /// If the value is dropped during a write, the file is deleted after the write, on the blocking pool. A
    /// program that must wait for that, for example before it exits, can watch the guard.
    pub fn with_guard(mut self, guard: impl Send + Sync + 'static) -> Self {
        if let Some(content) = &mut self.content {
            content.guard = Some(Box::new(guard));
        }
        self
    }

    /// Appends bytes. Buffers them until there are 256 KiB.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if the file cannot be written, or if an earlier write failed or was cancelled.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the file cannot be completed.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let content = self.content.as_mut().ok_or_else(no_content_error)?;
        content.buffer.extend_from_slice(bytes);
        if content.buffer.len() < WRITE_SIZE {
            return Ok(());
        }
        let content = self
            .run(|mut content| content.write().map(|()| content))
            .await?;
        self.content = Some(content);
        Ok(())
    }

    /// Discards all bytes that were written so far.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if an earlier write failed or was cancelled.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the file cannot be completed.
    pub async fn restart(&mut self) -> Result<(), Error> {
        let discard = |mut content: FileContent| {
            content.buffer.clear();
            content.file = None;
            Ok(content)
        };
        self.content = Some(self.run(discard).await?);
        Ok(())
    }

    /// Writes the buffered bytes and gives the file its name.
    ///
    /// # Errors
    ///
    /// The same as [`write`](Self::write).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the file may or may not appear.
    pub async fn finish(self) -> Result<(), Error> {
        self.finish_with(CompleteFile::persist).await
    }

    /// Writes the buffered bytes, and calls `commit` on the blocking pool to give the file its name.
    ///
    /// Use this method if the name is known only at the end, or if no existing file may be replaced.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use inflight_core::{BlockOn, Error, PartialFile};
    /// # use inflight_threads::Threads;
    /// let directory = tempfile::tempdir()?;
    /// let names = ["page", "page-2"].map(|name| directory.path().join(name));
    /// std::fs::write(&names[0], "an older page")?;
    /// let [first, second] = names.clone();
    /// # let threads = Threads::new();
    /// # threads.block_on(async {
    /// let mut file = PartialFile::new(Arc::new(threads.clone()), &first);
    /// file.write(b"a page").await?;
    /// file.finish_with(move |mut file| match file.persist_new(&first)? {
    ///     true => Ok(()),
    ///     false => file.persist_new(&second).map(|_| ()),
    /// })
    /// .await
    /// # })?;
    /// assert_eq!(std::fs::read(&names[0])?, b"an older page");
    /// assert_eq!(std::fs::read(&names[1])?, b"a page");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The same as [`write`](Self::write), and an error of `commit`.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, `commit` may or may not be called.
    pub async fn finish_with<T, C>(mut self, commit: C) -> Result<T, Error>
    where
        T: Send + 'static,
        C: FnOnce(CompleteFile) -> io::Result<T> + Send + 'static,
    {
        self.run(|content| commit(content.complete()?)).await
    }

    /// Deletes the temporary files that killed programs have left in `directory`, and returns their number.
    /// Blocks the thread.
    ///
    /// A program locks its temporary files while it writes them, so this function deletes no file that is in
    /// use. It also deletes the partial files of downloads that could be continued. To keep a file, return
    /// `true` from `keep`, which receives the name of the file. The function ignores files that it cannot
    /// delete.
    ///
    /// # Errors
    ///
    /// The error of the system if the directory cannot be read.
    pub fn remove_abandoned(
        directory: &Path,
        mut keep: impl FnMut(&OsStr) -> bool,
    ) -> io::Result<usize> {
        let mut removed = 0;
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let bytes = name.as_encoded_bytes();
            if !bytes.starts_with(PREFIX.as_bytes()) {
                continue;
            }
            // Deletes a description if its partial file does not exist.
            if bytes.ends_with(DESCRIPTION_SUFFIX.as_bytes()) {
                let partial = entry.path().with_extension("");
                if !partial.exists() {
                    let _ = fs::remove_file(entry.path());
                }
                continue;
            }
            let is_temporary = bytes.ends_with(SUFFIX.as_bytes());
            // Does not follow symbolic links.
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            if is_temporary && is_file && !keep(&name) && remove_unlocked(&entry.path()) {
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Runs `work` on the blocking pool.
    async fn run<T, W>(&mut self, work: W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: FnOnce(FileContent) -> io::Result<T> + Send + 'static,
    {
        let content = self.content.take().ok_or_else(no_content_error)?;
        let path = content.path.clone();
        write_on_pool(&*self.pool, &path, move || work(content)).await
    }
}

/// Runs `work`, which writes the file at `path`, on the blocking pool.
pub(super) async fn write_on_pool<T, W>(
    pool: &dyn BlockingPool,
    path: &Path,
    work: W,
) -> Result<T, Error>
where
    T: Send + 'static,
    W: FnOnce() -> io::Result<T> + Send + 'static,
{
    let (work, result) = blocking_work(work);
    pool.run_blocking(work);
    let result = result
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error.to_string())));
    result.map_err(|error| {
        Error::new(ErrorKind::Io)
            .with_context(format!("writing {}", path.display()))
            .with_source(error)
    })
}

impl BlockingPool for Arc<dyn Runtime> {
    fn run_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        (**self).spawn_blocking(work);
    }
}

pub(super) fn no_content_error() -> Error {
    Error::new(ErrorKind::Io).with_context("an earlier write to the file failed or was cancelled")
}

impl FileContent {
    fn write(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(TemporaryFile::create(&self.path)?),
        };
        file.0.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn complete(mut self) -> io::Result<CompleteFile> {
        self.write()?;
        let file = self.file.take().ok_or(io::ErrorKind::NotFound)?;
        let (lock, temporary) = file.0.into_parts();
        Ok(CompleteFile {
            temporary: Some(temporary),
            path: file.1,
            _lock: Some(lock),
            _guard: self.guard.take(),
        })
    }
}

impl fmt::Debug for PartialFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartialFile")
            .field("path", &self.content.as_ref().map(|content| &content.path))
            .finish_non_exhaustive()
    }
}

/// A complete file under a temporary name. Created by [`PartialFile::finish_with`] and
/// [`RequestBuilder::resume_with`](crate::RequestBuilder::resume_with).
///
/// Its methods block the thread. Dropping the value deletes the file, unless the file has its name or belongs
/// to a download that can be continued.
///
/// For an example, see [`PartialFile::finish_with`].
pub struct CompleteFile {
    // `None` when the file has its name.
    temporary: Option<TempPath>,
    path: PathBuf,
    _lock: Option<File>,
    // The last field, because it must be dropped after the file.
    _guard: Option<Box<dyn Send + Sync>>,
}

impl CompleteFile {
    /// Takes over the partial file of a download that can be continued. Dropping the value keeps the file.
    pub(super) fn kept_on_drop(temporary: PathBuf, path: PathBuf) -> io::Result<Self> {
        let mut temporary = TempPath::try_from_path(temporary)?;
        temporary.disable_cleanup(true);
        Ok(Self {
            temporary: Some(temporary),
            path,
            _lock: None,
            _guard: None,
        })
    }

    /// Renames the file to the path that was passed to [`PartialFile::new`] or
    /// [`resume_with`](crate::RequestBuilder::resume_with), and replaces an existing file.
    ///
    /// # Errors
    ///
    /// The error of the system. The value is then dropped.
    pub fn persist(self) -> io::Result<()> {
        let path = self.path.clone();
        self.persist_to(&path)
    }

    /// Renames the file to another path in the same file system, and replaces an existing file.
    ///
    /// # Errors
    ///
    /// The error of the system. The value is then dropped.
    pub fn persist_to(mut self, path: &Path) -> io::Result<()> {
        match self.temporary.take() {
            Some(temporary) => Ok(temporary.persist(path)?),
            None => Ok(()),
        }
    }

    /// Renames the file to another path in the same file system, unless a file exists there. Returns whether
    /// the file was renamed. If it was not, you can try another path.
    ///
    /// # Errors
    ///
    /// The error of the system.
    pub fn persist_new(&mut self, path: &Path) -> io::Result<bool> {
        let Some(temporary) = self.temporary.take() else {
            return Ok(true);
        };
        let Err(failed) = temporary.persist_noclobber(path) else {
            return Ok(true);
        };
        self.temporary = Some(failed.path);
        match failed.error.kind() {
            io::ErrorKind::AlreadyExists => Ok(false),
            _ => Err(failed.error),
        }
    }

    /// Returns the temporary path of the file, or `None` if the file has its name.
    pub fn temporary_path(&self) -> Option<&Path> {
        self.temporary.as_deref()
    }
}

impl fmt::Debug for CompleteFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompleteFile")
            .field("temporary", &self.temporary)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Deletes a temporary file, and its description if it has one. Returns `false` if a program uses the file or if
/// the file cannot be deleted.
fn remove_unlocked(path: &Path) -> bool {
    let Ok(file) = File::open(path) else {
        return false;
    };
    // Also keeps the file if its file system has no locks.
    if file.try_lock().is_err() || fs::remove_file(path).is_err() {
        return false;
    }
    let mut description = path.as_os_str().to_owned();
    description.push(".json");
    let _ = fs::remove_file(description);
    true
}

/// A file under a temporary name, and its final path. Dropping the value deletes the file.
struct TemporaryFile(NamedTempFile, PathBuf);

impl TemporaryFile {
    /// Creates a temporary file in the directory of `path`.
    fn create(path: &Path) -> io::Result<Self> {
        let (path, permissions) = resolve_target(path)?;
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).suffix(SUFFIX);
        // The usual mode of a new file. The default of `tempfile` lets only the owner read the file.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let temporary = builder
            .tempfile_in(directory)
            .map_err(without_temporary_path)?;
        // Shows `remove_abandoned` that the file is in use. Some file systems have no locks.
        let _ = temporary.as_file().try_lock();
        if let Some(permissions) = permissions {
            temporary.as_file().set_permissions(permissions)?;
        }
        Ok(Self(temporary, path))
    }
}

/// Returns the path for the complete file, and the permissions of the file that it replaces.
pub(super) fn resolve_target(path: &Path) -> io::Result<(PathBuf, Option<fs::Permissions>)> {
    // Follows a symbolic link, so that the link remains and its target is replaced.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let permissions = match fs::metadata(&path) {
        Ok(old) if old.is_file() => Some(old.permissions()),
        Ok(_) => return Err(not_a_regular_file()),
        Err(_) => None,
    };
    Ok((path, permissions))
}

pub(super) fn not_a_regular_file() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "it exists and is not a regular file",
    )
}

/// Removes the temporary path from an error, because the user does not know this path.
fn without_temporary_path(error: io::Error) -> io::Error {
    let cause = error.get_ref().and_then(|inner| inner.source());
    match cause.map(ToString::to_string) {
        Some(cause) => io::Error::new(error.kind(), cause),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(path: &Path, bytes: &[u8]) -> FileContent {
        let mut content = FileContent {
            path: path.to_owned(),
            file: None,
            buffer: bytes.to_owned(),
            guard: None,
        };
        content.write().unwrap();
        content
    }

    #[test]
    fn a_file_appears_only_when_it_is_complete() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("page");
        let file = content(&path, b"all");
        assert!(!path.exists());
        file.complete().unwrap().persist().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"all");

        drop(content(&path, b"ha"));
        assert_eq!(fs::read(&path).unwrap(), b"all");
        drop(content(&path, b"other").complete().unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"all");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_existing_file_is_replaced_only_on_request() {
        let directory = tempfile::tempdir().unwrap();
        let paths = ["page", "page-2"].map(|name| directory.path().join(name));
        fs::write(&paths[0], "old").unwrap();
        let mut file = content(&paths[0], b"new").complete().unwrap();
        assert!(!file.persist_new(&paths[0]).unwrap());
        assert!(file.temporary_path().unwrap().exists());
        assert!(file.persist_new(&paths[1]).unwrap());
        assert_eq!(file.temporary_path(), None);
        drop(file);
        assert_eq!(fs::read(&paths[0]).unwrap(), b"old");
        assert_eq!(fs::read(&paths[1]).unwrap(), b"new");

        let kept = |path: &PathBuf| CompleteFile::kept_on_drop(path.clone(), paths[0].clone());
        drop(kept(&paths[1]).unwrap());
        kept(&paths[1]).unwrap().persist().unwrap();
        assert_eq!(fs::read(&paths[0]).unwrap(), b"new");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_temporary_files_that_no_program_uses_are_abandoned() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("page");
        let in_use = content(&path, b"half");
        for name in [
            ".inflight-a.part",
            ".inflight-000007.part",
            ".inflight-a.part.json",
            ".inflight-b.part.json",
            "page.part",
        ] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let removed =
            PartialFile::remove_abandoned(directory.path(), |name| name == ".inflight-000007.part");
        assert_eq!(removed.unwrap(), 1);
        in_use.complete().unwrap().persist().unwrap();
        let names = fs::read_dir(directory.path()).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".inflight-000007.part", "page", "page.part"]);
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
        content(&link, b"new")
            .complete()
            .unwrap()
            .persist()
            .unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
