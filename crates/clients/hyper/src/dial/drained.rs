//! A socket that remembers that there was nothing more to read.
//!
//! hyper looks for more each time its task is woken, some five times for a request. tokio's sockets
//! know by themselves that there is nothing; those of async-io would ask the system each time. A
//! reader that has said that it is pending has promised to wake: until it does, nobody has to ask.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use hyper::rt::{Read, ReadBufCursor, Write};

/// The socket, of any runtime.
pub struct Drained<S> {
    stream: S,
    signal: Arc<Signal>,
    /// Wakes by the signal.
    waker: Waker,
    is_drained: bool,
}

/// Whom the runtime wakes when there is something to read.
#[derive(Default)]
struct Signal {
    is_given: AtomicBool,
    reader: AtomicWaker,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.is_given.store(true, Ordering::SeqCst);
        self.reader.wake();
    }
}

impl<S: Unpin> Drained<S> {
    pub(super) fn new(stream: S) -> Self {
        let signal = Arc::new(Signal::default());
        Self {
            stream,
            waker: Waker::from(signal.clone()),
            signal,
            is_drained: false,
        }
    }

    fn stream(&mut self) -> Pin<&mut S> {
        Pin::new(&mut self.stream)
    }
}

impl<S: Read + Unpin> Read for Drained<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // Before the look at the signal: one that is given between the two wakes.
        this.signal.reader.register(cx.waker());
        let is_given = this.signal.is_given.swap(false, Ordering::SeqCst);
        if this.is_drained && !is_given {
            return Poll::Pending;
        }
        let mut context = Context::from_waker(&this.waker);
        let read = Pin::new(&mut this.stream).poll_read(&mut context, buffer);
        this.is_drained = read.is_pending();
        read
    }
}

impl<S: Write + Unpin> Write for Drained<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, slices)
    }
}
