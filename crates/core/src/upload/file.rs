//! Request bodies from files. The runtime's blocking pool reads the files.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek};
use std::mem;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use sync_wrapper::SyncWrapper;

use crate::backend::fetch::BoxFuture;
use crate::backend::offload::missing_result_error;
use crate::backend::runtime::Runtime;
use crate::backend::task::{TaskError, unblock};
use crate::error::{Error, ErrorKind};
use crate::message::body::{Body, BodySource, PolledFrame, Reader};

/// The size of the largest read, in bytes. At most this much of the file is in memory.
const MAX_READ: usize = 64 * 1024;

impl Body {
    /// Creates a body from a file, which `runtime`'s blocking pool reads one chunk at a time.
    ///
    /// The length of the body is the file's length at the time of this call. The file is opened
    /// when the client reads the first chunk, so a request that waits for a permit has no open
    /// file.
    ///
    /// A regular file can be sent again. A file without a length, such as a pipe, is sent with
    /// chunked transfer coding and cannot be sent again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if the file does not exist or is a directory. The body fails with the same
    /// kind if the file cannot be read or has become shorter.
    pub async fn from_file(
        path: impl Into<PathBuf>,
        runtime: Arc<dyn Runtime>,
    ) -> Result<Self, Error> {
        let path = path.into();
        let metadata_path = path.clone();
        let found = unblock(&*runtime, move || fs::metadata(metadata_path)).await;
        let source = FileSource::Path(path.into());
        match found.map_err(missing_result_error)? {
            Ok(metadata) => {
                let len = metadata.is_file().then_some(metadata.len());
                Self::new_file_body(source, &metadata, len, runtime)
            }
            Err(error) => Err(read_error(&source, error)),
        }
    }

    /// Creates a body from an open file, from its current position to its current end. Otherwise,
    /// this function behaves like [`from_file`](Self::from_file).
    ///
    /// A regular file can be sent again. Reading does not move the file's position, except on
    /// Windows.
    ///
    /// # Errors
    ///
    /// The same as [`from_file`](Self::from_file).
    pub async fn from_open_file(file: File, runtime: Arc<dyn Runtime>) -> Result<Self, Error> {
        let found = unblock(&*runtime, move || {
            let metadata = file.metadata()?;
            let start = match metadata.is_file() {
                true => (&file).stream_position()?,
                false => 0,
            };
            Ok::<_, io::Error>((file, metadata, start))
        });
        match found.await.map_err(missing_result_error)? {
            Ok((file, metadata, start)) => {
                let file = Arc::new(file);
                if metadata.is_file() {
                    let len = metadata.len().saturating_sub(start);
                    return Self::new_file_body(
                        FileSource::At(file, start),
                        &metadata,
                        Some(len),
                        runtime,
                    );
                }
                Self::new_file_body(FileSource::Stream(file), &metadata, None, runtime)
            }
            Err(error) => Err(Error::new(ErrorKind::Io)
                .with_context("cannot read an open file")
                .with_source(error)),
        }
    }

    fn new_file_body(
        source: FileSource,
        metadata: &Metadata,
        len: Option<u64>,
        runtime: Arc<dyn Runtime>,
    ) -> Result<Self, Error> {
        if metadata.is_dir() {
            let error = io::Error::from(io::ErrorKind::IsADirectory);
            return Err(read_error(&source, error));
        }
        if len == Some(0) {
            return Ok(Self::empty());
        }
        Ok(Self::from_source(FileBody::new(source, len, runtime)))
    }
}

/// The file from which a body reads its bytes.
#[derive(Clone)]
enum FileSource {
    /// A file that is opened when it is read.
    Path(Arc<Path>),
    /// An open file, from this position.
    At(Arc<File>, u64),
    /// An open file without positions: a pipe.
    Stream(Arc<File>),
}

impl fmt::Display for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::At(..) | Self::Stream(_) => f.write_str("an open file"),
        }
    }
}

/// A body that is read from a file.
struct FileBody {
    source: FileSource,
    /// The length of the body in bytes. `None` for a file that is not regular.
    len: Option<u64>,
    /// The number of bytes that have not been read, if the length is known.
    left: Option<u64>,
    runtime: Arc<dyn Runtime>,
    state: State,
}

