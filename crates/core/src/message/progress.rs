//! The progress of a body.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use crate::message::body::{Body, BodySource, ChunkOrRestart, PolledFrame, Reader, Restarts};

/// The largest number of bytes in a chunk. Larger chunks are split, so that a body in memory reports
/// its progress in several steps.
const MAX_CHUNK: usize = 64 * 1024;

/// How much of a body has been transferred.
///
/// For an example, see [`Body::on_progress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The number of bytes transferred so far.
    pub bytes: u64,
    /// The length of the whole body in bytes, if it is known before the transfer.
    pub total: Option<u64>,
}

/// An observer of the progress of a body.
pub(crate) trait ProgressObserver: Send + Sync {
    /// Handles a chunk that was read. `so_far` includes the chunk.
    fn on_chunk(&self, so_far: Progress);

    /// Handles the end of the body.
    fn on_end(&self) {}
}

impl<F: Fn(Progress) + Send + Sync> ProgressObserver for F {
    fn on_chunk(&self, so_far: Progress) {
        self(so_far);
    }
}

pub(crate) type ProgressCallback = Arc<dyn ProgressObserver>;

impl Body {
    /// Makes this body call `watch` for each chunk that is read from it. A chunk has at most 64 KiB. If
    /// the body is sent again, the count starts again from zero.
    ///
    /// The task or thread that reads the body calls `watch`, so `watch` should be short and must
    /// not block.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// use inflight_core::Body;
    ///
    /// let seen = Arc::new(AtomicU64::new(0));
    /// let watched = seen.clone();
    /// let body = Body::from("some text").on_progress(move |progress| {
    ///     assert_eq!(progress.total, Some(9));
    ///     watched.store(progress.bytes, Ordering::Relaxed);
    /// });
    /// # futures_lite::future::block_on(body.collect(100)).unwrap();
    /// assert_eq!(seen.load(Ordering::Relaxed), 9);
    /// ```
    pub fn on_progress(self, watch: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.with_observer(Arc::new(watch))
    }

    pub(crate) fn with_observer(self, watcher: ProgressCallback) -> Self {
        if self.is_empty() {
            return self;
        }
        Self::from_source(ProgressBody {
            counter: ProgressCounter {
                so_far: Progress {
                    bytes: 0,
                    total: self.len(),
                },
                watcher,
                has_ended: false,
            },
            body: self,
            rest: Bytes::new(),
            has_restarted: false,
        })
    }
}

/// Counts the bytes of a body and calls the observer.
#[derive(Clone)]
struct ProgressCounter {
    so_far: Progress,
    watcher: ProgressCallback,
    has_ended: bool,
}

impl ProgressCounter {
    /// Counts a chunk. A `len` of 0 means the end of the body.
    fn count(&mut self, len: usize) {
        if len > 0 {
            self.so_far.bytes += len as u64;
            self.watcher.on_chunk(self.so_far);
        }
        let is_end = len == 0 || self.so_far.total == Some(self.so_far.bytes);
        if is_end && !std::mem::replace(&mut self.has_ended, true) {
            self.watcher.on_end();
        }
    }
}

struct ProgressBody {
    counter: ProgressCounter,
    body: Body,
    /// The bytes of the current chunk that have not been returned.
    rest: Bytes,
    has_restarted: bool,
}

impl BodySource for ProgressBody {
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        let this = &mut *self;
        if this.rest.is_empty() {
            match ready!(this.body.poll_part(cx))? {
                Some(ChunkOrRestart::Chunk(chunk)) => this.rest = chunk,
                Some(ChunkOrRestart::Restart) => {
                    this.counter.so_far.bytes = 0;
                    this.has_restarted = true;
                    return Poll::Ready(Some(Ok(Frame::data(Bytes::new()))));
                }
                None => {
                    this.counter.count(0);
                    return Poll::Ready(None);
                }
            }
        }
        let chunk = this.rest.split_to(this.rest.len().min(MAX_CHUNK));
        this.counter.count(chunk.len());
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn size_hint(&self) -> SizeHint {
        let mut left = self.body.size_hint();
        let rest = self.rest.len() as u64;
        // Sets the upper bound first, because it must never be less than the lower bound.
        if let Some(upper) = left.upper() {
            left.set_upper(upper.saturating_add(rest));
        }
        left.set_lower(left.lower().saturating_add(rest));
        left
    }

    fn set_restarts(mut self: Pin<&mut Self>, restarts: Restarts) {
        self.body.set_restarts(restarts);
    }

    fn has_restarted(mut self: Pin<&mut Self>) -> bool {
        std::mem::take(&mut self.has_restarted)
    }

    fn try_clone(&self) -> Option<Body> {
        let body = self.body.try_clone()?;
        Some(body.with_observer(self.counter.watcher.clone()))
    }

    fn reader(&self) -> Option<Reader> {
        Some(Box::new(ProgressReader {
            reader: self.body.reader()?,
            counter: self.counter.clone(),
        }))
    }
}

struct ProgressReader {
    counter: ProgressCounter,
    reader: Reader,
}

impl Read for ProgressReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(MAX_CHUNK);
        let n = self.reader.read(&mut buffer[..len])?;
        if !buffer.is_empty() {
            self.counter.count(n);
        }
        Ok(n)
    }
}
