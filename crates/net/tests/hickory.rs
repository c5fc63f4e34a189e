//! Tests of hickory with a local name server.
#![cfg(feature = "hickory")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use inflight::connect::Resolve;
use inflight::{BlockOn, Cell, ErrorKind};
use inflight_net::hickory::Hickory;
use inflight_net::hickory::hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts,
};
use inflight_net::hickory::hickory_resolver::proto::op::{Message, ResponseCode};
use inflight_net::hickory::hickory_resolver::proto::rr::{RData, Record, RecordType};

/// A name server that has addresses for `pages.test` and never responds to queries for `silent.test`.
/// For any other name, it responds that the name does not exist.
struct NameServer {
    addr: SocketAddr,
    queries: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

const V4: Ipv4Addr = Ipv4Addr::LOCALHOST;
const V6: Ipv6Addr = Ipv6Addr::LOCALHOST;

impl NameServer {
    fn start() -> Self {
        let socket = UdpSocket::bind((V4, 0)).unwrap();
        let addr = socket.local_addr().unwrap();
        let queries = Arc::new(AtomicUsize::new(0));
        let count = queries.clone();
        let thread = thread::spawn(move || {
            let mut packet = [0; 4096];
            loop {
                let (len, from) = socket.recv_from(&mut packet).unwrap();
                if len == 0 {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                if let Some(response) = respond(&packet[..len]) {
                    socket.send_to(&response, from).unwrap();
                }
            }
        });
        Self {
            addr,
            queries,
            thread: Some(thread),
        }
    }

    fn hickory(&self) -> Hickory {
        Hickory::with_servers([self.addr]).unwrap()
    }

    fn queries(&self) -> usize {
        self.queries.load(Ordering::SeqCst)
    }
}

impl Drop for NameServer {
    /// Sends an empty packet, which ends the server's thread.
    fn drop(&mut self) {
        let socket = UdpSocket::bind((V4, 0)).unwrap();
        socket.send_to(&[], self.addr).unwrap();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking());
    }
}

fn respond(packet: &[u8]) -> Option<Vec<u8>> {
    let request = Message::from_vec(packet).unwrap();
    let query = request.queries[0].clone();
    let mut response = Message::response(request.metadata.id, request.metadata.op_code);
    response.metadata.recursion_available = true;
    match query.name().to_ascii().trim_end_matches('.') {
        "silent.test" => return None,
        "pages.test" => {
            let data = match query.query_type() {
                RecordType::A => RData::A(V4.into()),
                RecordType::AAAA => RData::AAAA(V6.into()),
                other => panic!("unexpected query for {other}"),
            };
            response.add_answer(Record::from_rdata(query.name().clone(), 3600, data));
        }
        _ => response.metadata.response_code = ResponseCode::NXDomain,
    }
    response.add_query(query);
    Some(response.to_vec().unwrap())
}

#[test]
fn a_name_resolves_to_the_addresses_in_the_response() {
    let server = NameServer::start();
    let hickory = server.hickory();
    let found = hickory.resolve("pages.test", 8080).unwrap();
    let both = [IpAddr::from(V4), IpAddr::from(V6)].map(|ip| SocketAddr::new(ip, 8080));
    assert_eq!(found, both);
    // hickory caches a response for its time to live.
    let queries = server.queries();
    assert_eq!(hickory.resolve("pages.test", 81).unwrap().len(), 2);
    assert_eq!(server.queries(), queries);
}

#[test]
fn an_unknown_name_is_not_found() {
    let server = NameServer::start();
    let error = server.hickory().resolve("nothing.test", 80).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
}

#[test]
fn a_lookup_times_out_if_the_server_does_not_respond() {
    let server = NameServer::start();
    let mut udp = ConnectionConfig::udp();
    udp.port = server.addr.port();
    let name_server = NameServerConfig::new(server.addr.ip(), true, vec![udp]);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![name_server]);
    let mut options = ResolverOpts::default();
    options.timeout = Duration::from_millis(50);
    options.attempts = 1;
    let hickory = Hickory::with_config(config, options).unwrap();
    let error = hickory.resolve("silent.test", 80).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
}

#[test]
fn with_servers_fails_without_a_name_server() {
    let error = Hickory::with_servers([]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn hickory_works_with_every_backend() {
    let server = NameServer::start();
    let hickory = server.hickory();
    let origin = inflight_origin::Origin::start().unwrap();
    let port = origin.addr().port();
    for cell in Cell::compiled() {
        let backend = cell.start(None).unwrap();
        let builder = backend.builder().resolver(hickory.clone());
        let session = builder.build().unwrap();
        let page = session.get(format!("http://pages.test:{port}/page/3"));
        let text = backend.block_on(page.text()).unwrap();
        assert!(text.contains("Page 3"), "{cell}");
        let missing = session.get(format!("http://nothing.test:{port}/"));
        let error = backend.block_on(missing.text()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Resolve, "{cell}");
    }
}
