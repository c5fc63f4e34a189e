//! Sockets, which a runtime opens and a client uses for HTTP.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connected, non-blocking byte stream, which [`Runtime::connect`](crate::Runtime::connect)
/// returns.
///
/// A socket reads and writes through tokio's I/O traits, which need no tokio runtime. The traits of
/// `futures-io` would need an adapter that copies: tokio's sockets read into uninitialized memory, and
/// both rustls and the adapter between sockets and hyper use tokio's traits.
///
/// A runtime's adapter implements `Socket` for the runtime's own socket type, or wraps that type in
/// a [`ReadinessSocket`].
///
/// For an example, see [`ReadinessSocket`].
pub trait Socket: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static {
    /// Reads bytes that the system has received, without waiting. Fails with
    /// [`io::ErrorKind::WouldBlock`] if there are none. Returns `Ok(0)` if the peer has ended the
    /// stream.
    ///
    /// The call always reads from the system, because the runtime's reactor may not have reported
    /// new bytes yet. A connection pool calls this method to check whether an idle connection is
    /// still open.
    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
}

/// The options of [`Runtime::connect`](crate::Runtime::connect).
///
/// ```
/// use inflight_core::ConnectOptions;
///
/// let mut options = ConnectOptions::default();
/// options.nodelay = false;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// Whether the system sends small writes immediately (`TCP_NODELAY`). Default `true`.
    pub nodelay: bool,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self { nodelay: true }
    }
}

/// Returns the error of a runtime without sockets: [`io::ErrorKind::Unsupported`] with the
/// runtime's name and a remedy.
///
/// ```
/// use inflight_core::no_sockets;
///
/// let error = no_sockets("threads");
/// assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
/// ```
pub fn no_sockets(runtime: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!("the runtime {runtime} opens no sockets: use a client with its own sockets"),
    )
}

/// Returns the error of a runtime without Unix sockets: [`io::ErrorKind::Unsupported`] with the
/// runtime's name and a remedy. For an example, see [`no_sockets`].
pub fn no_unix_sockets(runtime: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!(
            "the runtime {runtime} opens no Unix sockets: use another runtime, or connect to an \
             address"
        ),
    )
}

/// A [`Socket`] over a stream whose reactor does not cache readiness, such as async-io's.
///
/// hyper reads each time its task is woken, about five times for a request, and async-io would make
/// a system call each time. Once a read has taken all bytes that have arrived, this socket does not
/// read from the system again until the reactor has reported that the stream is readable.
///
/// ```
/// use std::io::{self, Read};
/// use std::net::{SocketAddr, TcpStream};
///
/// use async_io::Async;
/// use inflight_core::{ReadinessSocket, Socket};
///
/// async fn connect(address: SocketAddr) -> io::Result<Box<dyn Socket>> {
///     let stream = Async::<TcpStream>::connect(address).await?;
///     let read = |stream: &Async<TcpStream>, buffer: &mut [u8]| stream.get_ref().read(buffer);
///     Ok(Box::new(ReadinessSocket::new(stream, Async::poll_readable, read)))
/// }
///
/// # let server = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let address = server.local_addr()?;
/// let mut socket = futures_lite::future::block_on(connect(address))?;
/// // The server has not sent anything.
/// let error = socket.try_read(&mut [0; 8]).unwrap_err();
/// assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
/// # Ok::<(), io::Error>(())
/// ```
pub struct ReadinessSocket<S> {
    stream: S,
    poll_readable: PollReadable<S>,
    read: TryRead<S>,
    signal: Arc<ReadinessWaker>,
    /// The `Waker` of `signal`.
    waker: Waker,
    state: ReadState,
}

