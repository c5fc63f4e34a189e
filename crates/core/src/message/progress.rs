//! How far a body has come.

use std::io::{self, Read};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::SizeHint;

use crate::error::Error;
use crate::message::body::{Body, Reader, Source};

/// The most that is handed on at once, so that a body in memory makes progress too.
const PIECE: usize = 64 * 1024;

/// How much of a body has gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The bytes so far.
    pub bytes: u64,
    /// The bytes of the whole body, if they are known beforehand.
    pub total: Option<u64>,
}

/// Who watches a body.
pub(crate) trait Watch: Send + Sync {
    /// A piece was taken.
    fn took(&self, so_far: Progress);

    /// That was the last.
    fn ended(&self) {}
}

impl<F: Fn(Progress) + Send + Sync> Watch for F {
    fn took(&self, so_far: Progress) {
        self(so_far);
    }
}

pub(crate) type Watcher = Arc<dyn Watch>;

impl Body {
    /// Calls `watch` with each piece that is taken from this body, at most 64 KiB at a time. A
    /// body that is sent again starts again from nothing.
    ///
    /// The call is made wherever the body is read: let it be short, and not block.
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

    pub(crate) fn watched(self, watcher: Watcher) -> Self {
        if self.is_empty() {
            return self;
        }
        Self::made(Watched {
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
    watcher: Watcher,
    ended: bool,
}

impl Meter {
    /// Nothing more is the end.
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

struct Watched {
    meter: Meter,
    body: Body,
    /// What is left of a large piece.
    rest: Bytes,
}

impl Source for Watched {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        if self.rest.is_empty() {
            match ready!(self.body.poll_chunk(cx)).transpose()? {
                Some(chunk) => self.rest = chunk,
                None => {
                    self.meter.count(0);
                    return Poll::Ready(None);
                }
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        self.meter.count(piece.len());
        Poll::Ready(Some(Ok(piece)))
    }

    fn left(&self) -> SizeHint {
        let mut left = http_body::Body::size_hint(&self.body);
        let rest = self.rest.len() as u64;
        // The upper bound first: it must never be beneath the lower.
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
        Some(Box::new(WatchedReader {
            reader: self.body.reader()?,
            meter: self.meter.clone(),
        }))
    }
}

struct WatchedReader {
    meter: Meter,
    reader: Reader,
}

impl Read for WatchedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(PIECE);
        let n = self.reader.read(&mut buffer[..most])?;
        if !buffer.is_empty() {
            self.meter.count(n);
        }
        Ok(n)
    }
}
