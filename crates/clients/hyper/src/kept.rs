//! What hyper does not tell of its connections: whether a request had a kept one, and when the
//! last is gone.
//!
//! hyper says of two things that the message was incomplete: of a server that hangs up on a
//! request, and of one that had hung up before it came. Only after the second is a request worth
//! sending again, and only a kept connection can have that.
//!
//! hyper-util waits for a kept connection and for the connector at once, in the poll of the
//! request that needs one. So a connector that ends in a request's poll has made a connection for
//! it; and if that has not been written to when the request fails, the request had another.
//!
//! And of a connection that ends as soon as it is made, hyper is told when it has taken the
//! request. hyper's connection and the request meet in a channel of tokio's; where the one goes
//! away while the other is being put in, the channel keeps it and nobody is told: the request would
//! wait for its timeout.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use async_channel::Sender;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};

/// How long a connection is young: its end waits for its first request. One that ends later ends
/// in the pool, where hyper-util has to see it.
const YOUNG: Duration = Duration::from_millis(250);

/// Something that is never sent: what counts is who could.
pub(crate) enum Nothing {}

thread_local! {
    /// The connection that was made in this poll, if one was: whether it was used.
    static MADE: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// The output of a request, and whether it went out on a kept connection. `connected` is called
/// when a new one is there.
pub(crate) async fn watch<F: Future>(request: F, connected: impl Fn()) -> (F::Output, bool) {
    let mut request = pin!(request);
    let mut made: Option<Arc<AtomicBool>> = None;
    let output = poll_fn(|cx| {
        let outer = MADE.take();
        let polled = request.as_mut().poll(cx);
        if let Some(newer) = MADE.replace(outer) {
            made = Some(newer);
            connected();
        }
        polled
    })
    .await;
    let has_new = made.is_some_and(|used| used.load(Ordering::Acquire));
    (output, !has_new)
}

/// A connection of the pool's.
pub(crate) struct Kept<S> {
    stream: S,
    // Until the first bytes of a request.
    unused: Option<Arc<AtomicBool>>,
    made: Instant,
    // Who reads, when it has ended and has not been used.
    waits: Option<Waker>,
    // Whether it is a proxy that reads the requests.
    is_forwarded: bool,
    _alive: Sender<Nothing>,
}

impl<S> Kept<S> {
    /// A connection that was made just now, to a proxy that forwards requests or to who answers
    /// them; when it is dropped, so is `alive`.
    pub(crate) fn new(stream: S, is_forwarded: bool, alive: Sender<Nothing>) -> Self {
        let used = Arc::new(AtomicBool::new(false));
        MADE.set(Some(used.clone()));
        Self {
            stream,
            unused: Some(used),
            made: Instant::now(),
            waits: None,
            is_forwarded,
            _alive: alive,
        }
    }

    fn written(&mut self) -> Pin<&mut S>
    where
        S: Unpin,
    {
        if let Some(used) = self.unused.take() {
            used.store(true, Ordering::Release);
            if let Some(reader) = self.waits.take() {
                reader.wake();
            }
        }
        Pin::new(&mut self.stream)
    }
}

impl<S: Connection> Connection for Kept<S> {
    fn connected(&self) -> Connected {
        // Requests on it name their whole URL.
        self.stream.connected().proxy(self.is_forwarded)
    }
}

impl<S: Read + Unpin> Read for Kept<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unused.is_some() && self.made.elapsed() < YOUNG {
            let mut byte = [0];
            let mut first = ReadBuf::new(&mut byte);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, first.unfilled()));
            if read.is_err() || first.filled().is_empty() {
                self.waits = Some(cx.waker().clone());
                return Poll::Pending;
            }
            buffer.put_slice(first.filled());
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: Write + Unpin> Write for Kept<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.written().poll_write_vectored(cx, slices)
    }
}
