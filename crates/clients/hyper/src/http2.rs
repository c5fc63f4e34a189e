//! HTTP/2: a connection is a task on the runtime, which requests share.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use inflight_core::{Body, Error, ErrorKind, Runtime};
use inflight_net::Stream;

use crate::body::{self, Upload};
use crate::{connection, error, message, rt};

/// How often a connection that carries requests is asked for a sign of life, and how long that may
/// take. A request that is dropped ends its stream and leaves the connection, so one that has died
/// silently would be given out for ever.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// How many streams we open on a connection, and how many before the server has said what it allows:
/// a server may reset what is above its limit.
const MAX_STREAMS: usize = 128;
const FIRST_STREAMS: usize = 16;

/// How much of a response the server may send before its body is read. The connection's window has
/// room for all streams, so that bodies which nobody reads keep no other from being sent.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS as u32;

/// Response heads of 64 KiB, which HTTP/2 counts with 32 bytes more for each field (RFC 9113,
/// section 6.5.2).
const MAX_HEAD: u32 = 72 << 10;

/// A handle on a connection. Clones are the same connection, and each is one use of it.
#[derive(Clone)]
pub(crate) struct Connection {
    sender: SendRequest<Upload>,
    shared: Arc<Shared>,
}

/// What the uses of a connection have in common.
struct Shared {
    /// The server takes no more streams on it (RFC 9113, section 6.8).
    is_going_away: AtomicBool,
    /// How many streams may be open, as the connection's task sees it.
    max_streams: Arc<AtomicUsize>,
}

/// Starts the connection's task.
pub(crate) async fn handshake(
    runtime: &Arc<dyn Runtime>,
    stream: Stream,
) -> Result<connection::Connection, Error> {
    let (sender, connection) = Builder::new(rt::Spawn(runtime.clone()))
        .timer(rt::Timer(runtime.clone()))
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .initial_max_send_streams(FIRST_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(error::map)?;
    let max_streams = Arc::new(AtomicUsize::new(MAX_STREAMS));
    let published = max_streams.clone();
    runtime.spawn(Box::pin(async move {
        let mut connection = connection;
        poll_fn(|cx| {
            // Its requests get the error.
            let ended = Pin::new(&mut connection).poll(cx).map(drop);
            let allowed = match connection.current_max_send_streams() {
                // The server has not said yet. What it does not allow waits for its turn, unsent.
                FIRST_STREAMS => MAX_STREAMS,
                allowed => allowed.min(MAX_STREAMS),
            };
            published.store(allowed, Ordering::Relaxed);
            ended
        })
        .await;
    }));
    let shared = Shared {
        is_going_away: AtomicBool::new(false),
        max_streams,
    };
    Ok(connection::Connection::Http2(Connection {
        sender,
        shared: Arc::new(shared),
    }))
}

impl Connection {
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed() && !self.shared.is_going_away.load(Ordering::Relaxed)
    }

    /// How many requests have a handle: all handles but the pool's.
    fn uses(&self) -> usize {
        Arc::strong_count(&self.shared) - 1
    }

    pub(crate) fn is_in_use(&self) -> bool {
        self.uses() > 0
    }

    /// Whether another stream may be opened.
    pub(crate) fn has_room(&self) -> bool {
        self.uses() < self.shared.max_streams.load(Ordering::Relaxed).max(1)
    }

    /// Sends the request and waits for the response's head.
    pub(crate) fn exchange(
        mut self,
        is_reused: bool,
        mut request: http::Request<Upload>,
    ) -> impl Future<Output = Result<http::Response<Body>, Error>> + Send {
        message::for_http2(&mut request);
        let response = self.sender.try_send_request(request);
        response.map(move |result| match result {
            Ok(response) => Ok(response.map(|incoming| body::Shared::body(incoming, self))),
            Err(failed) => Err(self.failed(failed, is_reused)),
        })
    }

    fn failed(&self, mut failed: TrySendError<http::Request<Upload>>, is_reused: bool) -> Error {
        let was_returned = failed.take_message().is_some();
        let error = failed.into_error();
        if error::is_go_away(&error) {
            self.shared.is_going_away.store(true, Ordering::Relaxed);
        }
        let is_unprocessed = was_returned && is_reused || error::is_unprocessed(&error);
        let is_broken = is_reused && error::has_broken(&error);
        let error = error::map(error);
        match error.kind() {
            _ if is_unprocessed => error.not_processed(),
            ErrorKind::Incomplete if is_broken => error.on_dead_connection(),
            _ => error,
        }
    }
}
