//! A tunnel through a proxy, on a connection to it that is there already: hyper-util's CONNECT.

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use inflight_core::{Error, ErrorKind, Proxy};
use tower_service::Service;

/// The stream, once the proxy has connected it with the server of `uri`.
pub(crate) async fn through<S>(proxy: &Proxy, stream: S, uri: Uri) -> Result<S, Error>
where
    S: Read + Write + Unpin + Send + 'static,
{
    let mut tunnel = Tunnel::new(proxy.uri().clone(), Opened(Some(stream)));
    if let Some(authorization) = proxy.authorization() {
        tunnel = tunnel.with_auth(authorization.clone());
    }
    let tunnelled = tunnel.call(uri).await;
    tunnelled.map_err(|error| proxy.gave_no_tunnel(error))
}

/// A connector that has connected: what the tunnel asks for.
struct Opened<S>(Option<S>);

impl<S> Service<Uri> for Opened<S> {
    type Response = S;
    type Error = Error;
    type Future = Ready<Result<S, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        // It is asked once.
        let stream = self.0.take();
        ready(stream.ok_or_else(|| Error::new(ErrorKind::Proxy)))
    }
}
