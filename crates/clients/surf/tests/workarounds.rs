//! Tests of workarounds for surf's transport and async-h1. Each test fails without its workaround.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use inflight_core::http::{HeaderName, HeaderValue, Method};
use inflight_core::{
    BlockOn, Body, Error, ErrorKind, Response, Runtime, Session, SessionBuilder, Task, gather,
};
use inflight_origin::Origin;
use inflight_origin::script::{Script, ScriptedServer};
use inflight_smol::Smol;
use inflight_surf::Surf;

const TIMEOUT: Duration = Duration::from_secs(20);

fn session() -> Session {
    builder().build().unwrap()
}

fn builder() -> SessionBuilder {
    Session::builder(|options| {
        let runtime: Arc<dyn Runtime> = Arc::new(Smol::global());
        Ok((Surf::new(runtime.clone(), options)?, runtime))
    })
    .timeout(TIMEOUT)
    .decompress(false)
}

fn wait<F: Future>(future: F) -> F::Output {
    let timeout = async {
        Smol::global().sleep(2 * TIMEOUT).await;
        panic!("the future did not complete in time")
    };
    Smol::global().block_on(futures_lite::future::or(future, timeout))
}

/// Starts a server that sends the same response to every request and leaves the connection open.
fn responding_server(response: &str) -> ScriptedServer {
    let script = Script::new().read_request().send(response.to_owned());
    ScriptedServer::with_script(script.hang()).unwrap()
}

fn get(server: &ScriptedServer) -> Result<Response, Error> {
    wait(session().get(server.url("/")).send())
}

fn text(server: &ScriptedServer) -> Result<String, Error> {
    wait(session().get(server.url("/")).text())
}

#[test]
fn the_next_request_does_not_read_the_rest_of_a_dropped_body() {
    let server = ScriptedServer::start(|connection| {
        let half = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
        let script = Script::new().read_request();
        match connection {
            0 => script.send(half).await_close(TIMEOUT).send("stale"),
            _ => script.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfresh"),
        }
    })
    .unwrap();
    let session = session();
    let mut response = wait(session.get(server.url("/")).send()).unwrap();
    assert_eq!(wait(response.chunk()).unwrap().unwrap(), "half");
    drop(response);
    assert_eq!(wait(session.get(server.url("/")).text()).unwrap(), "fresh");
    assert!(server.wait_for_close(0, TIMEOUT).is_some());
}

#[test]
fn dropping_a_request_before_the_response_closes_its_connection() {
    let server = responding_server("");
    let task = Task::spawn(&Smol::global(), session().get(server.url("/")).send());
    assert!(server.wait_for_requests(1, TIMEOUT));
    drop(task);
    assert!(server.wait_for_close(0, TIMEOUT).is_some());
}

#[test]
fn a_truncated_body_is_incomplete() {
    for response in [
        "Content-Length: 9\r\n\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
        "Server: test\r\n",
    ] {
        let response = format!("HTTP/1.1 200 OK\r\n{response}");
        let script = Script::new().read_request().send(response.clone()).close();
        let error = text(&ScriptedServer::with_script(script).unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Incomplete, "{response:?}");
    }
}

#[test]
fn a_response_without_a_body_completes_with_its_head() {
    for (method, status) in [
        (Method::HEAD, "200 OK"),
        (Method::GET, "204 No Content"),
        (Method::GET, "304 Not Modified"),
    ] {
        let response = format!("HTTP/1.1 {status}\r\nContent-Length: 9\r\n\r\n");
        let server = responding_server(&response);
        let response = wait(session().request(method, server.url("/")).send()).unwrap();
        assert_eq!(response.headers()["content-length"], "9");
        assert_eq!(wait(response.bytes()).unwrap(), "");
    }
}

#[test]
fn a_body_without_a_length_ends_with_the_connection() {
    for version in ["1.0", "1.1"] {
        let response = format!("HTTP/{version} 200 OK\r\n\r\nto the end");
        let script = Script::new().read_request().send(response).close();
        assert_eq!(
            text(&ScriptedServer::with_script(script).unwrap()).unwrap(),
            "to the end"
        );
    }
}

