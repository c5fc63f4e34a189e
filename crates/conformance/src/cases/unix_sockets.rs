//! Unix sockets: sessions whose connections all go to one Unix socket.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join;
use inflight_core::{
    AddressGuard, CookieJar, ErrorKind, Phase, Resolve, Session, SessionBuilder, gather,
};
use inflight_origin::payload::page;
use inflight_origin::script::{Script, ScriptedServer};
use inflight_origin::{Origin, UnixRelay};
use macro_rules_attribute::apply;
use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};
use tempfile::TempDir;

use crate::case::case;
use crate::check::{
    Failure, Result, check, check_equal, check_error, check_request_error, check_text,
};
use crate::context::{Context, EVENT_TIMEOUT, drop_after, within};
use crate::servers::{
    check_large_bodies, start_origin, start_scripted, start_trusted_origin_with, wait_for_close,
    wait_for_requests,
};

/// A resolver for sessions that must look up no names.
struct NoResolver;

impl Resolve for NoResolver {
    fn resolve(&self, host: &str, _: u16) -> io::Result<Vec<std::net::SocketAddr>> {
        Err(io::Error::other(format!("unexpected look-up of {host}")))
    }
}

/// A directory with the path of a Unix socket.
struct SocketPath {
    _directory: TempDir,
    path: PathBuf,
}

impl SocketPath {
    fn new() -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        Ok(Self {
            path: directory.path().join("http.sock"),
            _directory: directory,
        })
    }

    /// Sets the path as the session's Unix socket, and a resolver that fails.
    fn set(&self, builder: SessionBuilder) -> SessionBuilder {
        builder.resolver(NoResolver).unix_socket(&self.path)
    }
}

/// An origin behind a Unix socket.
struct UnixOrigin {
    socket: SocketPath,
    origin: Arc<Origin>,
    relay: UnixRelay,
}

impl UnixOrigin {
    fn start() -> Result<Self> {
        Self::behind_socket(start_origin()?)
    }

    fn behind_socket(origin: Arc<Origin>) -> Result<Self> {
        let socket = SocketPath::new()?;
        let relay = UnixRelay::bind(&socket.path, origin.addr())?;
        Ok(Self {
            socket,
            origin,
            relay,
        })
    }

    fn session(&self, context: &Context) -> Result<Session> {
        Ok(self.socket.set(context.builder()).build()?)
    }
}

/// The connection goes to the Unix socket, and no name is looked up. The URL determines the target and
/// Host.
#[apply(case!)]
#[needs(unix_sockets)]
async fn requests_use_the_unix_socket(context: Context) -> Result {
    let server = UnixOrigin::start()?;
    let session = server.session(&context)?;
    let echo: Value = session.get("http://pages.test:8080/get?a=b").json().await?;
    let host = echo["headers"]["Host"].as_str();
    check_equal("Host", host, Some("pages.test:8080"))?;
    check_equal("the argument", echo["args"]["a"].as_str(), Some("b"))?;
    let upload = session.post("http://localhost/echo").body("content");
    check_text(upload, "content").await
}

/// For an https URL, the client uses TLS over the Unix socket. It checks the certificate against the host
/// of the URL.
#[apply(case!)]
#[needs(unix_sockets, tls)]
async fn https_requests_use_tls_over_the_unix_socket(context: Context) -> Result {
    let (origin, builder) = start_trusted_origin_with(context.builder(), true)?;
    let server = UnixOrigin::behind_socket(origin)?;
    let session = server.socket.set(builder).build()?;
    check_text(session.get("https://localhost/page/7"), page(7)).await?;
    let elsewhere = session.get("https://elsewhere.test/page/7");
    check_request_error(elsewhere, ErrorKind::Tls)
        .await
        .map(drop)
}

/// Sequential requests share connections to the Unix socket.
#[apply(case!)]
#[needs(unix_sockets, connection_reuse)]
async fn connections_to_a_unix_socket_are_reused(context: Context) -> Result {
    let server = UnixOrigin::start()?;
    let session = server.session(&context)?;
    for n in 0..10 {
        check_text(session.get(format!("http://pages.test/page/{n}")), page(n)).await?;
    }
    let connections = server.relay.connections();
    check(
        connections < 10,
        format!("{connections} connections for 10 requests"),
    )
}

