//! A limit on interim responses (1xx). hyper skips them without a limit.
//!
//! hyper can report interim responses to a callback, but that costs four allocations for each request. This
//! module inspects the bytes as they are read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use inflight_net::{InterimCounter, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream whose reads fail after too many interim responses.
pub(crate) struct InterimLimit {
    stream: Stream,
    counter: InterimCounter,
}

impl InterimLimit {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            counter: InterimCounter::default(),
        }
    }
}

impl AsyncRead for InterimLimit {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let bytes = &buffer.filled()[before..];
        if bytes.is_empty() {
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

impl AsyncWrite for InterimLimit {
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
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
