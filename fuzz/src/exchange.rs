use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, Version};
use inflight_core::{BlockOn, Error, ErrorKind, Runtime, Session, SessionBuilder, Socket, Task};
use inflight_hyper::Hyper;
use inflight_surf::Surf;
use inflight_virtual::{Listener, Virtual};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The body of the second response of [`Exchanges::run_twice`].
pub const NEXT: &[u8] = b"next";
const NEXT_RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext";

/// Each chunk arrives by itself, so the client reads each chunk by itself.
const CHUNK_PAUSE: Duration = Duration::from_micros(1);
/// Longer than any response takes.
const PAUSE: Duration = Duration::from_secs(1);

/// Exchanges of hyper and surf with a server that sends arbitrary bytes, on the network in memory.
pub struct Exchanges {
    runtime: Virtual,
    clients: [(&'static str, Session); 2],
    responses: Responses,
    _server: Task<()>,
}

/// A response as a program sees it.
#[derive(Debug, PartialEq)]
pub struct Received {
    pub version: Version,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A response, or the kind of the error.
pub type Outcome = Result<Received, ErrorKind>;

/// The responses to the next requests. The server closes the connection of the last one.
#[derive(Clone, Default)]
struct Responses(Arc<Mutex<VecDeque<Vec<Bytes>>>>);

impl Responses {
    fn set(&self, responses: impl Into<VecDeque<Vec<Bytes>>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = responses.into();
    }

    /// Removes the next response. Returns it, and whether it was the last one.
    fn take(&self) -> (Vec<Bytes>, bool) {
        let mut responses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let response = responses.pop_front().unwrap_or_default();
        (response, responses.is_empty())
    }
}

impl Default for Exchanges {
    fn default() -> Self {
        let runtime = Virtual::new().patience(Duration::ZERO);
        let responses = Responses::default();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
        let listener = runtime.listen(address).expect("the address is free");
        let serving = serve(runtime.clone(), listener, responses.clone());
        let shared: Arc<dyn Runtime> = Arc::new(runtime.clone());
        let (hyper, surf) = (shared.clone(), shared);
        let hyper = Session::builder(|options| Ok((Hyper::new(hyper.clone(), options)?, hyper)));
        let surf = Session::builder(|options| Ok((Surf::new(surf.clone(), options)?, surf)));
        Self {
            clients: [("hyper", build(hyper)), ("surf", build(surf))],
            _server: Task::spawn(&runtime, serving),
            runtime,
            responses,
        }
    }
}

fn build(builder: SessionBuilder) -> Session {
    builder
        .max_redirects(0)
        .decompress(false)
        .error_for_status(false)
        .timeout(Duration::from_secs(60))
        .build()
        .expect("the options are valid")
}

impl Exchanges {
    /// Returns what each client makes of a response that arrives in these chunks, after which the server
    /// closes the connection.
    pub fn run(&self, chunks: &[Bytes]) -> Vec<(&'static str, Outcome)> {
        let results = self.clients.iter().map(|(name, session)| {
            self.responses.set([chunks.to_vec()]);
            (*name, self.runtime.block_on(exchange(session, "close")))
        });
        results.collect()
    }

    /// Returns what each client makes of a response that arrives in these chunks, after which the server waits
    /// for another request, and of the response to the next request. The body of the latter is [`NEXT`].
    pub fn run_twice(&self, chunks: &[Bytes]) -> Vec<(&'static str, Outcome, Outcome)> {
        let results = self.clients.iter().map(|(name, session)| {
            let next = vec![Bytes::from_static(NEXT_RESPONSE)];
            self.responses.set([chunks.to_vec(), next]);
            let (first, second) = self.runtime.block_on(async {
                let first = exchange(session, "keep-alive").await;
                // What the server has sent after the end of the response also arrives before the next request.
                self.runtime.sleep(PAUSE).await;
                (first, exchange(session, "close").await)
            });
            (*name, first, second)
        });
        results.collect()
    }
}

async fn exchange(session: &Session, connection: &str) -> Outcome {
    let received = receive(session, connection).await;
    received.map_err(|error| error.kind())
}

async fn receive(session: &Session, connection: &str) -> Result<Received, Error> {
    let request = session.get("http://127.0.0.1/");
    let response = request.header("connection", connection).send().await?;
    Ok(Received {
        version: response.version(),
        status: response.status(),
        headers: response.headers().clone(),
        body: response.bytes().await?,
    })
}

async fn serve(runtime: Virtual, listener: Listener, responses: Responses) {
    while let Ok((mut socket, _)) = listener.accept().await {
        // An error means that the client has closed the connection.
        let _ = respond(&runtime, &mut *socket, &responses).await;
    }
}

/// Responds to the requests of a connection, until the client or the last response ends it.
async fn respond(
    runtime: &Virtual,
    socket: &mut dyn Socket,
    responses: &Responses,
) -> std::io::Result<()> {
    let mut request = BytesMut::new();
    let mut is_last = false;
    while !is_last {
        request.clear();
        while !request.ends_with(b"\r\n\r\n") {
            if socket.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        let (chunks, ends) = responses.take();
        is_last = ends;
        for chunk in chunks {
            socket.write_all(&chunk).await?;
            runtime.sleep(CHUNK_PAUSE).await;
        }
    }
    socket.shutdown().await?;
    while socket.read_buf(&mut request).await? > 0 {}
    Ok(())
}
