//! Tests of hyper in virtual time, with a server on the network of the virtual runtime.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use inflight_core::{
    BlockOn, ErrorKind, Resolve, Runtime, Session, SessionBuilder, Socket, Task, gather,
};
use inflight_hyper::Hyper;
use inflight_virtual::{LinkOptions, Virtual};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MS: Duration = Duration::from_millis(1);
const SERVER: &str = "192.0.2.1:80";

/// A function that returns the response to a request, given the index of the request on its connection.
type Respond = fn(usize) -> &'static str;

/// Starts a server that responds to each request after `delay`. Returns the counter of its connections.
fn serve(runtime: &Virtual, address: &str, delay: Duration, respond: Respond) -> Arc<AtomicUsize> {
    let listener = runtime.listen(address.parse().unwrap()).unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let (count, time) = (connections.clone(), runtime.clone());
    Task::spawn(runtime, async move {
        while let Ok((socket, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let serving = serve_connection(socket, time.clone(), delay, respond);
            Task::spawn(&time, serving).detach();
        }
    })
    .detach();
    connections
}

async fn serve_connection(
    mut socket: Box<dyn Socket>,
    time: Virtual,
    delay: Duration,
    respond: Respond,
) -> io::Result<()> {
    for index in 0.. {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        if let Some((_, length)) = head.split_once("content-length: ") {
            let length = length.split("\r\n").next().unwrap().parse().unwrap();
            socket.read_exact(&mut vec![0; length]).await?;
        }
        time.sleep(delay).await;
        let response = respond(index);
        socket.write_all(response.as_bytes()).await?;
        if response != page(index) {
            return socket.shutdown().await;
        }
    }
    Ok(())
}

fn page(_: usize) -> &'static str {
    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage"
}

fn builder(runtime: &Virtual) -> SessionBuilder {
    let runtime: Arc<dyn Runtime> = Arc::new(runtime.clone());
    Session::builder(|options| Ok((Hyper::new(runtime.clone(), options)?, runtime)))
}

/// A resolver that returns these addresses for every name.
struct FixedResolver(&'static [&'static str]);

impl Resolve for FixedResolver {
    fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(self
            .0
            .iter()
            .map(|address| address.parse().unwrap())
            .collect())
    }
}

#[test]
fn a_hundred_concurrent_pages_take_as_long_as_one() {
    let runtime = Virtual::new();
    let latency = LinkOptions::new().latency(10 * MS);
    runtime.network().set_default_link(latency);
    let connections = serve(&runtime, SERVER, 100 * MS, page);
    let session = builder(&runtime).build().unwrap();
    runtime.block_on(async {
        let pages = (0..100).map(|_| session.get(format!("http://{SERVER}/")).text());
        let texts = gather(pages).all().await.unwrap();
        assert!(texts.iter().all(|text| text == "page"));
        // A round trip to connect, one for the request, and the page's delay.
        assert_eq!(runtime.elapsed(), 140 * MS);
        // The next requests reuse the connections.
        let pages = (0..100).map(|_| session.get(format!("http://{SERVER}/")).text());
        gather(pages).all().await.unwrap();
        assert_eq!(runtime.elapsed(), 260 * MS);
    });
    assert_eq!(connections.load(Ordering::SeqCst), 100);
}

#[test]
fn an_unreachable_address_delays_the_request_by_250_ms() {
    let runtime = Virtual::new();
    serve(&runtime, SERVER, MS, page);
    serve(&runtime, "192.0.2.2:80", MS, page);
    runtime.network().partition(SERVER.parse().unwrap());
    let resolver = FixedResolver(&[SERVER, "192.0.2.2:80"]);
    let session = builder(&runtime).resolver(resolver).build().unwrap();
    let text = runtime.block_on(session.get("http://pages.test/").text());
    assert_eq!(text.unwrap(), "page");
    assert_eq!(runtime.elapsed(), 251 * MS);
}

#[test]
fn a_truncated_body_is_incomplete_and_its_connection_is_not_reused() {
    let runtime = Virtual::new();
    let connections = serve(
        &runtime,
        SERVER,
        MS,
        |_| "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npa",
    );
    let session = builder(&runtime).build().unwrap();
    for n in 1..=2 {
        let text = runtime.block_on(session.get(format!("http://{SERVER}/")).text());
        assert_eq!(text.unwrap_err().kind(), ErrorKind::Incomplete);
        assert_eq!(connections.load(Ordering::SeqCst), n);
    }
}

#[test]
fn a_connection_that_the_server_closed_is_not_used_for_a_post() {
    let runtime = Virtual::new();
    let connections = serve(&runtime, SERVER, MS, |index| match index {
        0 => page(0),
        _ => unreachable!("the connection should be closed after its first response"),
    });
    let session = builder(&runtime).build().unwrap();
    runtime.block_on(async {
        let get = session.get(format!("http://{SERVER}/")).text();
        assert_eq!(get.await.unwrap(), "page");
        // The server closes the connection while it is idle.
        runtime.network().reset(SERVER.parse().unwrap());
        let post = session
            .post(format!("http://{SERVER}/"))
            .body("once")
            .text();
        assert_eq!(post.await.unwrap(), "page");
    });
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}
