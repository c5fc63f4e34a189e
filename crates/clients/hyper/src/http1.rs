//! HTTP/1. The future of a request drives the connection.
//!
//! hyper splits a connection into a request sender and a driver, which is a future that reads and writes. An
//! exchange (one request and its response) owns both and polls them in one task. When the response's head has
//! arrived, the response's body owns both. Dropping the exchange or the body closes the connection. The
//! connection goes back into the pool when the exchange is over in both directions and hyper is ready for the
//! next request.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use http::HeaderValue;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use inflight_core::{Body, Error, retires_connection};
use inflight_net::{Key, Monitor, Pool, Stream, convert_to_http1, host_field};
use pin_project_lite::pin_project;

use crate::body::{TaskBody, Upload, UploadProgress};
use crate::connection::Connection;
use crate::error;
use crate::http1_stream::Http1Stream;

/// An HTTP/1 connection. It makes progress only while its current exchange polls the driver.
pub(crate) struct Http1Connection {
    sender: SendRequest<Upload>,
    // `None` once the driver is complete, because it must not be polled again.
    driver: Option<http1::Connection<TokioIo<Http1Stream>, Upload>>,
    monitor: Arc<Monitor>,
    /// The value of the `Host` field. `None` if the requests on the connection have different hosts.
    host: Option<HeaderValue>,
    is_forwarded: bool,
}

/// The pool and the key for returning a connection after its exchange.
pub(crate) struct CheckIn {
    pub(crate) pool: Pool<Connection>,
    pub(crate) key: Key,
}

/// Performs the HTTP/1 handshake. Requests on the connection have `host` as their `Host` field, unless a
/// proxy forwards them.
pub(crate) async fn handshake(
    stream: Stream,
    host: Option<HeaderValue>,
) -> Result<Connection, Error> {
    let monitor = stream.monitor().clone();
    let is_forwarded = stream.is_forwarded();
    let (sender, driver) = http1::Builder::new()
        // A user agent must accept folded lines (RFC 9112, section 5.2).
        .allow_obsolete_multiline_headers_in_responses(true)
        .handshake(TokioIo::new(Http1Stream::new(stream)))
        .await
        .map_err(error::from_hyper)?;
    Ok(Connection::Http1(Box::new(Http1Connection {
        sender,
        driver: Some(driver),
        monitor,
        // A connection to a forwarding proxy serves many hosts.
        host: host.filter(|_| !is_forwarded),
        is_forwarded,
    })))
}

/// Sends the request and waits for the response's head.
pub(crate) fn exchange(
    mut connection: Box<Http1Connection>,
    is_reused: bool,
    check_in: CheckIn,
    mut request: http::Request<Upload>,
) -> impl Future<Output = Result<http::Response<Body>, Error>> + Send {
    let host = match &connection.host {
        Some(host) => Some(host.clone()),
        None => host_field(request.uri()),
    };
    convert_to_http1(&mut request, connection.is_forwarded, host);
    connection.monitor.reset();
    Exchange {
        progress: request.body().progress(),
        response: connection.sender.try_send_request(request),
        in_progress: Some((connection, check_in)),
        is_reused,
    }
}

pin_project! {
    // Not an `async fn`, which would reserve space for the request in addition to hyper's future.
    struct Exchange<F> {
        #[pin]
        response: F,
        // `None` once the exchange is over.
        in_progress: Option<(Box<Http1Connection>, CheckIn)>,
        progress: Option<Arc<UploadProgress>>,
        is_reused: bool,
    }
}

impl<F> Future for Exchange<F>
where
    F: Future<Output = Result<http::Response<Incoming>, TrySendError<http::Request<Upload>>>>,
{
    type Output = Result<http::Response<Body>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some((connection, _)) = this.in_progress {
            drive(&mut connection.driver, cx);
        }
        // This poll needs the task's waker, although the driver already wakes the task when the response
        // arrives. If tokio's cooperative budget is used up, hyper's channel returns `Pending`, and only the
        // waker of this poll wakes the task again.
        let response = ready!(this.response.poll(cx));
        let (connection, check_in) = this
            .in_progress
            .take()
            .expect("a completed exchange should not be polled");
        Poll::Ready(match response {
            Ok(response) => Ok(connection.into_response(check_in, response, this.progress.take())),
            Err(failed) => {
                let error = error::from_hyper(failed.into_error());
                Err(connection.monitor.mark(error, *this.is_reused))
            }
        })
    }
}

/// Polls the driver unless it has completed. Returns `true` once the driver has completed.
fn drive(
    driver: &mut Option<http1::Connection<TokioIo<Http1Stream>, Upload>>,
    cx: &mut Context<'_>,
) -> bool {
    let is_complete = match driver {
        None => return true,
        // Ignores an error, because the request or the body returns the same error.
        Some(driver) => Pin::new(driver).poll(cx).is_ready(),
    };
    if is_complete {
        // Dropping the driver returns an unsent request through the response's channel.
        *driver = None;
    }
    is_complete
}

