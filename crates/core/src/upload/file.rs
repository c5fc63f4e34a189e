//! Files as bodies, read on the runtime's blocking pool.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::SizeHint;
use sync_wrapper::SyncWrapper;

use crate::backend::fetch::BoxFuture;
use crate::backend::offload::lost;
use crate::backend::runtime::Runtime;
use crate::backend::task::{TaskError, unblock};
use crate::error::{Error, ErrorKind};
use crate::message::body::{Body, Reader, Source};

/// How much one read takes at most: all of the file that is in memory at once.
const READ: usize = 64 * 1024;

impl Body {
    /// A file, of which one piece is in memory at a time. Its length, as of now, is the body's;
    /// it is opened when the first piece is wanted, so that a request that waits for its turn
    /// holds no file open. It is read on `runtime`'s blocking pool.
    ///
    /// A file can be sent again. What has no length, as a pipe, is sent in chunks, and once.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] when there is no such file, or it is a directory. The body fails with
    /// it when the file cannot be read, or has become shorter.
    pub async fn from_file(
        path: impl Into<PathBuf>,
        runtime: Arc<dyn Runtime>,
    ) -> Result<Self, Error> {
        let path = path.into();
        let asked = path.clone();
        let found = unblock(&*runtime, move || fs::metadata(asked)).await;
        let place = Place::Path(path.into());
        match found.map_err(lost)? {
            Ok(metadata) => {
                let len = metadata.is_file().then_some(metadata.len());
                Self::of_file(place, &metadata, len, runtime)
            }
            Err(error) => Err(unreadable(&place, error)),
        }
    }

    /// A file that is open already, from where it stands to the end that it has now; otherwise as
    /// [`from_file`](Self::from_file). A file can be sent again, and where it stands is not changed but on
    /// Windows.
    ///
    /// # Errors
    ///
    /// As [`from_file`](Self::from_file).
    pub async fn from_open_file(file: File, runtime: Arc<dyn Runtime>) -> Result<Self, Error> {
        let found = unblock(&*runtime, move || {
            let metadata = file.metadata()?;
            let start = match metadata.is_file() {
                true => (&file).stream_position()?,
                false => 0,
            };
            Ok::<_, io::Error>((file, metadata, start))
        });
        match found.await.map_err(lost)? {
            Ok((file, metadata, start)) => {
                let file = Arc::new(file);
                if metadata.is_file() {
                    let len = metadata.len().saturating_sub(start);
                    return Self::of_file(Place::At(file, start), &metadata, Some(len), runtime);
                }
                Self::of_file(Place::Stream(file), &metadata, None, runtime)
            }
            Err(error) => Err(Error::new(ErrorKind::Io)
                .with_context("cannot read an open file")
                .with_source(error)),
        }
    }

    fn of_file(
        place: Place,
        metadata: &Metadata,
        len: Option<u64>,
        runtime: Arc<dyn Runtime>,
    ) -> Result<Self, Error> {
        if metadata.is_dir() {
            let error = io::Error::from(io::ErrorKind::IsADirectory);
            return Err(unreadable(&place, error));
        }
        if len == Some(0) {
            return Ok(Self::empty());
        }
        Ok(Self::made(FileBody::new(place, len, runtime)))
    }
}

/// Where a body's bytes are.
#[derive(Clone)]
enum Place {
    /// In a file that is opened when it is read.
    Path(Arc<Path>),
    /// In an open one, from this position.
    At(Arc<File>, u64),
    /// In what is open and has no positions: a pipe.
    Stream(Arc<File>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::At(..) | Self::Stream(_) => f.write_str("an open file"),
        }
    }
}

struct FileBody {
    place: Place,
    /// `None` of what is no regular file.
    len: Option<u64>,
    left: Option<u64>,
    runtime: Arc<dyn Runtime>,
    state: State,
}

