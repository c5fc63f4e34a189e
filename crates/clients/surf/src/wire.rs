//! The stream from which async-h1 reads a response.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures_lite::io::AsyncRead;
use inflight_core::Error;
use inflight_core::bytes::{Buf, BytesMut};
use inflight_net::{Key, Pool, Stream, tls};
use tokio::io::ReadBuf;
use tokio_util::io::poll_read_buf;

use crate::chunks::Chunks;
use crate::error::protocol;
use crate::head::{Framing, Head};
use crate::upload::Upload;

/// Reads the response and writes the request at the same time. When both are complete, the connection
/// goes back to the pool.
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
    to_head: bool,
    slot: HeadSlot,
    interim: usize,
    body: Option<(Framing, Chunks)>,
    /// The number of bytes of the body that were not read yet, if the length is known.
    left: Option<u64>,
    /// The bytes that were read, and the bytes for async-h1.
    raw: BytesMut,
    out: BytesMut,
}

/// The pool and the key with which a connection is returned after its exchange.
pub(crate) struct CheckIn {
    pub(crate) pool: Pool<Stream>,
    pub(crate) key: Key,
}

/// Receives the server's head.
pub(crate) type HeadSlot = Arc<Mutex<Option<Head>>>;

/// The largest number of interim responses before a final response.
const MAX_INTERIM: usize = 64;

/// The number of bytes to read at once of a chunked body, and of a head.
const CHUNK: usize = 8 * 1024;
const HEAD_CHUNK: usize = 1024;

impl H1Stream {
    /// Returns a stream for one exchange. `to_head` is `true` for a HEAD request. If `check_in` is `None`,
    /// the connection is closed after the exchange.
    pub(crate) fn new(
        stream: Stream,
        is_reused: bool,
        check_in: Option<CheckIn>,
        upload: Upload,
        to_head: bool,
        slot: HeadSlot,
    ) -> Self {
        stream.monitor().reset();
        Self {
            stream: Some(stream),
            is_reused,
            check_in,
            upload: Some(upload),
            to_head,
            slot,
            interim: 0,
            body: None,
            left: None,
            raw: BytesMut::new(),
            out: BytesMut::new(),
        }
    }

    /// Continues to write the request. Only an error of the request's body ends the exchange. After another
    /// error, the server may still send a response.
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

    /// Converts the result of a read. An end of the connection is an error, unless it is the framing of the
    /// body, because async-h1 does not read past the end of a response.
    fn verdict(&self, read: io::Result<usize>, is_full: bool) -> io::Result<usize> {
        let may_end = is_full || matches!(self.body, Some((Framing::Close, _)));
        let error = match read {
            Ok(0) if !may_end => io::ErrorKind::UnexpectedEof.into(),
            Ok(n) => return Ok(n),
            Err(error) => error,
        };
        let error = tls::find(&error).unwrap_or_else(|| Error::from_read(error));
        Err(match &self.stream {
            Some(stream) => stream.monitor().mark(error, self.is_reused),
            None => error,
        }
        .into())
    }

    /// Reads a body that needs no conversion. Bytes after the body stay on the socket, and the pool then
    /// does not reuse the connection.
    fn poll_body(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let most = match self.left {
            Some(left) => into.len().min(usize::try_from(left).unwrap_or(usize::MAX)),
            None => into.len(),
        };
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Ok(0));
        };
        let mut buffer = ReadBuf::new(&mut into[..most]);
        let read = ready!(tokio::io::AsyncRead::poll_read(
            Pin::new(stream),
            cx,
            &mut buffer
        ));
        let read = read.map(|()| buffer.filled().len());
        let n = self.verdict(read, most == 0)?;
        if let Some(left) = &mut self.left {
            *left -= n as u64;
        }
        Poll::Ready(Ok(n))
    }

    /// Reads more bytes of a head or of a body that needs conversion.
    fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        };
        self.raw.reserve(match self.body {
            Some(_) => CHUNK,
            None => HEAD_CHUNK,
        });
        let read = ready!(poll_read_buf(Pin::new(stream), cx, &mut self.raw));
        self.verdict(read, false)?;
        Poll::Ready(Ok(()))
    }

    /// Parses the final head if it has arrived. Skips interim responses, because async-h1 would treat them
    /// as final.
    fn find_head(&mut self) -> Result<(), Error> {
        while let Some((head, len)) = Head::parse(&self.raw)? {
            self.raw.advance(len);
            if head.is_interim() {
                self.interim += 1;
                if self.interim > MAX_INTERIM {
                    return Err(protocol(
                        "more than 64 interim responses before the final one",
                    ));
                }
                continue;
            }
            let framing = head.framing(self.to_head)?;
            let length = match framing {
                Framing::Nothing => Some(0),
                Framing::Length(length) => Some(length),
                Framing::Chunked | Framing::Close => None,
            };
            let come = self.raw.len() as u64;
            self.left = length.map(|length| length.saturating_sub(come));
            if !head.is_persistent() || length.is_some_and(|length| length < come) {
                self.check_in = None;
            }
            self.out
                .extend_from_slice(framing.head_for_async_h1().as_bytes());
            self.body = Some((framing, Chunks::default()));
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

    /// Returns the connection to the pool if the exchange is over in both directions. `Drop` does not, so
    /// the connection of a cancelled request or of a panic is closed. If only the response is complete, a
    /// task finishes the upload.
    fn finish(&mut self) {
        if self.stream.is_none() || !self.is_whole() {
            return;
        }
        let (Some(check_in), Some(mut stream)) = (self.check_in.take(), self.stream.take()) else {
            return;
        };
        match self.upload.take() {
            None => {
                if stream.rest() {
                    check_in.pool.put(check_in.key, stream);
                }
            }
            Some(mut upload) => {
                let (pool, key) = (check_in.pool.downgrade(), check_in.key);
                let runtime = check_in.pool.runtime().clone();
                check_in.pool.spawn(async move {
                    let monitor = stream.monitor().clone();
                    let whole = poll_fn(|cx| upload.poll(&mut stream, cx));
                    let Some(Ok(())) = monitor.unless_stalled(&*runtime, whole).await else {
                        return;
                    };
                    if stream.rest() {
                        pool.put(key, stream);
                    }
                });
            }
        }
    }

    fn poll_out(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        while self.out.is_empty() {
            match &mut self.body {
                None => {
                    ready!(self.poll_raw(cx))?;
                    self.find_head()?;
                }
                Some((Framing::Chunked, chunks)) => {
                    chunks.pass(&mut self.raw, &mut self.out)?;
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
