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
use crate::paths::{self, Arrival, Due, Peer};
use crate::stats::{Connection, InFlight, Recorder};
use crate::timer::Clock;
use crate::tls;

type Routes = TowerToHyperService<axum::Router>;

/// How every connection is spoken on.
pub(crate) struct Speech {
    acceptor: Option<TlsAcceptor>,
    http2: bool,
    idle_timeout: Option<Duration>,
}

impl Speech {
    pub(crate) fn new(options: &Options) -> io::Result<Speech> {
        let protocols: &[&str] = match options.http2 {
            true => &["h2", "http/1.1"],
            false => &["http/1.1"],
        };
        let acceptor = options.tls.as_ref().map(|tls| tls.acceptor(protocols));
        Ok(Speech {
            acceptor: acceptor.transpose()?,
            http2: options.http2,
            idle_timeout: options.idle_timeout,
        })
    }
}

/// Accepts for as long as it is polled.
pub(crate) async fn accept(
    listener: TcpListener,
    speech: Speech,
    clock: Clock,
    recorder: Arc<Recorder>,
) {
    let speech = Arc::new(speech);
    let routes = TowerToHyperService::new(paths::router(paths::App {
        recorder: recorder.clone(),
        clock,
    }));
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let connection = Connection::accepted(recorder.clone());
                let (routes, speech) = (routes.clone(), speech.clone());
                tokio::spawn(serve(stream, peer, connection, speech, routes));
            }
            Err(error) if of_one_connection(&error) => {}
            // Out of descriptors or memory, and the connection still waits: trying at once would spin until
            // another one ends.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

fn of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    connection: Connection,
    speech: Arc<Speech>,
    routes: Routes,
) {
    // Refused only for a connection that is gone already, and reading will tell.
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = &speech.acceptor else {
        let from = Peer {
            addr: peer,
            tls: false,
        };
        return converse(stream, from, &connection, &speech, speech.http2, &routes).await;
    };
    if let Some(stream) = tls::accept(acceptor, stream).await {
        let from = Peer {
            addr: peer,
            tls: true,
        };
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        converse(stream, from, &connection, &speech, http2, &routes).await;
    }
}

async fn converse<S>(
    stream: S,
    from: Peer,
    connection: &Connection,
    speech: &Speech,
    http2: bool,
    routes: &Routes,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| answer(request, from, connection, routes));
    let stream = TokioIo::new(stream);
    // An error is the client's leaving or its bad request, and what matters of it is in the counts. hyper's
    // connection, and in it the socket, is dropped in its statement; `connection` counts as closed after it.
    if http2 {
        let _ = http2::Builder::new(TokioExecutor::new())
            .serve_connection(stream, service)
            .await;
    } else {
        let _ = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(speech.idle_timeout)
            .serve_connection(stream, service)
            .await;
    }
}

/// Answers one request, in flight until its body has been handed over or dropped.
fn answer(
    mut request: Request<Incoming>,
    from: Peer,
    connection: &Connection,
    routes: &Routes,
) -> impl Future<Output = Result<Response<Counted>, Infallible>> + use<> {
    let arrival = Arrival {
        at: Instant::now(),
        from,
    };
    let in_flight = if paths::asks_for_stats(request.uri().path()) {
        connection.question();
        None
    } else {
        Some(connection.request())
    };
    let bodiless = request.method() == Method::HEAD;
    let recorder = connection.recorder().clone();
    request.extensions_mut().insert(arrival);
    let response = routes.call(request.map(Body::new));

    async move {
        let mut response = response.await?;
        if let Some(Due(due)) = response.extensions_mut().remove() {
            recorder.delayed(due, Instant::now());
        }
        let bodiless = bodiless
            || response.status() == StatusCode::NO_CONTENT
            || response.status() == StatusCode::NOT_MODIFIED;
        Ok(Counted::wrap(response, in_flight, bodiless))
    }
}

/// A body that knows whether it was taken whole.
struct Counted {
    body: Body,
    /// What hyper will take before it drops the body without asking for its end.
    left: Option<u64>,
    in_flight: Option<InFlight>,
}

impl Counted {
    fn wrap(
        response: Response<Body>,
        in_flight: Option<InFlight>,
        bodiless: bool,
    ) -> Response<Counted> {
        let promised = response
            .headers()
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        response.map(|body| {
            let left = promised.or_else(|| http_body::Body::size_hint(&body).exact());
            let mut counted = Counted {
                body,
                left,
                in_flight,
            };
            if bodiless || counted.is_whole() {
                counted.handed_over();
            }
            counted
        })
    }

    fn is_whole(&self) -> bool {
        self.left == Some(0) || http_body::Body::is_end_stream(&self.body)
    }

    fn handed_over(&mut self) {
        if let Some(in_flight) = self.in_flight.take() {
            in_flight.handed_over();
        }
    }
}

impl http_body::Body for Counted {
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
                self.is_whole()
            }
            Some(Err(_)) => false,
            None => true,
        };
        if whole {
            self.handed_over();
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
