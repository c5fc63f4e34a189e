//! The backends of this workspace: its cells (a cell is a runtime with a client), and three backends in virtual time:
//! `virtual/mock` responds from memory, and `virtual/hyper` and `virtual/surf` send requests over a network in memory.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use inflight::backend::{Fetch, Runtime};
use inflight::clients::{Hyper, Mock, RecordedRequest, Reply, Surf, When};
use inflight::connect::{ClientOptions, Resolve};
use inflight::runtimes::{Listener, Virtual};
use inflight::{BlockOn, Cell, Session, Task};
use inflight_core::bytes::Bytes;
use inflight_core::http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use inflight_core::http::{HeaderValue, Request, Response};
use inflight_core::http_body::{self, Frame, SizeHint};
use inflight_core::{Body, Error, ErrorKind};
use inflight_origin::{Clock, InProcessOrigin};

use crate::backend::TestedBackend;

// ANCHOR: tested
/// Starts a cell and returns it as a backend for the suite.
///
/// # Errors
///
/// Fails as [`Cell::start`] does.
pub fn start_backend(cell: Cell) -> Result<TestedBackend, Error> {
    let backend = cell.start(None)?;
    let runtime = backend.clone();
    Ok(TestedBackend::new(
        cell.to_string(),
        move || backend.builder(),
        move |future| runtime.block_on(future),
    ))
}
// ANCHOR_END: tested

/// Returns whether a cell runs the cases with [`Case::tests_core`](crate::Case::tests_core) by default. The
/// cells with a short name do; together they include every runtime and every client.
pub fn runs_core_cases(cell: Cell) -> bool {
    cell.short_name().is_some()
}

/// Returns the backends in virtual time: the runtime [`Virtual`] with the clients [`Mock`], [`Hyper`] and [`Surf`], and
/// an origin in memory. They run the cases that need neither sockets of the system nor threads. Their delays take no
/// real time.
///
/// # Errors
///
/// Fails if the origin's counts cannot be allocated.
pub fn virtual_backends() -> io::Result<[TestedBackend; 3]> {
    Ok([
        mock_backend()?,
        network_backend("virtual/hyper", Hyper::new)?,
        network_backend("virtual/surf", Surf::new)?,
    ])
}

/// Returns a backend whose origin listens on the network of its runtime.
fn network_backend<F: Fetch>(
    name: &str,
    client: fn(Arc<dyn Runtime>, &ClientOptions) -> Result<F, Error>,
) -> io::Result<TestedBackend> {
    let runtime = Virtual::new();
    let origin = InProcessOrigin::new(VirtualClock(runtime.clone()))?;
    let listener = runtime.listen(ORIGIN)?;
    Task::spawn(&runtime, accept(listener, origin, runtime.clone())).detach();
    let clients_runtime: Arc<dyn Runtime> = Arc::new(runtime.clone());
    let backend = TestedBackend::new(
        name,
        move || {
            let runtime = clients_runtime.clone();
            Session::builder(move |options| Ok((client(runtime.clone(), options)?, runtime)))
                .resolver(OneServer)
        },
        move |future| runtime.block_on(future),
    );
    Ok(backend.in_memory("http://origin.test"))
}

/// The address of the origin on a network in memory.
const ORIGIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 80);

/// A resolver that returns the address of the origin for every name.
struct OneServer;

impl Resolve for OneServer {
    fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![ORIGIN])
    }
}

async fn accept(listener: Listener, origin: InProcessOrigin, runtime: Virtual) {
    while let Ok((socket, client)) = listener.accept().await {
        let origin = origin.clone();
        let serving = async move { origin.serve(socket, client).await };
        Task::spawn(&runtime, serving).detach();
    }
}

fn mock_backend() -> io::Result<TestedBackend> {
    let runtime = Virtual::new();
    let origin = InProcessOrigin::new(VirtualClock(runtime.clone()))?;
    let mock = Mock::new(runtime.clone());
    let answer = Reply::from_fn(move |request| answer(origin.clone(), request));
    mock.on(When::any().repeated(), answer);
    let backend = TestedBackend::new(
        "virtual/mock",
        move || mock.session(),
        move |future| runtime.block_on(future),
    );
    Ok(backend.in_memory("http://origin.test"))
}

/// The virtual clock of the runtime, for the delays of the origin.
struct VirtualClock(Virtual);

impl Clock for VirtualClock {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.0.sleep(time)
    }
}

/// Passes a request to the origin and returns the origin's response. Adds the fields that a client
/// adds to a request on a connection: `Host`, and the length or coding of the body.
async fn answer(
    origin: InProcessOrigin,
    recorded: RecordedRequest,
) -> Result<Response<Body>, Error> {
    let invalid = |error| Error::new(ErrorKind::InvalidRequest).with_source(error);
    let mut request = Request::new(recorded.body);
    *request.method_mut() = recorded.method;
    *request.headers_mut() = recorded.headers;
    if let Some(authority) = recorded.uri.authority() {
        let host = HeaderValue::try_from(authority.as_str()).map_err(invalid)?;
        request.headers_mut().insert(HOST, host);
    }
    let headers = request.headers_mut();
    match recorded.declared_length {
        Some(0) => {}
        Some(length) => drop(headers.insert(CONTENT_LENGTH, length.into())),
        None => {
            let chunked = HeaderValue::from_static("chunked");
            headers.insert(TRANSFER_ENCODING, chunked);
        }
    }
    *request.uri_mut() = recorded.uri;
    let response = origin.answer(request).await;
    let length = response.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    Ok(response.map(|body| {
        let body = Body::from_stream(body);
        match length {
            Some(left) if !body.is_empty() => Body::wrap(SizedBody { body, left }),
            _ => body,
        }
    }))
}

/// A body with a known length, like that of a response with a Content-Length.
struct SizedBody {
    body: Body,
    /// The number of bytes that `body` has not returned yet.
    left: u64,
}

impl http_body::Body for SizedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let data = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            _ => 0,
        };
        self.left = self.left.saturating_sub(data as u64);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
