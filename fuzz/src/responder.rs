use std::sync::Arc;

use http::{Request, Response};
use inflight_core::{Body, Capabilities, Error, Fetch, Runtime, Session, SessionBuilder};
use inflight_virtual::Virtual;

/// A client that responds with a function.
struct Responder<F>(F);

impl<F> Fetch for Responder<F>
where
    F: Fn(Request<Body>) -> Response<Body> + Send + Sync + 'static,
{
    async fn fetch(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        Ok((self.0)(request))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all("a function")
    }
}

/// Returns the builder of a session that gets its responses from `respond`.
pub fn session(
    runtime: &Virtual,
    respond: impl Fn(Request<Body>) -> Response<Body> + Send + Sync + 'static,
) -> SessionBuilder {
    let runtime: Arc<dyn Runtime> = Arc::new(runtime.clone());
    Session::builder(|_| Ok((Responder(respond), runtime)))
}
