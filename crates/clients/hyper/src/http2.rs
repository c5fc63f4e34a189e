//! HTTP/2: a connection is a task on the runtime, which requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use inflight_core::{Body, Error, Runtime};
use inflight_net::Stream;

use crate::body::{self, Upload};
use crate::http1::Failure;
use crate::{connection, error, message, rt};

/// How often a connection that carries requests is asked for a sign of life, and how long that may
/// take. A request that is dropped ends its stream and leaves the connection, so one that has died
/// silently would be given out for ever.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// A handle on a connection. Clones are the same connection, and each is one use of it.
#[derive(Clone)]
pub(crate) struct Connection {
    sender: SendRequest<Upload>,
    shared: Arc<Shared>,
}

/// What the uses of a connection have in common.
#[derive(Default)]
struct Shared {
    /// The server takes no more streams on it (RFC 9113, section 6.8).
    is_going_away: AtomicBool,
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
        .handshake(TokioIo::new(stream))
        .await
        .map_err(error::map)?;
    runtime.spawn(Box::pin(async move {
        // Its requests get the error.
        let _ = connection.await;
    }));
    Ok(connection::Connection::Http2(Connection {
        sender,
        shared: Arc::default(),
    }))
}

impl Connection {
    pub(crate) fn is_open(&self) -> bool {
        !self.sender.is_closed() && !self.shared.is_going_away.load(Ordering::Relaxed)
    }

    /// Whether anybody but the pool has a handle.
    pub(crate) fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.shared) > 1
    }

    pub(crate) async fn exchange(
        mut self,
        mut request: http::Request<Upload>,
    ) -> Result<http::Response<Body>, Failure> {
        message::for_http2(&mut request);
        match self.sender.try_send_request(request).await {
            Ok(response) => Ok(response.map(|incoming| body::Shared::body(incoming, self))),
            Err(mut failed) => {
                let unsent = failed.take_message();
                let error = failed.into_error();
                if error::is_go_away(&error) {
                    self.shared.is_going_away.store(true, Ordering::Relaxed);
                }
                if unsent.is_none() && error::is_unprocessed(&error) {
                    return Err(Failure::NotProcessed(error::map(error)));
                }
                let is_unanswered = error::has_broken(&error);
                Err(Failure::new(unsent, error, is_unanswered))
            }
        }
    }
}
