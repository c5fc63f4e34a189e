//! Tests of workarounds for libcurl and isahc. Each test fails without its workaround.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use inflight_core::bytes::Bytes;
use inflight_core::http::{self, Method};
use inflight_core::{
    BlockOn, Body, ClientOptions, Deadline, Error, ErrorKind, Fetch, Phase, Resolve, Runtime,
    Session, SessionBuilder, Task,
};
use inflight_isahc::Isahc;
use inflight_origin::script::{Script, ScriptedServer, refused_address};
use inflight_origin::{Origin, raise_file_limit};
use inflight_smol::Smol;

const TIMEOUT: Duration = Duration::from_secs(20);

fn builder() -> SessionBuilder {
    Session::builder(|options| {
        let runtime: Arc<dyn Runtime> = Arc::new(Smol::global());
        Ok((Isahc::new(runtime.clone(), options)?, runtime))
    })
    .timeout(TIMEOUT)
}

fn session() -> Session {
    builder().build().unwrap()
}

fn wait<F: Future>(future: F) -> F::Output {
    let timeout = async {
        Smol::global().sleep(2 * TIMEOUT).await;
        panic!("the future did not complete in time")
    };
    Smol::global().block_on(futures_lite::future::or(future, timeout))
}

fn client(configure: impl FnOnce(&mut ClientOptions)) -> Isahc {
    let mut options = ClientOptions::default();
    configure(&mut options);
    Isahc::new(Arc::new(Smol::global()), &options).unwrap()
}

fn request(url: &str, deadline: Duration) -> http::Request<Body> {
    let mut request = http::Request::get(url).body(Body::empty()).unwrap();
    let deadline = Deadline(Instant::now() + deadline);
    request.extensions_mut().insert(deadline);
    request
}

const WARM: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwarm";

/// Starts a server that responds to the first request of its first connection, and resets the connection at
/// every other request.
fn resetting_server() -> ScriptedServer {
    ScriptedServer::start(|connection| {
        let script = match connection {
            0 => Script::new().read_request().send(WARM),
            _ => Script::new(),
        };
        script.read_request().reset()
    })
    .unwrap()
}

#[test]
fn a_request_that_is_not_idempotent_is_sent_once() {
    let brew = Method::from_bytes(b"BREW").unwrap();
    for (method, body) in [
        (Method::POST, "body"),
        (Method::POST, ""),
        (Method::PATCH, ""),
        (brew, ""),
    ] {
        let (server, session) = (resetting_server(), session());
        wait(session.get(server.url("/")).bytes()).unwrap();
        let request = session.request(method.clone(), server.url("/once"));
        let error = wait(request.body(body).bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Incomplete, "{method} {body:?}");
        let seen = server.requests();
        let seen = seen.iter().filter(|seen| seen.target == "/once").count();
        assert_eq!(seen, 1, "{method} {body:?}");
    }
}

#[test]
fn a_request_with_an_unread_stream_is_sent_once() {
    let server = ScriptedServer::start(|connection| {
        let script = match connection {
            0 => Script::new().read_request().send(WARM),
            _ => Script::new(),
        };
        script.read_head().reset()
    })
    .unwrap();
    let session = session();
    wait(session.get(server.url("/")).bytes()).unwrap();
    let stalled = Body::from_stream(stream::pending::<Result<Bytes, Error>>());
    let request = session.post(server.url("/once")).body(stalled);
    let error = wait(request.bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Incomplete);
    let seen = server.requests();
    assert_eq!(seen.iter().filter(|seen| seen.target == "/once").count(), 1);
}

#[test]
fn uploads_reuse_the_connection() {
    let (origin, session) = (Origin::start().unwrap(), session());
    for _ in 0..5 {
        wait(session.put(origin.url("/upload")).body("body").bytes()).unwrap();
    }
    assert_eq!(origin.stats().connections_accepted, 1);
}

#[test]
fn more_than_1024_sockets_can_be_open() {
    const SOCKETS: u64 = 1_100;
    assert!(raise_file_limit().unwrap() > 2 * SOCKETS + 200);
    let (origin, session) = (Origin::start().unwrap(), session());
    let ceilings = &session.capabilities().ceilings;
    assert!(ceilings.iter().all(|ceiling| ceiling.at_most != 1024));
    let requests: Vec<_> = (0..SOCKETS)
        .map(|_| Task::spawn(&Smol::global(), session.get(origin.url("/hang")).send()))
        .collect();
    origin
        .wait_for(TIMEOUT, |stats| stats.in_flight == SOCKETS)
        .unwrap();
    drop(requests);
}

