//! Tests of connecting: several addresses, timeouts, cancellation.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use inflight_core::bytes::Bytes;
use inflight_core::http::{self, StatusCode};
use inflight_core::{
    BlockingBody, Cancel, ClientOptions, Deadline, Error, ErrorKind, FetchBlocking, Phase, Resolve,
};
use inflight_origin::script::{Script, ScriptedServer, refused_address};
use inflight_ureq::Ureq;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A resolver that returns these addresses for every name.
struct FixedResolver(Vec<SocketAddr>);

impl Resolve for FixedResolver {
    fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(self.0.clone())
    }
}

fn client(addresses: &[SocketAddr], configure: impl FnOnce(&mut ClientOptions)) -> Ureq {
    let mut options = ClientOptions::default();
    options.resolver = std::sync::Arc::new(FixedResolver(addresses.to_vec()));
    configure(&mut options);
    Ureq::new(&options).unwrap()
}

fn request(url: &str) -> http::Request<BlockingBody> {
    http::Request::get(url)
        .body(BlockingBody::from(Bytes::new()))
        .unwrap()
}

fn get(client: &Ureq) -> Result<StatusCode, Error> {
    let request = request("http://pages.test/");
    let response = client.fetch_blocking(request, &Cancel::new())?;
    Ok(response.status())
}

fn server() -> ScriptedServer {
    ScriptedServer::with_script(Script::new().read_request().send(OK)).unwrap()
}