enum State {
    Idle(FileReader),
    Reading(SyncWrapper<BoxFuture<'static, Piece>>),
    Ended,
}

type Piece = Result<(FileReader, io::Result<Bytes>), TaskError>;

impl FileBody {
    fn new(place: Place, len: Option<u64>, runtime: Arc<dyn Runtime>) -> Self {
        Self {
            state: State::Idle(FileReader::new(place.clone(), len)),
            place,
            len,
            left: len,
            runtime,
        }
    }
}

impl Source for FileBody {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        loop {
            match mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Poll::Ready(None),
                State::Idle(_) if self.left == Some(0) => return Poll::Ready(None),
                State::Idle(mut reader) => {
                    let read = unblock(&*self.runtime, move || {
                        let piece = reader.read_piece();
                        (reader, piece)
                    });
                    self.state = State::Reading(SyncWrapper::new(Box::pin(read)));
                }
                State::Reading(mut reading) => {
                    let Poll::Ready(read) = reading.get_mut().as_mut().poll(cx) else {
                        self.state = State::Reading(reading);
                        return Poll::Pending;
                    };
                    let (reader, piece) = read.map_err(lost)?;
                    let piece = piece.map_err(Error::from_read)?;
                    if piece.is_empty() {
                        return Poll::Ready(None);
                    }
                    self.left = reader.left;
                    self.state = State::Idle(reader);
                    return Poll::Ready(Some(Ok(piece)));
                }
            }
        }
    }

    fn left(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }

    fn again(&self) -> Option<Body> {
        self.len?;
        let (place, runtime) = (self.place.clone(), self.runtime.clone());
        Some(Body::made(Self::new(place, self.len, runtime)))
    }

    fn reader(&self) -> Option<Reader> {
        match &self.state {
            State::Idle(reader) if !reader.begun => {
                Some(Box::new(FileReader::new(self.place.clone(), self.len)))
            }
            _ => None,
        }
    }
}

/// The file as it is read, as far as was promised.
struct FileReader {
    place: Place,
    opened: Option<File>,
    begun: bool,
    left: Option<u64>,
}

impl FileReader {
    fn new(place: Place, left: Option<u64>) -> Self {
        Self {
            place,
            opened: None,
            begun: false,
            left,
        }
    }

    fn read_piece(&mut self) -> io::Result<Bytes> {
        let room = self
            .left
            .map_or(READ, |left| left.min(READ as u64) as usize);
        let mut piece = BytesMut::zeroed(room);
        let n = self.read(&mut piece)?;
        piece.truncate(n);
        Ok(piece.freeze())
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.begun = true;
        loop {
            let read = match &mut self.place {
                Place::At(file, position) => {
                    let read = read_at(file, buffer, *position);
                    *position += *read.as_ref().unwrap_or(&0) as u64;
                    read
                }
                Place::Stream(file) => (&**file).read(buffer),
                Place::Path(path) => match &mut self.opened {
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

/// Its errors are ours, within I/O's.
impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self
            .left
            .map_or(buffer.len(), |left| left.min(buffer.len() as u64) as usize);
        if most == 0 {
            return Ok(0);
        }
        let n = match self.read_some(&mut buffer[..most]) {
            Ok(0) if self.left.is_some() => {
                let error = Error::new(ErrorKind::Io);
                let context = format!("{} has become shorter while it was sent", self.place);
                return Err(error.with_context(context).into());
            }
            Ok(n) => n,
            Err(error) => return Err(unreadable(&self.place, error).into()),
        };
        self.left = self.left.map(|left| left - n as u64);
        Ok(n)
    }
}

/// Reads without the position that the file shares with its other handles, except on Windows,
/// where it is moved and yet read by nobody here.
#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, position)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], position: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, position)
}

fn unreadable(place: &Place, error: io::Error) -> Error {
    Error::new(ErrorKind::Io)
        .with_context(format!("cannot read {place}"))
        .with_source(error)
}
