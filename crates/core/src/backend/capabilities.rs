//! What a client can do, and what it cannot.

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

/// Declares each capability once: its meaning, its field and its name in tables.
macro_rules! capabilities {
    ($($(#[$meaning:meta])* $field:ident: $name:literal,)*) => {
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
            /// The library that implements HTTP, and its version.
            pub library: &'static str,
            $($(#[$meaning])* pub $field: Support,)*
            /// The client reads the [`Deadline`](crate::Deadline) of a request, as nothing else bounds
            /// its calls. Others are spared the cost of carrying it.
            pub reads_deadline: bool,
            /// Headers that the client adds by itself, beyond those that HTTP needs.
            pub added_headers: &'static [&'static str],
            /// Limits on how much happens at once.
            pub ceilings: Vec<Ceiling>,
        }

        impl Capabilities {
            /// A client that can do everything. Its author takes away what it cannot do.
            pub fn all(library: &'static str) -> Self {
                Self {
                    library,
                    $($field: Support::Yes,)*
                    reads_deadline: false,
                    added_headers: &[],
                    ceilings: Vec::new(),
                }
            }

            /// Returns every capability by name, in a fixed order: for tables.
            pub fn supports(&self) -> [(&'static str, Support); [$($name),*].len()] {
                [$(($name, self.$field)),*]
            }
        }
    };
}

capabilities! {
    /// `https` URLs.
    tls: "tls",
    /// HTTP/2, with a TLS server that takes it or where it is asked for.
    http2: "http2",
    /// HTTP/2 without asking first, over plain `http` too.
    http2_prior_knowledge: "http2 prior knowledge",
    /// A client certificate, shown to a server that asks for one.
    client_certificates: "client certificates",
    /// A server's name can be left unchecked while its certificate is checked.
    unchecked_hostnames: "unchecked hostnames",
    /// Why a certificate was refused is told, and not only that it was.
    tls_faults: "tls faults",
    /// Each address is shown to an [`AddressGuard`] before a connection to it is made.
    address_guard: "address guard",
    /// Request bodies of unknown length, sent while they are produced.
    streaming_upload: "streaming upload",
    /// A connection serves several requests, one after another.
    connection_reuse: "connection reuse",
    /// Requests that must not be sent twice share kept connections too.
    unrepeatable_reuse: "unrepeatable reuse",
    /// A request's body is still sent when the response has begun.
    full_duplex: "full duplex",
    /// A final response that comes before the request's body was sent is the response, even if the
    /// server then closes the connection.
    early_responses: "early responses",
    /// A request that a kept connection did not answer, because it had ended, is told apart from one
    /// that a new connection did not answer. Where not, such a request may be lost.
    dead_connections: "dead connections",
    /// A request that an HTTP/2 server has not processed, as it refused the stream or said GOAWAY, is
    /// told apart from one that broke off. Where not, only idempotent requests are sent again.
    http2_unprocessed: "http2 unprocessed",
    /// A response over HTTP/2 that the server cuts off with RST_STREAM is incomplete, even if the frame
    /// carries NO_ERROR.
    http2_resets: "http2 resets",
    /// A response that is whole stays so if its TLS connection then ends without `close_notify`.
    missing_close_notify: "missing close_notify",
    /// A chunk without a number is told apart from a connection that ended.
    chunk_faults: "chunk faults",
    /// Chunks that break the grammar of RFC 9112, 7.1, are refused, even where their meaning can
    /// be guessed.
    strict_chunks: "strict chunks",
    /// Heads that break the grammar of RFC 9112 are refused, even where their meaning can be
    /// guessed, and those that end early.
    strict_heads: "strict heads",
    /// What few servers send and RFC 9112 has a recipient read: folded header values, fields of a
    /// 100 (Continue), long chunk extensions.
    rare_forms: "rare forms",
    /// Lines of a head that end in LF alone, and empty lines before it, are read.
    bare_lf: "bare LF",
    /// Interim responses without an end are refused, over HTTP/1.
    interim_limit: "interim limit",
    /// A connection serves nobody after a response with both a length and chunks, after one that
    /// the session refuses, and when the server has sent on it what nobody asked for.
    retired_connections: "retired connections",
    /// The server sees the connection go as soon as a request is dropped. Where not, when the
    /// server next sends something or at the request's deadline, whichever is first.
    prompt_cancel: "prompt cancel",
    /// Requests go through a proxy where one is given.
    proxies: "proxies",
    /// Requests to `http` URLs are sent to the proxy whole, and not through a tunnel.
    proxied_whole: "proxied whole",
    /// Why a proxy gave no tunnel is told apart from what the server behind one does.
    proxy_faults: "proxy faults",
    /// Whether a request had a new connection or a kept one is told.
    connection_events: "connection events",
    /// The response is there when its head is, before the first byte of its body.
    early_head: "early head",
    /// A connect that takes too long is told apart from other timeouts.
    connect_phase: "connect phase",
    /// Addresses of a host are tried beside each other, so that one that does not answer costs a
    /// quarter of a second (RFC 8305).
    parallel_connects: "parallel connects",
    /// Bodies that end with the connection, without a length.
    close_delimited: "close-delimited body",
    /// Interim responses (1xx) before the final one are passed over.
    interim_responses: "interim responses",
    /// Bytes outside ASCII in a request's header values are sent as they are.
    opaque_request_headers: "opaque request headers",
    /// Bytes outside ASCII in a response's header values come out as they were sent.
    opaque_response_headers: "opaque response headers",
    /// Methods beyond those of RFC 9110 and PATCH.
    extension_methods: "extension methods",
    /// Status codes without a registered meaning.
    unregistered_status: "unregistered status",
    /// Nothing in the process's environment changes what the client does.
    ignores_environment: "ignores environment",
}

impl Capabilities {
    /// Says that there is no TLS, and so none of its parts.
    #[must_use]
    pub fn without_tls(mut self, reason: &'static str) -> Self {
        self.tls = Support::No(reason);
        self.client_certificates = self.tls;
        self.unchecked_hostnames = self.tls;
        self.tls_faults = self.tls;
        self
    }
}