/// A function that polls whether the stream is readable. If it returns `Pending`, the reactor calls
/// the waker when the stream becomes readable.
///
/// For an example, see [`ReadinessSocket`].
pub type PollReadable<S> = fn(&S, &mut Context<'_>) -> Poll<io::Result<()>>;

/// A function that reads without waiting.
///
/// For an example, see [`ReadinessSocket`].
pub type TryRead<S> = fn(&S, &mut [u8]) -> io::Result<usize>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum ReadState {
    /// The system may have bytes.
    Unknown,
    /// The last read took all bytes. The reactor has not been polled since then.
    Empty,
    /// The reactor wakes `signal` when the stream is readable.
    Waiting,
}

/// A waker for the reactor. It sets a flag and wakes the reader.
#[derive(Default)]
struct ReadinessWaker {
    is_readable: AtomicBool,
    reader: AtomicWaker,
}

impl Wake for ReadinessWaker {
    fn wake(self: Arc<Self>) {
        self.is_readable.store(true, Ordering::SeqCst);
        self.reader.wake();
    }
}

impl<S> ReadinessSocket<S> {
    /// Creates a socket over a non-blocking `stream`.
    pub fn new(stream: S, poll_readable: PollReadable<S>, read: TryRead<S>) -> Self {
        let signal = Arc::new(ReadinessWaker::default());
        Self {
            stream,
            poll_readable,
            read,
            waker: Waker::from(signal.clone()),
            signal,
            state: ReadState::Unknown,
        }
    }

    /// Registers `signal` with the reactor.
    fn register_signal(&mut self) -> io::Result<()> {
        let mut cx = Context::from_waker(&self.waker);
        // The first report may be about bytes that the last read has already taken. The reactor
        // reports once per poll, so a second report is about new bytes.
        for _ in 0..2 {
            match (self.poll_readable)(&self.stream, &mut cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    self.state = ReadState::Waiting;
                    return Ok(());
                }
            }
        }
        self.state = ReadState::Unknown;
        self.waker.wake_by_ref();
        Ok(())
    }
}

