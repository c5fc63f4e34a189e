//! The bodies of requests and responses.

use std::fmt;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_core::Stream;
use futures_util::future::poll_fn;
use http_body::{Body as _, Frame, SizeHint};
use pin_project_lite::pin_project;
use sync_wrapper::SyncWrapper;

use crate::error::{BoxError, Error, ErrorKind};

/// The body of a request or a response: empty, bytes in memory, or produced while it is sent (a
/// stream, a file, a form of several parts).
///
/// A `Body` implements [`http_body::Body`] with chunks of type [`Bytes`], and is `Send + Sync`. It
/// reads from its source only when it is polled, so a slow reader slows the sender down.
///
/// ```
/// use inflight_core::Body;
///
/// assert_eq!(Body::from("hello").as_bytes().unwrap().as_ref(), b"hello");
/// assert!(Body::empty().as_bytes().unwrap().is_empty());
/// ```
pub struct Body(Kind);

// Two variants, so that a body is no larger than `Bytes`: requests and responses are moved often.
enum Kind {
    Buffered(Bytes),
    Streamed(Pin<Box<dyn BodySource>>),
}

/// A chunk of a response's body, or the news that the body starts again: see
/// [`Response::chunk_or_restart`](crate::Response::chunk_or_restart), which has an example.
///
/// For an example, see [`Response::chunk_or_restart`](crate::Response::chunk_or_restart).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChunkOrRestart {
    /// The next chunk.
    Chunk(Bytes),
    /// The transfer failed, and the session has requested the whole body again. All chunks so far are void.
    Restart,
}

/// Whether a body may start again from its first byte if its transfer fails.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Restarts {
    /// The reader uses each chunk at once.
    Forbidden,
    /// The reader can discard the chunks that it reads from now on.
    IfUnread,
    /// The reader can discard all chunks that it has read since the body last allowed restarts.
    Allowed,
}

/// A body that is produced while it is read.
pub(crate) trait BodySource: Send + Sync {
    /// Returns the next frame, or `None` at the end.
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame;

    /// Returns bounds on the number of bytes that have not been read.
    fn size_hint(&self) -> SizeHint;

    /// Returns whether the whole body has been read.
    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    /// Returns the same body from its beginning, if it can be produced again.
    fn try_clone(&self) -> Option<Body> {
        None
    }

    /// See [`Body::set_restarts`].
    fn set_restarts(self: Pin<&mut Self>, _: Restarts) {}

    /// Returns `true` once after each restart. The source first returns an empty frame.
    fn has_restarted(self: Pin<&mut Self>) -> bool {
        false
    }

    /// Drops the body of a response that was converted to `error`: see [`Body::discard`].
    fn discard(self: Pin<Box<Self>>, _error: &Error) {}

    /// Returns the same body from its beginning as a blocking reader. `None` if a part of the body
    /// has to be awaited or has been read.
    fn reader(&self) -> Option<Reader> {
        None
    }
}

pub(crate) type PolledFrame = Poll<Option<Result<Frame<Bytes>, Error>>>;

pub(crate) type Reader = Box<dyn io::Read + Send>;

pin_project! {
    /// A body of another type, which can be read only once.
    struct OnceBody<B> {
        #[pin]
        body: B,
    }
}

