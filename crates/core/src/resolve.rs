//! Names become addresses here, for every client alike.

use std::future::ready;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use async_lock::Semaphore;
use futures_util::future::{Either, select};
use http::uri::Scheme;

use crate::cancel::Cancel;
use crate::client::ClientOptions;
use crate::error::{Error, ErrorKind, Phase};
use crate::runtime::Runtime;
use crate::task::{TaskError, unblock};

/// How a name becomes addresses. The call may block: it never runs in an event loop.
///
/// ```
/// use std::io;
/// use std::net::SocketAddr;
/// use std::sync::Arc;
///
/// use inflight_core::{ClientOptions, Resolve, SystemResolver};
///
/// /// Sends one name to a server on this machine, as an entry in the hosts file would.
/// struct Pinned;
///
/// impl Resolve for Pinned {
///     fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
///         match host {
///             "pages.test" => Ok(vec![([127, 0, 0, 1], port).into()]),
///             _ => SystemResolver.resolve(host, port),
///         }
///     }
/// }
///
/// let mut options = ClientOptions::default();
/// options.resolver = Arc::new(Pinned);
/// assert!(options.resolver.resolve("pages.test", 8080).unwrap()[0].ip().is_loopback());
/// ```
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of `host`, in the order in which they are to be tried.
    ///
    /// # Errors
    ///
    /// Whatever kept the name from being looked up; no addresses is an error too.
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The system's resolver: `getaddrinfo`, with its files, its caches and its order.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok((host, port).to_socket_addrs()?.collect())
    }
}

/// How many look-ups run at once: enough to be no bottleneck, few enough to leave the
/// runtime's blocking pool to others.
const CONCURRENT_LOOKUPS: usize = 32;

/// Looks names up for a client, with a cap on how many at once.
#[derive(Clone)]
pub struct Resolver {
    resolve: Arc<dyn Resolve>,
    running: Arc<Semaphore>,
}

impl Resolver {
    /// A resolver as the options want it.
    pub fn new(options: &ClientOptions) -> Self {
        Self {
            resolve: options.resolver.clone(),
            running: Arc::new(Semaphore::new(CONCURRENT_LOOKUPS)),
        }
    }

