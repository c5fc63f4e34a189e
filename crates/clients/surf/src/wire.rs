//! The stream from which async-h1 reads a response.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures_lite::io::AsyncRead;
use inflight_core::bytes::{Buf, BytesMut};
use inflight_core::{Error, Framing, MAX_INTERIM_RESPONSES, retires_connection};
use inflight_net::{Key, Pool, Stream, tls};
use tokio::io::ReadBuf;
use tokio_util::io::poll_read_buf;

use crate::chunks::ChunkFilter;
use crate::error::protocol_error;
use crate::head::{self, Head};
use crate::upload::Upload;

/// A stream that reads the response and writes the request at the same time. When both are complete, the
/// connection goes back to the pool.
///
/// The server's head goes to the [`HeadSlot`]. async-h1 reads a minimal head that has only the framing of
/// the body.
pub(crate) struct H1Stream {
    /// `None` once the exchange is over.
    stream: Option<Stream>,
    is_reused: bool,
    /// `None` if the connection must not be reused.
    check_in: Option<CheckIn>,
    upload: Option<Upload>,
    is_head_request: bool,
    slot: HeadSlot,
    /// The number of interim responses so far.
    interim: usize,
    /// `None` until the final head has arrived.
    body: Option<(Framing, ChunkFilter)>,
    /// The number of bytes of the body that have not been read, if the length is known.
    left: Option<u64>,
    /// Bytes that were read from the connection and not yet processed.
    raw: BytesMut,
    /// Bytes that async-h1 reads next.
    out: BytesMut,
}

/// The pool and the key for returning a connection after its exchange.
pub(crate) struct CheckIn {
    pub(crate) pool: Pool<Stream>,
    pub(crate) key: Key,
}

/// A slot in which [`H1Stream`] stores the server's head.
pub(crate) type HeadSlot = Arc<Mutex<Option<Head>>>;

/// The number of bytes of a chunked body to read at once.
const CHUNK: usize = 8 * 1024;

/// The number of bytes of a head to read at once.
const HEAD_CHUNK: usize = 1024;

impl H1Stream {
    /// Returns a stream for one exchange. `is_head_request` is `true` for a HEAD request. If `check_in` is
    /// `None`, the connection is closed after the exchange.
    pub(crate) fn new(
        stream: Stream,
        is_reused: bool,
        check_in: Option<CheckIn>,
        upload: Upload,
        is_head_request: bool,
        slot: HeadSlot,
    ) -> Self {
        stream.monitor().reset();
        Self {
            stream: Some(stream),
            is_reused,
            check_in,
            upload: Some(upload),
            is_head_request,
            slot,
            interim: 0,
            body: None,
            left: None,
            raw: BytesMut::new(),
            out: BytesMut::new(),
        }
    }