impl<B> BodySource for OnceBody<B>
where
    B: http_body::Body<Data = Bytes, Error = Error> + Send + Sync,
{
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        self.project().body.poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

impl Body {
    /// Returns an empty body.
    pub fn empty() -> Self {
        Self(Kind::Buffered(Bytes::new()))
    }

    /// Creates a body from a stream, which produces the chunks while the body is sent.
    ///
    /// The length is unknown, so HTTP/1.1 sends the body with chunked transfer coding.
    ///
    /// # Errors
    ///
    /// If the stream returns an error, the exchange fails with [`ErrorKind::Io`] and that error as
    /// its source.
    pub fn from_stream<S, T, E>(stream: S) -> Self
    where
        S: Stream<Item = Result<T, E>> + Send + 'static,
        T: Into<Bytes> + 'static,
        E: Into<BoxError> + 'static,
    {
        Self::from_source(StreamBody(SyncWrapper::new(Box::pin(stream))))
    }

    /// Creates a body from an [`http_body::Body`] of another type.
    pub fn wrap<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes, Error = Error> + Send + Sync + 'static,
    {
        Self::from_source(OnceBody { body })
    }

    /// Creates a body that can be sent several times, because `make` can produce it again.
    /// [`try_clone`](Self::try_clone) can then copy even a stream.
    ///
    /// This function calls `make` once immediately, to determine whether the length is known.
    ///
    /// ```
    /// use futures_lite::stream;
    /// use inflight_core::{Body, Error};
    ///
    /// let lines = || stream::iter(["one\n", "two\n"]).map(Ok::<_, Error>);
    /// # use futures_lite::StreamExt;
    /// let body = Body::replayable(move || Body::from_stream(lines()));
    /// let again = body.try_clone().unwrap();
    /// # let text = |body: Body| futures_lite::future::block_on(body.collect(100));
    /// assert_eq!(text(body)?, "one\ntwo\n");
    /// assert_eq!(text(again)?, "one\ntwo\n");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn replayable(make: impl Fn() -> Self + Send + Sync + 'static) -> Self {
        Self::from_source(ReplayableBody {
            body: make(),
            make: Arc::new(make),
        })
    }

    pub(crate) fn from_source(source: impl BodySource + 'static) -> Self {
        Self(Kind::Streamed(Box::pin(source)))
    }

    /// Sets whether the body may start again from its first byte if its transfer fails. The caller must then
    /// read it with [`poll_part`](Self::poll_part).
    pub(crate) fn set_restarts(&mut self, restarts: Restarts) {
        if let Kind::Streamed(body) = &mut self.0 {
            body.as_mut().set_restarts(restarts);
        }
    }

    /// Drops the body of a response that was converted to `error`. If the body is short, a task first
    /// reads it, so that the connection can be reused.
    pub(crate) fn discard(self, error: &Error) {
        if let Kind::Streamed(body) = self.0 {
            body.discard(error);
        }
    }

    /// Returns the whole body, if it is in memory.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match &self.0 {
            Kind::Buffered(bytes) => Some(bytes),
            Kind::Streamed(_) => None,
        }
    }

    /// Returns a copy of the body, if it can be sent again for a redirect or a retry.
    ///
    /// These bodies can be sent again: bytes in memory, a regular file, a
    /// [`replayable`](Self::replayable) body, and a form whose parts can all be sent again. A stream
    /// and the body of a response cannot be sent again.
    ///
    /// Call this method before the body is read. Once a body in memory has been read,
    /// a copy of it is empty.
    pub fn try_clone(&self) -> Option<Self> {
        match &self.0 {
            Kind::Buffered(bytes) => Some(Self(Kind::Buffered(bytes.clone()))),
            Kind::Streamed(body) => body.try_clone(),
        }
    }

    /// Returns the body for a client, and a handle that takes the body back if the client has not
    /// read any of it.
    pub(crate) fn lend(self) -> (Self, LentBody) {
        let owner = Arc::new(Mutex::new(Some(self)));
        let borrowed = BorrowedBody {
            owner: Some(owner.clone()),
            body: Self::empty(),
        };
        (Self::from_source(borrowed), LentBody(owner))
    }

    /// Returns the unread body as a blocking reader. `None` if a part of the body has to be
    /// awaited.
    pub(crate) fn reader(&self) -> Option<Reader> {
        match &self.0 {
            Kind::Buffered(bytes) => Some(Box::new(bytes.clone().reader())),
            Kind::Streamed(body) => body.reader(),
        }
    }

    /// Returns the number of bytes that have not been read, if it is known.
    pub fn len(&self) -> Option<u64> {
        self.size_hint().exact()
    }

    /// Returns whether the body is known to have no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// Returns the next chunk, or `None` at the end. Trailers are skipped.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no data.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        poll_fn(|cx| self.poll_chunk(cx)).await.transpose()
    }

    pub(crate) fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Error>>> {
        self.set_restarts(Restarts::Forbidden);
        loop {
            match ready!(self.poll_part(cx)?) {
                Some(ChunkOrRestart::Chunk(chunk)) => return Poll::Ready(Some(Ok(chunk))),
                Some(ChunkOrRestart::Restart) => {}
                None => return Poll::Ready(None),
            }
        }
    }

    /// Returns the next chunk, or a restart.
    pub(crate) fn poll_part(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<ChunkOrRestart>, Error>> {
        loop {
            let Some(frame) = ready!(Pin::new(&mut *self).poll_frame(cx)).transpose()? else {
                return Poll::Ready(Ok(None));
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if !data.is_empty() {
                return Poll::Ready(Ok(Some(ChunkOrRestart::Chunk(data))));
            }
            if let Kind::Streamed(body) = &mut self.0
                && body.as_mut().has_restarted()
            {
                return Poll::Ready(Ok(Some(ChunkOrRestart::Restart)));
            }
        }
    }

    /// Reads the body to its end, at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BodyTooLarge`] if the body has more than `limit` bytes. The rest of the body is
    /// then not read. Other kinds if reading the body fails.
    pub fn collect(
        self,
        limit: u64,
    ) -> impl Future<Output = Result<Bytes, Error>> + Send + 'static {
        let mut body = self;
        body.set_restarts(Restarts::IfUnread);
        let mut collector = Collector {
            body,
            limit,
            first: Bytes::new(),
            all: BytesMut::new(),
            budget: POLL_BUDGET,
        };
        poll_fn(move |cx| {
            collector.budget = POLL_BUDGET;
            let read = ready!(collector.poll_read(cx));
            collector.body = Body::empty();
            Poll::Ready(read.map(|()| collector.take()))
        })
    }

    /// Returns the body as a stream of its chunks.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, Error>> + Send + Sync + 'static {
        Chunks(self)
    }
}

