//! The options of a client.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::connect::guard::AddressGuard;
use crate::connect::proxy::Proxies;
use crate::connect::resolve::{Resolve, SystemResolver};
use crate::connect::tls::{HttpVersions, TlsOptions};
use crate::observe::Connections;

/// The options of a client: how it connects.
///
/// A client does nothing that the session does: redirects, cookies, retries, decoding. It also does
/// not read proxies from the environment. If the HTTP library has these features, the client disables
/// them.
///
/// ```
/// use std::time::Duration;
///
/// use inflight_core::SessionBuilder;
///
/// fn with_small_pool(builder: SessionBuilder) -> SessionBuilder {
///     builder.client_options(|options| {
///         options.idle_timeout = Duration::from_secs(10);
///         options.max_idle_per_host = 4;
///     })
/// }
/// # let mock = inflight_mock::Mock::new(inflight_virtual::Virtual::new());
/// # assert!(with_small_pool(mock.session()).build().is_ok());
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// How long connecting may take, including the lookup of the name. Default 30 s.
    pub connect_timeout: Option<Duration>,
    /// How long a connection waits for the lookup of one name, within the connect timeout. Default
    /// 15 s.
    ///
    /// A request that joins a running lookup waits only until the lookup has run for this long.
    pub lookup_timeout: Option<Duration>,
    /// How long an idle connection stays in the pool. Default 90 s.
    pub idle_timeout: Duration,
    /// How many idle connections the pool keeps for each host. Default: no limit except
    /// [`max_idle`](Self::max_idle).
    ///
    /// libcurl has only one limit, which applies to all hosts together and also counts connections in
    /// use. The `isahc` client sets that limit to the smaller of this option and `max_idle`.
    pub max_idle_per_host: usize,
    /// How many idle connections the pool keeps in total. Default: half of the number of files that
    /// the process may open (`ulimit -n`).
    ///
    /// If there are more, the pool closes the connection that has been idle for the longest time.
    pub max_idle: Option<usize>,
    /// Whether the system sends small writes immediately (`TCP_NODELAY`). Default `true`.
    pub nodelay: bool,
    /// The resolver for host names. Default: the resolver of the operating system.
    pub resolver: Arc<dyn Resolve>,
    /// The rule that decides which addresses the client may connect to. By default there is no rule,
    /// and the client may connect to every address.
    pub address_guard: Option<AddressGuard>,
    /// The options of TLS. Default: the client trusts the compiled-in authorities.
    pub tls: TlsOptions,
    /// The versions of HTTP. Default: HTTP/2 if a TLS server supports it, otherwise HTTP/1.1.
    pub versions: HttpVersions,
    /// The proxies. Default: none.
    pub proxies: Proxies,
    /// The path of a Unix socket to which every connection is opened, whatever the URL. Default: none.
    ///
    /// The client then looks up no name and connects to no address.
    pub unix_socket: Option<PathBuf>,
    /// The counters through which the client reports its connections.
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
            unix_socket: None,
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
            .field("unix_socket", &self.unix_socket)
            .finish_non_exhaustive()
    }
}
