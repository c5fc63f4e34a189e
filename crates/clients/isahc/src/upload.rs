//! Sends a request's body to isahc's thread.
//!
//! isahc polls a body on its own thread, which is outside every runtime, and a panic there would end all
//! transfers. So the task that fetches polls a streamed body, and sends the chunks through a channel.
//!
//! A body that is not empty is never sent twice: see [`Agents`](crate::agent::Agents).

use std::future::{poll_fn, ready};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use async_channel::{Receiver, Sender};
use futures_lite::io::{AsyncRead, Cursor};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use http::{Method, StatusCode};
use inflight_core::bytes::Bytes;
use inflight_core::{Body, BoxFuture, Error};
use isahc::AsyncBody;

use crate::error;

pub(crate) enum Upload {
    /// No body and no length.
    Nothing,
    Buffered(Buffered),
    Streamed(Streamed),
}

pub(crate) struct Buffered {
    bytes: Bytes,
    /// Whether libcurl has read the last byte.
    sent: Arc<AtomicBool>,
}

pub(crate) struct Streamed {
    pieces: Receiver<Piece>,
    len: Option<u64>,
    /// Whether libcurl has read the last chunk.
    sent: Arc<AtomicBool>,
    pump: Option<BoxFuture<'static, ()>>,
}

/// A chunk of the body, empty at the end. If the channel closes without an empty chunk, the upload was
/// dropped.
type Piece = Result<Bytes, Error>;

impl Upload {
    pub(crate) fn new(body: Body, method: &Method) -> Self {
        if let Some(bytes) = body.as_bytes() {
            // These methods send a length even if it is 0 (RFC 9110, section 8.6).
            let announced = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
            if bytes.is_empty() && !announced {
                return Self::Nothing;
            }
            return Self::Buffered(Buffered {
                sent: Arc::new(AtomicBool::new(bytes.is_empty())),
                bytes: bytes.clone(),
            });
        }
        let (sender, pieces) = async_channel::bounded(1);
        Self::Streamed(Streamed {
            pieces,
            len: body.len(),
            sent: Arc::default(),
            pump: Some(Box::pin(pump(body, sender))),
        })
    }

    /// Returns the body for a transfer. A streamed body continues where the previous transfer stopped.
    pub(crate) fn reader(&self) -> AsyncBody {
        match self {
            Self::Nothing => AsyncBody::empty(),
            Self::Buffered(body) => body.reader(),
            Self::Streamed(stream) => stream.reader(),
        }
    }

    /// Runs the transfer and polls the streamed body at the same time.
    pub(crate) async fn along<T>(&mut self, transfer: impl Future<Output = T>) -> T {
        let mut transfer = pin!(transfer);
        poll_fn(|cx| {
            if let Self::Streamed(stream) = self
                && let Some(pump) = &mut stream.pump
                && pump.as_mut().poll(cx).is_ready()
            {
                stream.pump = None;
            }
            transfer.as_mut().poll(cx)
        })
        .await
    }

    /// Fails if a successful response began before the whole body was sent. isahc stops the upload when
    /// the response begins, so such a response answers an incomplete request. A server that refused the
    /// request does not need the rest.
    pub(crate) fn check(&self, status: StatusCode) -> Result<(), Error> {
        let sent = match self {
            Self::Nothing => return Ok(()),
            Self::Buffered(body) => &body.sent,
            Self::Streamed(stream) => &stream.sent,
        };
        if status.is_success() && !sent.load(Ordering::Acquire) {
            return Err(error::cut_off());
        }
        Ok(())
    }
}

impl Buffered {
    fn reader(&self) -> AsyncBody {
        let reader = SentReader {
            reader: Cursor::new(self.bytes.clone()),
            sent: self.sent.clone(),
        };
        AsyncBody::from_reader_sized(reader, self.bytes.len() as u64)
    }
}

/// A reader that records when the last byte was read.
struct SentReader {
    reader: Cursor<Bytes>,
    sent: Arc<AtomicBool>,
}

impl AsyncRead for SentReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.reader).poll_read(cx, buffer);
        if self.reader.position() == self.reader.get_ref().len() as u64 {
            self.sent.store(true, Ordering::Release);
        }
        read
    }
}

impl Streamed {
    fn reader(&self) -> AsyncBody {
        let (sent, len, mut taken) = (self.sent.clone(), self.len, 0);
        let abandoned = Err(io::ErrorKind::BrokenPipe.into());
        let reader = self
            .pieces
            .clone()
            .map_err(io::Error::from)
            .chain(stream::iter([abandoned]))
            .try_take_while(move |piece| {
                taken += piece.len() as u64;
                // libcurl reads no more than the length.
                if piece.is_empty() || len.is_some_and(|len| taken >= len) {
                    sent.store(true, Ordering::Release);
                }
                ready(Ok(!piece.is_empty()))
            })
            .into_async_read();
        match len {
            Some(len) => AsyncBody::from_reader_sized(reader, len),
            None => AsyncBody::from_reader(reader),
        }
    }
}

async fn pump(mut body: Body, pieces: Sender<Piece>) {
    loop {
        let piece = body.chunk().await.map(Option::unwrap_or_default);
        let last = piece.as_ref().map_or(true, Bytes::is_empty);
        if pieces.send(piece).await.is_err() || last {
            return;
        }
    }
}