#[test]
fn the_next_address_is_tried_at_once_after_a_refusal() {
    let server = server();
    let mut addresses: Vec<_> = (0..10).map(|_| refused_address().unwrap()).collect();
    addresses.push(server.addr());
    let started = Instant::now();
    assert_eq!(get(&client(&addresses, |_| ())).unwrap(), StatusCode::OK);
    // Ten delays of 250 ms would be 2.5 s.
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[test]
fn the_error_names_every_attempted_address() {
    let addresses = [refused_address().unwrap(), refused_address().unwrap()];
    let error = get(&client(&addresses, |_| ())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    let message = error.to_string();
    assert!(message.contains("pages.test:80"), "{message}");
    for address in addresses {
        // The operating system and the standard library spell the reason differently.
        let system_refusal = format!("{address}: Connection refused");
        let std_refusal = format!("{address}: connection refused");
        assert!(
            message.contains(&system_refusal) || message.contains(&std_refusal),
            "{message}"
        );
    }
}

#[test]
fn max_idle_counts_connections_to_all_hosts() {
    for (max_idle, connections) in [(1, 2), (2, 1)] {
        let script = Script::new()
            .read_request()
            .send(OK)
            .read_request()
            .send(OK)
            .hang();
        let (first, second) = (
            ScriptedServer::with_script(script.clone()).unwrap(),
            ScriptedServer::with_script(script).unwrap(),
        );
        let client = client(&[], |options| options.max_idle = Some(max_idle));
        for server in [&first, &second, &first] {
            let request = request(&server.url("/"));
            let response = client.fetch_blocking(request, &Cancel::new()).unwrap();
            io::copy(&mut response.into_body(), &mut io::sink()).unwrap();
        }
        assert_eq!(first.connections(), connections, "max_idle {max_idle}");
    }
}

/// Tests with a silent address: a listener whose queue is full. Only Linux drops the SYNs to such a listener.
#[cfg(target_os = "linux")]
mod silent {
    use std::process::Command;
    use std::sync::mpsc;
    use std::{env, fs, thread};

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(20);

    #[test]
    fn a_silent_address_delays_the_request_by_250_ms() {
        let (silent, server) = (ScriptedServer::unaccepting_address().unwrap(), server());
        let client = client(&[silent.addr(), server.addr()], |_| ());
        let started = Instant::now();
        assert_eq!(get(&client).unwrap(), StatusCode::OK);
        let elapsed = started.elapsed();
        assert!(elapsed >= Duration::from_millis(250), "{elapsed:?}");
        assert!(elapsed < Duration::from_secs(1), "{elapsed:?}");
        assert_eq!(connecting_to(silent.addr()), 0);
    }

    #[test]
    fn connect_timeout_includes_all_attempts() {
        let silent = ScriptedServer::unaccepting_address().unwrap();
        let addresses = [silent.addr(), refused_address().unwrap(), silent.addr()];
        let limit = Duration::from_millis(700);
        let client = client(&addresses, |options| options.connect_timeout = Some(limit));
        let started = Instant::now();
        let error = get(&client).unwrap_err();
        let elapsed = started.elapsed();
        assert!(elapsed >= limit, "{elapsed:?}");
        assert!(elapsed < 2 * limit, "{elapsed:?}");
        assert_eq!(error.phase(), Some(Phase::Connect));
        let message = error.to_string();
        assert!(message.contains("pages.test:80 within 700ms"), "{message}");
        let unanswered = format!("{}: no answer", silent.addr());
        assert_eq!(message.matches(&unanswered).count(), 2, "{message}");
        let refusal = format!("{}: Connection refused", addresses[1]);
        assert!(message.contains(&refusal), "{message}");
    }

    #[test]
    fn a_deadline_before_the_connect_timeout_is_a_total_timeout() {
        let silent = ScriptedServer::unaccepting_address().unwrap();
        let client = client(&[silent.addr()], |_| ());
        let mut request = request("http://pages.test/");
        let deadline = Deadline(Instant::now() + Duration::from_millis(300));
        request.extensions_mut().insert(deadline);
        let error = client.fetch_blocking(request, &Cancel::new()).unwrap_err();
        assert!(Instant::now() >= deadline.0);
        assert_eq!(error.phase(), Some(Phase::Total));
    }

    #[test]
    fn cancel_stops_a_connect() {
        let silent = ScriptedServer::unaccepting_address().unwrap();
        let client = client(&[silent.addr()], |options| options.connect_timeout = None);
        let (cancel, (sender, receiver)) = (Cancel::new(), mpsc::channel());
        let call = thread::spawn({
            let cancel = cancel.clone();
            move || {
                let result = client.fetch_blocking(request("http://pages.test/"), &cancel);
                sender.send(result.map(drop)).unwrap();
            }
        });
        wait_until(|| connecting_to(silent.addr()) == 1);
        let started = Instant::now();
        cancel.cancel();
        let error = receiver.recv_timeout(TIMEOUT).unwrap().unwrap_err();
        let elapsed = started.elapsed();
        assert!(elapsed < Duration::from_secs(1), "{elapsed:?}");
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        assert_eq!(connecting_to(silent.addr()), 0);
        call.join().unwrap();
    }

    #[test]
    fn exhausted_descriptors_are_an_error_with_a_remedy() {
        const CHILD: &str = "INFLIGHT_UREQ_TEST_FEW_DESCRIPTORS";
        if env::var_os(CHILD).is_some() {
            let client = client(&[], |_| ());
            let files: Vec<_> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
            let request = request("http://127.0.0.1:9/");
            let error = client.fetch_blocking(request, &Cancel::new()).unwrap_err();
            drop(files);
            assert_eq!(error.kind(), ErrorKind::Connect);
            assert!(error.to_string().contains("ulimit -n"), "{error}");
            return;
        }
        let child = Command::new("sh")
            .args(["-c", "ulimit -n 8 && exec \"$0\" \"$@\""])
            .arg(env::current_exe().unwrap())
            .args([
                "--exact",
                "silent::exhausted_descriptors_are_an_error_with_a_remedy",
            ])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{output}");
        assert!(output.contains("1 passed"), "{output}");
    }

    /// Returns the number of sockets on this system that are connecting to `address`.
    fn connecting_to(address: SocketAddr) -> usize {
        let SocketAddr::V4(address) = address else {
            unreachable!("the address is an IPv4 loopback address");
        };
        let octets = u32::from_ne_bytes(address.ip().octets());
        // The columns: number, local address, remote address, state.
        let expected = format!("{octets:08X}:{:04X} 02", address.port());
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let pairs = table.lines().map(|line| {
            let columns: Vec<_> = line.split_whitespace().skip(2).take(2).collect();
            columns.join(" ")
        });
        pairs.filter(|pair| *pair == expected).count()
    }

    fn wait_until(condition: impl Fn() -> bool) {
        let started = Instant::now();
        while !condition() {
            assert!(
                started.elapsed() < TIMEOUT,
                "the condition did not become true in time"
            );
            thread::sleep(Duration::from_millis(1));
        }
    }
}
