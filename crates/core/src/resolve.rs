//! Names become addresses here, for every client alike.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http::uri::Scheme;

use crate::cancel::Cancel;
use crate::client::ClientOptions;
use crate::error::{Error, ErrorKind};
use crate::guard::AddressGuard;
use crate::lookups::LookUps;
use crate::runtime::Runtime;
use crate::session::SessionBuilder;

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

impl<R: Resolve + ?Sized> Resolve for Arc<R> {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        (**self).resolve(host, port)
    }
}

/// The system's resolver: `getaddrinfo`, with its files, its caches and its order.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok((host, port).to_socket_addrs()?.collect())
    }
}

/// Looks names up for a client, and gives out no address that the options'
/// [`AddressGuard`] refuses: a client that connects to nothing else has the guard.
///
/// Those who ask for the same name at the same time share one look-up. At most 32 of them run at
/// once that somebody waits for, and each is waited for as long as
/// [`ClientOptions::lookup_timeout`] says. One that nobody waits for any more runs on, as nothing
/// ends it, and is in nobody's way: up to 64 of these run beside the others.
#[derive(Clone)]
pub struct Resolver {
    look_ups: Arc<LookUps>,
    guard: Option<AddressGuard>,
}

impl Resolver {
    /// A resolver as the options want it.
    pub fn new(options: &ClientOptions) -> Self {
        Self {
            look_ups: LookUps::new(options.resolver.clone(), options.lookup_timeout),
            guard: options.address_guard.clone(),
        }
    }

    /// The addresses of `host`, looked up on the runtime's blocking pool. An address in the
    /// place of a name (`127.0.0.1`, `[::1]`) is answered at once.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Connect`] when the guard refuses every address. [`ErrorKind::Resolve`] with the cause, which is that too many look-ups hang when none could
    /// begin in time; [`ErrorKind::Timeout`] in [`Phase::Connect`](crate::Phase::Connect) when a look-up's own time has
    /// passed.
    ///
    /// # Panics
    ///
    /// With the resolver's panic: one of those who wait for it, while the others get an error.
    pub async fn lookup(
        &self,
        runtime: &dyn Runtime,
        host: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, Error> {
        if let Some(literal) = literal(host, port) {
            return self.guarded(vec![literal]);
        }
        let (now, sleep) = (|| runtime.now(), |time| runtime.sleep(time));
        let spawn = |work| {
            runtime.spawn_blocking(work);
            Ok(())
        };
        let found = self.look_ups.ask((host, port), now, sleep, spawn).await?;
        self.guarded(found)
    }

    /// The same for a thread that may block. The look-up runs on a thread of its own: nothing
    /// interrupts the system's resolver, and the runtime's pool may be full of calls that wait
    /// for a name.
    ///
    /// # Errors
    ///
    /// As [`lookup`](Self::lookup); [`ErrorKind::Timeout`] in [`Phase::Connect`](crate::Phase::Connect) when `timeout`
    /// passes first, [`ErrorKind::Cancelled`] when `cancel` fires.
    ///
    /// # Panics
    ///
    /// As [`lookup`](Self::lookup).
    pub fn lookup_blocking(
        &self,
        host: &str,
        port: u16,
        timeout: Option<Duration>,
        cancel: &Cancel,
    ) -> Result<Vec<SocketAddr>, Error> {
        if let Some(literal) = literal(host, port) {
            return self.guarded(vec![literal]);
        }
        let spawn = |work| {
            let thread = thread::Builder::new().name("inflight-look-up".to_owned());
            thread.spawn(work).map(drop)
        };
        let found = self
            .look_ups
            .ask_blocking((host, port), timeout, cancel, spawn)?;
        self.guarded(found)
    }

    /// What may be connected to. All that this type gives out comes through here.
    fn guarded(&self, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Error> {
        match &self.guard {
            None => Ok(addresses),
            Some(guard) => guard.filter(addresses),
        }
    }
}

/// Shorthands for [`ClientOptions`].
impl SessionBuilder {
    /// How names become addresses. Default: the system's way.
    pub fn resolver(self, resolver: impl Resolve) -> Self {
        self.client_options(|options| options.resolver = Arc::new(resolver))
    }

    /// How long one name's look-up is waited for, within the time for the connection: see
    /// [`ClientOptions::lookup_timeout`]. Default 15 s.
    pub fn lookup_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        self.client_options(|options| options.lookup_timeout = timeout.into())
    }
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

fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    bare.parse::<IpAddr>()
        .ok()
        .map(|address| SocketAddr::new(address, port))
}
