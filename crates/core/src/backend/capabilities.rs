//! The capabilities of clients.

/// Whether a client has a capability, and the reason if it does not.
///
/// For an example, see [`Capabilities`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// The client has the capability.
    Yes,
    /// The client does not have the capability. The text states the reason.
    No(&'static str),
}

impl Support {
    /// Returns whether the client has the capability.
    pub fn is_yes(self) -> bool {
        self == Self::Yes
    }

    /// Returns the reason why the client does not have the capability, or `None` if it has it.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Yes => None,
            Self::No(reason) => Some(reason),
        }
    }
}

/// A limit on the concurrency of a backend.
///
/// ```
/// use inflight_core::{Capabilities, Ceiling};
///
/// let mut capabilities = Capabilities::all("a client with four threads");
/// capabilities.ceilings.push(Ceiling {
///     at_most: 4,
///     description: "requests at once on the client's threads; further requests wait",
/// });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceiling {
    /// The limit. [`description`](Self::description) names what it counts.
    pub at_most: usize,
    /// What the limit counts, and which component sets it, for example "blocking calls at once in
    /// the runtime's pool".
    pub description: &'static str,
}

const NO_UNIX_SOCKETS: Support = Support::No("inflight uses Unix sockets only on Unix");

/// Declares each capability once: its documentation, its field and its name in tables.
macro_rules! capabilities {
    ($($(#[$meaning:meta])* $field:ident: $name:literal,)*) => {
        /// What a client can do.
        ///
        /// Every limit of the client or of its runtime is listed here. A missing limit is a bug.
        /// Limits of the session itself, such as the number of concurrent lookups, are the same on
        /// every backend and are documented where they are set.
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
            /// The library that implements HTTP, and its version.
            pub library: &'static str,
            $($(#[$meaning])* pub $field: Support,)*
            /// Whether the client reads the [`Deadline`](crate::Deadline) of a request. The session
            /// adds this extension only for a client that reads it. A client needs the deadline if
            /// nothing else limits the time of its calls.
            pub reads_deadline: bool,
            /// Headers that the client adds by itself and that HTTP does not require.
            pub added_headers: &'static [&'static str],
            /// Limits on concurrency.
            pub ceilings: Vec<Ceiling>,
        }

        impl Capabilities {
            /// Returns the capabilities of a client that supports everything that the system
            /// supports. The author of the client then sets what the client does not support.
            pub fn all(library: &'static str) -> Self {
                let mut capabilities = Self {
                    library,
                    $($field: Support::Yes,)*
                    reads_deadline: false,
                    added_headers: &[],
                    ceilings: Vec::new(),
                };
                if cfg!(not(unix)) {
                    capabilities.unix_sockets = NO_UNIX_SOCKETS;
                    capabilities.unix_queue = NO_UNIX_SOCKETS;
                }
                capabilities
            }

            /// Returns every capability with its name, in a fixed order.
            pub fn supports(&self) -> [(&'static str, Support); [$($name),*].len()] {
                [$(($name, self.$field)),*]
            }
        }
    };
}

capabilities! {
    /// The client supports `https` URLs.
    tls: "tls",
    /// The client uses HTTP/2 if the TLS server supports it, or if the caller requires it.
    http2: "http2",
    /// The client can use HTTP/2 without negotiation ("prior knowledge"; RFC 9113, 3.3), also over
    /// plain `http`.
    http2_prior_knowledge: "http2 prior knowledge",
    /// The client presents a client certificate to a server that requests one.
    client_certificates: "client certificates",
    /// The client can ignore the name in a server's certificate while it checks the rest of the
    /// certificate.
    unchecked_hostnames: "unchecked hostnames",
    /// The client reports why it refused a certificate. Without this capability,
    /// [`TlsFault`](crate::TlsFault) is always `Other`.
    tls_faults: "tls faults",
    /// The client passes each address to the [`AddressGuard`](crate::AddressGuard) before it
    /// connects.
    address_guard: "address guard",
    /// The client sends a request body of unknown length while the body is produced.
    streaming_upload: "streaming upload",
    /// The client sends several requests over one connection, one after another.
    connection_reuse: "connection reuse",
    /// The client also uses pooled connections for requests that must not be sent twice.
    unrepeatable_reuse: "unrepeatable reuse",
    /// The client continues to send the request's body after the response has begun.
    full_duplex: "full duplex",
    /// The client returns the response while it still sends the request's body.
    response_during_upload: "response during upload",
    /// The client reports whether a request failed because its pooled connection had ended. Without
    /// this capability, a request may fail although the session could resend it.
    dead_connections: "dead connections",
    /// The client reports that an HTTP/2 server has not processed a request, because the server
    /// refused the stream or sent GOAWAY. Without this capability, the session resends only idempotent
    /// requests.
    http2_unprocessed: "http2 unprocessed",
    /// The client treats an HTTP/2 response that the server ends with RST_STREAM as incomplete,
    /// even if the frame carries NO_ERROR.
    http2_resets: "http2 resets",
    /// The client accepts a complete response even if the TLS connection then ends without
    /// `close_notify`.
    missing_close_notify: "missing close_notify",
    /// The client distinguishes an invalid chunk size from a connection that ended.
    chunk_faults: "chunk faults",
    /// The client refuses chunks that break the grammar of RFC 9112, 7.1, even if it could guess their
    /// meaning.
    strict_chunks: "strict chunks",
    /// The client refuses heads that end early, and heads that break the grammar of RFC 9112, even
    /// if it could guess their meaning.
    strict_heads: "strict heads",
    /// The client accepts rare syntax that RFC 9112 requires a recipient to accept: folded header
    /// values, header fields in a 100 (Continue) response, and long chunk extensions.
    rare_forms: "rare forms",
    /// The client accepts lines of a head that end in LF alone, and empty lines before a head.
    bare_lf: "bare LF",
    /// The client refuses an endless series of interim responses over HTTP/1.
    interim_limit: "interim limit",
    /// The client does not reuse a connection after a chunked response with `Content-Length`, after
    /// a response that the session refuses, or after unsolicited data from the server.
    retired_connections: "retired connections",
    /// The client closes the connection as soon as a request is dropped. Without this capability, the
    /// connection stays open until the server sends something or the request's deadline passes.
    prompt_cancel: "prompt cancel",
    /// The client connects to a Unix socket if one is set. No client has this capability on systems other
    /// than Unix.
    unix_sockets: "unix sockets",
    /// If the queue of a Unix socket's listener is full, the client waits until the listener accepts more
    /// connections, as it waits with TCP.
    unix_queue: "unix socket queue",
    /// The client sends requests through a proxy if one is set.
    proxies: "proxies",
    /// The client sends requests through a SOCKS5 proxy if one is set, and looks up the name of the
    /// server or leaves the lookup to the proxy, as the scheme of the proxy's URL requires.
    socks_proxies: "socks proxies",
    /// For an `http` URL, the client sends the whole request to an HTTP proxy, with an absolute URL. It
    /// does not open a tunnel.
    proxied_whole: "proxied whole",
    /// The client distinguishes a proxy's refusal of a tunnel from a fault of the server behind the
    /// proxy.
    proxy_faults: "proxy faults",
    /// The client reports whether a request used a new connection or a pooled one. Without this
    /// capability, [`Stats`](crate::Stats) has no connection counts.
    connection_events: "connection events",
    /// The client returns the response when the head has arrived, before the first byte of the
    /// body.
    early_head: "early head",
    /// The client distinguishes a connect timeout from other timeouts.
    connect_phase: "connect phase",
    /// The client tries several addresses of a host in parallel (RFC 8305). An address that does
    /// not answer then delays the request by only a quarter of a second.
    parallel_connects: "parallel connects",
    /// The client reads bodies without a length, which end with the connection.
    close_delimited: "close-delimited body",
    /// The client skips interim responses (1xx) before the final one.
    interim_responses: "interim responses",
    /// The client sends the path and the query of a URL unchanged.
    unchanged_targets: "unchanged targets",
    /// The client sends bytes outside ASCII in a request's header values unchanged.
    opaque_request_headers: "opaque request headers",
    /// The client returns bytes outside ASCII in a response's header values unchanged.
    opaque_response_headers: "opaque response headers",
    /// The client sends methods other than those of RFC 9110 and PATCH.
    extension_methods: "extension methods",
    /// The client accepts status codes without a registered meaning.
    unregistered_status: "unregistered status",
    /// The client ignores the process's environment variables.
    ignores_environment: "ignores environment",
}

impl Capabilities {
    /// Removes TLS and the capabilities that depend on TLS.
    #[must_use]
    pub fn without_tls(mut self, reason: &'static str) -> Self {
        self.tls = Support::No(reason);
        self.client_certificates = self.tls;
        self.unchecked_hostnames = self.tls;
        self.tls_faults = self.tls;
        self
    }
}
