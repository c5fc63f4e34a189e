//! What a client is built from, and what it says of itself.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::guard::AddressGuard;
use crate::observe::Connections;
use crate::proxy::Proxies;
use crate::resolve::{Resolve, SystemResolver};
use crate::tls::{HttpVersions, TlsOptions};

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

/// Whether something is supported, and if not, why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It is.
    Yes,
    /// It is not, for this reason: a sentence a user understands.
    No(&'static str),
}

impl Support {
    /// Whether it is supported.
    pub fn is_yes(self) -> bool {
        self == Self::Yes
    }

    /// Why it is not supported.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Yes => None,
            Self::No(reason) => Some(reason),
        }
    }
}

/// A number that a backend does not go beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceiling {
    /// How many at once.
    pub at_most: usize,
    /// Of what, and whose limit it is.
    pub what: &'static str,
}

/// What a client can do. A limit of the client or of its runtime that is not here is a bug; those of
/// the session itself, such as how many names are looked up at once, are alike on every backend and
/// told where they are set.
///
/// ```
/// use inflight_core::{Capabilities, Support};
///
/// let mut capabilities = Capabilities::all("a client of 2019");
/// capabilities.tls = Support::No("its TLS is too old to be trusted");
/// let missing = capabilities.supports().into_iter().filter(|(_, support)| !support.is_yes());
/// assert_eq!(missing.map(|(name, _)| name).collect::<Vec<_>>(), ["tls"]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The library that speaks HTTP, and its version.
    pub library: &'static str,
    /// `https` URLs.
    pub tls: Support,
    /// HTTP/2, with a TLS server that takes it or where it is asked for.
    pub http2: Support,
    /// HTTP/2 without asking first, over plain `http` too.
    pub http2_prior_knowledge: Support,
    /// A client certificate, shown to a server that asks for one.
    pub client_certificates: Support,
    /// A server's name can be left unchecked while its certificate is checked.
    pub unchecked_hostnames: Support,
    /// Why a certificate was refused is told, and not only that it was.
    pub tls_faults: Support,
    /// Each address is shown to an [`AddressGuard`] before a connection to it is made.
    pub address_guard: Support,
    /// Request bodies of unknown length, sent while they are produced.
    pub streaming_upload: Support,
    /// A connection serves several requests, one after another.
    pub connection_reuse: Support,
    /// Requests that must not be sent twice share kept connections too.
    pub unrepeatable_reuse: Support,
    /// A request's body is still sent when the response has begun.
    pub full_duplex: Support,
    /// A final response that comes before the request's body was sent is the response, even if the
    /// server then closes the connection.
    pub early_responses: Support,
    /// A request that a kept connection did not answer, because it had ended, is told apart from one
    /// that a new connection did not answer. Where not, such a request may be lost.
    pub dead_connections: Support,
    /// A request that an HTTP/2 server has not processed, as it refused the stream or said GOAWAY, is
    /// told apart from one that broke off. Where not, only idempotent requests are sent again.
    pub http2_unprocessed: Support,
    /// A response over HTTP/2 that the server cuts off with RST_STREAM is incomplete, even if the frame
    /// carries NO_ERROR.
    pub http2_resets: Support,
    /// A response that is whole stays so if its TLS connection then ends without `close_notify`.
    pub missing_close_notify: Support,
    /// A chunk without a number is told apart from a connection that ended.
    pub chunk_faults: Support,
    /// Chunks that break the grammar of RFC 9112, 7.1, are refused, even where their meaning can
    /// be guessed.
    pub strict_chunks: Support,
    /// Heads that break the grammar of RFC 9112 are refused, even where their meaning can be
    /// guessed, and those that end early.
    pub strict_heads: Support,
    /// What few servers send and RFC 9112 has a recipient read: folded header values, fields of a
    /// 100 (Continue), long chunk extensions.
    pub rare_forms: Support,
    /// Lines of a head that end in LF alone, and empty lines before it, are read.
    pub bare_lf: Support,
    /// Interim responses without an end are refused, over HTTP/1.
    pub interim_limit: Support,
    /// A connection serves nobody after a response with both a length and chunks, after one that
    /// the session refuses, and when the server has sent on it what nobody asked for.
    pub retired_connections: Support,
    /// The server sees the connection go as soon as a request is dropped. Where not, when the
    /// server next sends something or at the request's deadline, whichever is first.
    pub prompt_cancel: Support,
    /// Requests go through a proxy where one is given.
    pub proxies: Support,
    /// Requests to `http` URLs are sent to the proxy whole, and not through a tunnel.
    pub proxied_whole: Support,
    /// Why a proxy gave no tunnel is told apart from what the server behind one does.
    pub proxy_faults: Support,
    /// Whether a request had a new connection or a kept one is told.
    pub connection_events: Support,
    /// The response is there when its head is, before the first byte of its body.
    pub early_head: Support,
    /// A connect that takes too long is told apart from other timeouts.
    pub connect_phase: Support,
    /// Addresses of a host are tried beside each other, so that one that does not answer costs a
    /// quarter of a second (RFC 8305).
    pub parallel_connects: Support,
    /// Bodies that end with the connection, without a length.
    pub close_delimited: Support,
    /// Interim responses (1xx) before the final one are passed over.
    pub interim_responses: Support,
    /// Bytes outside ASCII in a request's header values are sent as they are.
    pub opaque_request_headers: Support,
    /// Bytes outside ASCII in a response's header values come out as they were sent.
    pub opaque_response_headers: Support,
    /// Methods beyond those of RFC 9110 and PATCH.
    pub extension_methods: Support,
    /// Status codes without a registered meaning.
    pub unregistered_status: Support,
    /// Nothing in the process's environment changes what the client does.
    pub ignores_environment: Support,
    /// The client reads the [`Deadline`](crate::Deadline) of a request, as nothing else bounds
    /// its calls. Others are spared the cost of carrying it.
    pub reads_deadline: bool,
    /// Headers that the client adds by itself, beyond those that HTTP needs.
    pub added_headers: &'static [&'static str],
    /// Limits on how much happens at once.
    pub ceilings: Vec<Ceiling>,
}

