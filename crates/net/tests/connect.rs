//! Connecting to a host with several addresses (RFC 8305), in virtual time.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
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
/// EMFILE.
const NO_DESCRIPTOR: i32 = 24;

/// The outcome of a connect to an address.
#[derive(Clone, Copy)]
enum Answer {
    After(Duration),
    RefusesAfter(Duration),
    Never,
    FailsWith(i32),
}

/// A runtime with a scripted outcome for each address.
#[derive(Clone)]
struct Net {
    time: Virtual,
    answers: Arc<Vec<(SocketAddr, Answer)>>,
    /// The addresses that were tried, and when.
    tried: Arc<Mutex<Vec<(SocketAddr, Duration)>>>,
    /// Counts running attempts and open sockets.
    open: Arc<()>,
}

impl Net {
    fn new(answers: &[(&str, Answer)]) -> Self {
        let answers = answers.iter();
        let answers = answers.map(|(address, answer)| (address.parse().unwrap(), *answer));
        Self {
            time: Virtual::new(),
            answers: Arc::new(answers.collect()),
            tried: Arc::default(),
            open: Arc::default(),
        }
    }

    fn options(&self) -> ClientOptions {
        let mut options = ClientOptions::default();
        let addresses = self.answers.iter().map(|(address, _)| *address).collect();
        options.resolver = Arc::new(Names(addresses));
        options
    }

    fn connect(&self, options: &ClientOptions) -> Result<Stream, Error> {
        let connector = Connector::new(Arc::new(self.clone()), options, false).unwrap();
        let uri = "http://two.test/".parse().unwrap();
        self.time.block_on(connector.connect(&uri))
    }

    fn tried(&self) -> Vec<(String, Duration)> {
        let tried = self.tried.lock().unwrap();
        let tried = tried.iter().map(|(address, at)| (address.to_string(), *at));
        tried.collect()
    }

    /// Returns the number of running attempts and open sockets.
    fn open(&self) -> usize {
        Arc::strong_count(&self.open) - 1
    }
}

struct Names(Vec<SocketAddr>);

impl Resolve for Names {
    fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(self.0.clone())
    }
}

impl Runtime for Net {
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
        self.tried
            .lock()
            .unwrap()
            .push((address, self.time.elapsed()));
        let answer = self.answers.iter().find(|(own, _)| *own == address);
        let (answer, time) = (answer.unwrap().1, self.time.clone());
        let socket = Idle(self.open.clone());
        Box::pin(async move {
            match answer {
                Answer::After(latency) => time.sleep(latency).await,
                Answer::RefusesAfter(latency) => {
                    time.sleep(latency).await;
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                Answer::Never => pending().await,
                Answer::FailsWith(code) => return Err(io::Error::from_raw_os_error(code)),
            }
            Ok(Box::new(socket) as Box<dyn Socket>)
        })
    }

    fn blocking_ceiling(&self) -> Option<usize> {
        self.time.blocking_ceiling()
    }
}

/// A socket that never becomes ready.
struct Idle(#[expect(dead_code, reason = "counted while it lives")] Arc<()>);

impl Socket for Idle {
    fn try_read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl AsyncRead for Idle {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Idle {
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
fn second_address_is_tried_beside_a_silent_first_one() {
    let net = Net::new(&[
        ("192.0.2.1:80", Answer::Never),
        ("192.0.2.2:80", Answer::After(30 * MS)),
    ]);
    let stream = net.connect(&net.options()).unwrap();
    assert_eq!(net.time.elapsed(), 280 * MS);
    assert_eq!(net.tried()[1], ("192.0.2.2:80".to_owned(), 250 * MS));
    // The silent attempt was dropped.
    assert_eq!(net.open(), 1);
    drop(stream);
    assert_eq!(net.open(), 0);
}

#[test]
fn address_that_answers_late_still_wins_if_it_is_first() {
    let net = Net::new(&[
        ("192.0.2.1:80", Answer::After(300 * MS)),
        ("192.0.2.2:80", Answer::After(100 * MS)),
    ]);
    let _stream = net.connect(&net.options()).unwrap();
    assert_eq!(net.time.elapsed(), 300 * MS);
    assert_eq!(net.open(), 1);
}

#[test]
fn failed_attempt_is_followed_at_once() {
    let net = Net::new(&[
        ("192.0.2.1:80", Answer::RefusesAfter(MS)),
        ("192.0.2.2:80", Answer::After(MS)),
    ]);
    net.connect(&net.options()).unwrap();
    assert_eq!(net.time.elapsed(), 2 * MS);
}

#[test]
fn families_take_turns() {
    let net = Net::new(&[
        ("[2001:db8::1]:80", Answer::Never),
        ("[2001:db8::2]:80", Answer::Never),
        ("192.0.2.1:80", Answer::After(MS)),
    ]);
    net.connect(&net.options()).unwrap();
    assert_eq!(net.time.elapsed(), 251 * MS);
    assert_eq!(net.tried().len(), 2);
}

#[test]
fn error_names_every_address_and_why_it_failed() {
    let net = Net::new(&[
        ("192.0.2.1:80", Answer::RefusesAfter(MS)),
        ("[2001:db8::1]:80", Answer::FailsWith(113)),
        ("192.0.2.2:80", Answer::RefusesAfter(MS)),
    ]);
    let error = net.connect(&net.options()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Connect);
    let text = error.to_string();
    for named in [
        "two.test:80",
        "192.0.2.1:80: ",
        "[2001:db8::1]:80: ",
        "192.0.2.2:80: ",
    ] {
        assert!(text.contains(named), "{text}");
    }
    assert_eq!(net.open(), 0);
}

#[test]
fn timeout_covers_all_attempts_and_names_them() {
    let silent = [
        ("192.0.2.1:80", Answer::Never),
        ("192.0.2.2:80", Answer::Never),
        ("192.0.2.3:80", Answer::RefusesAfter(MS)),
    ];
    let net = Net::new(&silent);
    let mut options = net.options();
    options.connect_timeout = Some(2000 * MS);
    let error = net.connect(&options).err().unwrap();
    assert_eq!(error.phase(), Some(Phase::Connect));
    assert_eq!(net.time.elapsed(), 2000 * MS);
    let text = error.to_string();
    assert!(text.contains("192.0.2.1:80: no answer"), "{text}");
    assert!(text.contains("192.0.2.3:80: "), "{text}");
    assert_eq!(net.open(), 0);
}

#[test]
fn guard_sees_every_address() {
    let net = Net::new(&[
        ("192.0.2.1:80", Answer::After(MS)),
        ("192.0.2.2:80", Answer::After(MS)),
    ]);
    let mut options = net.options();
    options.address_guard = Some(AddressGuard::custom(|address| {
        address == "192.0.2.2:80".parse().unwrap()
    }));
    net.connect(&options).unwrap();
    assert_eq!(net.tried(), [("192.0.2.2:80".to_owned(), Duration::ZERO)]);
}

#[test]
fn descriptors_that_are_used_up_are_an_error_with_the_remedy() {
    let net = Net::new(&[
        ("192.0.2.1:80", Answer::FailsWith(NO_DESCRIPTOR)),
        ("192.0.2.2:80", Answer::After(MS)),
    ]);
    let error = net.connect(&net.options()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(error.to_string().contains("ulimit -n"), "{error}");
    assert!(inflight_net::descriptors::are_exhausted(&error));
}
