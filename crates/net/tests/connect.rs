//! Tests of connecting to a host with several addresses (RFC 8305) and to a Unix socket, in virtual time.

use std::collections::VecDeque;
use std::future::{pending, ready};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use inflight_core::{
    AddressGuard, BlockOn, BoxFuture, ClientOptions, ConnectOptions, Error, ErrorKind, Phase,
    Resolve, Runtime, Socket,
};
use inflight_net::{Connector, Stream};
use inflight_virtual::Virtual;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const MS: Duration = Duration::from_millis(1);
/// The error code of the system if no file descriptor is left.
const EMFILE: i32 = 24;
/// The path of the Unix socket.
const SOCKET: &str = "/run/http.sock";

/// The outcome of a connect to an address.
#[derive(Clone, Copy)]
enum Outcome {
    ConnectsAfter(Duration),
    RefusesAfter(Duration),
    Hangs,
    /// Fails with this error code of the system.
    FailsWith(i32),
}

/// A runtime with a scripted outcome for each address.
#[derive(Clone)]
struct TestRuntime {
    time: Virtual,
    outcomes: Arc<Vec<(SocketAddr, Outcome)>>,
    /// The errors of the next connects to a Unix socket. Later connects succeed.
    unix_errors: Arc<Mutex<VecDeque<io::ErrorKind>>>,
    /// The attempted addresses, with the time of each attempt.
    attempts: Arc<Mutex<Vec<(SocketAddr, Duration)>>>,
    /// Counts running attempts and open sockets.
    open: Arc<()>,
}

impl TestRuntime {
    fn new(outcomes: &[(&str, Outcome)]) -> Self {
        let outcomes = outcomes.iter();
        let outcomes = outcomes.map(|(address, outcome)| (address.parse().unwrap(), *outcome));
        Self {
            time: Virtual::new(),
            outcomes: Arc::new(outcomes.collect()),
            unix_errors: Arc::default(),
            attempts: Arc::default(),
            open: Arc::default(),
        }
    }

    fn options(&self) -> ClientOptions {
        let mut options = ClientOptions::default();
        let addresses = self.outcomes.iter().map(|(address, _)| *address).collect();
        options.resolver = Arc::new(FixedResolver(addresses));
        options
    }

    /// Returns a runtime whose first connects to a Unix socket fail with these errors.
    fn with_unix_errors(errors: &[io::ErrorKind]) -> Self {
        let runtime = Self::new(&[]);
        runtime.unix_errors.lock().unwrap().extend(errors);
        runtime
    }

    fn connect(&self, options: &ClientOptions) -> Result<Stream, Error> {
        let connector = Connector::new(Arc::new(self.clone()), options, false).unwrap();
        let uri = "http://two.test/".parse().unwrap();
        self.time.block_on(connector.connect(&uri))
    }

    fn attempts(&self) -> Vec<(String, Duration)> {
        let attempts = self.attempts.lock().unwrap();
        let attempts = attempts
            .iter()
            .map(|(address, at)| (address.to_string(), *at));
        attempts.collect()
    }

    /// Returns the number of running attempts and open sockets.
    fn open(&self) -> usize {
        Arc::strong_count(&self.open) - 1
    }
}

/// A resolver that returns these addresses for every name.
struct FixedResolver(Vec<SocketAddr>);

impl Resolve for FixedResolver {
    fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(self.0.clone())
    }
}

impl Runtime for TestRuntime {
    fn name(&self) -> &'static str {
        "net"
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.time.spawn(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        self.time.spawn_blocking(work);
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.time.sleep(duration)
    }

    fn now(&self) -> Instant {
        self.time.now()
    }