/// After a response that announces the end of its connection, the next request uses a new one.
#[apply(case!)]
#[needs(unix_sockets)]
async fn closed_connection_to_a_unix_socket_is_replaced(context: Context) -> Result {
    let script = Script::new()
        .read_request()
        .send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .close();
    let (socket, _relay, server) = relay_to(script)?;
    let session = socket.set(context.builder()).build()?;
    for _ in 0..3 {
        check_text(session.get("http://pages.test/"), "ok").await?;
    }
    check_equal("connections", server.connections(), 3)
}

/// Large bodies arrive completely in both directions.
#[apply(case!)]
#[needs(unix_sockets)]
async fn large_bodies_pass_through_a_unix_socket(context: Context) -> Result {
    let server = UnixOrigin::start()?;
    check_large_bodies(&server.session(&context)?, &server.origin).await?;
    check(server.relay.connections() > 0, "the socket was not used")
}

/// A redirect to another host goes to the same Unix socket. Each host has its own cookies.
#[apply(case!)]
#[needs(unix_sockets)]
async fn redirect_stays_on_the_unix_socket(context: Context) -> Result {
    let server = UnixOrigin::start()?;
    let builder = server.socket.set(context.builder());
    let session = builder.cookies(CookieJar::new()).build()?;
    let set = session.get("http://first.test/cookies/set?crumb=1");
    check(set.text().await?.contains("crumb"), "no cookie was stored")?;
    let redirect = "http://first.test/redirect-to?url=http://second.test/headers";
    let echo: Value = session.get(redirect).json().await?;
    let headers = &echo["headers"];
    check_equal("Host", headers["Host"].as_str(), Some("second.test"))?;
    check_equal("Cookie", headers["Cookie"].as_str(), None)
}

/// An address guard has nothing to check, so it does not refuse a Unix socket.
#[apply(case!)]
#[needs(unix_sockets, address_guard)]
async fn address_guard_allows_a_unix_socket(context: Context) -> Result {
    let server = UnixOrigin::start()?;
    let builder = server.socket.set(context.builder());
    let session = builder.address_guard(AddressGuard::public()).build()?;
    check_text(session.get("http://127.0.0.1/page/7"), page(7)).await
}

/// If nothing listens at the path, the error is of the kind connect and names the path.
#[apply(case!)]
#[needs(unix_sockets)]
async fn unreachable_unix_socket_is_a_connect_error(context: Context) -> Result {
    let missing = SocketPath::new()?;
    let refusing = SocketPath::new()?;
    drop(UnixListener::bind(&refusing.path)?);
    let no_socket = SocketPath::new()?;
    std::fs::write(&no_socket.path, "not a socket")?;
    for socket in [missing, refusing, no_socket] {
        let session = socket.set(context.builder()).build()?;
        let request = session.get("http://pages.test/");
        let error = check_request_error(request, ErrorKind::Connect).await?;
        let (message, path) = (error.to_string(), socket.path.display());
        check(message.contains(&path.to_string()), message)?;
    }
    Ok(())
}

/// connect_timeout includes the TLS handshake over the Unix socket. The error names the path.
#[apply(case!)]
#[needs(unix_sockets, tls, connect_phase)]
async fn silent_unix_socket_is_a_timeout_error(context: Context) -> Result {
    let (socket, _relay, _server) = relay_to(Script::new().hang())?;
    let builder = socket.set(context.builder());
    let session = builder
        .connect_timeout(Duration::from_millis(200))
        .build()?;
    let request = session.get("https://localhost/").text();
    let result = within("the timeout", EVENT_TIMEOUT, request).await?;
    let error = check_error("a silent server", result, &[ErrorKind::Timeout])?;
    check_equal("the phase", error.phase(), Some(Phase::Connect))?;
    let (message, path) = (error.to_string(), socket.path.display());
    check(message.contains(&path.to_string()), message)
}

