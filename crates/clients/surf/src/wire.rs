//! The socket as async-h1 reads it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures_lite::io::AsyncRead;
use inflight_core::bytes::{Buf, BytesMut};
use inflight_core::{BoxFuture, Error, ErrorKind};
use sync_wrapper::SyncWrapper;

use crate::chunks::Chunks;
use crate::error::protocol;
use crate::head::{Framing, Head};
use crate::pool::Lease;

/// Reads the response and, meanwhile, writes the request. When all of both is done, the connection
/// goes back to the pool.
///
/// The head goes to whoever holds the [`Slot`]; async-h1 is given one that says how the body ends
/// and no more.
pub(crate) struct Wire {
    lease: Lease,
    upload: Option<SyncWrapper<Upload>>,
    to_head: bool,
    slot: Slot,
    interim: usize,
    body: Option<(Framing, Chunks)>,
    /// How much the socket has left of a body whose length is known.
    left: Option<u64>,
    /// Whether nothing was seen yet after which no request may follow.
    may_stay: bool,
    /// As it came, and as it goes on.
    raw: BytesMut,
    out: BytesMut,
}

/// Where the head is put, once it is there.
pub(crate) type Slot = Arc<Mutex<Option<Head>>>;

type Upload = BoxFuture<'static, io::Result<()>>;

/// How many interim responses are passed over: a peer that sends them for ever has to end.
const MAX_INTERIM: usize = 64;

impl Wire {
    /// A wire for one exchange; `to_head` when its request is a HEAD, `may_stay` unless it asks
    /// for the connection to be closed.
    pub(crate) fn new(
        lease: Lease,
        upload: impl Future<Output = io::Result<()>> + Send + 'static,
        to_head: bool,
        may_stay: bool,
        slot: Slot,
    ) -> Self {
        Self {
            lease,
            upload: Some(SyncWrapper::new(Box::pin(upload))),
            to_head,
            slot,
            interim: 0,
            body: None,
            left: None,
            may_stay,
            raw: BytesMut::new(),
            out: BytesMut::new(),
        }
    }

    /// Goes on writing the request. Only the failure of its own body ends the exchange: a peer
    /// that does not want the rest may still say why.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Some(upload) = &mut self.upload else {
            return Ok(());
        };
        let Poll::Ready(result) = upload.get_mut().as_mut().poll(cx) else {
            return Ok(());
        };
        self.upload = None;
        self.may_stay &= result.is_ok();
        match result {
            Err(error) if Error::find_in(&error).is_some() => Err(error),
            _ => Ok(()),
        }
    }

    /// async-h1 knows where a response ends and reads no further. So an end that it meets is
    /// early, unless that is how the body ends.
    fn poll_socket(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut &*self.lease.socket).poll_read(cx, into));
        let may_end = matches!(self.body, Some((Framing::Close, _)));
        let error = match read {
            Ok(0) if !into.is_empty() && !may_end => io::ErrorKind::UnexpectedEof.into(),
            Ok(n) => return Poll::Ready(Ok(n)),
            Err(error) => error,
        };
        let is_unanswered = self.body.is_none() && self.interim == 0 && self.raw.is_empty();
        let mut error = Error::from_read(error);
        if self.lease.is_kept && is_unanswered && error.kind() == ErrorKind::Incomplete {
            error = error.on_dead_connection();
        }
        Poll::Ready(Err(error.into()))
    }

    /// Reads on in a body that goes on as it comes. What follows it on the socket stays there, and
    /// is why the pool does not give the connection out again.
    fn poll_body(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let most = match self.left {
            Some(left) => into.len().min(usize::try_from(left).unwrap_or(usize::MAX)),
            None => into.len(),
        };
        let n = ready!(self.poll_socket(cx, &mut into[..most]))?;
        if let Some(left) = &mut self.left {
            *left -= n as u64;
        }
        Poll::Ready(Ok(n))
    }

    /// Reads on, once what has come goes on in another shape than it came.
    fn poll_raw(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut piece = [0; 8 * 1024];
        let n = ready!(self.poll_socket(cx, &mut piece))?;
        self.raw.extend_from_slice(&piece[..n]);
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
            self.may_stay &= head.is_persistent() && length.is_none_or(|length| length >= come);
            self.out
                .extend_from_slice(framing.head_for_async_h1().as_bytes());
            self.body = Some((framing, Chunks::default()));
            *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(head);
            break;
        }
        Ok(())
    }

    /// Whether the exchange is over and the connection as good as new.
    fn is_over(&self) -> bool {
        let is_whole = match &self.body {
            Some((Framing::Chunked, chunks)) => chunks.is_at_end() && self.raw.is_empty(),
            Some(_) => self.left == Some(0),
            None => false,
        };
        self.may_stay && is_whole && self.upload.is_none()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.is_over() {
            self.lease.give_back();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_upload(cx)?;
        while self.out.is_empty() {
            let this = &mut *self;
            match &mut this.body {
                None => {
                    ready!(this.poll_raw(cx))?;
                    this.find_head()?;
                }
                Some((Framing::Chunked, chunks)) => {
                    chunks.pass(&mut this.raw, &mut this.out)?;
                    if this.out.is_empty() {
                        ready!(this.poll_raw(cx))?;
                    }
                }
                Some(_) if this.raw.is_empty() => return this.poll_body(cx, into),
                Some(_) => this.out = this.raw.split(),
            }
        }
        let n = into.len().min(self.out.len());
        self.out.copy_to_slice(&mut into[..n]);
        Poll::Ready(Ok(n))
    }
}
