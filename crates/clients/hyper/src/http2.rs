//! HTTP/2. A task on the runtime drives the connection, and several requests share it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::Poll;
use std::time::Duration;

use hyper::client::conn::TrySendError;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use inflight_core::{Body, Error, ErrorKind, Runtime};
use inflight_net::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::body::{TaskBody, Upload};
use crate::{error, message, rt};

/// The interval and the timeout of PING frames on a connection with open streams. A request that times out
/// resets only its own stream. Without PING, the pool would reuse a dead connection again and again.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// The largest number of open streams on a connection.
const MAX_STREAMS: usize = 128;

/// The largest number of open streams until the server has sent its limit. The server may reset streams above
/// its limit.
const INITIAL_STREAMS: usize = 16;

/// A limit that no server sends. It means that the server has not sent its limit yet.
const UNKNOWN_STREAMS: usize = 1_000_003;

/// The flow-control window of a stream, in bytes.
const STREAM_WINDOW: u32 = 1 << 20;

/// The flow-control window of a connection. It covers all streams, because unread bodies would otherwise
/// block the other responses.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS as u32;

/// The limit for response heads: 64 KiB, and 8 KiB more because HTTP/2 counts 32 additional bytes for each
/// field (RFC 9113, section 6.5.2).
const MAX_HEAD: u32 = 72 << 10;

/// A handle to a connection. Each clone counts as one use of the connection.
#[derive(Clone)]
pub(crate) struct Http2Connection {
    sender: SendRequest<Upload>,
    shared: Arc<SharedState>,
}

/// The state that all handles of a connection share.
struct SharedState {
    /// Whether the server accepts no more streams (RFC 9113, section 6.8).
    is_going_away: AtomicBool,
    streams: Arc<Streams>,
}

/// The streams that may be open at once.
///
/// h2 would queue streams above the limit. When the server sends GOAWAY, hyper drops the requests in
/// that queue, and the error does not report whether they were sent. So this client queues requests
/// itself.
struct Streams {
    /// One permit for each stream that may be opened now.
    free: Arc<Semaphore>,
    /// By how many streams the open streams exceed the limit, after the server has lowered it. So many
    /// streams do not return their permit when they end.
    excess: AtomicUsize,
    /// The current limit. `MAX_STREAMS` until the server has sent its limit.
    max: AtomicUsize,
    /// Requests take the read lock while they enter hyper's channel. The connection's task takes the write
    /// lock while it drops the connection. If both happened at once, a request could stay in the channel. The
    /// request's sender keeps the channel alive, so the request would never complete.
    sending: RwLock<()>,
}

impl Streams {
    fn new() -> Self {
        Self {
            free: Arc::new(Semaphore::new(INITIAL_STREAMS)),
            excess: AtomicUsize::new(0),
            max: AtomicUsize::new(MAX_STREAMS),
            sending: RwLock::default(),
        }
    }

    /// Returns the number of streams to open if the server allows `allowed`. The result is a little lower
    /// than `allowed`, because h2 may still count a stream that this client has finished, and would queue
    /// the next stream.
    fn limit_for(allowed: usize) -> usize {
        match allowed {
            UNKNOWN_STREAMS => INITIAL_STREAMS,
            _ => (allowed - allowed / 8).min(MAX_STREAMS),
        }
    }

    /// Changes the limit from `previous` to `allowed`.
    fn change_limit(&self, previous: usize, allowed: usize) {
        if let Some(more) = allowed.checked_sub(previous) {
            let excess = self.reduce_excess(more);
            self.free.add_permits(more - excess);
        } else {
            let fewer = previous - allowed;
            // Open streams keep their permits until the streams end.
            let forgotten = self.free.forget_permits(fewer);
            self.excess.fetch_add(fewer - forgotten, Ordering::Relaxed);
        }
        self.max.store(allowed, Ordering::Relaxed);
    }

    /// Reduces the excess by up to `count`, and returns the reduction.
    fn reduce_excess(&self, count: usize) -> usize {
        let reduce = |excess: usize| Some(excess.saturating_sub(count));
        let updated = self
            .excess
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, reduce);
        updated.unwrap_or(0).min(count)
    }
}

/// The permit of an open stream.
struct StreamPermit {
    /// `None` only while the permit is dropped.
    permit: Option<OwnedSemaphorePermit>,
    streams: Arc<Streams>,
}

impl StreamPermit {
    /// Waits until a stream may be opened. Returns `None` if the connection accepts no more streams.
    async fn acquire(streams: &Arc<Streams>) -> Option<Self> {
        let permit = streams.free.clone().acquire_owned().await.ok()?;
        Some(Self {
            permit: Some(permit),
            streams: streams.clone(),
        })
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take()
            && self.streams.reduce_excess(1) == 1
        {
            permit.forget();
        }
    }
}