    fn connect(
        &self,
        address: SocketAddr,
        _: ConnectOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn Socket>>> {
        self.attempts
            .lock()
            .unwrap()
            .push((address, self.time.elapsed()));
        let outcome = self
            .outcomes
            .iter()
            .find(|(candidate, _)| *candidate == address);
        let (outcome, time) = (outcome.unwrap().1, self.time.clone());
        let socket = IdleSocket(self.open.clone());
        Box::pin(async move {
            match outcome {
                Outcome::ConnectsAfter(latency) => time.sleep(latency).await,
                Outcome::RefusesAfter(latency) => {
                    time.sleep(latency).await;
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                Outcome::Hangs => pending().await,
                Outcome::FailsWith(code) => return Err(io::Error::from_raw_os_error(code)),
            }
            Ok(Box::new(socket) as Box<dyn Socket>)
        })
    }

    fn connect_unix(&self, path: &Path) -> BoxFuture<'static, io::Result<Box<dyn Socket>>> {
        assert_eq!(path, Path::new(SOCKET));
        let connected = match self.unix_errors.lock().unwrap().pop_front() {
            None => Ok(Box::new(IdleSocket(self.open.clone())) as Box<dyn Socket>),
            Some(error) => Err(error.into()),
        };
        Box::pin(ready(connected))
    }

    fn blocking_ceiling(&self) -> Option<usize> {
        self.time.blocking_ceiling()
    }
}

/// A socket that never becomes ready.
struct IdleSocket(#[expect(dead_code, reason = "counted until it is dropped")] Arc<()>);

impl Socket for IdleSocket {
    fn try_read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl AsyncRead for IdleSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for IdleSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn the_second_address_is_tried_while_the_first_is_silent() {
    let runtime = TestRuntime::new(&[
        ("192.0.2.1:80", Outcome::Hangs),
        ("192.0.2.2:80", Outcome::ConnectsAfter(30 * MS)),
    ]);
    let stream = runtime.connect(&runtime.options()).unwrap();
    assert_eq!(runtime.time.elapsed(), 280 * MS);
    assert_eq!(runtime.attempts()[1], ("192.0.2.2:80".to_owned(), 250 * MS));
    // The silent attempt was dropped.
    assert_eq!(runtime.open(), 1);
    drop(stream);
    assert_eq!(runtime.open(), 0);
}

#[test]
fn the_first_address_is_used_if_it_connects_before_the_second() {
    let runtime = TestRuntime::new(&[
        ("192.0.2.1:80", Outcome::ConnectsAfter(300 * MS)),
        ("192.0.2.2:80", Outcome::ConnectsAfter(100 * MS)),
    ]);
    let _stream = runtime.connect(&runtime.options()).unwrap();
    assert_eq!(runtime.time.elapsed(), 300 * MS);
    assert_eq!(runtime.open(), 1);
}

#[test]
fn a_failed_attempt_starts_the_next_one_at_once() {
    let runtime = TestRuntime::new(&[
        ("192.0.2.1:80", Outcome::RefusesAfter(MS)),
        ("192.0.2.2:80", Outcome::ConnectsAfter(MS)),
    ]);
    runtime.connect(&runtime.options()).unwrap();
    assert_eq!(runtime.time.elapsed(), 2 * MS);
}

#[test]
fn address_families_alternate() {
    let runtime = TestRuntime::new(&[
        ("[2001:db8::1]:80", Outcome::Hangs),
        ("[2001:db8::2]:80", Outcome::Hangs),
        ("192.0.2.1:80", Outcome::ConnectsAfter(MS)),
    ]);
    runtime.connect(&runtime.options()).unwrap();
    assert_eq!(runtime.time.elapsed(), 251 * MS);
    assert_eq!(runtime.attempts().len(), 2);
}

#[test]
fn the_error_names_every_address_and_its_failure() {
    let runtime = TestRuntime::new(&[
        ("192.0.2.1:80", Outcome::RefusesAfter(MS)),
        ("[2001:db8::1]:80", Outcome::FailsWith(113)),
        ("192.0.2.2:80", Outcome::RefusesAfter(MS)),
    ]);
    let error = runtime.connect(&runtime.options()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Connect);
    let text = error.to_string();
    for part in [
        "two.test:80",
        "192.0.2.1:80: ",
        "[2001:db8::1]:80: ",
        "192.0.2.2:80: ",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(runtime.open(), 0);
}

#[test]
fn the_timeout_includes_all_attempts_and_its_error_names_them() {
    let silent = [
        ("192.0.2.1:80", Outcome::Hangs),
        ("192.0.2.2:80", Outcome::Hangs),
        ("192.0.2.3:80", Outcome::RefusesAfter(MS)),
    ];
    let runtime = TestRuntime::new(&silent);
    let mut options = runtime.options();
    options.connect_timeout = Some(2000 * MS);
    let error = runtime.connect(&options).err().unwrap();
    assert_eq!(error.phase(), Some(Phase::Connect));
    assert_eq!(runtime.time.elapsed(), 2000 * MS);
    let text = error.to_string();
    assert!(text.contains("192.0.2.1:80: no answer"), "{text}");
    assert!(text.contains("192.0.2.3:80: "), "{text}");
    assert_eq!(runtime.open(), 0);
}

#[test]
fn the_guard_checks_every_address() {
    let runtime = TestRuntime::new(&[
        ("192.0.2.1:80", Outcome::ConnectsAfter(MS)),
        ("192.0.2.2:80", Outcome::ConnectsAfter(MS)),
    ]);
    let mut options = runtime.options();
    options.address_guard = Some(AddressGuard::custom(|address| {
        address == "192.0.2.2:80".parse().unwrap()
    }));
    runtime.connect(&options).unwrap();
    assert_eq!(
        runtime.attempts(),
        [("192.0.2.2:80".to_owned(), Duration::ZERO)]
    );
}

#[test]
fn exhausted_descriptors_are_an_error_with_a_remedy() {
    let runtime = TestRuntime::new(&[
        ("192.0.2.1:80", Outcome::FailsWith(EMFILE)),
        ("192.0.2.2:80", Outcome::ConnectsAfter(MS)),
    ]);
    let error = runtime.connect(&runtime.options()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(error.to_string().contains("ulimit -n"), "{error}");
    assert!(inflight_net::descriptors::are_exhausted(&error));
}

/// Returns options with a Unix socket, and with a resolver that finds no address.
fn unix_options() -> ClientOptions {
    let mut options = ClientOptions::default();
    options.resolver = Arc::new(FixedResolver(Vec::new()));
    options.unix_socket = Some(SOCKET.into());
    options
}

#[test]
fn a_connect_to_a_unix_socket_waits_while_the_queue_is_full() {
    let full = [io::ErrorKind::WouldBlock, io::ErrorKind::NotConnected];
    let runtime = TestRuntime::with_unix_errors(&full);
    runtime.connect(&unix_options()).unwrap();
    assert_eq!(runtime.time.elapsed(), 3 * MS);

    let runtime = TestRuntime::with_unix_errors(&[io::ErrorKind::WouldBlock; 1000]);
    let mut options = unix_options();
    options.connect_timeout = Some(500 * MS);
    let error = runtime.connect(&options).err().unwrap();
    assert_eq!(error.phase(), Some(Phase::Connect));
    assert_eq!(runtime.time.elapsed(), 500 * MS);
    assert!(error.to_string().contains(SOCKET), "{error}");
}

#[test]
fn other_errors_of_a_unix_socket_are_returned_at_once() {
    let errors = [io::ErrorKind::WouldBlock, io::ErrorKind::NotFound];
    let runtime = TestRuntime::with_unix_errors(&errors);
    let error = runtime.connect(&unix_options()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert_eq!(runtime.time.elapsed(), MS);
    assert!(error.to_string().contains(SOCKET), "{error}");
}

#[test]
fn a_runtime_without_unix_sockets_returns_an_error_with_its_name() {
    let runtime = Virtual::new();
    let connector = Connector::new(Arc::new(runtime.clone()), &unix_options(), false).unwrap();
    let uri = "http://pages.test/".parse().unwrap();
    let error = runtime.block_on(connector.connect(&uri)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let text = format!("{error:?}");
    assert!(text.contains("virtual") && text.contains(SOCKET), "{text}");
}
