//! Dropped requests: the exchange ends, and its connection is not reused.

use std::future::ready;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use inflight_core::{Body, Error, Response, Session};
use inflight_origin::script::{Script, ScriptedServer};
use macro_rules_attribute::apply;

use crate::case::case;
use crate::check::{Failure, Result, check, check_equal, check_text};
use crate::context::{Context, EVENT_TIMEOUT, drop_after, run_blocking, wait_for};
use crate::servers::{start_scripted, wait_for_close, wait_for_requests};
use crate::test_server::TestServer;

const DEADLINE: Duration = Duration::from_secs(2);

/// Dropping a request closes its connection at once.
#[apply(case!)]
#[needs(prompt_cancel)]
async fn dropping_a_request_closes_its_connection(context: Context) -> Result {
    check_drop_before_the_head(&context.session()?, EVENT_TIMEOUT / 2).await
}

/// The connection of a dropped request is closed at the request's deadline at the latest.
#[apply(case!)]
async fn dropped_request_closes_its_connection_by_its_deadline(context: Context) -> Result {
    let session = context.builder().timeout(DEADLINE).build()?;
    check_drop_before_the_head(&session, DEADLINE + EVENT_TIMEOUT / 2).await
}

async fn check_drop_before_the_head(session: &Session, time: Duration) -> Result {
    let server = start_scripted(Script::new().read_request().hang())?;
    let request = session.get(server.url("/")).send();
    drop_after(request, wait_for_requests(&server, 1)).await?;
    wait_for_close(&server, 0, time).await
}

/// Dropping a body before its end closes its connection at once.
#[apply(case!)]
#[needs(prompt_cancel)]
async fn dropping_a_body_closes_its_connection(context: Context) -> Result {
    check_drop_half_read(&context.session()?, EVENT_TIMEOUT / 2).await
}

/// The connection of a dropped body is closed at the request's deadline at the latest.
#[apply(case!)]
async fn dropped_body_closes_its_connection_by_its_deadline(context: Context) -> Result {
    let session = context.builder().timeout(DEADLINE).build()?;
    check_drop_half_read(&session, DEADLINE + EVENT_TIMEOUT / 2).await
}

async fn check_drop_half_read(session: &Session, time: Duration) -> Result {
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let server = start_scripted(Script::new().read_request().send(response).hang())?;
        let mut response = session.get(server.url("/")).send().await?;
        read_first_chunk(&mut response).await?;
        drop(response);
        wait_for_close(&server, 0, time).await?;
    }
    Ok(())
}

/// Dropping a request during its upload closes its connection at once.
#[apply(case!)]
#[needs(prompt_cancel, streaming_upload)]
async fn dropping_an_upload_closes_its_connection(context: Context) -> Result {
    let server = start_scripted(Script::new().read_head().read_body().hang())?;
    let first = stream::once(async { Ok::<_, Error>("half an upload") });
    let body = Body::from_stream(first.chain(stream::pending()));
    let request = context.session()?.post(server.url("/")).body(body).send();
    drop_after(request, wait_for_requests(&server, 1)).await?;
    wait_for_close(&server, 0, EVENT_TIMEOUT / 2).await?;
    let body = server.requests()[0].body.clone();
    check(
        body.is_empty(),
        "half an upload was read as a complete request",
    )
}

/// If the server sends bytes after a request was dropped, the client closes the request's connection
/// even before the deadline.
#[apply(case!)]
async fn dropped_request_closes_its_connection_when_bytes_arrive(context: Context) -> Result {
    let server = DropServer::start("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")?;
    // This timeout is too long to cause the close.
    let session = context
        .builder()
        .timeout(Duration::from_secs(600))
        .build()?;
    let request = session.get(server.url("/drop")).send();
    drop_after(request, server.wait_for_request()).await?;
    server.send_stale().await?;
    server.wait_for_close().await
}

/// No other request receives the response to a dropped request.
#[apply(case!)]
async fn response_to_a_dropped_request_is_never_returned(context: Context) -> Result {
    check_after_dropped_requests(&context, |_, _| Ok(())).await
}

/// No other request receives the rest of a dropped body.
#[apply(case!)]
async fn rest_of_a_dropped_body_is_never_returned(context: Context) -> Result {
    check_after_dropped_bodies(&context, |_, _| Ok(())).await
}

/// The connection of a dropped request carries no other request.
#[apply(case!)]
async fn connection_of_a_dropped_request_is_not_reused(context: Context) -> Result {
    check_after_dropped_requests(&context, check_other_connection).await
}

/// The connection of a dropped body carries no other request.
#[apply(case!)]
async fn connection_of_a_dropped_body_is_not_reused(context: Context) -> Result {
    check_after_dropped_bodies(&context, check_other_connection).await
}

fn check_other_connection(dropped: usize, next: usize) -> Result {
    check(
        next != dropped,
        format!("connection {next} is reused after a drop"),
    )
}

/// A check of two connection indices: that of the dropped request, and that of the next request.
type ConnectionCheck = fn(usize, usize) -> Result;

async fn check_after_dropped_requests(
    context: &Context,
    check_connections: ConnectionCheck,
) -> Result {
    let server = DropServer::start("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale")?;
    let session = context.session()?;
    for _ in 0..ROUNDS {
        let request = session.get(server.url("/drop")).send();
        let dropped = drop_after(request, server.wait_for_request()).await?;
        server.send_stale().await?;
        check_connections(dropped, server.check_next_response(&session).await?)?;
    }
    Ok(())
}