#[test]
fn interim_responses_are_skipped() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let end = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend";
    assert_eq!(
        text(&responding_server(&(interim.repeat(3) + end))).unwrap(),
        "end"
    );
    let error = get(&responding_server(&interim.repeat(1000))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[test]
fn the_head_is_returned_as_the_server_sent_it() {
    let long = "v".repeat(20_000);
    let head = format!("B: 1\r\nX: caf\u{e9}\r\nA: 2\r\nB: 3\r\nLong: {long}\r\nContent-Length: 0");
    let response = get(&responding_server(&format!(
        "HTTP/1.1 299 Odd\r\n{head}\r\n\r\n"
    )))
    .unwrap();
    assert_eq!(response.status().as_u16(), 299);
    let names = response.headers().keys().map(HeaderName::as_str);
    let expected = ["b", "x", "a", "long", "content-length"];
    assert_eq!(names.collect::<Vec<_>>(), expected);
    let repeated = response.headers().get_all("b").iter();
    assert_eq!(repeated.collect::<Vec<_>>(), ["1", "3"]);
    assert_eq!(response.headers()["x"].as_bytes(), "caf\u{e9}".as_bytes());
}

#[test]
fn different_content_lengths_are_a_protocol_error() {
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd";
    let error = get(&responding_server(response)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[test]
fn a_trailer_in_several_segments_ends_the_body() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3; x\r\nall\r\n";
    let script = Script::new().read_request().send(head);
    let script = script.send_slowly("0\r\nX-End: yes\r\n\r\n", 1, Duration::from_millis(5));
    let server = ScriptedServer::with_script(script.hang()).unwrap();
    let start = Instant::now();
    assert_eq!(text(&server).unwrap(), "all");
    // If the client waited for more bytes, the request would end only at its timeout.
    assert!(start.elapsed() < TIMEOUT / 2);
}

#[test]
fn waiting_for_a_trailer_is_not_a_busy_loop() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n";
    let server = responding_server(&format!("{head}0\r\nX-End: y"));
    let request = session().get(server.url("/"));
    let mut request = pin!(request.timeout(Duration::from_millis(500)).text());
    let mut polls = 0;
    let counted = poll_fn(|cx| {
        polls += 1;
        request.as_mut().poll(cx)
    });
    assert!(wait(counted).unwrap_err().is_timeout());
    assert!(polls < 100, "the request was polled {polls} times");
}

#[test]
fn a_response_that_starts_before_the_request_ends_is_returned() {
    let origin = Origin::start().unwrap();
    let body = vec![b'x'; 32 << 20];
    let echoed = wait(
        session()
            .post(origin.url("/echo"))
            .body(body.clone())
            .bytes(),
    );
    assert!(echoed.unwrap() == body);
}

#[test]
fn an_early_response_to_an_upload_is_returned() {
    let refusal = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\n\r\ntoo much";
    let script = Script::new().read_head().send(refusal);
    for script in [script.clone().pause(TIMEOUT), script.hang()] {
        let server = ScriptedServer::with_script(script).unwrap();
        let chunks = stream::repeat_with(|| Ok::<_, Error>(vec![0; 64 << 10]));
        let body = Body::from_stream(chunks.take(1024));
        let response = wait(session().post(server.url("/")).body(body).send()).unwrap();
        assert_eq!(response.status().as_u16(), 413);
        assert_eq!(wait(response.text()).unwrap(), "too much");
    }
}

#[test]
fn a_failing_upload_is_an_io_error_and_closes_the_connection() {
    let script = Script::new().read_head().read_body().hang();
    let server = ScriptedServer::with_script(script).unwrap();
    // The client encodes 8 KiB at once, so it sends a part of the first chunk before the upload fails.
    let chunks = [Ok(vec![b'a'; 64 << 10]), Err("the upload failed")];
    let body = Body::from_stream(stream::iter(chunks));
    let error = wait(session().post(server.url("/")).body(body).send()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(server.wait_for_close(0, TIMEOUT).is_some());
    assert_eq!(server.requests()[0].body, "");
}

#[test]
fn an_idle_connection_is_closed_after_its_timeout() {
    let server = responding_server("HTTP/1.1 204 No Content\r\n\r\n");
    let idle = Duration::from_millis(50);
    let session = builder().client_options(|options| options.idle_timeout = idle);
    let session = session.build().unwrap();
    wait(session.get(server.url("/")).bytes()).unwrap();
    assert!(server.wait_for_close(0, TIMEOUT).is_some());
}

#[test]
fn a_request_with_connection_close_ends_its_connection() {
    let server = responding_server("HTTP/1.1 204 No Content\r\n\r\n");
    let session = session();
    for n in 1..=2 {
        let request = session.get(server.url("/")).header("connection", "close");
        wait(request.bytes()).unwrap();
        assert_eq!(server.connections(), n);
    }
}

#[test]
fn no_get_fails_if_connections_close_shortly_after_their_response() {
    let server = ScriptedServer::start(|connection| {
        let script = Script::new().read_request();
        let script = script.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage");
        script.pause(Duration::from_millis(connection as u64 % 6))
    })
    .unwrap();
    let session = session();
    let pages = (0..1000).map(|_| session.get(server.url("/")).text());
    let settled = wait(gather(pages).limit(20).settled());
    let failed = settled.results.iter().filter(|page| page.is_err());
    assert_eq!(failed.count(), 0);
}

#[test]
fn the_request_has_no_additional_headers() {
    let response = "HTTP/1.1 204 No Content\r\n\r\n";
    let script = Script::new().read_request().send(response);
    let server = ScriptedServer::with_script(script.read_request().send(response).hang()).unwrap();
    let session = session();
    wait(session.get(server.url("/get")).bytes()).unwrap();
    wait(session.post(server.url("/post")).body("body").bytes()).unwrap();
    let names = |n: usize| -> Vec<_> {
        let request = server.requests().swap_remove(n);
        request.headers.into_iter().map(|(name, _)| name).collect()
    };
    assert_eq!(names(0), ["host"]);
    assert_eq!(names(1), ["host", "content-length"]);
    assert_eq!(server.connections(), 1);
}

#[test]
fn requests_that_the_types_of_surf_cannot_represent_are_sent() {
    let response = "HTTP/1.1 204 No Content\r\n\r\n";
    let server = ScriptedServer::with_script(Script::new().read_request().send(response)).unwrap();
    let opaque = HeaderValue::from_bytes(b"\xff").unwrap();
    let [lower, brew] = ["get", "BREW"].map(|name| Method::from_bytes(name.as_bytes()).unwrap());
    for request in [
        session().get(server.url("/")).header("x-opaque", opaque),
        session().request(lower, server.url("/")),
        session().request(brew, server.url("/")),
    ] {
        wait(request.bytes()).unwrap();
    }
    let methods: Vec<_> = server
        .requests()
        .into_iter()
        .map(|request| request.method)
        .collect();
    assert_eq!(methods, ["GET", "get", "BREW"]);
}
