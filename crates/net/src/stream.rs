//! A connection as a byte stream, and its counters.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_channel::Sender;
use futures_util::future::{Either, select};
use inflight_core::{Error, ErrorKind, Runtime, Socket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use crate::pool::Pooled;

/// The time within which an exchange must make progress if no caller waits for its response.
const STALL_TIMEOUT: Duration = Duration::from_secs(90);

/// A connection to a server or a proxy, with or without TLS.
///
/// Dropping the stream closes the connection. With TLS, the drop sends `close_notify` if the socket
/// accepts it without waiting.
pub struct Stream {
    kind: Kind,
    is_http2: bool,
    is_forwarded: bool,
    monitor: Arc<Monitor>,
    // Declared last, so that the socket is closed before the sender is dropped.
    _alive: Sender<Infallible>,
}

enum Kind {
    Plain(MonitoredSocket),
    Tls(Box<TlsStream<MonitoredSocket>>),
}

/// Counters and flags of a connection. A client can read them while an HTTP library owns the [`Stream`].
#[derive(Debug, Default)]
pub struct Monitor {
    received: AtomicU64,
    sent: AtomicU64,
    is_write_blocked: AtomicBool,
    is_checking: AtomicBool,
}

impl Monitor {
    /// Returns the number of HTTP bytes that were read since the last [`reset`](Self::reset).
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Returns the number of HTTP bytes that the socket, or TLS, has accepted since the last
    /// [`reset`](Self::reset).
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Sets both counters to zero. Call this method when a request begins.
    pub fn reset(&self) {
        self.received.store(0, Ordering::Relaxed);
        self.sent.store(0, Ordering::Relaxed);
    }

    /// Marks the error of a request on a reused connection, so that the session can resend the request.
    ///
    /// An error of kind [`Incomplete`](ErrorKind::Incomplete) gets the marks "not processed" and "dead
    /// connection" if no byte of the request was written. It gets only the mark "dead connection" if bytes
    /// were written, but no byte of a response was read. Returns other errors unchanged.
    pub fn mark(&self, error: Error, is_reused: bool) -> Error {
        match error.kind() {
            ErrorKind::Incomplete if is_reused && self.sent() == 0 => {
                error.not_processed().on_dead_connection()
            }
            ErrorKind::Incomplete if is_reused && self.received() == 0 => {
                error.on_dead_connection()
            }
            _ => error,
        }
    }

    /// Returns `true` if the last write to the socket had to wait.
    pub fn is_write_blocked(&self) -> bool {
        self.is_write_blocked.load(Ordering::Relaxed)
    }

    /// Returns the output of `work`, or `None` if the connection makes no progress between two checks, which
    /// are 90 s apart. Clients use this method for an upload whose response the caller does not read.
    pub async fn unless_stalled<T>(
        &self,
        runtime: &dyn Runtime,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = pin!(work);
        loop {
            let before = (self.received(), self.sent());
            match select(work.as_mut(), runtime.sleep(STALL_TIMEOUT)).await {
                Either::Left((output, _)) => return Some(output),
                Either::Right(_) if (self.received(), self.sent()) == before => return None,
                Either::Right(_) => {}
            }
        }
    }

    /// Calls `poll`. Inside `poll`, reads of the connection query the system and not the runtime's reactor.
    /// They register no waker: see [`Socket::try_read`].
    pub fn check<T>(&self, poll: impl FnOnce() -> T) -> T {
        struct Reset<'a>(&'a AtomicBool);
        impl Drop for Reset<'_> {
            fn drop(&mut self) {
                self.0.store(false, Ordering::Relaxed);
            }
        }
        self.is_checking.store(true, Ordering::Relaxed);
        let _reset = Reset(&self.is_checking);
        poll()
    }
}

impl Stream {
    pub(crate) fn plain(
        socket: MonitoredSocket,
        is_forwarded: bool,
        alive: Sender<Infallible>,
    ) -> Self {
        Self {
            monitor: socket.monitor.clone(),
            kind: Kind::Plain(socket),
            is_http2: false,
            is_forwarded,
            _alive: alive,
        }
    }

    pub(crate) fn tls(stream: TlsStream<MonitoredSocket>, alive: Sender<Infallible>) -> Self {
        let (socket, tls) = stream.get_ref();
        Self {
            monitor: socket.monitor.clone(),
            is_http2: tls.alpn_protocol() == Some(b"h2"),
            is_forwarded: false,
            kind: Kind::Tls(Box::new(stream)),
            _alive: alive,
        }
    }

    /// Returns `true` if the TLS handshake selected HTTP/2 (ALPN).
    pub fn is_http2(&self) -> bool {
        self.is_http2
    }

    /// Returns `true` if a proxy forwards the requests. Their targets are then absolute URLs.
    pub fn is_forwarded(&self) -> bool {
        self.is_forwarded
    }

