//! What a client is built from.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::connect::guard::AddressGuard;
use crate::connect::proxy::Proxies;
use crate::connect::resolve::{Resolve, SystemResolver};
use crate::connect::tls::{HttpVersions, TlsOptions};
use crate::observe::Connections;

/// What a client is built from: the few things that the core cannot do itself.
///
/// Everything else that a client would do on its own (redirects, cookies, retries, decoding,
/// proxies from the environment) an adapter switches off.
#[derive(Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// How long making a connection may take, the look-up of the name included. Default 30 s.
    pub connect_timeout: Option<Duration>,
    /// How long one name's look-up is waited for, within the time for the connection. A request
    /// that joins the look-up of another waits for what is left of it. Default 15 s.
    pub lookup_timeout: Option<Duration>,
    /// How long an idle connection is kept for the next request. Default 90 s.
    pub idle_timeout: Duration,
    /// How many idle connections are kept for each host. Default: as many as
    /// [`max_idle`](Self::max_idle) leaves. libcurl has one limit for all hosts together, the smaller
    /// of the two, which counts connections in use as well.
    pub max_idle_per_host: usize,
    /// How many idle connections are kept in all; the one that was idle for the longest makes room.
    /// Default: half of the files that the process may have open (`ulimit -n`).
    pub max_idle: Option<usize>,
    /// Whether small writes are sent at once (`TCP_NODELAY`). Default true.
    pub nodelay: bool,
    /// How names become addresses. Default: the system's way.
    pub resolver: Arc<dyn Resolve>,
    /// Which addresses are connected to. Default: all.
    pub address_guard: Option<AddressGuard>,
    /// How `https` is secured. Default: checked against the authorities that are compiled in.
    pub tls: TlsOptions,
    /// Which versions of HTTP are spoken. Default: HTTP/2 where a TLS server takes it.
    pub versions: HttpVersions,
    /// Which requests go through a proxy. Default: none does.
    pub proxies: Proxies,
    /// Where the client says which connections its requests have.
    pub connections: Connections,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Some(Duration::from_secs(30)),
            lookup_timeout: Some(Duration::from_secs(15)),
            idle_timeout: Duration::from_secs(90),
            max_idle_per_host: usize::MAX,
            max_idle: None,
            nodelay: true,
            resolver: Arc::new(SystemResolver),
            address_guard: None,
            tls: TlsOptions::default(),
            versions: HttpVersions::default(),
            proxies: Proxies::default(),
            connections: Connections::default(),
        }
    }
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("connect_timeout", &self.connect_timeout)
            .field("lookup_timeout", &self.lookup_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("max_idle_per_host", &self.max_idle_per_host)
            .field("max_idle", &self.max_idle)
            .field("nodelay", &self.nodelay)
            .field("address_guard", &self.address_guard)
            .field("tls", &self.tls)
            .field("versions", &self.versions)
            .field("proxies", &self.proxies)
            .finish_non_exhaustive()
    }
}