impl Http1Connection {
    /// Returns `true` if the next request may be sent: the server has sent no unsolicited bytes and has
    /// not closed the connection. If `thoroughly` is `true`, queries the system too.
    pub(crate) fn is_open(&mut self, thoroughly: bool) -> bool {
        if thoroughly {
            let mut cx = Context::from_waker(Waker::noop());
            let (monitor, driver) = (&self.monitor, &mut self.driver);
            monitor.check(|| drive(driver, &mut cx));
        }
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Polls the driver once more, with a no-op waker. This drops the task's waker, and detects a close that
    /// has already arrived. Returns `true` if the exchange is over in both directions and the connection is
    /// reusable.
    fn poll_done(&mut self) -> bool {
        drive(&mut self.driver, &mut Context::from_waker(Waker::noop()));
        self.is_open(false)
    }

    /// Returns the response. Its body drives the connection until the body ends. If the upload must continue,
    /// a task drives the connection instead.
    fn into_response(
        self: Box<Self>,
        check_in: CheckIn,
        response: http::Response<Incoming>,
        progress: Option<Arc<UploadProgress>>,
    ) -> http::Response<Body> {
        let is_last = retires_connection(&response);
        let (parts, incoming) = response.into_parts();
        let is_uploaded = progress.as_deref().is_none_or(UploadProgress::is_over)
            && !self.monitor.is_write_blocked();
        if !is_uploaded {
            match &progress {
                // A client that has received `close` must stop sending (RFC 9112, section 9.6).
                Some(progress) if is_last => progress.stop(),
                // The upload continues even if the caller does not read the response.
                _ => {
                    let has_reader = !http_body::Body::is_end_stream(&incoming);
                    self.drive_in_task(check_in, is_last, has_reader);
                    return http::Response::from_parts(parts, TaskBody::http1(incoming));
                }
            }
        }
        let body = match http_body::Body::is_end_stream(&incoming) {
            true => {
                self.finish((!is_last).then_some(check_in));
                Body::empty()
            }
            false => Body::wrap(DrivingBody {
                incoming,
                connection: Some(self),
                check_in: (!is_last).then_some(check_in),
            }),
        };
        http::Response::from_parts(parts, body)
    }

    /// Ends the exchange after the whole response. Returns the connection to the pool with `check_in`, and
    /// closes the connection if `check_in` is `None`.
    fn finish(mut self: Box<Self>, check_in: Option<CheckIn>) {
        let Some(check_in) = check_in else { return };
        if self.poll_done() {
            check_in.pool.put(check_in.key, Connection::Http1(self));
        } else if self.driver.is_some() {
            self.drive_in_task(check_in, false, false);
        }
    }

    /// Spawns a task that drives the connection until the exchange is over. The task then returns the
    /// connection to the pool, unless `is_last` is `true`. `has_reader` is `true` if the caller can
    /// still read a body. If not, no timeout of the caller ends the upload, so the task closes the connection
    /// when the upload stalls.
    fn drive_in_task(mut self: Box<Self>, check_in: CheckIn, is_last: bool, has_reader: bool) {
        let runtime = check_in.pool.runtime().clone();
        let (pool, key) = (check_in.pool.downgrade(), check_in.key);
        check_in.pool.spawn(async move {
            let Self {
                sender,
                driver,
                monitor,
                ..
            } = &mut *self;
            let done = poll_fn(|cx| match drive(driver, cx) {
                true => Poll::Ready(false),
                false => sender.poll_ready(cx).map(|ready| ready.is_ok()),
            });
            let is_ready = match has_reader {
                true => done.await,
                false => monitor
                    .unless_stalled(&*runtime, done)
                    .await
                    .unwrap_or_default(),
            };
            if is_ready && !is_last && self.poll_done() {
                pool.put(key, Connection::Http1(self));
            }
        });
    }
}

/// A response's body that drives its connection.
struct DrivingBody {
    incoming: Incoming,
    // `None` once the body is over.
    connection: Option<Box<Http1Connection>>,
    // `None` if the connection must not be reused.
    check_in: Option<CheckIn>,
}

impl DrivingBody {
    fn end(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.finish(self.check_in.take());
        }
    }
}

impl http_body::Body for DrivingBody {
    type Data = hyper::body::Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Self::Data>, Error>>> {
        let this = &mut *self;
        let mut polled = Pin::new(&mut this.incoming).poll_frame(cx);
        if polled.is_pending()
            && let Some(connection) = &mut this.connection
        {
            drive(&mut connection.driver, cx);
            polled = Pin::new(&mut this.incoming).poll_frame(cx);
        }
        match ready!(polled) {
            Some(Ok(frame)) => {
                if http_body::Body::is_end_stream(&this.incoming) {
                    this.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                this.connection = None;
                Poll::Ready(Some(Err(error::from_hyper(error))))
            }
            None => {
                this.end();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.connection.is_none() && http_body::Body::is_end_stream(&self.incoming)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::Body::size_hint(&self.incoming)
    }
}
