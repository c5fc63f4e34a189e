//! Conversions from and to tower: a [`Session`] is a [`Service`], and [`FromTower`] turns a service
//! into a client.
//!
//! ```
//! use inflight_core::tower::FromTower;
//! use inflight_core::{Body, Capabilities, Error, Fetch, http};
//!
//! # futures_lite::future::block_on(async {
//! let service = tower::service_fn(|request: http::Request<Body>| async move {
//!     Ok::<_, Error>(http::Response::new(request.into_body()))
//! });
//! let client = FromTower::new(service, Capabilities::all("an echo"));
//! let request = http::Request::new(Body::from("hello"));
//! let response = client.fetch(request).await.unwrap();
//! assert_eq!(response.into_body().as_bytes().unwrap(), "hello");
//! # });
//! ```

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll};

use tower_service::Service;

use crate::backend::capabilities::Capabilities;
use crate::backend::fetch::{BoxFuture, Fetch};
use crate::error::{BoxError, Error, ErrorKind};
use crate::message::body::Body;
use crate::message::response::Response;
use crate::session::session::Session;

/// A session is always ready. Its limits delay a request inside the future that `call` returns.
impl Service<http::Request<Body>> for Session {
    type Response = Response;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.execute(request))
    }
}

/// A client that sends requests through a tower service: a stack of middleware around a
/// [`Session`], for example.
///
/// For an example, see the [module's documentation](self).
#[derive(Clone)]
pub struct FromTower<S> {
    service: S,
    capabilities: Capabilities,
}

impl<S> FromTower<S> {
    /// Creates a client that calls a clone of `service` for each exchange.
    pub fn new(service: S, capabilities: Capabilities) -> Self {
        Self {
            service,
            capabilities,
        }
    }
}

impl<S, R> Fetch for FromTower<S>
where
    S: Service<http::Request<Body>, Response = R> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    R: Into<http::Response<Body>>,
{
    /// # Errors
    ///
    /// An [`Error`] of the service is returned unchanged. Any other error becomes the source of an
    /// error of kind [`Io`](ErrorKind::Io).
    async fn fetch(&self, request: http::Request<Body>) -> Result<http::Response<Body>, Error> {
        let mut service = self.service.clone();
        let response = async {
            poll_fn(|cx| service.poll_ready(cx)).await?;
            service.call(request).await
        };
        response.await.map(Into::into).map_err(|error: S::Error| {
            match error.into().downcast::<Error>() {
                Ok(error) => *error,
                Err(error) => Error::new(ErrorKind::Io).with_source(error),
            }
        })
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }
}

impl<S> fmt::Debug for FromTower<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FromTower({})", self.capabilities.library)
    }
}
