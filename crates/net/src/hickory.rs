//! An implementation of [`Resolve`] with [hickory](https://hickory-dns.org), a DNS resolver in Rust.
//!
//! hickory queries the name servers directly and caches each answer for its time to live. A query times
//! out after hickory's own limit, while the system's resolver may hang. hickory reads the system's DNS
//! configuration and hosts file. It ignores other sources of names, such as `nsswitch.conf` and multicast
//! DNS.
//!
//! hickory requires tokio. To work with every runtime, [`Hickory`] starts a thread with a small tokio
//! runtime. The thread ends when the last clone of the [`Hickory`] is dropped.
//!
//! ```no_run
//! use inflight_core::SessionBuilder;
//! use inflight_net::hickory::Hickory;
//!
//! fn with_hickory(builder: SessionBuilder) -> std::io::Result<SessionBuilder> {
//!     Ok(builder.resolver(Hickory::from_system()?))
//! }
//! ```

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread;

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{TokioResolver, system_conf};
use inflight_core::Resolve;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

pub use hickory_resolver;

/// A resolver that uses hickory. Clones share the thread and the cache.
///
/// For an example, see the [module's documentation](self).
#[derive(Clone)]
pub struct Hickory(Arc<Inner>);

struct Inner {
    resolver: TokioResolver,
    handle: Handle,
    // Dropping the sender ends the thread.
    _alive: oneshot::Sender<()>,
}

/// The order of the address families. IPv4 comes first, because hickory does not detect which family the
/// machine can reach, and nearly every network has IPv4.
const FAMILY_ORDER: LookupIpStrategy = LookupIpStrategy::Ipv4AndIpv6;

impl Hickory {
    /// Returns a resolver with the name servers, search domains and timeouts of the system
    /// (`/etc/resolv.conf` on Unix). IPv4 addresses come first.
    ///
    /// # Errors
    ///
    /// Fails if the system's configuration cannot be read or the thread does not start.
    pub fn from_system() -> io::Result<Self> {
        let (config, mut options) = system_conf::read_system_conf().map_err(io::Error::other)?;
        options.ip_strategy = FAMILY_ORDER;
        Self::with_config(config, options)
    }

    /// Returns a resolver that queries these name servers over UDP, and over TCP for answers that are too
    /// long for UDP. IPv4 addresses come first.
    ///
    /// # Errors
    ///
    /// Fails if `servers` is empty or the thread does not start.
    pub fn with_servers(servers: impl IntoIterator<Item = SocketAddr>) -> io::Result<Self> {
        let servers: Vec<_> = servers.into_iter().map(name_server).collect();
        if servers.is_empty() {
            let error = "hickory needs at least one name server";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let mut options = ResolverOpts::default();
        options.ip_strategy = FAMILY_ORDER;
        Self::with_config(config, options)
    }

    /// Returns a resolver with a [configuration of hickory](hickory_resolver::config).
    ///
    /// # Errors
    ///
    /// Fails if hickory rejects the configuration or the thread does not start.
    pub fn with_config(config: ResolverConfig, options: ResolverOpts) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let handle = runtime.handle().clone();
        let resolver = {
            let _entered = handle.enter();
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
                .with_options(options)
                .build()
                .map_err(io::Error::other)?
        };
        let (alive, ended) = oneshot::channel::<()>();
        thread::Builder::new()
            .name("inflight-hickory".to_owned())
            .spawn(move || {
                // An error means that the last clone was dropped.
                let _ = runtime.block_on(ended);
            })?;
        Ok(Self(Arc::new(Inner {
            resolver,
            handle,
            _alive: alive,
        })))
    }
}

impl Resolve for Hickory {
    /// # Errors
    ///
    /// - [`NotFound`](io::ErrorKind::NotFound) if the name servers have no address for the name.
    /// - [`TimedOut`](io::ErrorKind::TimedOut) if no name server answers.
    ///
    /// Each error has hickory's error as its source.
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let (sender, found) = mpsc::sync_channel(1);
        let (resolver, host) = (self.0.resolver.clone(), host.to_owned());
        self.0.handle.spawn(async move {
            let looked_up = resolver.lookup_ip(host).await;
            // Does not fail: the channel has room for one result, and the caller waits for the result.
            let _ = sender.send(looked_up);
        });
        match found.recv() {
            Ok(Ok(found)) => Ok(found.iter().map(|ip| SocketAddr::new(ip, port)).collect()),
            Ok(Err(error)) => Err(to_io_error(error)),
            Err(_) => Err(io::Error::other("hickory's thread has ended")),
        }
    }
}

impl fmt::Debug for Hickory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hickory")
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    // `true` means that the resolver trusts a server's negative answers.
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn to_io_error(error: NetError) -> io::Error {
    let kind = match &error {
        NetError::Timeout => io::ErrorKind::TimedOut,
        error if error.is_no_records_found() => io::ErrorKind::NotFound,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
