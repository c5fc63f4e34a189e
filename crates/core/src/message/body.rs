//! Bodies: what is sent and what is received.

use std::fmt;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_core::Stream;
use futures_util::future::poll_fn;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use sync_wrapper::SyncWrapper;

use crate::error::{BoxError, Error, ErrorKind};

/// The body of a request or a response: nothing, bytes in memory, or what is produced while it
/// is sent: a stream, a file, a form of several parts.
///
/// It is an [`http_body::Body`] of [`Bytes`] and `Send + Sync`, so it fits wherever the
/// `http` types do. Nothing is read before it is polled: whoever reads slowly slows the sender.
///
/// ```
/// use inflight_core::Body;
///
/// assert_eq!(Body::from("hello").as_bytes().unwrap().as_ref(), b"hello");
/// assert!(Body::empty().as_bytes().unwrap().is_empty());
/// ```
pub struct Body(Kind);

// Two kinds and no third: so it is no larger than `Bytes`, and requests and responses are moved
// often.
enum Kind {
    Buffered(Bytes),
    Streamed(Pin<Box<dyn Streamed>>),
}

/// A body that is produced while it is read.
trait Streamed: http_body::Body<Data = Bytes, Error = Error> + Send + Sync {
    /// As [`Source::again`].
    fn again(&self) -> Option<Body>;

    /// As [`Source::reader`].
    fn reader(&self) -> Option<Reader>;
}

pin_project! {
    /// A body of somebody else's making, which is produced once.
    struct Once<B> {
        #[pin]
        body: B,
    }
}

impl<B> http_body::Body for Once<B>
where
    B: http_body::Body<Data = Bytes, Error = Error>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Streamed for Once<B>
where
    B: http_body::Body<Data = Bytes, Error = Error> + Send + Sync,
{
    fn again(&self) -> Option<Body> {
        None
    }

    fn reader(&self) -> Option<Reader> {
        None
    }
}

/// A body of the core's own making, which may know how to begin again.
pub(crate) trait Source: Send + Sync {
    /// The next piece, not empty, or `None` at the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>>;

    /// What is still to come.
    fn left(&self) -> SizeHint;

    /// The same body from its beginning, if it can be made again.
    fn again(&self) -> Option<Body>;

    /// The same from its beginning by calls that block, if nothing in it has to be waited for
    /// otherwise, and nothing was read yet.
    fn reader(&self) -> Option<Reader>;
}

pub(crate) type Reader = Box<dyn io::Read + Send>;

struct Made<S>(S);

// What makes it is never pinned.
impl<S> Unpin for Made<S> {}

impl<S: Source> http_body::Body for Made<S> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let piece = ready!(self.0.poll_piece(cx));
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.left().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.left()
    }
}

impl<S: Source> Streamed for Made<S> {
    fn again(&self) -> Option<Body> {
        self.0.again()
    }

    fn reader(&self) -> Option<Reader> {
        self.0.reader()
    }
}

impl Body {
    /// No body at all.
    pub fn empty() -> Self {
        Self(Kind::Buffered(Bytes::new()))
    }

    /// A body that is produced while it is sent. Its length is unknown, so HTTP/1.1 sends it
    /// in chunks.
    ///
    /// # Errors
    ///
    /// An error in the stream ends the exchange, with [`ErrorKind::Io`] and the error as its cause.
    pub fn from_stream<S, T, E>(stream: S) -> Self
    where
        S: Stream<Item = Result<T, E>> + Send + 'static,
        T: Into<Bytes> + 'static,
        E: Into<BoxError> + 'static,
    {
        Self::wrap(StreamBody(SyncWrapper::new(Box::pin(stream))))
    }

    /// Any other [`http_body::Body`].
    pub fn wrap<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes, Error = Error> + Send + Sync + 'static,
    {
        Self(Kind::Streamed(Box::pin(Once { body })))
    }