    /// Returns the stream's monitor, which remains usable while an HTTP library owns the stream.
    pub fn monitor(&self) -> &Arc<Monitor> {
        &self.monitor
    }

    /// Returns `true` if an idle stream is still usable: the peer has neither closed it nor sent
    /// unsolicited bytes.
    ///
    /// Queries the system and never waits. With TLS, the check processes records that carry no application
    /// data, such as session tickets.
    pub fn is_quiet(&mut self) -> bool {
        let monitor = self.monitor.clone();
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut cx = Context::from_waker(Waker::noop());
        let read = monitor.check(|| Pin::new(&mut *self).poll_read(&mut cx, &mut buffer));
        read.is_pending()
    }
}

impl Stream {
    /// Drops the waker of the task that read last. Call this method before the stream becomes idle.
    ///
    /// Returns `true` if the stream may serve another request, and `false` if the reactor has reported
    /// bytes or the end of the stream.
    pub fn prepare_for_reuse(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(self).poll_read(&mut cx, &mut buffer).is_pending()
    }
}

impl Stream {
    fn count_sent(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(n)) = written {
            // Only one thread at a time writes to a connection.
            let sent = self.monitor.sent().saturating_add(n as u64);
            self.monitor.sent.store(sent, Ordering::Relaxed);
        }
        written
    }
}

/// For clients whose [`Pool`](crate::Pool) stores the streams themselves.
impl Pooled for Stream {
    fn share(&self) -> Option<Self> {
        None
    }

    fn is_open(&mut self, thoroughly: bool) -> bool {
        !thoroughly || self.is_quiet()
    }

    fn is_in_use(&self) -> bool {
        false
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Kind::Tls(stream) = &mut self.kind {
            let mut cx = Context::from_waker(Waker::noop());
            // Bytes that the socket does not accept now are lost.
            let _ = Pin::new(&mut **stream).poll_shutdown(&mut cx);
        }
    }
}

/// Evaluates the same expression for a plain and for a TLS stream.
macro_rules! either {
    ($stream:expr, $inner:ident => $call:expr) => {
        match &mut $stream.kind {
            Kind::Plain($inner) => $call,
            Kind::Tls($inner) => {
                let $inner = &mut **$inner;
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = either!(self, inner => Pin::new(inner).poll_read(cx, buffer));
        let n = buffer.filled().len() - before;
        if n > 0 {
            // Only one thread at a time reads a connection.
            let received = self.monitor.received().saturating_add(n as u64);
            self.monitor.received.store(received, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = either!(self, inner => Pin::new(inner).poll_write(cx, bytes));
        self.count_sent(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, inner => Pin::new(inner).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = either!(self, inner => Pin::new(inner).poll_write_vectored(cx, slices));
        self.count_sent(written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.kind {
            Kind::Plain(inner) => inner.is_write_vectored(),
            Kind::Tls(inner) => inner.is_write_vectored(),
        }
    }
}

/// A runtime's socket that updates the [`Monitor`].
pub(crate) struct MonitoredSocket {
    socket: Box<dyn Socket>,
    monitor: Arc<Monitor>,
    /// Whether a write has failed because the peer reset the connection. The system reports a reset only
    /// once, and the end of the connection afterwards. A read would mistake it for a regular end.
    is_reset: bool,
}

impl MonitoredSocket {
    pub(crate) fn new(socket: Box<dyn Socket>) -> Self {
        Self {
            socket,
            monitor: Arc::default(),
            is_reset: false,
        }
    }

    fn record_write<T>(&mut self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let is_blocked = written.is_pending();
        self.monitor
            .is_write_blocked
            .store(is_blocked, Ordering::Relaxed);
        if let Poll::Ready(Err(error)) = &written {
            self.is_reset |= error.kind() == io::ErrorKind::ConnectionReset;
        }
        written
    }
}

impl AsyncRead for MonitoredSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.monitor.is_checking.load(Ordering::Relaxed) {
            let before = buffer.remaining();
            let read = Pin::new(&mut *self.socket).poll_read(cx, buffer);
            let has_ended = before > 0 && before == buffer.remaining();
            return match read {
                Poll::Ready(Ok(())) if has_ended && self.is_reset => {
                    Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
                }
                read => read,
            };
        }
        // A check expects no bytes, so it does not initialize the caller's large buffer.
        let mut bytes = [0; 512];
        let len = buffer.remaining().min(bytes.len());
        match self.socket.try_read(&mut bytes[..len]) {
            Ok(n) => {
                buffer.put_slice(&bytes[..n]);
                Poll::Ready(Ok(()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncWrite for MonitoredSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.socket).poll_write(cx, bytes);
        self.record_write(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.socket).poll_write_vectored(cx, slices);
        self.record_write(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}