#[test]
fn the_connection_of_a_dropped_request_is_closed_at_its_deadline() {
    let server = ScriptedServer::with_script(Script::new().read_request().hang()).unwrap();
    let session = builder().timeout(Duration::from_secs(1)).build().unwrap();
    let task = Task::spawn(&Smol::global(), session.get(server.url("/")).send());
    assert!(server.wait_for_requests(1, TIMEOUT));
    drop(task);
    assert!(server.wait_for_close(0, TIMEOUT).is_some());
}

#[test]
fn a_deadline_that_passes_in_libcurl_is_a_total_timeout() {
    let server = ScriptedServer::with_script(Script::new().read_request().hang()).unwrap();
    let client = client(|_| ());
    let request = request(&server.url("/"), Duration::from_millis(300));
    let error = wait(client.fetch(request)).unwrap_err();
    assert_eq!(error.phase(), Some(Phase::Total));

    let half = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
    let server =
        ScriptedServer::with_script(Script::new().read_request().send(half).hang()).unwrap();
    let request = self::request(&server.url("/"), Duration::from_millis(300));
    let response = wait(client.fetch(request)).unwrap();
    let error = wait(response.into_body().collect(100)).unwrap_err();
    assert_eq!(error.phase(), Some(Phase::Total));
}

#[test]
fn a_connect_that_times_out_has_the_phase_of_the_shorter_limit() {
    let silent = ScriptedServer::unaccepting_address().unwrap();
    let (short, long) = (Duration::from_millis(300), Duration::from_secs(60));
    for (connect, total, phase) in [(short, long, Phase::Connect), (long, short, Phase::Total)] {
        let client = client(|options| options.connect_timeout = Some(connect));
        let error = wait(client.fetch(request(&silent.url("/"), total))).unwrap_err();
        assert_eq!(error.phase(), Some(phase));
    }
}

/// A resolver that returns the current addresses for every name. The test can change the addresses.
struct ChangingResolver(Arc<Mutex<Vec<SocketAddr>>>);

impl Resolve for ChangingResolver {
    fn resolve(&self, _: &str, _: u16) -> std::io::Result<Vec<SocketAddr>> {
        Ok(self.0.lock().unwrap().clone())
    }
}

#[test]
fn new_addresses_from_the_resolver_are_used_at_once() {
    let servers = [resetting_server(), resetting_server()];
    let addresses = Arc::new(Mutex::new(Vec::new()));
    let resolver = Arc::new(ChangingResolver(addresses.clone()));
    let session = builder()
        .client_options(|options| options.resolver = resolver)
        .build()
        .unwrap();
    for server in &servers {
        *addresses.lock().unwrap() = vec![server.addr()];
        wait(session.get("http://pages.test/").bytes()).unwrap();
        assert_eq!(server.connections(), 1);
    }
    assert_eq!(servers[0].requests().len(), 1);
    assert_eq!(
        servers[0].requests()[0].header("host").unwrap(),
        b"pages.test"
    );
}

#[test]
fn the_whole_body_is_sent_to_the_next_address_after_a_refusal() {
    let origin = Origin::start().unwrap();
    let resolver = ChangingResolver(Arc::new(Mutex::new(vec![
        refused_address().unwrap(),
        origin.addr(),
    ])));
    let session = builder().resolver(resolver).build().unwrap();
    let chunks = stream::iter(["a", "streamed", "body"].map(Ok::<_, Error>));
    for body in [Body::from("astreamedbody"), Body::from_stream(chunks)] {
        let request = session.post("http://pages.test/post").body(body);
        let echoed = wait(request.text()).unwrap();
        assert!(echoed.contains("astreamedbody"), "{echoed}");
    }
}

