use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::uri::Scheme;
use http::{Method, Request, Response, StatusCode};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use crate::paths::{self, Peer, RequestInfo};
use crate::stats::Recorder;
use crate::timer::{Clock, SharedClock};

/// An origin without sockets: [`answer`](InProcessOrigin::answer) returns each response directly.
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

    /// Returns the response to a request, as a client would receive it over a connection.
    pub async fn answer(&self, request: Request<Bytes>) -> Response<BodyDataStream> {
        let method = request.method().clone();
        let mut request = request.map(Body::from);
        let peer = Peer {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: request.uri().scheme() == Some(&Scheme::HTTPS),
        };
        let received = self.clock.now();
        let info = RequestInfo { received, peer };
        request.extensions_mut().insert(info);
        let Ok(mut response) = self.routes.call(request).await;
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
}
