use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use futures_util::future::select;
use http::header::{HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::listen::{BACKLOG, listen};

/// An HTTP proxy on a free port of `127.0.0.1`: it forwards requests that name their whole URL, gives tunnels to those
/// that ask with CONNECT, and keeps what it was asked. Every name is this machine to it, so that names which nobody
/// else knows can be reached through it alone.
///
/// It ends when dropped, and its connections with it.
pub struct ForwardProxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A request that a proxy was sent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Forwarded {
    /// Its method.
    pub method: Method,
    /// What it asked for: a whole URL, or `host:port` with CONNECT.
    pub target: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// The number of its connection, from 0.
    pub connection: usize,
}

struct Shared {
    authorization: Option<HeaderValue>,
    seen: Mutex<Vec<Forwarded>>,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Vec<Forwarded>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Answer = Response<BoxBody<Bytes, hyper::Error>>;

impl ForwardProxy {
    /// A proxy that wants this `Proxy-Authorization`, if any, and answers 407 without it.
    ///
    /// # Errors
    ///
    /// The system's, when it gives no socket or no thread.
    pub fn start(authorization: Option<HeaderValue>) -> io::Result<ForwardProxy> {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0)), BACKLOG)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            authorization,
            seen: Mutex::default(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name("proxy".to_owned()).spawn({
            let shared = shared.clone();
            move || {
                let accepting = pin!(accept(listener, shared));
                // A listener that fails is seen by whoever connects to it.
                drop(runtime.block_on(select(accepting, stopped)));
            }
        })?;
        Ok(ForwardProxy {
            addr,
            shared,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it was asked so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Forwarded> {
        self.shared.seen().clone()
    }
}

impl Drop for ForwardProxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut connections = 0;
    loop {
        let (stream, _) = listener.accept().await?;
        let (shared, connection) = (shared.clone(), connections);
        connections += 1;
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, connection, shared.clone()));
            // How a client leaves is its own affair.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades()
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    connection: usize,
    shared: Arc<Shared>,
) -> Result<Answer, hyper::Error> {
    shared.seen().push(Forwarded {
        method: request.method().clone(),
        target: request.uri().to_string(),
        headers: request.headers().clone(),
        connection,
    });
    let wanted = shared.authorization.as_ref();
    if wanted.is_some_and(|own| request.headers().get(PROXY_AUTHORIZATION) != Some(own)) {
        let mut refusal = status(StatusCode::PROXY_AUTHENTICATION_REQUIRED);
        let basic = HeaderValue::from_static("Basic realm=\"proxy\"");
        refusal.headers_mut().insert(PROXY_AUTHENTICATE, basic);
        return Ok(refusal);
    }
    let Some(port) = port(request.uri()) else {
        return Ok(status(StatusCode::BAD_REQUEST));
    };
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else {
        return Ok(status(StatusCode::BAD_GATEWAY));
    };
    if request.method() == Method::CONNECT {
        tokio::spawn(tunnel(request, server));
        return Ok(status(StatusCode::OK));
    }
    forward(request, server).await
}

/// The port of a whole URL, or of `host:port`.
fn port(uri: &Uri) -> Option<u16> {
    let default = (uri.scheme_str() == Some("http")).then_some(80);
    uri.port_u16().or(default)
}

fn status(status: StatusCode) -> Answer {
    let mut answer = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *answer.status_mut() = status;
    answer
}

async fn tunnel(request: Request<Incoming>, mut server: TcpStream) {
    if let Ok(client) = hyper::upgrade::on(request).await {
        // Whoever ends it, the other end sees it.
        let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut server).await;
    }
}

async fn forward(
    mut request: Request<Incoming>,
    server: TcpStream,
) -> Result<Answer, hyper::Error> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(server)).await?;
    tokio::spawn(connection);
    let uri = request.uri().clone();
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    *request.uri_mut() = path.parse().unwrap_or_default();
    let headers = request.headers_mut();
    headers.remove(PROXY_AUTHORIZATION);
    headers.remove("proxy-connection");
    if let Some(host) = uri.authority() {
        // RFC 9112, 3.2.2: of the URL, whatever the header said.
        if let Ok(host) = HeaderValue::try_from(host.as_str()) {
            headers.insert(HOST, host);
        }
    }
    Ok(sender.send_request(request).await?.map(BodyExt::boxed))
}