/// If a request is dropped, its connection to the Unix socket is closed.
#[apply(case!)]
#[needs(unix_sockets, prompt_cancel)]
async fn dropping_a_request_closes_its_connection_to_the_unix_socket(context: Context) -> Result {
    let (socket, _relay, server) = relay_to(Script::new().read_request().hang())?;
    let session = socket.set(context.builder()).build()?;
    let request = session.get("http://pages.test/").text();
    drop_after(request, wait_for_requests(&server, 1)).await?;
    wait_for_close(&server, 0, EVENT_TIMEOUT).await
}

/// Requests wait for a place in the queue of a Unix socket that accepts connections slowly.
#[apply(case!)]
#[needs(unix_sockets, unix_queue)]
async fn requests_wait_for_a_place_in_the_queue_of_a_unix_socket(context: Context) -> Result {
    if !HAS_WAITING_QUEUE {
        return Ok(());
    }
    let (origin, socket) = (start_origin()?, SocketPath::new()?);
    let (listener, _waiting) = listener_with_full_queue(&socket)?;
    let session = socket.set(context.builder()).build()?;
    let requests = gather((0..20).map(|_| session.get("http://pages.test/get").text()));
    // The first requests start before the relay accepts connections.
    let relay = async { UnixRelay::accept_from(listener, origin.addr()) };
    let (responses, relay) = join(requests.limit(20).all(), relay).await;
    relay?;
    check_equal("responses", responses?.len(), 20)
}

/// connect_timeout includes the wait for a place in the queue of a Unix socket.
#[apply(case!)]
#[needs(unix_sockets, unix_queue, connect_phase)]
async fn full_queue_of_a_unix_socket_is_a_timeout_error(context: Context) -> Result {
    if !HAS_WAITING_QUEUE {
        return Ok(());
    }
    let socket = SocketPath::new()?;
    let _full = listener_with_full_queue(&socket)?;
    let builder = socket.set(context.builder());
    let session = builder.connect_timeout(Duration::from_millis(50)).build()?;
    let request = session.get("http://pages.test/").text();
    let result = within("the timeout", EVENT_TIMEOUT, request).await?;
    let error = check_error("a full queue", result, &[ErrorKind::Timeout])?;
    check_equal("the phase", error.phase(), Some(Phase::Connect))
}

/// If the client does not support Unix sockets, building a session with one is an error of the kind
/// unsupported.
#[apply(case!)]
async fn unsupported_unix_sockets_are_an_error(context: Context) -> Result {
    let built = context.builder().unix_socket("/run/http.sock").build();
    match context.capabilities.unix_sockets.is_yes() {
        true => built.map(drop).map_err(Failure::from),
        false => check_error("a Unix socket", built.map(drop), &[ErrorKind::Unsupported]).map(drop),
    }
}

/// Whether a connect to a Unix socket with a full queue can be distinguished from a connect to one without a
/// listener.
const HAS_WAITING_QUEUE: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Starts a scripted server behind a Unix socket.
fn relay_to(script: Script) -> Result<(SocketPath, UnixRelay, Arc<ScriptedServer>)> {
    let (socket, server) = (SocketPath::new()?, start_scripted(script)?);
    let relay = UnixRelay::bind(&socket.path, server.addr())?;
    Ok((socket, relay, server))
}

/// Returns a listener that has no room for another connection, and the connections that wait in its queue.
fn listener_with_full_queue(socket: &SocketPath) -> Result<(UnixListener, Vec<Socket>)> {
    let address = SockAddr::unix(&socket.path)?;
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    listener.bind(&address)?;
    listener.listen(1)?;
    let mut waiting = Vec::new();
    loop {
        let client = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        client.set_nonblocking(true)?;
        match client.connect(&address) {
            Ok(()) => waiting.push(client),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok((
        UnixListener::from(std::os::fd::OwnedFd::from(listener)),
        waiting,
    ))
}
