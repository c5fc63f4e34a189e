//! [hickory](https://hickory-dns.org), a DNS resolver in Rust, as inflight's [`Resolve`].
//!
//! It asks the name servers itself, keeps what they say for as long as they say, and gives up after
//! a time of its own, where the system's resolver may hang. It reads the system's configuration
//! and hosts file; what else the system knows of names (`nsswitch.conf`, multicast DNS) it does
//! not.
//!
//! hickory lives on tokio. So that it serves every runtime, it has a thread of its own with a small
//! tokio runtime, which ends with the last clone of the [`Hickory`].
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

/// Looks names up with hickory. Clones share its thread and what it remembers.
#[derive(Clone)]
pub struct Hickory(Arc<Inner>);

struct Inner {
    resolver: TokioResolver,
    handle: Handle,
    // Dropped with it, which ends the thread.
    _alive: oneshot::Sender<()>,
}

/// hickory does not know which of the two the machine can reach, and addresses are tried in turn:
/// those first that nearly every network has.
const ORDER: LookupIpStrategy = LookupIpStrategy::Ipv4AndIpv6;

impl Hickory {
    /// With the name servers, search domains and times of the system: `/etc/resolv.conf` on Unix.
    /// A name's IPv4 addresses come first.
    ///
    /// # Errors
    ///
    /// When they cannot be read, or the thread does not start.
    pub fn from_system() -> io::Result<Self> {
        let (config, mut options) = system_conf::read_system_conf().map_err(io::Error::other)?;
        options.ip_strategy = ORDER;
        Self::with_config(config, options)
    }

    /// With these name servers, asked over UDP, and over TCP what is too long for it. A name's
    /// IPv4 addresses come first.
    ///
    /// # Errors
    ///
    /// When there is none, or the thread does not start.
    pub fn with_servers(servers: impl IntoIterator<Item = SocketAddr>) -> io::Result<Self> {
        let servers: Vec<_> = servers.into_iter().map(server).collect();
        if servers.is_empty() {
            let error = "hickory without a name server";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let mut options = ResolverOpts::default();
        options.ip_strategy = ORDER;
        Self::with_config(config, options)
    }

    /// With a configuration of [hickory's own](hickory_resolver::config).
    ///
    /// # Errors
    ///
    /// When hickory does not take the configuration, or the thread does not start.
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
                // An error is the news: nobody is left who could ask.
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
    /// [`NotFound`](io::ErrorKind::NotFound) when the name servers know no address of it,
    /// [`TimedOut`](io::ErrorKind::TimedOut) when none answers, and hickory's error within any.
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let (sender, found) = mpsc::sync_channel(1);
        let (resolver, host) = (self.0.resolver.clone(), host.to_owned());
        self.0.handle.spawn(async move {
            let looked_up = resolver.lookup_ip(host).await;
            // There is room for it, and the one who asked waits.
            let _ = sender.send(looked_up);
        });
        match found.recv() {
            Ok(Ok(found)) => Ok(found.iter().map(|ip| SocketAddr::new(ip, port)).collect()),
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(io::Error::other("hickory's thread is gone")),
        }
    }
}

impl fmt::Debug for Hickory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hickory")
    }
}

fn server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    // Its word that there is no such name is taken.
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn failed(error: NetError) -> io::Error {
    let kind = match &error {
        NetError::Timeout => io::ErrorKind::TimedOut,
        error if error.is_no_records_found() => io::ErrorKind::NotFound,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