impl<S: Unpin + Send + Sync + 'static> AsyncRead for ReadinessSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // Registers the reader before it reads the flag, so that a wake between these steps is not
        // lost.
        this.signal.reader.register(cx.waker());
        if this.signal.is_readable.swap(false, Ordering::SeqCst) {
            this.state = ReadState::Unknown;
        }
        match this.state {
            ReadState::Waiting => return Poll::Pending,
            // A caller with a no-op waker does not wait, so it needs no registration.
            ReadState::Empty if cx.waker().will_wake(Waker::noop()) => return Poll::Pending,
            ReadState::Empty => {
                this.register_signal()?;
                return Poll::Pending;
            }
            ReadState::Unknown => {}
        }
        let unfilled = buffer.initialize_unfilled();
        let len = unfilled.len();
        loop {
            match (this.read)(&this.stream, unfilled) {
                Ok(n) => {
                    if 0 < n && n < len {
                        this.state = ReadState::Empty;
                    }
                    buffer.advance(n);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    this.register_signal()?;
                    return Poll::Pending;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl<S: futures_io::AsyncWrite + Unpin> AsyncWrite for ReadinessSocket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

impl<S> Socket for ReadinessSocket<S>
where
    S: futures_io::AsyncWrite + Unpin + Send + Sync + 'static,
{
    fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (self.read)(&self.stream, buffer)
    }
}

impl<S: fmt::Debug> fmt::Debug for ReadinessSocket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadinessSocket")
            .field(&self.stream)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use super::*;

    /// A stream that returns the data that the test passes to `receive`, counts the reads, and stores
    /// the last waker.
    #[derive(Default)]
    struct Stream(Mutex<Inner>);

    #[derive(Default)]
    struct Inner {
        reads: VecDeque<&'static [u8]>,
        read_calls: usize,
        reader: Option<Waker>,
    }

    impl Stream {
        fn receive(&self, bytes: &'static [u8]) {
            let mut inner = self.0.lock().unwrap();
            inner.reads.push_back(bytes);
            if let Some(waker) = inner.reader.take() {
                waker.wake();
            }
        }

        fn read_calls(&self) -> usize {
            self.0.lock().unwrap().read_calls
        }

        fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
            let mut inner = self.0.lock().unwrap();
            inner.read_calls += 1;
            let bytes = inner.reads.pop_front();
            let bytes = bytes.ok_or(io::ErrorKind::WouldBlock)?;
            buffer[..bytes.len()].copy_from_slice(bytes);
            Ok(bytes.len())
        }

        fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            let mut inner = self.0.lock().unwrap();
            if !inner.reads.is_empty() {
                return Poll::Ready(Ok(()));
            }
            inner.reader = Some(cx.waker().clone());
            Poll::Pending
        }
    }

    /// Accepts all writes.
    impl futures_io::AsyncWrite for Stream {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[derive(Default)]
    struct Task(AtomicBool);

    impl Task {
        fn take_woken(&self) -> bool {
            self.0.swap(false, Ordering::SeqCst)
        }
    }

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    fn socket() -> ReadinessSocket<Stream> {
        ReadinessSocket::new(Stream::default(), Stream::poll_readable, Stream::read)
    }

    /// Reads up to eight bytes and returns their number.
    fn read(socket: &mut ReadinessSocket<Stream>, task: &Arc<Task>) -> Poll<usize> {
        let waker = Waker::from(task.clone());
        let mut bytes = [0; 8];
        let mut buffer = ReadBuf::new(&mut bytes);
        let polled = Pin::new(socket).poll_read(&mut Context::from_waker(&waker), &mut buffer);
        polled.map(|result| {
            result.unwrap();
            buffer.filled().len()
        })
    }

    #[test]
    fn socket_reads_again_only_after_the_reactor_has_reported() {
        let (first, last) = (Arc::new(Task::default()), Arc::new(Task::default()));
        let mut socket = socket();
        for task in [&first, &first, &last] {
            assert!(read(&mut socket, task).is_pending());
        }
        assert_eq!(socket.stream.read_calls(), 1);

        socket.stream.receive(b"bytes");
        assert_eq!((first.take_woken(), last.take_woken()), (false, true));
        assert_eq!(read(&mut socket, &last), Poll::Ready(5));
        // The last read did not fill the buffer, so the socket waits for the reactor.
        assert!(read(&mut socket, &last).is_pending());
        assert_eq!(socket.stream.read_calls(), 2);

        socket.stream.receive(b"more");
        assert!(last.take_woken());
        assert_eq!(read(&mut socket, &last), Poll::Ready(4));
    }

    #[test]
    fn socket_reads_again_after_a_read_that_fills_the_buffer() {
        let task = Arc::new(Task::default());
        let mut socket = socket();
        socket.stream.receive(b"12345678");
        socket.stream.receive(b"9");
        assert_eq!(read(&mut socket, &task), Poll::Ready(8));
        assert_eq!(read(&mut socket, &task), Poll::Ready(1));
        assert!(read(&mut socket, &task).is_pending());
    }

    #[test]
    fn bytes_that_arrive_after_a_short_read_wake_the_reader() {
        let task = Arc::new(Task::default());
        let mut socket = socket();
        socket.stream.receive(b"one");
        assert_eq!(read(&mut socket, &task), Poll::Ready(3));
        // These bytes arrive before the socket polls the reactor.
        socket.stream.receive(b"two");
        assert!(read(&mut socket, &task).is_pending());
        assert!(task.take_woken());
        assert_eq!(read(&mut socket, &task), Poll::Ready(3));
    }

    #[test]
    fn reactor_is_not_polled_if_no_task_waits() {
        let task = Arc::new(Task::default());
        let mut socket = socket();
        socket.stream.receive(b"one");
        assert_eq!(read(&mut socket, &task), Poll::Ready(3));
        let mut bytes = [0; 8];
        let mut buffer = ReadBuf::new(&mut bytes);
        let mut cx = Context::from_waker(Waker::noop());
        let idle = Pin::new(&mut socket).poll_read(&mut cx, &mut buffer);
        assert!(idle.is_pending());
        assert!(socket.stream.0.lock().unwrap().reader.is_none());
        // A task that waits again is woken.
        assert!(read(&mut socket, &task).is_pending());
        socket.stream.receive(b"two");
        assert!(task.take_woken());
        assert_eq!(read(&mut socket, &task), Poll::Ready(3));
    }

    #[test]
    fn socket_waits_again_after_a_spurious_wake() {
        let task = Arc::new(Task::default());
        let mut socket = socket();
        assert!(read(&mut socket, &task).is_pending());
        let spurious = socket.stream.0.lock().unwrap().reader.take();
        spurious.unwrap().wake();
        assert!(task.take_woken());
        assert!(read(&mut socket, &task).is_pending());
        socket.stream.receive(b"bytes");
        assert!(task.take_woken());
        assert_eq!(read(&mut socket, &task), Poll::Ready(5));
    }

    #[test]
    fn try_read_reads_from_the_system_before_the_reactor_reports() {
        let task = Arc::new(Task::default());
        let mut socket = socket();
        assert!(read(&mut socket, &task).is_pending());
        socket.stream.0.lock().unwrap().reads.push_back(b"");
        assert_eq!(socket.try_read(&mut [0]).unwrap(), 0);
        let error = socket.try_read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
