//! The progress of a body.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use crate::message::body::{Body, BodySource, PolledFrame, Reader};

/// The largest chunk that is reported at once, so that a body in memory reports progress too.
const MAX_CHUNK: usize = 64 * 1024;

/// The number of bytes of a body that have been transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The bytes so far.
    pub bytes: u64,
    /// The bytes of the whole body, if known beforehand.
    pub total: Option<u64>,
}

/// An observer of a body.
pub(crate) trait ProgressObserver: Send + Sync {
    /// Reports that a chunk was taken.
    fn took(&self, so_far: Progress);

    /// Reports the end of the body.
    fn ended(&self) {}
}

impl<F: Fn(Progress) + Send + Sync> ProgressObserver for F {
    fn took(&self, so_far: Progress) {
        self(so_far);
    }
}

pub(crate) type ProgressCallback = Arc<dyn ProgressObserver>;

impl Body {
    /// Calls `watch` with each chunk that is taken from this body, at most 64 KiB at a time. If the
    /// body is sent again, the count starts again from zero.
    ///
    /// The task or thread that reads the body makes the call, so `watch` should be short and must
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
        self.watched(Arc::new(watch))
    }

    pub(crate) fn watched(self, watcher: ProgressCallback) -> Self {
        if self.is_empty() {
            return self;
        }
        Self::made(ProgressBody {
            meter: Meter {
                so_far: Progress {
                    bytes: 0,
                    total: self.len(),
                },
                watcher,
                ended: false,
            },
            body: self,
            rest: Bytes::new(),
        })
    }
}

#[derive(Clone)]
struct Meter {
    so_far: Progress,
    watcher: ProgressCallback,
    ended: bool,
}

impl Meter {
    /// A `len` of 0 is the end.
    fn count(&mut self, len: usize) {
        if len > 0 {
            self.so_far.bytes += len as u64;
            self.watcher.took(self.so_far);
        }
        let is_end = len == 0 || self.so_far.total == Some(self.so_far.bytes);
        if is_end && !std::mem::replace(&mut self.ended, true) {
            self.watcher.ended();
        }
    }
}

struct ProgressBody {
    meter: Meter,
    body: Body,
    /// The rest of a large chunk.
    rest: Bytes,
}

impl BodySource for ProgressBody {
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        let this = &mut *self;
        if this.rest.is_empty() {
            match ready!(this.body.poll_chunk(cx)).transpose()? {
                Some(chunk) => this.rest = chunk,
                None => {
                    this.meter.count(0);
                    return Poll::Ready(None);
                }
            }
        }
        let chunk = this.rest.split_to(this.rest.len().min(MAX_CHUNK));
        this.meter.count(chunk.len());
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn size_hint(&self) -> SizeHint {
        let mut left = self.body.size_hint();
        let rest = self.rest.len() as u64;
        // The upper bound first: it must never be less than the lower bound.
        if let Some(upper) = left.upper() {
            left.set_upper(upper.saturating_add(rest));
        }
        left.set_lower(left.lower().saturating_add(rest));
        left
    }

    fn again(&self) -> Option<Body> {
        let body = self.body.try_clone()?;
        Some(body.watched(self.meter.watcher.clone()))
    }

    fn reader(&self) -> Option<Reader> {
        Some(Box::new(ProgressReader {
            reader: self.body.reader()?,
            meter: self.meter.clone(),
        }))
    }
}

struct ProgressReader {
    meter: Meter,
    reader: Reader,
}

impl Read for ProgressReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(MAX_CHUNK);
        let n = self.reader.read(&mut buffer[..most])?;
        if !buffer.is_empty() {
            self.meter.count(n);
        }
        Ok(n)
    }
}