#[test]
fn a_streamed_body_is_produced_in_the_task_of_the_request() {
    let (origin, session) = (Origin::start().unwrap(), session());
    let other_threads = Arc::new(AtomicUsize::new(0));
    let (this_thread, seen) = (thread::current().id(), other_threads.clone());
    let mut chunks = ["a", "streamed", "body"].into_iter();
    let body = Body::from_stream(stream::poll_fn(move |_| {
        seen.fetch_add(
            usize::from(thread::current().id() != this_thread),
            Ordering::SeqCst,
        );
        Poll::Ready(chunks.next().map(Ok::<_, Error>))
    }));
    wait(session.post(origin.url("/upload")).body(body).bytes()).unwrap();
    assert_eq!(other_threads.load(Ordering::SeqCst), 0);
}

#[test]
fn a_panic_in_a_streamed_body_ends_only_its_request() {
    let (origin, session) = (Origin::start().unwrap(), session());
    let body = stream::poll_fn(|_| -> Poll<Option<Result<&str, Error>>> { panic!("on purpose") });
    let request = session.post(origin.url("/upload"));
    let request = request.body(Body::from_stream(body)).bytes();
    assert!(wait(Task::spawn(&Smol::global(), request)).is_err());
    wait(session.get(origin.url("/page/1")).bytes()).unwrap();
}

#[test]
fn dropping_an_upload_closes_its_connection_before_the_end_of_the_body() {
    let server = ScriptedServer::with_script(Script::new().read_head().read_body().hang()).unwrap();
    let session = builder().timeout(None).build().unwrap();
    let first = stream::iter([Ok::<_, Error>("partial upload")]);
    let body = Body::from_stream(first.chain(stream::pending()));
    let request = session.post(server.url("/")).body(body).send();
    let task = Task::spawn(&Smol::global(), request);
    assert!(server.wait_for_requests(1, TIMEOUT));
    drop(task);
    assert!(server.wait_for_close(0, TIMEOUT).is_some());
    assert!(server.requests()[0].body.is_empty());
}

#[test]
fn a_success_response_before_the_end_of_the_upload_is_an_error() {
    for (status, is_error) in [("200 OK", true), ("413 Content Too Large", false)] {
        let early = format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\nearly");
        let server =
            ScriptedServer::with_script(Script::new().read_head().send(early).hang()).unwrap();
        let first = stream::iter([Ok::<_, Error>("the first chunk")]);
        let body = Body::from_stream(first.chain(stream::pending()));
        let result = wait(session().post(server.url("/")).body(body).text());
        match result {
            Ok(text) => assert!(!is_error && text == "early"),
            Err(error) => assert!(is_error && error.kind() == ErrorKind::Unsupported),
        }
    }
}

#[test]
fn a_close_within_the_head_is_incomplete() {
    for head in [
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nServer: test\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
    ] {
        let server =
            ScriptedServer::with_script(Script::new().read_request().send(head).close()).unwrap();
        let error = wait(session().get(server.url("/")).bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Incomplete, "{head:?}");
    }
}

#[test]
fn a_content_length_that_overflows_is_a_protocol_error() {
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nbody";
    let server =
        ScriptedServer::with_script(Script::new().read_request().send(response).hang()).unwrap();
    let error = wait(session().get(server.url("/")).bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[test]
fn a_post_without_a_content_type_is_sent_as_octet_stream() {
    let server = ScriptedServer::with_script(Script::new().read_request().send(WARM)).unwrap();
    wait(session().post(server.url("/")).body("a=b").bytes()).unwrap();
    let requests = server.requests();
    let content_type = requests[0].header("content-type").unwrap();
    assert_eq!(content_type, b"application/octet-stream");
}

#[test]
fn requests_that_libcurl_would_change_are_refused() {
    let server = ScriptedServer::with_script(Script::new().read_request().send(WARM)).unwrap();
    let session = session();
    let opaque = http::HeaderValue::from_bytes(b"\xff").unwrap();
    for request in [
        session.head(server.url("/")).body("body"),
        session.get(server.url("/")).header("x-opaque", opaque),
    ] {
        let error = wait(request.bytes()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
    let runtime: Arc<dyn Runtime> = Arc::new(Smol::global());
    let mut options = ClientOptions::default();
    options.nodelay = false;
    let refused = Isahc::new(runtime, &options)
        .err()
        .map(|error| error.kind());
    assert_eq!(refused, Some(ErrorKind::Unsupported));
    assert_eq!(server.connections(), 0);
}
