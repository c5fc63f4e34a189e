//! The stream of an HTTP/1 connection, with two rules that hyper lacks.
//!
//! - hyper skips interim responses (1xx) without a limit. It can report them to a callback, but that costs
//!   four allocations for each request. This stream inspects the bytes as they are read.
//! - hyper fails as soon as a write fails. A server that refuses an upload may close the connection while the
//!   client still writes. The response has then arrived, and must be read first (RFC 9112, section 9.5).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use inflight_net::{InterimCounter, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream whose reads fail after too many interim responses, and whose writes fail only after the last read.
pub(crate) struct Http1Stream {
    stream: Stream,
    counter: InterimCounter,
    /// A write that has failed and waits until nothing is left to read.
    failed_write: Option<FailedWrite>,
    has_read_all: bool,
}

struct FailedWrite {
    error: io::Error,
    waker: Waker,
}

impl Http1Stream {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            counter: InterimCounter::default(),
            failed_write: None,
            has_read_all: false,
        }
    }

    /// Returns the result of a write. A failure is pending while the server's response may still be read.
    fn write<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut Stream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let error = match self.failed_write.take() {
            Some(failed) => failed.error,
            None => match write(Pin::new(&mut self.stream), cx) {
                Poll::Ready(Err(error)) => error,
                written => return written,
            },
        };
        // Without a request, there is no response.
        let may_have_response = !self.has_read_all && self.stream.monitor().sent() > 0;
        if !may_have_response || !is_closed_by_peer(&error) {
            return Poll::Ready(Err(error));
        }
        self.failed_write = Some(FailedWrite {
            error,
            waker: cx.waker().clone(),
        });
        Poll::Pending
    }

    /// Records that nothing is left to read.
    fn end_reads(&mut self) {
        self.has_read_all = true;
        if let Some(failed) = &self.failed_write {
            failed.waker.wake_by_ref();
        }
    }
}

fn is_closed_by_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset
    )
}

impl AsyncRead for Http1Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let is_full = buffer.remaining() == 0;
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let bytes = &buffer.filled()[before..];
        if bytes.is_empty() {
            if read.is_ready() && !is_full {
                this.end_reads();
            }
            return read;
        }
        if this.stream.monitor().received() == bytes.len() as u64 {
            // These are the first bytes of the response to a new request.
            this.counter = InterimCounter::default();
        }
        match this.counter.inspect(bytes) {
            Ok(()) => read,
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }
}

impl AsyncWrite for Http1Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |stream, cx| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
