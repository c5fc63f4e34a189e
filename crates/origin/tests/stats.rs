//! The counts, and the start and stop of the origin.

#![allow(
    clippy::print_stdout,
    reason = "lateness is printed and not asserted, because it depends on the machine"
)]

mod common;

use std::io::ErrorKind;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use common::{Client, TEST_TIMEOUT, get};
use inflight_origin::{CpuScope, Options, Origin, Stats, raise_file_limit};

#[test]
fn a_reused_connection_is_counted_once() {
    let origin = Origin::start().unwrap();
    let mut client = Client::connect(origin.addr());
    for _ in 0..5 {
        client.get("/get");
    }
    let stats = origin.stats();
    assert_eq!(stats.connections_accepted, 1);
    assert_eq!((stats.connections_open, stats.connections_closed), (1, 0));
    assert_eq!((stats.requests, stats.in_flight), (5, 0));
    drop(client);
    let stats = origin
        .wait_for(TEST_TIMEOUT, |stats| stats.connections_closed == 1)
        .unwrap();
    assert_eq!((stats.connections_open, stats.aborted), (0, 0));
}

#[test]
fn the_peak_is_the_highest_number_of_requests_in_flight() {
    let origin = Origin::start().unwrap();
    let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(origin.addr())).collect();
    for client in &mut clients {
        client.send("GET /hang HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    origin
        .wait_for(TEST_TIMEOUT, |stats| stats.in_flight == 20)
        .unwrap();
    clients.truncate(5);
    origin
        .wait_for(TEST_TIMEOUT, |stats| stats.in_flight == 5)
        .unwrap();
    assert_eq!(origin.stats().peak_in_flight, 20);
    origin.reset_stats();
    let stats = origin.stats();
    assert_eq!((stats.in_flight, stats.peak_in_flight), (5, 5));
    assert_eq!((stats.requests, stats.aborted), (0, 0));
}

#[test]
fn delays_overlap() {
    let origin = Origin::start().unwrap();
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| assert_eq!(get(&origin, "/delay-ms/300").text(), "waited 300 ms\n"));
        }
    });
    assert!(start.elapsed() >= Duration::from_millis(300));
    let stats = origin.stats();
    assert!(stats.peak_in_flight > 1, "{stats:?}");
    assert_eq!(stats.delays.count, 10);
}

#[test]
fn a_request_whose_client_disconnects_is_counted_as_aborted() {
    let origin = Origin::start().unwrap();
    for (n, path) in [(1, "/hang"), (2, "/hang-body"), (3, "/delay/10")] {
        let mut client = Client::connect(origin.addr());
        client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        origin
            .wait_for(TEST_TIMEOUT, |stats| stats.in_flight == 1)
            .unwrap();
        drop(client);
        let left = |stats: &Stats| stats.aborted == n && stats.connections_closed == n;
        let stats = origin.wait_for(TEST_TIMEOUT, left).unwrap();
        assert_eq!((stats.in_flight, stats.connections_open), (0, 0), "{path}");
    }
    // No delay has completed.
    assert_eq!(origin.stats().delays.count, 0);
}

#[test]
fn an_upload_whose_client_disconnects_is_counted_as_aborted() {
    let origin = Origin::start().unwrap();
    let mut client = Client::connect(origin.addr());
    client.send("POST /hang HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    origin
        .wait_for(TEST_TIMEOUT, |stats| stats.in_flight == 1)
        .unwrap();
    drop(client);
    origin
        .wait_for(TEST_TIMEOUT, |stats| stats.aborted == 1)
        .unwrap();
}

#[test]
fn a_partly_read_response_is_counted_as_aborted() {
    let origin = Origin::start().unwrap();
    let mut client = Client::connect(origin.addr());
    // The body is larger than the sockets' buffers.
    client.send("GET /bytes/104857600 HTTP/1.1\r\nHost: h\r\n\r\n");
    client.read_exactly(1000);
    drop(client);
    let stats = origin
        .wait_for(TEST_TIMEOUT, |stats| stats.aborted == 1)
        .unwrap();
    assert_eq!(stats.in_flight, 0);
}

#[test]
fn delays_are_never_early_and_their_lateness_is_recorded() {
    let origin = Origin::start().unwrap();
    thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                let mut client = Client::connect(origin.addr());
                for n in [1, 7, 20] {
                    let start = Instant::now();
                    assert_eq!(client.get(&format!("/delay-ms/{n}")).status, 200);
                    assert!(start.elapsed() >= Duration::from_millis(n));
                }
            });
        }
    });
    let delays = origin.stats().delays;
    println!(
        "lateness of {} delays, 100 in flight: p50 {} us, p99 {} us, max {} us",
        delays.count, delays.p50, delays.p99, delays.max
    );
    assert_eq!((delays.count, delays.early), (300, 0));
    assert!(delays.p50 <= delays.p99 && delays.p99 <= delays.max);
}