    /// A body that `make` makes anew each time it is sent, so that
    /// [`try_clone`](Self::try_clone) can repeat even a stream. It is called at once, too: what
    /// it makes says whether the length is known.
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
        Self::made(Replayable {
            body: make(),
            make: Arc::new(make),
        })
    }

    pub(crate) fn made(source: impl Source + 'static) -> Self {
        Self(Kind::Streamed(Box::pin(Made(source))))
    }

    /// The whole body, if it is in memory.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match &self.0 {
            Kind::Buffered(bytes) => Some(bytes),
            Kind::Streamed(_) => None,
        }
    }

    /// The same body once more, if it can be sent again, as a redirect or a retry may need it:
    /// bytes in memory, a file, a form of such parts, and what is
    /// [`replayable`](Self::replayable). A stream is produced once, and so is a response.
    ///
    /// Ask before the body is read: what is left of one says nothing of its beginning.
    pub fn try_clone(&self) -> Option<Self> {
        match &self.0 {
            Kind::Buffered(bytes) => Some(Self(Kind::Buffered(bytes.clone()))),
            Kind::Streamed(body) => body.again(),
        }
    }

    /// Returns the body for a client, and a handle that takes it back if the client has not read any of
    /// it.
    pub(crate) fn lend(self) -> (Self, Lent) {
        let owner = Arc::new(Mutex::new(Some(self)));
        let borrowed = Borrowed {
            owner: Some(owner.clone()),
            body: Self::empty(),
        };
        (Self(Kind::Streamed(Box::pin(borrowed))), Lent(owner))
    }

    /// The body, of which nothing was read yet, as a reader that blocks in its place: if nothing
    /// in it has to be waited for in a task.
    pub(crate) fn reader(&self) -> Option<Reader> {
        match &self.0 {
            Kind::Buffered(bytes) => Some(Box::new(bytes.clone().reader())),
            Kind::Streamed(body) => body.reader(),
        }
    }

    /// The number of bytes, if it is known beforehand.
    pub fn len(&self) -> Option<u64> {
        http_body::Body::size_hint(self).exact()
    }

    /// Whether the body is known to have no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// The next piece, or `None` at the end. Trailers are passed over.
    ///
    /// # Cancel safety
    ///
    /// A dropped future loses no data.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        poll_fn(|cx| self.poll_chunk(cx)).await.transpose()
    }

    pub(crate) fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Error>>> {
        loop {
            match ready!(http_body::Body::poll_frame(Pin::new(&mut *self), cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
            }
        }
    }

    /// Reads the body to its end, at most `limit` bytes of it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BodyTooLarge`] when there are more, without reading the rest; otherwise
    /// what the transfer met.
    pub fn collect(
        self,
        limit: u64,
    ) -> impl Future<Output = Result<Bytes, Error>> + Send + 'static {
        let mut collected = Collected {
            body: self,
            limit,
            first: Bytes::new(),
            all: BytesMut::new(),
            at_once: AT_ONCE,
        };
        poll_fn(move |cx| {
            collected.at_once = AT_ONCE;
            let read = ready!(collected.poll_read(cx));
            collected.body = Body::empty();
            Poll::Ready(read.map(|()| collected.take()))
        })
    }

    /// The body as a stream of its pieces.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, Error>> + Send + Sync + 'static {
        Chunks(self)
    }
}

/// A body that a client may have begun to read.
pub(crate) struct Lent(Arc<Mutex<Option<Body>>>);

impl Lent {
    /// Whether nothing was read of the body.
    pub(crate) fn is_whole(&self) -> bool {
        lock(&self.0).is_some()
    }

    /// Returns the body if nothing was read of it. The client's reads then fail.
    pub(crate) fn take_back(self) -> Option<Body> {
        lock(&self.0).take()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The client's side of a [`Lent`] body.
struct Borrowed {
    /// `None` once it is read.
    owner: Option<Arc<Mutex<Option<Body>>>>,
    body: Body,
}

impl http_body::Body for Borrowed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(owner) = self.owner.take() {
            let Some(body) = lock(&owner).take() else {
                let error = Error::new(ErrorKind::Io).with_context("the body was taken back");
                return Poll::Ready(Some(Err(error)));
            };
            self.body = body;
        }
        http_body::Body::poll_frame(Pin::new(&mut self.body), cx)
    }

    fn is_end_stream(&self) -> bool {
        self.with(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.with(http_body::Body::size_hint)
    }
}

impl Borrowed {
    fn with<T>(&self, look: impl FnOnce(&Body) -> T) -> T {
        match &self.owner {
            Some(owner) => look(lock(owner).as_ref().unwrap_or(&self.body)),
            None => look(&self.body),
        }
    }
}

impl Streamed for Borrowed {
    fn again(&self) -> Option<Body> {
        None
    }