impl Capabilities {
    /// A client that can do everything. An adapter takes away what its client cannot.
    pub fn all(library: &'static str) -> Self {
        Self {
            library,
            tls: Support::Yes,
            http2: Support::Yes,
            http2_prior_knowledge: Support::Yes,
            client_certificates: Support::Yes,
            unchecked_hostnames: Support::Yes,
            tls_faults: Support::Yes,
            address_guard: Support::Yes,
            streaming_upload: Support::Yes,
            connection_reuse: Support::Yes,
            unrepeatable_reuse: Support::Yes,
            full_duplex: Support::Yes,
            early_responses: Support::Yes,
            dead_connections: Support::Yes,
            http2_unprocessed: Support::Yes,
            http2_resets: Support::Yes,
            missing_close_notify: Support::Yes,
            chunk_faults: Support::Yes,
            strict_chunks: Support::Yes,
            strict_heads: Support::Yes,
            rare_forms: Support::Yes,
            bare_lf: Support::Yes,
            interim_limit: Support::Yes,
            retired_connections: Support::Yes,
            prompt_cancel: Support::Yes,
            proxies: Support::Yes,
            proxied_whole: Support::Yes,
            proxy_faults: Support::Yes,
            connection_events: Support::Yes,
            early_head: Support::Yes,
            connect_phase: Support::Yes,
            parallel_connects: Support::Yes,
            close_delimited: Support::Yes,
            interim_responses: Support::Yes,
            opaque_request_headers: Support::Yes,
            opaque_response_headers: Support::Yes,
            extension_methods: Support::Yes,
            unregistered_status: Support::Yes,
            ignores_environment: Support::Yes,
            reads_deadline: false,
            added_headers: &[],
            ceilings: Vec::new(),
        }
    }

    /// Says that there is no TLS, and so none of its parts.
    #[must_use]
    pub fn without_tls(mut self, reason: &'static str) -> Self {
        self.tls = Support::No(reason);
        self.client_certificates = self.tls;
        self.unchecked_hostnames = self.tls;
        self.tls_faults = self.tls;
        self
    }

    /// Every capability by name, in a fixed order: for tables.
    pub fn supports(&self) -> [(&'static str, Support); 38] {
        [
            ("tls", self.tls),
            ("http2", self.http2),
            ("http2 prior knowledge", self.http2_prior_knowledge),
            ("client certificates", self.client_certificates),
            ("unchecked hostnames", self.unchecked_hostnames),
            ("tls faults", self.tls_faults),
            ("address guard", self.address_guard),
            ("streaming upload", self.streaming_upload),
            ("connection reuse", self.connection_reuse),
            ("unrepeatable reuse", self.unrepeatable_reuse),
            ("full duplex", self.full_duplex),
            ("early responses", self.early_responses),
            ("dead connections", self.dead_connections),
            ("http2 unprocessed", self.http2_unprocessed),
            ("http2 resets", self.http2_resets),
            ("missing close_notify", self.missing_close_notify),
            ("chunk faults", self.chunk_faults),
            ("strict chunks", self.strict_chunks),
            ("strict heads", self.strict_heads),
            ("rare forms", self.rare_forms),
            ("bare LF", self.bare_lf),
            ("interim limit", self.interim_limit),
            ("retired connections", self.retired_connections),
            ("prompt cancel", self.prompt_cancel),
            ("proxies", self.proxies),
            ("proxied whole", self.proxied_whole),
            ("proxy faults", self.proxy_faults),
            ("connection events", self.connection_events),
            ("early head", self.early_head),
            ("connect phase", self.connect_phase),
            ("parallel connects", self.parallel_connects),
            ("close-delimited body", self.close_delimited),
            ("interim responses", self.interim_responses),
            ("opaque request headers", self.opaque_request_headers),
            ("opaque response headers", self.opaque_response_headers),
            ("extension methods", self.extension_methods),
            ("unregistered status", self.unregistered_status),
            ("ignores environment", self.ignores_environment),
        ]
    }
}