    /// The addresses of `host`, looked up on the runtime's blocking pool. An address in the
    /// place of a name (`127.0.0.1`, `[::1]`) is answered at once.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Resolve`] with the cause.
    pub async fn lookup(
        &self,
        runtime: &dyn Runtime,
        host: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, Error> {
        if let Some(literal) = literal(host, port) {
            return Ok(vec![literal]);
        }
        // The permit goes with the work: a look-up that nobody waits for still runs.
        let permit = self.running.acquire_arc().await;
        let (resolve, name) = (self.resolve.clone(), host.to_owned());
        let looked_up = unblock(runtime, move || {
            let _permit = permit;
            resolve.resolve(&name, port)
        });
        match looked_up.await {
            Ok(addresses) => checked(host, addresses),
            Err(TaskError::Panicked(panic)) => panic.resume(),
            Err(TaskError::Cancelled) => Err(Error::new(ErrorKind::Cancelled)
                .with_context("the runtime ended during a name look-up")),
        }
    }

    /// The same for a thread that may block. The look-up runs on a thread of its own: nothing
    /// interrupts the system's resolver, and the runtime's pool may be full of calls that wait
    /// for a name.
    ///
    /// # Errors
    ///
    /// As [`lookup`](Self::lookup); [`ErrorKind::Timeout`] in [`Phase::Connect`] when `timeout`
    /// passes first, [`ErrorKind::Cancelled`] when `cancel` fires.
    pub fn lookup_blocking(
        &self,
        host: &str,
        port: u16,
        timeout: Option<Duration>,
        cancel: &Cancel,
    ) -> Result<Vec<SocketAddr>, Error> {
        if let Some(literal) = literal(host, port) {
            return Ok(vec![literal]);
        }
        let (sender, answer) = mpsc::channel();
        let cancelled = sender.clone();
        let _guard = cancel.on_cancel(move || {
            let _ = cancelled.send(Answer::Cancelled);
        });
        let (resolver, name) = (self.clone(), host.to_owned());
        let look_up = move || {
            let _permit = resolver.running.acquire_blocking();
            let looked_up = AssertUnwindSafe(|| resolver.resolve.resolve(&name, port));
            // Nobody may be waiting any more.
            let _ = sender.send(Answer::LookedUp(catch_unwind(looked_up)));
        };
        thread::Builder::new()
            .name("inflight-look-up".to_owned())
            .spawn(look_up)
            .map_err(|error| failed(host, error))?;
        let answered = match timeout {
            Some(timeout) => answer.recv_timeout(timeout).ok(),
            None => answer.recv().ok(),
        };
        match answered {
            Some(Answer::LookedUp(Ok(addresses))) => checked(host, addresses),
            Some(Answer::LookedUp(Err(panic))) => resume_unwind(panic),
            Some(Answer::Cancelled) => Err(Error::new(ErrorKind::Cancelled)),
            None => Err(Error::timeout(Phase::Connect)
                .with_context(format!("no address for {host} in {timeout:?}"))),
        }
    }

    /// Looks the host up and connects to the first of its addresses that answers.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Resolve`]; [`ErrorKind::Connect`] with what the last address said;
    /// [`ErrorKind::Timeout`] in [`Phase::Connect`] when `timeout` passes first.
    pub async fn connect<S, C>(
        &self,
        runtime: &dyn Runtime,
        host: (&str, u16),
        timeout: Option<Duration>,
        connect: impl Fn(SocketAddr) -> C,
    ) -> Result<S, Error>
    where
        C: Future<Output = io::Result<S>>,
    {
        self.connect_then(runtime, host, timeout, connect, |stream| ready(Ok(stream)))
            .await
    }

    /// The same, and within the same time what makes a connection of the stream: a TLS
    /// handshake, say.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), and those of `then` as they are.
    pub async fn connect_then<S, C, T, F>(
        &self,
        runtime: &dyn Runtime,
        (host, port): (&str, u16),
        timeout: Option<Duration>,
        connect: impl Fn(SocketAddr) -> C,
        then: impl FnOnce(S) -> F,
    ) -> Result<T, Error>
    where
        C: Future<Output = io::Result<S>>,
        F: Future<Output = Result<T, Error>>,
    {
        let work = async {
            let mut last = None;
            for address in self.lookup(runtime, host, port).await? {
                match connect(address).await {
                    Ok(stream) => return then(stream).await,
                    Err(error) => last = Some((address, error)),
                }
            }
            Err(match last {
                Some((address, error)) => connect_error(address, error),
                None => no_address(host),
            })
        };
        let Some(timeout) = timeout else {
            return work.await;
        };
        let work = std::pin::pin!(work);
        match select(work, runtime.sleep(timeout)).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => Err(Error::timeout(Phase::Connect)
                .with_context(format!("no connection to {host}:{port} in {timeout:?}"))),
        }
    }
}

enum Answer {
    LookedUp(thread::Result<io::Result<Vec<SocketAddr>>>),
    Cancelled,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

/// Where a request's connection goes: the host as the URL has it, and the port, its scheme's own
/// if none is said.
///
/// # Errors
///
/// [`ErrorKind::InvalidUrl`] without a host.
pub fn host_and_port(uri: &http::Uri) -> Result<(&str, u16), Error> {
    let host = uri
        .host()
        .ok_or_else(|| Error::new(ErrorKind::InvalidUrl).with_context("no host"))?;
    let default = if uri.scheme() == Some(&Scheme::HTTPS) {
        443
    } else {
        80
    };
    Ok((host, uri.port_u16().unwrap_or(default)))
}

/// The error for a connect that failed, the same from every client.
pub fn connect_error(address: SocketAddr, error: io::Error) -> Error {
    Error::new(ErrorKind::Connect)
        .with_context(address.to_string())
        .with_source(error)
}

fn no_address(host: &str) -> Error {
    Error::new(ErrorKind::Resolve).with_context(format!("{host} has no address"))
}

fn checked(host: &str, addresses: io::Result<Vec<SocketAddr>>) -> Result<Vec<SocketAddr>, Error> {
    match addresses {
        Ok(addresses) if addresses.is_empty() => Err(no_address(host)),
        Ok(addresses) => Ok(addresses),
        Err(error) => Err(failed(host, error)),
    }
}

fn failed(host: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Resolve)
        .with_context(host.to_owned())
        .with_source(error)
}

fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    bare.parse::<IpAddr>()
        .ok()
        .map(|address| SocketAddr::new(address, port))
}
