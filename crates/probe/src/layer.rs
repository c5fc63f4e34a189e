//! A tower layer that probes the requests of a service.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::task::{Context, Poll};

use inflight_core::http;
use inflight_core::prometheus::method_label;
use tower_service::Service;

use crate::probed::Probed;
use crate::site::Site;

/// A tower layer that [probes](crate::FutureExt::probed) the future of each request of a service, under
/// a label for each route.
///
/// `R` is the type of the service's requests. Reports name the label and the location of the call that
/// created the layer. The label covers the service's future, and not the response's body, which the
/// server polls.
///
/// ```
/// use inflight_core::http::{Request, Response};
/// use inflight_probe::{Layer, poll_stats};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # futures_lite::future::block_on(async {
/// let service = ServiceBuilder::new()
///     .layer(Layer::new_for_http(|_| "/users/{id}"))
///     .service(service_fn(|_: Request<()>| async { Ok::<_, ()>(Response::new("a user")) }));
/// service.oneshot(Request::new(())).await?;
/// assert!(poll_stats().iter().any(|stats| stats.label == "GET /users/{id}"));
/// # Ok::<(), ()>(())
/// # }).unwrap();
/// ```
pub struct Layer<R>(Arc<SiteOf<R>>);

/// Returns the site of a request.
type SiteOf<R> = dyn Fn(&R) -> &'static Site + Send + Sync;

impl<R> Layer<R> {
    /// Creates a layer that labels each request with the result of `label`.
    ///
    /// The number of labels should be small. The process keeps at most 256 labels that are owned
    /// strings: see [`FutureExt::probed`](crate::FutureExt::probed).
    #[track_caller]
    pub fn new<L: Into<Cow<'static, str>>>(
        label: impl Fn(&R) -> L + Send + Sync + 'static,
    ) -> Self {
        let location = Location::caller();
        Self(Arc::new(move |request| Site::of(label(request), location)))
    }
}

impl<B> Layer<http::Request<B>> {
    /// Creates a layer that labels each request with its method and the pattern of its path, such as
    /// `GET /users/{id}`. `pattern` returns the pattern.
    ///
    /// The method is `other` if it is not a standard method, because the peer chooses it. For the same
    /// reason, `pattern` should not return the path itself. With axum, it can return the request's
    /// `MatchedPath`.
    #[track_caller]
    pub fn new_for_http(
        pattern: impl Fn(&http::Request<B>) -> &str + Send + Sync + 'static,
    ) -> Self {
        Self::new(move |request: &http::Request<B>| {
            let method = method_label(request.method());
            format!("{method} {}", pattern(request))
        })
    }
}

impl<R, S> tower_layer::Layer<S> for Layer<R> {
    type Service = ProbedService<R, S>;

    fn layer(&self, service: S) -> ProbedService<R, S> {
        ProbedService {
            layer: self.clone(),
            service,
        }
    }
}

impl<R> Clone for Layer<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R> fmt::Debug for Layer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Layer")
    }
}

/// A service whose requests are probed. Created by [`Layer`]. For an example, see [`Layer`].
pub struct ProbedService<R, S> {
    layer: Layer<R>,
    service: S,
}

impl<R, S: Service<R>> Service<R> for ProbedService<R, S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Probed<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Probed<S::Future> {
        let site = (self.layer.0)(&request);
        Probed::at(self.service.call(request), site)
    }
}

impl<R, S: Clone> Clone for ProbedService<R, S> {
    fn clone(&self) -> Self {
        Self {
            layer: self.layer.clone(),
            service: self.service.clone(),
        }
    }
}

impl<R, S: fmt::Debug> fmt::Debug for ProbedService<R, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProbedService").field(&self.service).finish()
    }
}