    /// Continues to write the request. Returns only errors of the request's body. After any other error, the
    /// server may still send a response.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let (Some(upload), Some(stream)) = (&mut self.upload, &mut self.stream) else {
            return Ok(());
        };
        let Poll::Ready(result) = upload.poll(stream, cx) else {
            return Ok(());
        };
        self.upload = None;
        let Err(error) = result else { return Ok(()) };
        self.check_in = None;
        match Error::find_in(&error) {
            Some(_) => Err(error),
            None => Ok(()),
        }
    }

    /// Checks the result of a read. The end of the connection is an error, unless the body's framing allows
    /// it or `may_be_empty` is `true`. The end of the connection after a complete response needs no exception,
    /// because async-h1 does not read again after the end of a response.
    fn check_read(&self, read: io::Result<usize>, may_be_empty: bool) -> io::Result<usize> {
        let may_end = may_be_empty || matches!(self.body, Some((Framing::UntilClose, _)));
        let error = match read {
            Ok(0) if !may_end => io::ErrorKind::UnexpectedEof.into(),
            Ok(n) => return Ok(n),
            Err(error) => error,
        };
        let error = tls::from_source_chain(&error).unwrap_or_else(|| Error::from_read(error));
        Err(match &self.stream {
            Some(stream) => stream.monitor().mark(error, self.is_reused),
            None => error,
        }
        .into())
    }

    /// Reads a body that is not chunked. Bytes after the body stay on the socket, and the pool then
    /// does not reuse the connection.
    fn poll_body(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let max_len = match self.left {
            Some(left) => into.len().min(usize::try_from(left).unwrap_or(usize::MAX)),
            None => into.len(),
        };
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Ok(0));
        };
        let mut buffer = ReadBuf::new(&mut into[..max_len]);
        let read = ready!(tokio::io::AsyncRead::poll_read(
            Pin::new(stream),
            cx,
            &mut buffer
        ));
        let read = read.map(|()| buffer.filled().len());
        let n = self.check_read(read, max_len == 0)?;
        if let Some(left) = &mut self.left {
            *left -= n as u64;
        }
        Poll::Ready(Ok(n))
    }

    /// Reads more bytes of a head or of a chunked body into `raw`.
    fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        };
        self.raw.reserve(match self.body {
            Some(_) => CHUNK,
            None => HEAD_CHUNK,
        });
        let read = ready!(poll_read_buf(Pin::new(stream), cx, &mut self.raw));
        self.check_read(read, false)?;
        Poll::Ready(Ok(()))
    }

    /// Parses the final head if it has arrived. Skips interim responses, because async-h1 would treat them
    /// as final.
    fn parse_head(&mut self) -> Result<(), Error> {
        while let Some((head, len)) = Head::parse(&self.raw)? {
            self.raw.advance(len);
            if head.is_interim() {
                self.interim += 1;
                if self.interim > MAX_INTERIM_RESPONSES {
                    return Err(protocol_error(
                        "more than 64 interim responses before the final one",
                    ));
                }
                continue;
            }
            let framing = Framing::of_response(&head.0, self.is_head_request)?;
            let length = match framing {
                Framing::NoBody => Some(0),
                Framing::Length(length) => Some(length),
                Framing::Chunked | Framing::UntilClose => None,
            };
            let buffered = self.raw.len() as u64;
            self.left = length.map(|length| length.saturating_sub(buffered));
            if retires_connection(&head.0) || length.is_some_and(|length| length < buffered) {
                self.check_in = None;
            }
            let synthetic = head::head_for_async_h1(framing);
            self.out.extend_from_slice(synthetic.as_bytes());
            self.body = Some((framing, ChunkFilter::default()));
            *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(head);
            break;
        }
        Ok(())
    }

    /// Returns `true` if the whole response was read.
    fn is_whole(&self) -> bool {
        match &self.body {
            Some((Framing::Chunked, chunks)) => chunks.is_at_end() && self.raw.is_empty(),
            Some(_) => self.left == Some(0),
            None => false,
        }
    }

    /// Returns the connection to the pool if the exchange is over in both directions. If only the response is
    /// complete, a task first finishes the upload. `Drop` does not call this function, so a cancelled request
    /// or a panic closes the connection.
    fn finish(&mut self) {
        if self.stream.is_none() || !self.is_whole() {
            return;
        }
        let (Some(check_in), Some(mut stream)) = (self.check_in.take(), self.stream.take()) else {
            return;
        };
        match self.upload.take() {
            None => {
                if stream.prepare_for_reuse() {
                    check_in.pool.put(check_in.key, stream);
                }
            }
            Some(mut upload) => {
                let (pool, key) = (check_in.pool.downgrade(), check_in.key);
                let runtime = check_in.pool.runtime().clone();
                check_in.pool.spawn(async move {
                    let monitor = stream.monitor().clone();
                    let uploaded = poll_fn(|cx| upload.poll(&mut stream, cx));
                    let Some(Ok(())) = monitor.unless_stalled(&*runtime, uploaded).await else {
                        return;
                    };
                    if stream.prepare_for_reuse() {
                        pool.put(key, stream);
                    }
                });
            }
        }
    }

    /// Returns the next bytes for async-h1.
    fn poll_out(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        while self.out.is_empty() {
            match &mut self.body {
                None => {
                    ready!(self.poll_raw(cx))?;
                    self.parse_head()?;
                }
                Some((Framing::Chunked, chunks)) => {
                    chunks.filter(&mut self.raw, &mut self.out)?;
                    if self.out.is_empty() {
                        ready!(self.poll_raw(cx))?;
                    }
                }
                Some(_) if self.raw.is_empty() => return self.poll_body(cx, into),
                Some(_) => self.out = self.raw.split(),
            }
        }
        let n = into.len().min(self.out.len());
        self.out.copy_to_slice(&mut into[..n]);
        Poll::Ready(Ok(n))
    }
}

impl AsyncRead for H1Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_upload(cx)?;
        let read = self.poll_out(cx, into);
        self.finish();
        read
    }
}
