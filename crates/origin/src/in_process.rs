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

use crate::paths::{self, Arrival, Peer};
use crate::stats::Recorder;
use crate::timer::{Clock, Time};

/// The origin's pages without a socket: for clients that answer in memory.
///
/// ```
/// use std::pin::Pin;
/// use std::time::{Duration, Instant};
///
/// use bytes::Bytes;
/// use inflight_origin::{InProcess, Time};
///
/// /// A time in which delays are over at once.
/// struct Hurried;
///
/// impl Time for Hurried {
///     fn now(&self) -> Instant {
///         Instant::now()
///     }
///
///     fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
///         Box::pin(std::future::ready(()))
///     }
/// }
///
/// let pages = InProcess::new(Hurried)?;
/// let request = http::Request::get("http://origin.test/delay/3600").body(Bytes::new())?;
/// # let block_on = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// let response = block_on.block_on(pages.answer(request));
/// assert_eq!(response.status(), 200);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct InProcess {
    routes: TowerToHyperService<axum::Router>,
    clock: Clock,
}

impl InProcess {
    /// Pages whose delays pass in this time.
    ///
    /// # Errors
    ///
    /// When there is no memory for the counts.
    pub fn new(time: impl Time) -> io::Result<InProcess> {
        let clock = Clock::Given(Arc::new(time));
        let app = paths::App {
            recorder: Recorder::new()?,
            clock: clock.clone(),
        };
        Ok(InProcess {
            routes: TowerToHyperService::new(paths::router(app)),
            clock,
        })
    }

    /// The answer, as it would come out of a connection.
    pub async fn answer(&self, request: Request<Bytes>) -> Response<BodyDataStream> {
        let method = request.method().clone();
        let mut request = request.map(Body::from);
        let from = Peer {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: request.uri().scheme() == Some(&Scheme::HTTPS),
        };
        let at = self.clock.now();
        request.extensions_mut().insert(Arrival { at, from });
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