async fn check_after_dropped_bodies(
    context: &Context,
    check_connections: ConnectionCheck,
) -> Result {
    let server = DropServer::start("-and-the-stale-rest")?;
    let session = context.session()?;
    for _ in 0..ROUNDS {
        let mut response = session.get(server.url("/half")).send().await?;
        let dropped = server.wait_for_request().await?;
        read_first_chunk(&mut response).await?;
        drop(response);
        server.send_stale().await?;
        check_connections(dropped, server.check_next_response(&session).await?)?;
    }
    Ok(())
}

const ROUNDS: usize = 20;

async fn read_first_chunk(response: &mut Response) -> Result {
    let chunk = wait_for("the first chunk", response.chunk()).await??;
    check(chunk.is_some(), "there is no first chunk")
}

/// A server that reports each request for `/drop` or `/half`, waits for a signal, and then sends
/// bytes that belong to the dropped request. It responds to `/fresh` with the index of the
/// connection. The connections stay open until the client closes them.
struct DropServer {
    server: TestServer,
    /// Receives, for each request for `/drop` or `/half`, the index of its connection.
    requested: async_channel::Receiver<usize>,
    /// Signals the server to send the bytes of a dropped request.
    go: async_channel::Sender<()>,
    /// Receives an event each time the server has sent these bytes.
    sent: async_channel::Receiver<()>,
    /// Receives the index of each connection that the client has closed.
    closed: async_channel::Receiver<usize>,
}

impl DropServer {
    fn start(stale: &'static str) -> Result<Self> {
        let (report_request, requested) = async_channel::unbounded();
        let (go, gate) = async_channel::unbounded::<()>();
        let (report_sent, sent) = async_channel::unbounded();
        let (report_close, closed) = async_channel::unbounded();
        let server = TestServer::start(move |mut conn| {
            let connection = conn.index;
            let mut play = || {
                loop {
                    let target = conn.read_head()?;
                    if target == "/fresh" {
                        conn.answer(&connection.to_string())?;
                        continue;
                    }
                    if target == "/half" {
                        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf")?;
                    }
                    let _ = report_request.send_blocking(connection);
                    if gate.recv_blocking().is_err() {
                        return Ok(());
                    }
                    let result = conn.send(stale);
                    let _ = report_sent.send_blocking(());
                    result?;
                }
            };
            let ended: std::io::Result<()> = play();
            let _ = report_close.send_blocking(connection);
            ended
        })?;
        Ok(Self {
            server,
            requested,
            go,
            sent,
            closed,
        })
    }

    fn url(&self, path: &str) -> String {
        self.server.url(path)
    }

    /// Waits for a request that will be dropped, and returns the index of its connection.
    async fn wait_for_request(&self) -> Result<usize> {
        Ok(wait_for("the request at the server", self.requested.recv()).await??)
    }

    /// Makes the server send the bytes of the dropped request, and waits until the server has sent
    /// them.
    async fn send_stale(&self) -> Result {
        self.go.send(()).await?;
        Ok(wait_for("the server's bytes", self.sent.recv()).await??)
    }

    /// Waits until the client has closed a connection.
    async fn wait_for_close(&self) -> Result {
        wait_for("the connection's end", self.closed.recv()).await??;
        Ok(())
    }

    /// Checks that the next request receives its own response, and returns the index of its
    /// connection.
    async fn check_next_response(&self, session: &Session) -> Result<usize> {
        let text = session.get(self.url("/fresh")).text().await?;
        let connection = text.parse();
        connection.map_err(|_| Failure::new(format!("the next request received {text:?}")))
    }
}

/// After a hundred dropped requests the session still works.
#[apply(case!)]
async fn session_works_after_many_dropped_requests(context: Context) -> Result {
    let server = TestServer::start(|mut conn| {
        while conn.read_head()? != "/hang" {
            conn.answer("alive")?;
        }
        conn.read_to_close();
        Ok(())
    })?;
    let session = context.session()?;
    for _ in 0..100 {
        // The request is dropped after its first poll.
        let request = session.get(server.url("/hang")).send();
        drop_after(request, ready(Ok(()))).await?;
    }
    let request = check_text(session.get(server.url("/")), "alive");
    wait_for("a response", request).await?
}

/// A request that is dropped while it connects releases its permit and delays no other request.
#[apply(case!)]
async fn request_dropped_while_connecting_delays_no_other(context: Context) -> Result {
    let unaccepting = run_blocking(ScriptedServer::unaccepting_address).await??;
    let pages = context.httpbin()?;
    let builder = context.builder().connect_timeout(None);
    let session = builder.max_per_host(Some(1)).build()?;
    for _ in 0..3 {
        // The first request is dropped only after another request has completed. By then, the first
        // request has started to connect.
        let request = session.get(unaccepting.url("/")).send();
        let meanwhile = async { Ok(session.get(pages.url("/get")).text().await?) };
        drop_after(request, meanwhile).await?;
    }
    let another = session.get(pages.url("/get")).text();
    wait_for("a response", another).await??;
    check_equal("in flight", session.stats().in_flight, 0)
}