    fn reader(&self) -> Option<Reader> {
        let mut body = lock(self.owner.as_ref()?);
        let reader = body.as_ref()?.reader()?;
        // The reader has the body from now on.
        *body = None;
        Some(reader)
    }
}

/// What was read of a body so far. A body in one piece, as most small ones are, is handed on
/// without a copy.
struct Collected {
    body: Body,
    limit: u64,
    first: Bytes,
    all: BytesMut,
    // What may still be read before others have their turn.
    at_once: usize,
}

/// So much is read in one poll: a few bytes of a coding may swell to far more, without a wait.
const AT_ONCE: usize = 1 << 20;

impl Collected {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            let left = http_body::Body::size_hint(&self.body).lower();
            let len = (self.first.len() + self.all.len()) as u64;
            if len.saturating_add(left) > self.limit {
                let limit = self.limit;
                return Poll::Ready(Err(Error::new(ErrorKind::BodyTooLarge)
                    .with_context(format!("more than {limit} bytes"))));
            }
            if http_body::Body::is_end_stream(&self.body) {
                return Poll::Ready(Ok(()));
            }
            let Some(chunk) = ready!(self.body.poll_chunk(cx)).transpose()? else {
                return Poll::Ready(Ok(()));
            };
            self.at_once = self.at_once.saturating_sub(chunk.len());
            self.push(chunk, left);
            if self.at_once == 0 {
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
            // The peer's word for a length is not worth more than a modest allocation.
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

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.0 {
            Kind::Buffered(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Buffered(bytes) => Poll::Ready(Some(Ok(Frame::data(mem::take(bytes))))),
            Kind::Streamed(body) => {
                let frame = ready!(body.as_mut().poll_frame(cx));
                if !matches!(frame, Some(Ok(_))) {
                    // The end stays the end, and what produced the body is let go.
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

impl<S, T, E> http_body::Body for StreamBody<S>
where
    S: Stream<Item = Result<T, E>>,
    T: Into<Bytes>,
    E: Into<BoxError>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
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
}

struct Replayable {
    body: Body,
    make: Arc<dyn Fn() -> Body + Send + Sync>,
}

impl Source for Replayable {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        self.body.poll_chunk(cx)
    }

    fn left(&self) -> SizeHint {
        http_body::Body::size_hint(&self.body)
    }

    fn again(&self) -> Option<Body> {
        Some(Body::made(Self {
            body: (self.make)(),
            make: self.make.clone(),
        }))
    }

    fn reader(&self) -> Option<Reader> {
        self.body.reader()
    }
}

/// The body of a blocking exchange: bytes in memory, or a reader.
pub struct BlockingBody {
    kind: BlockingKind,
    len: Option<u64>,
    missing: Option<u64>,
}

enum BlockingKind {
    Buffered(Bytes),
    Reader(SyncWrapper<Box<dyn io::Read + Send>>),
}

impl BlockingBody {
    /// A body that is read while it is sent or received; `len` is its length, if known.
    pub fn from_reader(reader: impl io::Read + Send + 'static, len: Option<u64>) -> Self {
        Self {
            kind: BlockingKind::Reader(SyncWrapper::new(Box::new(reader))),
            len,
            missing: len,
        }
    }

    /// The whole body, if it is in memory.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match &self.kind {
            BlockingKind::Buffered(bytes) => Some(bytes),
            BlockingKind::Reader(_) => None,
        }
    }

    /// The number of bytes, if it is known beforehand.
    pub fn len(&self) -> Option<u64> {
        self.len
    }

    /// Whether the body is known to have no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == Some(0)
    }
}

/// Fails with `UnexpectedEof` when the reader ends before the length that was promised.
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
        if n == 0 && !buffer.is_empty() && self.missing.is_some_and(|missing| missing > 0) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.missing = self.missing.map(|missing| missing.saturating_sub(n as u64));
        Ok(n)
    }
}

impl From<Bytes> for BlockingBody {
    fn from(bytes: Bytes) -> Self {
        Self {
            len: Some(bytes.len() as u64),
            missing: Some(bytes.len() as u64),
            kind: BlockingKind::Buffered(bytes),
        }
    }
}

impl fmt::Debug for BlockingBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockingBody({:?} bytes)", self.len)
    }
}