enum State {
    Idle(FileReader),
    Reading(SyncWrapper<BoxFuture<'static, ReadChunk>>),
    Ended,
}

type ReadChunk = Result<(FileReader, io::Result<Bytes>), TaskError>;

impl FileBody {
    fn new(source: FileSource, len: Option<u64>, runtime: Arc<dyn Runtime>) -> Self {
        Self {
            state: State::Idle(FileReader::new(source.clone(), len)),
            source,
            len,
            left: len,
            runtime,
        }
    }
}

impl BodySource for FileBody {
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        loop {
            match mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Poll::Ready(None),
                State::Idle(_) if self.left == Some(0) => return Poll::Ready(None),
                State::Idle(mut reader) => {
                    let read = unblock(&*self.runtime, move || {
                        let chunk = reader.read_chunk();
                        (reader, chunk)
                    });
                    self.state = State::Reading(SyncWrapper::new(Box::pin(read)));
                }
                State::Reading(mut reading) => {
                    let Poll::Ready(read) = reading.get_mut().as_mut().poll(cx) else {
                        self.state = State::Reading(reading);
                        return Poll::Pending;
                    };
                    let (reader, chunk) = read.map_err(missing_result_error)?;
                    let chunk = chunk.map_err(Error::from_read)?;
                    if chunk.is_empty() {
                        return Poll::Ready(None);
                    }
                    self.left = reader.left;
                    self.state = State::Idle(reader);
                    return Poll::Ready(Some(Ok(Frame::data(chunk))));
                }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }

    fn try_clone(&self) -> Option<Body> {
        self.len?;
        let (source, runtime) = (self.source.clone(), self.runtime.clone());
        Some(Body::from_source(Self::new(source, self.len, runtime)))
    }

    fn reader(&self) -> Option<Reader> {
        match &self.state {
            State::Idle(reader) if !reader.has_started => {
                Some(Box::new(FileReader::new(self.source.clone(), self.len)))
            }
            _ => None,
        }
    }
}

/// A reader of a file, up to the length of the body.
struct FileReader {
    source: FileSource,
    /// The open file, if `source` is a path.
    opened: Option<File>,
    has_started: bool,
    left: Option<u64>,
}

impl FileReader {
    fn new(source: FileSource, left: Option<u64>) -> Self {
        Self {
            source,
            opened: None,
            has_started: false,
            left,
        }
    }

    fn read_chunk(&mut self) -> io::Result<Bytes> {
        let size = self
            .left
            .map_or(MAX_READ, |left| left.min(MAX_READ as u64) as usize);
        let mut chunk = BytesMut::zeroed(size);
        let n = self.read(&mut chunk)?;
        chunk.truncate(n);
        Ok(chunk.freeze())
    }

    fn read_source(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.has_started = true;
        loop {
            let read = match &mut self.source {
                FileSource::At(file, position) => {
                    let read = read_at(file, buffer, *position);
                    *position += *read.as_ref().unwrap_or(&0) as u64;
                    read
                }
                FileSource::Stream(file) => (&**file).read(buffer),
                FileSource::Path(path) => match &mut self.opened {
                    Some(file) => file.read(buffer),
                    None => self.opened.insert(File::open(path)?).read(buffer),
                },
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

/// Each I/O error that reading returns contains an [`Error`].
impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let max_len = self
            .left
            .map_or(buffer.len(), |left| left.min(buffer.len() as u64) as usize);
        if max_len == 0 {
            return Ok(0);
        }
        let n = match self.read_source(&mut buffer[..max_len]) {
            Ok(0) if self.left.is_some() => {
                let error = Error::new(ErrorKind::Io);
                let context = format!("{} became shorter while it was sent", self.source);
                return Err(error.with_context(context).into());
            }
            Ok(n) => n,
            Err(error) => return Err(read_error(&self.source, error).into()),
        };
        self.left = self.left.map(|left| left - n as u64);
        Ok(n)
    }
}

/// Reads at a position and ignores the file's cursor, because all handles of the file share the
/// cursor. On Windows, the read moves the cursor, but this module does not use it.
#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, position)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, position)
}

fn read_error(source: &FileSource, error: io::Error) -> Error {
    Error::new(ErrorKind::Io)
        .with_context(format!("cannot read {source}"))
        .with_source(error)
}
