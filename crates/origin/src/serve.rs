use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::origin::Options;
use crate::paths::{self, DueTime, Peer, RequestInfo};
use crate::stats::{CountedConnection, InFlightGuard, Recorder};
use crate::timer::SharedClock;
use crate::tls;

type Routes = TowerToHyperService<axum::Router>;

/// The options for every connection.
pub(crate) struct ConnectionOptions {
    acceptor: Option<TlsAcceptor>,
    http2: bool,
    idle_timeout: Option<Duration>,
}

impl ConnectionOptions {
    pub(crate) fn new(options: &Options) -> io::Result<ConnectionOptions> {
        let protocols: &[&str] = match options.http2 {
            true => &["h2", "http/1.1"],
            false => &["http/1.1"],
        };
        let config = options.tls.as_ref().map(|tls| tls.config(protocols));
        Ok(ConnectionOptions {
            acceptor: config.transpose()?.map(TlsAcceptor::from),
            http2: options.http2,
            idle_timeout: options.idle_timeout,
        })
    }
}

/// Accepts connections and serves each in a task.
pub(crate) async fn accept(
    listener: TcpListener,
    options: ConnectionOptions,
    clock: SharedClock,
    recorder: Arc<Recorder>,
) {
    let options = Arc::new(options);
    let routes = TowerToHyperService::new(paths::router(paths::App {
        recorder: recorder.clone(),
        clock,
    }));
    loop {
        match listener.accept().await {
            Ok((stream, addr)) => {
                let connection = CountedConnection::new(recorder.clone());
                let (routes, options) = (routes.clone(), options.clone());
                tokio::spawn(serve(stream, addr, connection, options, routes));
            }
            // The process has no descriptor or memory left, and the connection stays in the queue.
            // Accepting again at once would spin until another connection ends.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn serve(
    stream: TcpStream,
    addr: SocketAddr,
    connection: CountedConnection,
    options: Arc<ConnectionOptions>,
    routes: Routes,
) {
    // Fails only for a connection that has already ended, which the next read reports.
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = &options.acceptor else {
        let peer = Peer { addr, tls: false };
        return serve_http(stream, peer, &connection, &options, options.http2, &routes).await;
    };
    if let Some(stream) = tls::accept(acceptor, stream).await {
        let peer = Peer { addr, tls: true };
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        serve_http(stream, peer, &connection, &options, http2, &routes).await;
    }
}

async fn serve_http<S>(
    stream: S,
    peer: Peer,
    connection: &CountedConnection,
    options: &ConnectionOptions,
    http2: bool,
    routes: &Routes,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| answer(request, peer, connection, routes));
    let stream = TokioIo::new(stream);
    // Errors are ignored: they mean that the client disconnected or sent a bad request, and the counts
    // include both. hyper's connection and its socket are dropped at the end of the statement. The
    // caller drops `connection` later, so a connection counts as closed only after its socket is closed.
    if http2 {
        let _ = http2::Builder::new(TokioExecutor::new())
            .serve_connection(stream, service)
            .await;
    } else {
        let _ = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(options.idle_timeout)
            .serve_connection(stream, service)
            .await;
    }
}

/// Responds to one request. The request is in flight until hyper has taken or dropped the
/// response's body.
fn answer(
    mut request: Request<Incoming>,
    peer: Peer,
    connection: &CountedConnection,
    routes: &Routes,
) -> impl Future<Output = Result<Response<CountedBody>, Infallible>> + use<> {
    let info = RequestInfo {
        received: Instant::now(),
        peer,
    };
    let in_flight = if paths::is_stats_path(request.uri().path()) {
        connection.exclude_if_new();
        None
    } else {
        Some(connection.start_request())
    };
    let bodiless = request.method() == Method::HEAD;
    let recorder = connection.recorder().clone();
    request.extensions_mut().insert(info);
    let response = routes.call(request.map(Body::new));

    async move {
        let mut response = response.await?;
        if let Some(DueTime(due)) = response.extensions_mut().remove() {
            recorder.record_delay(due, Instant::now());
        }
        let bodiless = bodiless
            || response.status() == StatusCode::NO_CONTENT
            || response.status() == StatusCode::NOT_MODIFIED;
        Ok(CountedBody::wrap(response, in_flight, bodiless))
    }
}

/// A response body that marks its request as completed once hyper has taken the whole body.
struct CountedBody {
    body: Body,
    /// How many bytes of the body hyper has not taken yet, if the body's length is known. hyper drops
    /// such a body after its last byte, without polling for the end.
    left: Option<u64>,
    in_flight: Option<InFlightGuard>,
}

impl CountedBody {
    fn wrap(
        response: Response<Body>,
        in_flight: Option<InFlightGuard>,
        bodiless: bool,
    ) -> Response<CountedBody> {
        let declared = response
            .headers()
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        response.map(|body| {
            let left = declared.or_else(|| http_body::Body::size_hint(&body).exact());
            let mut counted = CountedBody {
                body,
                left,
                in_flight,
            };
            if bodiless || counted.is_complete() {
                counted.mark_completed();
            }
            counted
        })
    }

    fn is_complete(&self) -> bool {
        self.left == Some(0) || http_body::Body::is_end_stream(&self.body)
    }

    fn mark_completed(&mut self) {
        if let Some(in_flight) = self.in_flight.take() {
            in_flight.mark_completed();
        }
    }
}

impl http_body::Body for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let whole = match &frame {
            Some(Ok(frame)) => {
                if let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) {
                    *left = left.saturating_sub(data.len() as u64);
                }
                self.is_complete()
            }
            Some(Err(_)) => false,
            None => true,
        };
        if whole {
            self.mark_completed();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
