//! The socket as async-h1 reads it.

use std::io;
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use async_io::Async;
use futures_lite::io::AsyncRead;
use inflight_core::bytes::{Buf, BytesMut};
use inflight_core::{BoxFuture, Error};
use sync_wrapper::SyncWrapper;

use crate::chunks::Chunks;
use crate::error::protocol;
use crate::head::{Framing, Head};

/// Reads the response and, meanwhile, writes the request.
///
/// The head goes to whoever holds the [`Slot`]; async-h1 is given one that says how the body ends
/// and no more.
pub(crate) struct Wire {
    socket: Arc<Async<TcpStream>>,
    upload: Option<SyncWrapper<Upload>>,
    to_head: bool,
    slot: Slot,
    interim: usize,
    body: Option<(Framing, Chunks)>,
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
    /// A wire for one exchange; `to_head` when its request is a HEAD.
    pub(crate) fn new(
        socket: Arc<Async<TcpStream>>,
        upload: impl Future<Output = io::Result<()>> + Send + 'static,
        to_head: bool,
        slot: Slot,
    ) -> Self {
        Self {
            socket,
            upload: Some(SyncWrapper::new(Box::pin(upload))),
            to_head,
            slot,
            interim: 0,
            body: None,
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
        match result {
            Err(error) if Error::find_in(&error).is_some() => Err(error),
            _ => Ok(()),
        }
    }

    /// async-h1 knows where a response ends and reads no further. So an end that it meets is
    /// early, unless that is how the body ends.
    fn poll_socket(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut &*self.socket).poll_read(cx, into))?;
        let may_end = matches!(self.body, Some((Framing::Close, _)));
        if n == 0 && !into.is_empty() && !may_end {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
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
            self.out
                .extend_from_slice(framing.head_for_async_h1().as_bytes());
            self.body = Some((framing, Chunks::default()));
            *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(head);
            break;
        }
        Ok(())
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
                Some(_) if this.raw.is_empty() => return this.poll_socket(cx, into),
                Some(_) => this.out = this.raw.split(),
            }
        }
        let n = into.len().min(self.out.len());
        self.out.copy_to_slice(&mut into[..n]);
        Poll::Ready(Ok(n))
    }
}