#[test]
fn requests_for_the_counts_are_not_counted() {
    let origin = Origin::start().unwrap();
    let fetch = |method: &str, path: &str| -> Stats {
        let answer = Client::connect(origin.addr()).call(method, path, &[], b"");
        serde_json::from_slice(&answer.body).unwrap()
    };
    let none = fetch("GET", "/stats");
    assert_eq!((none.connections_accepted, none.requests), (0, 0));
    get(&origin, "/get");
    origin
        .wait_for(TEST_TIMEOUT, |stats| stats.connections_closed == 1)
        .unwrap();
    let one = fetch("GET", "/stats");
    assert_eq!((one.connections_accepted, one.connections_open), (1, 0));
    assert_eq!((one.requests, one.peak_in_flight), (1, 1));
    let reset = fetch("POST", "/stats/reset");
    assert_eq!((reset.connections_accepted, reset.requests), (0, 0));

    // A connection with a request for the counts and then another request is counted as usual.
    let mut client = Client::connect(origin.addr());
    client.get("/stats");
    client.get("/get");
    let stats = origin.stats();
    assert_eq!((stats.connections_accepted, stats.connections_open), (1, 1));
}

#[test]
fn the_cpu_time_excludes_other_threads() {
    let origin = Origin::start().unwrap();
    let mut client = Client::connect(origin.addr());
    client.get("/bytes/10000000");
    let served = origin.stats();
    assert!(served.cpu > Duration::ZERO);
    // Where threads are measured separately, the CPU time of this thread is not included.
    if served.cpu_scope == CpuScope::Threads {
        origin.reset_stats();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(200) {
            std::hint::spin_loop();
        }
        assert!(origin.stats().cpu < Duration::from_millis(100));
    }
}

#[test]
fn a_wait_that_times_out_returns_the_last_counts() {
    let origin = Origin::start().unwrap();
    get(&origin, "/get");
    let last = origin.wait_for(Duration::from_millis(1), |stats| stats.requests == 2);
    assert_eq!(last.unwrap_err().requests, 1);
}

#[test]
fn a_dropped_origin_closes_its_connections_and_frees_its_port() {
    let origin = Origin::bind(Options {
        workers: 2,
        ..Options::default()
    })
    .unwrap();
    let addr = origin.addr();
    let mut client = Client::connect(addr);
    client.send("GET /hang HTTP/1.1\r\nHost: h\r\n\r\n");
    origin
        .wait_for(TEST_TIMEOUT, |stats| stats.in_flight == 1)
        .unwrap();
    drop(origin);
    assert_eq!(client.read_to_end().unwrap_or_default(), b"");
    let refused = TcpStream::connect(addr).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    Origin::bind(Options {
        listen: addr,
        ..Options::default()
    })
    .unwrap();
}

#[test]
fn an_origin_can_be_dropped_inside_a_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async { drop(Origin::start().unwrap()) });
}

#[test]
fn idle_connections_are_closed_after_the_timeout() {
    let options = Options {
        idle_timeout: Some(Duration::from_millis(10)),
        ..Options::default()
    };
    let origin = Origin::bind(options).unwrap();
    let client = Client::connect(origin.addr());
    origin
        .wait_for(TEST_TIMEOUT, |stats| stats.connections_closed == 1)
        .unwrap();
    drop(client);
}

#[test]
fn a_burst_of_connects_is_accepted() {
    let limit = raise_file_limit().unwrap();
    // Each connection needs two descriptors, because both ends are in this process.
    let burst = usize::try_from(limit / 2)
        .unwrap_or(usize::MAX)
        .saturating_sub(500)
        .min(2000);
    let origin = Origin::start().unwrap();
    let clients: Vec<TcpStream> = (0..burst)
        .map(|_| TcpStream::connect(origin.addr()).unwrap())
        .collect();
    let all = |stats: &Stats| stats.connections_open == clients.len() as u64;
    origin.wait_for(TEST_TIMEOUT, all).unwrap();
}
