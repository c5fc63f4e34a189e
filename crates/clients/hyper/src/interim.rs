//! A limit on interim responses (1xx). hyper skips them without a limit.
//!
//! hyper can report interim responses to a callback, but that costs four allocations for each request. This
//! module inspects the first bytes of each response as they are read. It inspects further bytes only in
//! interim responses.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use inflight_core::{Error, ErrorKind, MAX_INTERIM_RESPONSES};
use inflight_net::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The number of bytes before the first digit of the status: `HTTP/1.1 `.
const BEFORE_STATUS: usize = 9;

/// A stream whose reads fail after too many interim responses.
pub(crate) struct InterimLimit {
    stream: Stream,
    state: ResponseState,
    interim: usize,
}

/// The position in the responses to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResponseState {
    /// In a status line, after this number of bytes and before the status.
    StatusLine(usize),
    /// In the head of an interim response. The flag is `true` if the current line has no bytes yet.
    Head { is_line_empty: bool },
    /// In the final response.
    Final,
}

impl InterimLimit {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            state: ResponseState::StatusLine(0),
            interim: 0,
        }
    }
}

impl ResponseState {
    /// Returns the state after these bytes. Adds to `interim` the number of interim responses that begin in
    /// these bytes.
    fn after(mut self, bytes: &[u8], interim: &mut usize) -> Self {
        for &byte in bytes {
            self = match (self, byte) {
                (Self::Final, _) => return self,
                // A recipient may skip empty lines before a status line (RFC 9112, section 2.2).
                (Self::StatusLine(0), b'\r' | b'\n') => self,
                (Self::StatusLine(BEFORE_STATUS), b'1') => {
                    *interim += 1;
                    Self::Head {
                        is_line_empty: false,
                    }
                }
                (Self::StatusLine(BEFORE_STATUS), _) => Self::Final,
                (Self::StatusLine(n), _) => Self::StatusLine(n + 1),
                (
                    Self::Head {
                        is_line_empty: true,
                    },
                    b'\n',
                ) => Self::StatusLine(0),
                (Self::Head { .. }, b'\n') => Self::Head {
                    is_line_empty: true,
                },
                (Self::Head { .. }, b'\r') => self,
                (Self::Head { .. }, _) => Self::Head {
                    is_line_empty: false,
                },
            };
        }
        self
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
            (this.state, this.interim) = (ResponseState::StatusLine(0), 0);
        }
        this.state = this.state.after(bytes, &mut this.interim);
        if this.interim > MAX_INTERIM_RESPONSES {
            let error = Error::new(ErrorKind::Protocol)
                .with_context("more than 64 interim responses before the final one");
            return Poll::Ready(Err(error.into()));
        }
        read
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the number of interim responses, and whether the final response has begun. Checks that the
    /// result is the same for every size of chunks.
    fn count(responses: &str) -> (usize, bool) {
        let counts = (1..=responses.len()).map(|cut| {
            let (mut state, mut interim) = (ResponseState::StatusLine(0), 0);
            for bytes in responses.as_bytes().chunks(cut) {
                state = state.after(bytes, &mut interim);
            }
            (interim, state == ResponseState::Final)
        });
        let mut counts = counts.collect::<Vec<_>>();
        counts.dedup();
        assert_eq!(counts.len(), 1, "the counts differ between chunk sizes");
        counts[0]
    }

    #[test]
    fn interim_responses_are_counted_and_final_ones_are_not() {
        let interim = "HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n";
        let end = "HTTP/1.1 200 OK\r\n\r\n";
        assert_eq!(count(end), (0, true));
        assert_eq!(count(interim), (1, false));
        let looks_alike = format!("{}{end}HTTP/1.1 103 body\r\n\r\n", interim.repeat(3));
        assert_eq!(count(&looks_alike), (3, true));
        let bare = "HTTP/1.1 100 C\nx: 1\n\n\r\nHTTP/1.0 404 No\r\n\r\n";
        assert_eq!(count(bare), (1, true));
    }
}
