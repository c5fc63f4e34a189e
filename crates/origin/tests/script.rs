//! Servers that run a script.

mod common;

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{Client, TEST_TIMEOUT};
use inflight_origin::script::{Script, ScriptedServer, Step, refused_address};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";

#[test]
fn requests_are_recorded_exactly() {
    let exchange = Script::new().read_request().send(OK);
    let server = ScriptedServer::with_script(exchange.read_request().send(OK)).unwrap();
    let mut client = Client::connect(server.addr());
    client.send("POST /one?q HTTP/1.1\r\nX-A: \u{e9}\r\ncontent-length: 3\r\n\r\nabc");
    assert_eq!(client.read_answer("POST").text(), "ok");
    client.send("PUT /two HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n");
    assert_eq!(client.read_answer("PUT").text(), "ok");
    assert_eq!(client.read_to_end().unwrap(), b"");

    let [one, two] = &server.requests()[..] else {
        panic!("{:?}", server.requests());
    };
    assert_eq!(
        (one.connection, &*one.method, &*one.target),
        (0, "POST", "/one?q")
    );
    assert_eq!(one.header("x-a"), Some("\u{e9}".as_bytes()));
    assert_eq!(&one.body[..], b"abc");
    assert_eq!(
        &two.head[..],
        b"PUT /two HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    assert_eq!(&two.body[..], b"abc0123456789");
}

#[test]
fn each_connection_gets_its_own_script() {
    let server = ScriptedServer::start(|connection| {
        let body = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{connection}");
        Script::new().read_request().send(body)
    })
    .unwrap();
    for n in ["0", "1", "2"] {
        assert_eq!(Client::connect(server.addr()).get("/").text(), n);
    }
    assert_eq!(server.connections(), 3);
    assert!(server.wait_for_requests(3, TEST_TIMEOUT));
    assert!(!server.wait_for_requests(4, Duration::from_millis(1)));
}

#[test]
fn a_head_can_be_answered_before_its_body_arrives() {
    let early = Script::new().read_head().send(OK).read_body().send(OK);
    let server = ScriptedServer::with_script(early).unwrap();
    let mut client = Client::connect(server.addr());
    client.send("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n");
    client.read_answer("POST");
    assert_eq!(server.requests()[0].body, "");
    client.send("abc");
    client.read_answer("POST");
    assert_eq!(server.requests()[0].body, "abc");
}

#[test]
fn reset_sends_a_reset() {
    let server = ScriptedServer::with_script(Script::new().read_request().reset()).unwrap();
    let mut client = Client::connect(server.addr());
    client.send(GET);
    assert_eq!(
        client.read_to_end().unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
}

#[test]
fn close_sends_no_reset_even_if_bytes_are_unread() {
    let server =
        ScriptedServer::with_script(Script::new().read_head().send("HTTP/1.1 2").close()).unwrap();
    let mut client = Client::connect(server.addr());
    client.send("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(client.read_to_end().unwrap(), b"HTTP/1.1 2");
}

#[test]
fn send_slowly_pauses_after_each_byte() {
    let pause = Duration::from_millis(2);
    let server =
        ScriptedServer::with_script(Script::new().read_request().send_slowly(OK, 1, pause))
            .unwrap();
    let start = Instant::now();
    assert_eq!(Client::connect(server.addr()).get("/").text(), "ok");
    assert!(start.elapsed() >= pause * (OK.len() as u32 - 1));
}

#[test]
fn a_half_closed_connection_still_reads() {
    let half = Script::new()
        .read_request()
        .send(OK)
        .shutdown_write()
        .read_request();
    let server = ScriptedServer::with_script(half).unwrap();
    let mut client = Client::connect(server.addr());
    assert_eq!(client.get("/1").status, 200);
    client.send(GET);
    assert!(server.wait_for_requests(2, TEST_TIMEOUT));
    assert_eq!(client.read_to_end().unwrap(), b"");
}

#[test]
fn a_close_by_the_peer_is_detected_and_timed() {
    let server = ScriptedServer::with_script(Script::new().read_request().hang()).unwrap();
    let mut client = Client::connect(server.addr());
    client.send(GET);
    assert!(server.wait_for_requests(1, TEST_TIMEOUT));
    assert_eq!(server.wait_for_close(0, Duration::from_millis(20)), None);
    drop(client);
    let after = server.wait_for_close(0, TEST_TIMEOUT).unwrap();
    assert!(after < TEST_TIMEOUT);
    assert_eq!(server.wait_for_close(0, TEST_TIMEOUT), Some(Duration::ZERO));
    assert_eq!(server.wait_for_close(1, Duration::ZERO), None);
}

#[test]
fn a_script_continues_if_the_awaited_close_does_not_happen() {
    let at_most = Duration::from_millis(20);
    let script = Script::new().await_close(at_most).read_request().send(OK);
    let server = ScriptedServer::with_script(script).unwrap();
    // The request is sent while the server waits for the close, and must not be lost.
    assert_eq!(Client::connect(server.addr()).get("/").text(), "ok");

    let server =
        ScriptedServer::with_script(Script::new().then(Step::AwaitClose(TEST_TIMEOUT))).unwrap();
    drop(Client::connect(server.addr()));
    assert!(server.wait_for_connections(1, TEST_TIMEOUT));
    assert!(server.wait_for_close(0, TEST_TIMEOUT).is_some());
}

#[test]
fn an_invalid_request_ends_the_script() {
    let server = ScriptedServer::with_script(Script::new().read_request().hang()).unwrap();
    let mut client = Client::connect(server.addr());
    client.send("POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n");
    assert_eq!(client.read_to_end().unwrap(), b"");
    assert_eq!(server.requests(), []);
}

#[test]
fn dropping_the_server_ends_every_step() {
    let long = Duration::from_secs(3600);
    // The bytes do not fit into the sockets' buffers, so the write blocks.
    let blocked = Script::new().send(vec![0; 64 << 20]);
    for script in [
        Script::new().hang(),
        Script::new().pause(long),
        Script::new().await_close(long),
        Script::new().read_request(),
        blocked,
    ] {
        let server = ScriptedServer::with_script(script).unwrap();
        let addr = server.addr();
        let mut client = Client::connect(addr);
        client.send("GET / HTTP/1.1\r\n");
        assert!(server.wait_for_connections(1, TEST_TIMEOUT));
        // Joins the server's threads, so a step that does not end would block here.
        drop(server);
        let _ = client.read_to_end();
        assert!(TcpStream::connect(addr).is_err());
    }
}

#[test]
fn connects_to_an_unaccepting_address_time_out() {
    let address = ScriptedServer::unaccepting_address().unwrap();
    for _ in 0..3 {
        let timeout = Duration::from_millis(200);
        let error = TcpStream::connect_timeout(&address.addr(), timeout).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}

#[test]
fn connects_to_a_refusing_address_are_refused() {
    let error = TcpStream::connect(refused_address().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}
