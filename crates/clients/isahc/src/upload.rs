//! Sends a request's body to isahc's thread.
//!
//! isahc polls a body on its own thread, which is outside every runtime, and a panic there would end all
//! transfers. So the task of the request polls a streamed body and sends the chunks through a channel.
//!
//! libcurl never resends a body that is not empty, because isahc cannot rewind a body that it reads from a
//! reader. [`Upload::reader`] is called again only if the previous transfer could not connect.

use std::future::{poll_fn, ready};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use async_channel::{Receiver, Sender};
use futures_lite::io::{AsyncRead, Cursor};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use inflight_core::bytes::Bytes;
use inflight_core::{Body, BoxFuture, Error};
use isahc::AsyncBody;

use crate::error;

pub(crate) enum Upload {
    /// No body and no length.
    NoBody,
    Buffered(Buffered),
    Streamed(Streamed),
}

pub(crate) struct Buffered {
    bytes: Bytes,
    /// Whether libcurl has read the last byte.
    is_sent: Arc<AtomicBool>,
}

pub(crate) struct Streamed {
    chunks: Receiver<Chunk>,
    len: Option<u64>,
    /// Whether libcurl has read the last chunk.
    is_sent: Arc<AtomicBool>,
    /// The future that sends the chunks. `None` once it has completed.
    producer: Option<BoxFuture<'static, ()>>,
}

/// A chunk of the body, or the error that ends the body. An empty chunk marks the end of the body. If the
/// channel closes without an empty chunk, the upload was dropped.
type Chunk = Result<Bytes, Error>;

impl Upload {
    /// Returns the upload of a request with these headers.
    pub(crate) fn new(body: Body, headers: &HeaderMap) -> Self {
        if let Some(bytes) = body.as_bytes() {
            if !headers.contains_key(CONTENT_LENGTH) {
                return Self::NoBody;
            }
            return Self::Buffered(Buffered {
                is_sent: Arc::new(AtomicBool::new(bytes.is_empty())),
                bytes: bytes.clone(),
            });
        }
        let (sender, chunks) = async_channel::bounded(1);
        Self::Streamed(Streamed {
            chunks,
            len: body.len(),
            is_sent: Arc::default(),
            producer: Some(Box::pin(send_chunks(body, sender))),
        })
    }

    /// Returns the body for a transfer. A streamed body continues where the previous transfer stopped.
    pub(crate) fn reader(&self) -> AsyncBody {
        match self {
            Self::NoBody => AsyncBody::empty(),
            Self::Buffered(body) => body.reader(),
            Self::Streamed(stream) => stream.reader(),
        }
    }

    /// Runs the transfer and polls the streamed body at the same time.
    pub(crate) async fn drive_with<T>(&mut self, transfer: impl Future<Output = T>) -> T {
        let mut transfer = pin!(transfer);
        poll_fn(|cx| {
            if let Self::Streamed(stream) = self
                && let Some(producer) = &mut stream.producer
                && producer.as_mut().poll(cx).is_ready()
            {
                stream.producer = None;
            }
            transfer.as_mut().poll(cx)
        })
        .await
    }

    /// Fails if a successful response began before the whole body was sent. isahc stops the upload when
    /// the response begins, so the server has received only a part of the body. This is not an error if the
    /// server refused the request, because it then does not need the rest.
    pub(crate) fn check(&self, status: StatusCode) -> Result<(), Error> {
        let is_sent = match self {
            Self::NoBody => return Ok(()),
            Self::Buffered(body) => &body.is_sent,
            Self::Streamed(stream) => &stream.is_sent,
        };
        if status.is_success() && !is_sent.load(Ordering::Acquire) {
            return Err(error::upload_cut_off_error());
        }
        Ok(())
    }
}

impl Buffered {
    fn reader(&self) -> AsyncBody {
        let reader = SentReader {
            reader: Cursor::new(self.bytes.clone()),
            is_sent: self.is_sent.clone(),
        };
        AsyncBody::from_reader_sized(reader, self.bytes.len() as u64)
    }
}

/// A reader that sets a flag when the last byte is read.
struct SentReader {
    reader: Cursor<Bytes>,
    is_sent: Arc<AtomicBool>,
}

impl AsyncRead for SentReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.reader).poll_read(cx, buffer);
        if self.reader.position() == self.reader.get_ref().len() as u64 {
            self.is_sent.store(true, Ordering::Release);
        }
        read
    }
}

impl Streamed {
    fn reader(&self) -> AsyncBody {
        let (is_sent, len, mut read) = (self.is_sent.clone(), self.len, 0);
        // The stream ends with this error if the channel closes without an empty chunk.
        let dropped = Err(io::ErrorKind::BrokenPipe.into());
        let reader = self
            .chunks
            .clone()
            .map_err(io::Error::from)
            .chain(stream::iter([dropped]))
            .try_take_while(move |chunk| {
                read += chunk.len() as u64;
                // libcurl stops after `len` bytes, so it may not read the empty chunk.
                if chunk.is_empty() || len.is_some_and(|len| read >= len) {
                    is_sent.store(true, Ordering::Release);
                }
                ready(Ok(!chunk.is_empty()))
            })
            .into_async_read();
        match len {
            Some(len) => AsyncBody::from_reader_sized(reader, len),
            None => AsyncBody::from_reader(reader),
        }
    }
}

async fn send_chunks(mut body: Body, chunks: Sender<Chunk>) {
    loop {
        let chunk = body.chunk().await.map(Option::unwrap_or_default);
        let last = chunk.as_ref().map_or(true, Bytes::is_empty);
        if chunks.send(chunk).await.is_err() || last {
            return;
        }
    }
}
