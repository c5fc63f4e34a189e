//! The connection as async-h1 reads it.

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

/// Reads the response and, meanwhile, writes the request. When all of both is done, the connection
/// goes back to the pool.
///
/// The head goes to whoever holds the [`HeadSlot`]; async-h1 is given one that says how the body ends
/// and no more.
pub(crate) struct H1Stream {
    /// `None` once the exchange is over.
    stream: Option<Stream>,
    is_reused: bool,
    /// `None` when something was seen after which no request may follow.
    check_in: Option<CheckIn>,
    upload: Option<Upload>,
    to_head: bool,
    slot: HeadSlot,
    interim: usize,
    body: Option<(Framing, Chunks)>,
    /// How much the socket has left of a body whose length is known.
    left: Option<u64>,
    /// As it came, and as it goes on.
    raw: BytesMut,
    out: BytesMut,
}

/// Where a connection goes when its exchange is over.
pub(crate) struct CheckIn {
    pub(crate) pool: Pool<Stream>,
    pub(crate) key: Key,
}

/// Where the head is put, once it is there.
pub(crate) type HeadSlot = Arc<Mutex<Option<Head>>>;

/// How many interim responses are passed over: a peer that sends them for ever has to end.
const MAX_INTERIM: usize = 64;

/// How much is read at once of a body that is passed on in another form, and of a head.
const CHUNK: usize = 8 * 1024;
const HEAD_CHUNK: usize = 1024;

impl H1Stream {
    /// A wire for one exchange; `to_head` when its request is a HEAD. Without a `check_in` the
    /// connection is closed at the end.
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

    /// Goes on writing the request. Only the failure of its own body ends the exchange: a peer
    /// that does not need the rest may still say why.
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

    /// What a read of the connection came to. async-h1 knows where a response ends and reads no
    /// further. So an end that it meets is early, unless that is how the body ends.
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

    /// Reads on in a body that goes on as it comes. What follows it on the socket stays there, and
    /// is why the pool does not give the connection out again.
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

    /// Reads on, once what has come goes on in another shape than it came.
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

    /// Takes the final head out of what has come, if it is there. The interim ones before it are
    /// passed over: async-h1 would take them for the answer.
    fn find_head(&mut self) -> Result<(), Error> {
        while let Some((head, len)) = Head::parse(&self.raw)? {
            self.raw.advance(len);
            if head.is_interim() {
                self.interim += 1;
                if self.interim > MAX_INTERIM {
                    return Err(protocol("interim responses without an end"));
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

    /// Whether all of the response was read.
    fn is_whole(&self) -> bool {
        match &self.body {
            Some((Framing::Chunked, chunks)) => chunks.is_at_end() && self.raw.is_empty(),
            Some(_) => self.left == Some(0),
            None => false,
        }
    }

    /// Returns the connection to the pool when the exchange is over in both directions. `Drop` does
    /// not do it, so a panic or a cancelled request returns nothing. If the response is complete and
    /// the upload is not, a task finishes the upload.
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
