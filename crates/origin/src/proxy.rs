use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use http::header::{HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::listen::{BACKLOG, listen};
use crate::server_thread::ServerThread;

/// An HTTP proxy on a free port of `127.0.0.1`.
///
/// The proxy forwards requests in absolute form, opens tunnels for CONNECT, and records every request.
/// It resolves every name to `127.0.0.1`. A client can therefore reach names that do not exist, but only
/// through the proxy.
///
/// Dropping the proxy closes its connections.
pub struct ForwardProxy {
    addr: SocketAddr,
    state: Arc<ProxyState>,
    _thread: ServerThread,
}

/// A request that a [`ForwardProxy`] received.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProxyRequest {
    /// The method.
    pub method: Method,
    /// The target: an absolute URL, or `host:port` with CONNECT.
    pub target: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The index of the connection that carried the request, counted from 0.
    pub connection: usize,
}

struct ProxyState {
    authorization: Option<HeaderValue>,
    requests: Mutex<Vec<ProxyRequest>>,
}

impl ProxyState {
    fn requests(&self) -> MutexGuard<'_, Vec<ProxyRequest>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ForwardProxy {
    /// Starts a proxy. If `authorization` is given, the proxy responds with 407 to each request whose
    /// `Proxy-Authorization` header is different or missing.
    ///
    /// # Errors
    ///
    /// Fails when the system refuses the socket or the thread.
    pub fn start(authorization: Option<HeaderValue>) -> io::Result<ForwardProxy> {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0)), BACKLOG)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let state = Arc::new(ProxyState {
            authorization,
            requests: Mutex::default(),
        });
        let thread = ServerThread::start_runtime("proxy", accept(listener, state.clone()))?;
        Ok(ForwardProxy {
            addr,
            state,
            _thread: thread,
        })
    }

    /// Returns the address that the proxy listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the requests received so far.
    #[must_use]
    pub fn requests(&self) -> Vec<ProxyRequest> {
        self.state.requests().clone()
    }
}

async fn accept(listener: std::net::TcpListener, state: Arc<ProxyState>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut connections = 0;
    loop {
        let (stream, _) = listener.accept().await?;
        let (state, connection) = (state.clone(), connections);
        connections += 1;
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, connection, state.clone()));
            // An error only means that the connection ended early.
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
    state: Arc<ProxyState>,
) -> Result<Response<Body>, hyper::Error> {
    state.requests().push(ProxyRequest {
        method: request.method().clone(),
        target: request.uri().to_string(),
        headers: request.headers().clone(),
        connection,
    });
    let required = state.authorization.as_ref();
    if required.is_some_and(|expected| request.headers().get(PROXY_AUTHORIZATION) != Some(expected))
    {
        let mut refusal = empty_response(StatusCode::PROXY_AUTHENTICATION_REQUIRED);
        let basic = HeaderValue::from_static("Basic realm=\"proxy\"");
        refusal.headers_mut().insert(PROXY_AUTHENTICATE, basic);
        return Ok(refusal);
    }
    let Some(port) = port(request.uri()) else {
        return Ok(empty_response(StatusCode::BAD_REQUEST));
    };
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else {
        return Ok(empty_response(StatusCode::BAD_GATEWAY));
    };
    if request.method() == Method::CONNECT {
        tokio::spawn(tunnel(request, server));
        return Ok(empty_response(StatusCode::OK));
    }
    forward(request, server).await
}

/// Returns the port of an absolute URL, or of `host:port`.
fn port(uri: &Uri) -> Option<u16> {
    let default = (uri.scheme_str() == Some("http")).then_some(80);
    uri.port_u16().or(default)
}

fn empty_response(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

async fn tunnel(request: Request<Incoming>, mut server: TcpStream) {
    if let Ok(client) = hyper::upgrade::on(request).await {
        // When one end closes the tunnel, the other end is closed too.
        let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut server).await;
    }
}

async fn forward(
    mut request: Request<Incoming>,
    server: TcpStream,
) -> Result<Response<Body>, hyper::Error> {
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
        // The host of the URL replaces the `Host` header (RFC 9112, section 3.2.2).
        if let Ok(host) = HeaderValue::try_from(host.as_str()) {
            headers.insert(HOST, host);
        }
    }
    Ok(sender.send_request(request).await?.map(Body::new))
}
