use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::uri::Scheme;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::paths::{self, Peer, RequestInfo};
use crate::stats::Recorder;
use crate::timer::{Clock, SharedClock};

/// An origin without sockets of its own: [`answer`](InProcessOrigin::answer) returns each response directly, and
/// [`serve`](InProcessOrigin::serve) serves a connection that the caller provides.
///
/// ```
/// use std::pin::Pin;
/// use std::time::{Duration, Instant};
///
/// use bytes::Bytes;
/// use inflight_origin::{InProcessOrigin, Clock};
///
/// /// A clock on which every delay ends at once.
/// struct NoDelay;
///
/// impl Clock for NoDelay {
///     fn now(&self) -> Instant {
///         Instant::now()
///     }
///
///     fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
///         Box::pin(std::future::ready(()))
///     }
/// }
///
/// let origin = InProcessOrigin::new(NoDelay)?;
/// let request = http::Request::get("http://origin.test/delay/3600").body(Bytes::new())?;
/// # let block_on = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// let response = block_on.block_on(origin.answer(request));
/// assert_eq!(response.status(), 200);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct InProcessOrigin {
    routes: TowerToHyperService<axum::Router>,
    clock: SharedClock,
}

impl InProcessOrigin {
    /// Creates an origin whose delays use this clock.
    ///
    /// # Errors
    ///
    /// Fails when the histogram of the delays cannot be created.
    pub fn new(clock: impl Clock) -> io::Result<InProcessOrigin> {
        let clock: SharedClock = Arc::new(clock);
        let app = paths::App {
            recorder: Recorder::new()?,
            clock: clock.clone(),
        };
        Ok(InProcessOrigin {
            routes: TowerToHyperService::new(paths::router(app)),
            clock,
        })
    }

    /// Serves the requests of a connection over HTTP/1, until the connection ends. The connection may be a socket of a
    /// simulated network.
    pub async fn serve<S>(&self, connection: S, client: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let peer = Peer {
            addr: client,
            tls: false,
        };
        let service =
            service_fn(|request: Request<Incoming>| self.route(request.map(Body::new), peer));
        // Errors mean that the client disconnected or sent a bad request.
        let _ended = http1::Builder::new()
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(connection), service)
            .await;
    }

    /// Returns the response to a request, as a client would receive it over a connection.
    pub async fn answer(&self, request: Request<Bytes>) -> Response<BodyDataStream> {
        let method = request.method().clone();
        let peer = Peer {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: request.uri().scheme() == Some(&Scheme::HTTPS),
        };
        let Ok(mut response) = self.route(request.map(Body::from), peer).await;
        let len = http_body::Body::size_hint(response.body()).exact();
        let status = response.status();
        let headers = response.headers_mut();
        if let Some(len) = len
            && !headers.contains_key(TRANSFER_ENCODING)
            && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        {
            headers.entry(CONTENT_LENGTH).or_insert(len.into());
        }
        if method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        response.map(Body::into_data_stream)
    }

    async fn route(
        &self,
        mut request: Request<Body>,
        peer: Peer,
    ) -> Result<Response<Body>, Infallible> {
        let received = self.clock.now();
        request
            .extensions_mut()
            .insert(RequestInfo { received, peer });
        self.routes.call(request).await
    }
}