/// A handle to a body that was lent to a client. The client may have begun to read the body.
pub(crate) struct LentBody(Arc<Mutex<Option<Body>>>);

impl LentBody {
    /// Returns whether none of the body has been read.
    pub(crate) fn is_unread(&self) -> bool {
        lock(&self.0).is_some()
    }

    /// Returns the body if none of it has been read. Later reads by the client fail.
    pub(crate) fn take_back(self) -> Option<Body> {
        lock(&self.0).take()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The body that the client gets. At the first read, it takes the lent body from the [`LentBody`].
struct BorrowedBody {
    /// Contains the body until the first read. `None` after the first read.
    owner: Option<Arc<Mutex<Option<Body>>>>,
    body: Body,
}

impl BodySource for BorrowedBody {
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        if let Some(owner) = self.owner.take() {
            let Some(body) = lock(&owner).take() else {
                let error = Error::new(ErrorKind::Io).with_context("the body was taken back");
                return Poll::Ready(Some(Err(error)));
            };
            self.body = body;
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.with(http_body::Body::size_hint)
    }

    fn is_end_stream(&self) -> bool {
        self.with(http_body::Body::is_end_stream)
    }

    fn reader(&self) -> Option<Reader> {
        let mut body = lock(self.owner.as_ref()?);
        let reader = body.as_ref()?.reader()?;
        // The reader reads the body from now on, so the body cannot be taken back.
        *body = None;
        Some(reader)
    }
}

impl BorrowedBody {
    fn with<T>(&self, read: impl FnOnce(&Body) -> T) -> T {
        match &self.owner {
            Some(owner) => read(lock(owner).as_ref().unwrap_or(&self.body)),
            None => read(&self.body),
        }
    }
}

/// A body that is being collected, and the bytes read so far. A body of one chunk is not copied.
struct Collector {
    body: Body,
    limit: u64,
    // The first chunk, until a second chunk arrives.
    first: Bytes,
    // All bytes so far, after a second chunk has arrived.
    all: BytesMut,
    // How many bytes this poll may still read before it yields to other tasks.
    budget: usize,
}

/// How many bytes one poll may read. A compressed body may produce many bytes before it
/// returns `Pending`.
const POLL_BUDGET: usize = 1 << 20;

impl Collector {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            let left = self.body.size_hint().lower();
            let len = (self.first.len() + self.all.len()) as u64;
            if len.saturating_add(left) > self.limit {
                let limit = self.limit;
                return Poll::Ready(Err(Error::new(ErrorKind::BodyTooLarge)
                    .with_context(format!("more than {limit} bytes"))));
            }
            if self.body.is_end_stream() {
                return Poll::Ready(Ok(()));
            }
            let chunk = match ready!(self.body.poll_part(cx))? {
                Some(ChunkOrRestart::Chunk(chunk)) => chunk,
                Some(ChunkOrRestart::Restart) => {
                    self.first.clear();
                    self.all.clear();
                    continue;
                }
                None => return Poll::Ready(Ok(())),
            };
            self.budget = self.budget.saturating_sub(chunk.len());
            self.push(chunk, left);
            if self.budget == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    fn push(&mut self, chunk: Bytes, left: u64) {
        if self.first.is_empty() && self.all.is_empty() {
            self.first = chunk;
            return;
        }
        if self.all.is_empty() {
            // The peer declares the expected length, so this reserves at most 1 MiB for it.
            let expected = left.min(1 << 20) as usize;
            self.all
                .reserve(self.first.len() + chunk.len().max(expected));
            self.all.extend_from_slice(&mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&chunk);
    }

    fn take(&mut self) -> Bytes {
        if self.all.is_empty() {
            return mem::take(&mut self.first);
        }
        mem::take(&mut self.all).freeze()
    }
}

struct Chunks(Body);

impl Stream for Chunks {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_chunk(cx)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        match &mut self.0 {
            Kind::Buffered(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Buffered(bytes) => Poll::Ready(Some(Ok(Frame::data(mem::take(bytes))))),
            Kind::Streamed(body) => {
                let frame = ready!(body.as_mut().poll_frame(cx));
                if !matches!(frame, Some(Ok(_))) {
                    // Drops the source of the body. Later polls return the end.
                    self.0 = Kind::Buffered(Bytes::new());
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Buffered(bytes) => bytes.is_empty(),
            Kind::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Buffered(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Streamed(body) => body.size_hint(),
        }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Buffered(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Kind::Streamed(body) => write!(f, "Body(stream, {:?})", body.size_hint()),
        }
    }
}

macro_rules! from_buffered {
    ($($type:ty),*) => {$(
        impl From<$type> for Body {
            fn from(bytes: $type) -> Self {
                Self(Kind::Buffered(Bytes::from(bytes)))
            }
        }
    )*};
}
from_buffered!(Bytes, Vec<u8>, String, &'static str, &'static [u8]);

struct StreamBody<S>(SyncWrapper<Pin<Box<S>>>);

impl<S, T, E> BodySource for StreamBody<S>
where
    S: Stream<Item = Result<T, E>> + Send,
    T: Into<Bytes>,
    E: Into<BoxError>,
{
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        let item = ready!(self.0.get_mut().as_mut().poll_next(cx));
        Poll::Ready(item.map(|item| {
            match item {
                Ok(data) => Ok(Frame::data(data.into())),
                Err(error) => Err(Error::new(ErrorKind::Io)
                    .with_context("the body's stream failed")
                    .with_source(error)),
            }
        }))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

struct ReplayableBody {
    body: Body,
    make: Arc<dyn Fn() -> Body + Send + Sync>,
}

impl BodySource for ReplayableBody {
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }

    fn try_clone(&self) -> Option<Body> {
        Some(Body::from_source(Self {
            body: (self.make)(),
            make: self.make.clone(),
        }))
    }

    fn reader(&self) -> Option<Reader> {
        self.body.reader()
    }
}

/// The body of a blocking exchange: bytes in memory, or a reader.
///
/// For an example, see [`FetchBlocking`](crate::FetchBlocking).
pub struct BlockingBody {
    kind: BlockingKind,
    len: Option<u64>,
    /// The number of bytes that have not been read, if the length is known.
    remaining: Option<u64>,
}

enum BlockingKind {
    Buffered(Bytes),
    Reader(SyncWrapper<Box<dyn io::Read + Send>>),
}

impl BlockingBody {
    /// Creates a body from a reader. `len` is the length of the body in bytes, if it is known.
    pub fn from_reader(reader: impl io::Read + Send + 'static, len: Option<u64>) -> Self {
        Self {
            kind: BlockingKind::Reader(SyncWrapper::new(Box::new(reader))),
            len,
            remaining: len,
        }
    }

    /// Returns the whole body, if it is in memory.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match &self.kind {
            BlockingKind::Buffered(bytes) => Some(bytes),
            BlockingKind::Reader(_) => None,
        }
    }

    /// Returns the length of the whole body, if it is known.
    pub fn len(&self) -> Option<u64> {
        self.len
    }

    /// Returns whether the body is known to have no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == Some(0)
    }
}

/// Reading fails with `UnexpectedEof` if the reader ends before the known length of the body.
impl io::Read for BlockingBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = match &mut self.kind {
            BlockingKind::Buffered(bytes) => {
                let n = buffer.len().min(bytes.len());
                buffer[..n].copy_from_slice(&bytes.split_to(n));
                n
            }
            BlockingKind::Reader(reader) => reader.get_mut().read(buffer)?,
        };
        if n == 0 && !buffer.is_empty() && self.remaining.is_some_and(|remaining| remaining > 0) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.remaining = self
            .remaining
            .map(|remaining| remaining.saturating_sub(n as u64));
        Ok(n)
    }
}

impl From<Bytes> for BlockingBody {
    fn from(bytes: Bytes) -> Self {
        Self {
            len: Some(bytes.len() as u64),
            remaining: Some(bytes.len() as u64),
            kind: BlockingKind::Buffered(bytes),
        }
    }
}

impl fmt::Debug for BlockingBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockingBody({:?} bytes)", self.len)
    }
}