/// Performs the HTTP/2 handshake and spawns the connection's task.
pub(crate) async fn handshake(
    runtime: &Arc<dyn Runtime>,
    stream: Stream,
) -> Result<Http2Connection, Error> {
    let (sender, connection) = Builder::new(rt::TaskExecutor(runtime.clone()))
        .timer(rt::RuntimeTimer(runtime.clone()))
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .initial_max_send_streams(UNKNOWN_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(error::from_hyper)?;
    let streams = Arc::new(Streams::new());
    let task_streams = streams.clone();
    runtime.spawn(Box::pin(async move {
        let mut connection = Some(connection);
        let mut current_limit = INITIAL_STREAMS;
        poll_fn(|cx| {
            let Some(running) = &mut connection else {
                return Poll::Ready(());
            };
            // Ignores an error, because the requests on the connection return the same error.
            let ended = Pin::new(&mut *running).poll(cx).map(drop);
            let allowed = Streams::limit_for(running.current_max_send_streams());
            if allowed != current_limit {
                task_streams.change_limit(current_limit, allowed);
                current_limit = allowed;
            }
            if ended.is_ready() {
                let _closing = task_streams
                    .sending
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                connection = None;
            }
            ended
        })
        .await;
        task_streams.free.close();
    }));
    let shared = SharedState {
        is_going_away: AtomicBool::new(false),
        streams,
    };
    Ok(Http2Connection {
        sender,
        shared: Arc::new(shared),
    })
}

impl Http2Connection {
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed() && !self.shared.is_going_away.load(Ordering::Relaxed)
    }

    /// Returns the number of handles, without the pool's own handle.
    fn use_count(&self) -> usize {
        Arc::strong_count(&self.shared) - 1
    }

    pub(crate) fn is_in_use(&self) -> bool {
        self.use_count() > 0
    }

    /// Returns `true` if another stream may be opened.
    pub(crate) fn has_room(&self) -> bool {
        self.use_count() < self.shared.streams.max.load(Ordering::Relaxed).max(1)
    }

    /// Sends the request and waits for the response's head.
    pub(crate) async fn exchange(
        mut self,
        is_reused: bool,
        mut request: http::Request<Upload>,
    ) -> Result<http::Response<Body>, Error> {
        let Some(permit) = StreamPermit::acquire(&self.shared.streams).await else {
            let error = Error::new(ErrorKind::Incomplete);
            let error = error.with_context("the connection ended before the request was sent");
            return Err(error.not_processed());
        };
        message::convert_to_http2(&mut request);
        let response = {
            let streams = &self.shared.streams;
            let _open = streams
                .sending
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            self.sender.try_send_request(request)
        };
        match response.await {
            Ok(response) => Ok(response.map(|incoming| {
                let guard = StreamGuard {
                    connection: self,
                    permit,
                };
                TaskBody::http2(incoming, guard)
            })),
            Err(failed) => Err(self.convert_error(failed, is_reused)),
        }
    }

    /// Converts the error of a request that failed.
    fn convert_error(
        &self,
        mut failed: TrySendError<http::Request<Upload>>,
        is_reused: bool,
    ) -> Error {
        let was_returned = failed.take_message().is_some();
        let error = failed.into_error();
        if error::is_go_away(&error) {
            self.shared.is_going_away.store(true, Ordering::Relaxed);
            self.shared.streams.free.close();
        }
        let is_unprocessed = was_returned || error::is_unprocessed(&error);
        let is_broken = is_reused && error::is_connection_failure(&error);
        let was_dropped = error::is_dropped(&error);
        let error = error::from_hyper(error);
        match error.kind() {
            _ if is_unprocessed => error.not_processed(),
            // The server may have received the request.
            ErrorKind::Incomplete if is_broken => error.on_dead_connection(),
            _ if was_dropped => error.on_dead_connection(),
            _ => error,
        }
    }
}

/// The stream permit and the connection handle of a request.
#[allow(dead_code, reason = "held until it is dropped")]
struct StreamGuard {
    permit: StreamPermit,
    connection: Http2Connection,
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    fn open(streams: &Arc<Streams>, count: usize) -> Vec<StreamPermit> {
        let permits = (0..count).map(|_| block_on(poll_once(StreamPermit::acquire(streams))));
        permits.map(|permit| permit.flatten().unwrap()).collect()
    }

    #[test]
    fn a_lower_limit_counts_open_streams() {
        let streams = Arc::new(Streams::new());
        let mut permits = open(&streams, 10);
        streams.change_limit(INITIAL_STREAMS, 4);
        permits.truncate(4);
        assert_eq!(streams.free.available_permits(), 0);
        permits.truncate(3);
        assert_eq!(streams.free.available_permits(), 1);
        permits.extend(open(&streams, 1));
        streams.change_limit(4, 2);
        streams.change_limit(2, 5);
        assert_eq!(streams.free.available_permits(), 1);
        drop(permits);
        assert_eq!(streams.free.available_permits(), 5);
    }
}
