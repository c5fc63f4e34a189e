//! Files as bodies, read on the runtime's blocking pool.

use std::fs::{self, File};
use std::io::{self, Read};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::SizeHint;
use sync_wrapper::SyncWrapper;

use crate::body::{Body, Reader, Source};
use crate::error::{Error, ErrorKind};
use crate::fetch::BoxFuture;
use crate::offload::lost;
use crate::runtime::Runtime;
use crate::task::{TaskError, unblock};

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
        let metadata = found
            .map_err(lost)?
            .map_err(|error| unreadable(&path, error))?;
        if metadata.is_dir() {
            let error = io::Error::from(io::ErrorKind::IsADirectory);
            return Err(unreadable(&path, error));
        }
        let len = metadata.is_file().then_some(metadata.len());
        if len == Some(0) {
            return Ok(Self::empty());
        }
        Ok(Self::made(FileBody::new(path.into(), len, runtime)))
    }
}

struct FileBody {
    path: Arc<Path>,
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
    fn new(path: Arc<Path>, len: Option<u64>, runtime: Arc<dyn Runtime>) -> Self {
        Self {
            state: State::Idle(FileReader::new(path.clone(), len)),
            path,
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
        let (path, runtime) = (self.path.clone(), self.runtime.clone());
        Some(Body::made(Self::new(path, self.len, runtime)))
    }

    fn reader(&self) -> Option<Reader> {
        match &self.state {
            State::Idle(reader) if reader.file.is_none() => {
                Some(Box::new(FileReader::new(self.path.clone(), self.len)))
            }
            _ => None,
        }
    }
}

/// The file as it is read, as far as was promised.
struct FileReader {
    path: Arc<Path>,
    file: Option<File>,
    left: Option<u64>,
}

impl FileReader {
    fn new(path: Arc<Path>, left: Option<u64>) -> Self {
        Self {
            path,
            file: None,
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
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(File::open(&self.path)?),
        };
        loop {
            match file.read(buffer) {
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
                let path = self.path.display();
                let context = format!("{path} has become shorter while it was sent");
                return Err(error.with_context(context).into());
            }
            Ok(n) => n,
            Err(error) => return Err(unreadable(&self.path, error).into()),
        };
        self.left = self.left.map(|left| left - n as u64);
        Ok(n)
    }
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Io)
        .with_context(format!("cannot read {}", path.display()))
        .with_source(error)
}
