#![cfg_attr(
    any(
        feature = "tokio",
        feature = "smol",
        feature = "async-std",
        feature = "ureq"
    ),
    doc = include_str!("../README.md")
)]
//!
//! [The book](../../tutorial/ch00.html) begins with a tutorial.
//!
//! A program that fetches pages one after another needs the sum of their times. A program that fetches
//! them at the same time needs the time of the slowest page. This crate has both in a few lines, on the
//! runtime of your choice.
//!
#![cfg_attr(
    all(
        any(
            feature = "tokio",
            feature = "smol",
            feature = "async-std",
            feature = "ureq"
        ),
        feature = "cookies",
        feature = "client-mock",
        feature = "rt-virtual"
    ),
    doc = include_str!("answers.md")
)]
//!
//! # Backends
//!
//! A backend is a pair of a runtime and a client. Four backends have a name, which is also the name of a
//! feature. No feature is on by default, and several may be on:
//!
//! | feature | runtime/client | |
//! |---|---|---|
//! | `tokio` | `tokio/hyper` | |
//! | `smol` | `smol/isahc` | isahc transfers bytes with libcurl, on threads that isahc starts |
//! | `async-std` | `async-std/surf` | both crates are no longer maintained |
//! | `ureq` | `threads/ureq` | blocking, with a thread for each request in flight |
//!
//! [`session()`] and [`block_on`] use the first of `tokio`, `smol`, `async-std` and `ureq` that is on.
//! They are meant for programs. Another crate that enables a feature can change this default backend.
//! The change affects the cost of a session but not its behaviour, which is the same on every backend. A
//! library should accept a [`Session`] from its caller or name a backend, as in
//! `inflight::tokio::session()`.
//!
//! The features `rt-tokio`, `rt-smol`, `rt-async-std`, `rt-threads` and `client-hyper`, `client-isahc`,
//! `client-surf`, `client-ureq` enable the other pairs of a runtime and a client. A [`Cell`] is the name
//! of a backend, for programs that choose the backend at run time.
//!
//! # Other features
//!
//! | feature | adds |
//! |---|---|
//! | `cookies` | `CookieJar`, a cookie store |
//! | `hickory` | `Hickory`, a resolver that queries the name servers directly |
//! | `probe`, `probe-stacks`, `probe-tokio-hooks` | the module `probe`, which finds the code that stalls an event loop |
//! | `tracing`, `metrics` | observers for the crates `tracing` and `metrics`, in [`observe`] |
//! | `tower` | the module `tower`, where a session is a service, and any service can be a client |
//! | `rt-virtual`, `client-mock` | for tests: a runtime with virtual time, and a client with scripted responses |
//!
//! # TLS
//!
//! `https` works on every backend. Mozilla's root certificates are compiled in.
//! [`SessionBuilder::add_root_certificate`] adds more certificates, and
//! [`TlsOptions`](connect::TlsOptions) has more settings. hyper and isahc use HTTP/2 if the server
//! supports it ([`HttpVersions`](connect::HttpVersions)).
//!
//! # Name resolution
//!
//! By default, the system looks up names. [`SessionBuilder::resolver`] sets another
//! [`Resolve`](connect::Resolve). The feature `hickory` adds `Hickory`, a resolver that queries the name
//! servers directly. An [`AddressGuard`](connect::AddressGuard) decides to which addresses a session may
//! connect.
//!
//! # Proxies
//!
//! [`SessionBuilder::proxy`] sends requests through a proxy. [`Proxies`](connect::Proxies) selects the
//! proxy of each request. A session ignores the environment unless the program calls
//! [`Proxies::from_env`](connect::Proxies::from_env). HTTP and SOCKS5 proxies work. A request that would
//! use another kind of proxy fails. [`SessionBuilder::unix_socket`] opens every connection to a Unix socket.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backends;
#[cfg(any(
    feature = "tokio",
    feature = "smol",
    feature = "async-std",
    feature = "ureq"
))]
pub mod blocking;
mod cell;

#[cfg(feature = "async-std")]
pub use backends::async_std;
#[cfg(feature = "smol")]
pub use backends::smol;
#[cfg(feature = "tokio")]
pub use backends::tokio;
#[cfg(feature = "ureq")]
pub use backends::ureq;
pub use cell::{Backend, Cell};
#[cfg(feature = "cookies")]
pub use inflight_core::CookieJar;
#[cfg(feature = "tower")]
pub use inflight_core::tower;
pub use inflight_core::{
    BlockOn, Body, Error, ErrorKind, IntoUrl, JobError, JobErrorKind, Phase, RequestBuilder,
    Response, Retry, RetryBudget, Session, SessionBuilder, Task, bytes, gather, gather_queue,
    gather_stream, gather_with, http, http_body, unblock, url,
};
/// Detects code that stalls an event loop.
#[cfg(feature = "probe")]
pub use inflight_probe as probe;

/// Types for programs that write a body themselves.
pub mod download {
    pub use inflight_core::{ChunkOrRestart, CompleteFile, PartialFile};
}

/// Forms of several parts.
pub mod multipart {
    pub use inflight_core::{Multipart, Part};
}

/// Settings of connections: name lookup, allowed addresses, TLS and proxies.
pub mod connect {
    pub use inflight_core::{
        AddressGuard, AddressRefused, Certificate, ClientOptions, HttpVersions, Identity, IpNet,
        Proxies, Proxy, Resolve, SystemResolver, TlsFault, TlsOptions,
    };
    #[cfg(feature = "hickory")]
    pub use inflight_net::hickory::Hickory;
}

/// Events, metrics and progress of requests.
pub mod observe {
    #[cfg(feature = "metrics")]
    pub use inflight_core::MetricsObserver;
    #[cfg(feature = "tracing")]
    pub use inflight_core::TracingObserver;
    pub use inflight_core::{
        AttemptOutcome, Connection, Event, Observer, Progress, Redirect, SessionMetrics, Stats,
        Step,
    };
}

/// Traits and types for clients, runtimes and middleware.
pub mod backend {
    pub use inflight_core::{
        AnyClient, BlockingBody, BoxError, BoxFuture, Cancel, CancelGuard, Capabilities, Ceiling,
        ConnectOptions, Connections, Deadline, DescriptorCheck, Fetch, FetchBlocking, Framing,
        Inline, MAX_INTERIM_RESPONSES, NewConnection, Offload, Panic, PollReadable,
        ReadinessSocket, Resolver, Runtime, Socket, Support, TaskError, Trace, TryRead,
        connect_error, host_and_port, no_sockets, no_unix_sockets, retires_connection,
        runtime_ended,
    };

    pub use crate::cell::UnknownCell;
}

/// The runtimes that the enabled features add.
pub mod runtimes {
    #[cfg(feature = "rt-async-std")]
    pub use inflight_async_std::AsyncStd;
    #[cfg(feature = "rt-smol")]
    pub use inflight_smol::Smol;
    #[cfg(feature = "rt-threads")]
    pub use inflight_threads::Threads;
    #[cfg(feature = "rt-tokio")]
    pub use inflight_tokio::Tokio;
    #[cfg(feature = "rt-virtual")]
    pub use inflight_virtual::{LinkOptions, Listener, Network, Virtual};
}

/// The clients that the enabled features add, for custom sessions.
pub mod clients {
    #[cfg(feature = "client-hyper")]
    pub use inflight_hyper::Hyper;
    #[cfg(feature = "client-isahc")]
    pub use inflight_isahc::Isahc;
    #[cfg(feature = "client-mock")]
    pub use inflight_mock::{Mock, RecordedRequest, Reply, When};
    #[cfg(feature = "client-surf")]
    pub use inflight_surf::Surf;
    #[cfg(feature = "client-ureq")]
    pub use inflight_ureq::Ureq;
}

#[cfg(all(feature = "async-std", not(any(feature = "tokio", feature = "smol"))))]
use crate::async_std as default_backend;
#[cfg(all(feature = "smol", not(feature = "tokio")))]
use crate::smol as default_backend;
#[cfg(feature = "tokio")]
use crate::tokio as default_backend;
#[cfg(all(
    feature = "ureq",
    not(any(feature = "tokio", feature = "smol", feature = "async-std"))
))]
use crate::ureq as default_backend;

#[cfg(any(
    feature = "tokio",
    feature = "smol",
    feature = "async-std",
    feature = "ureq"
))]
mod default {
    use super::*;

    /// Returns a session with the default policy on the default backend, which is the first of `tokio`,
    /// `smol`, `async-std` and `ureq` that is compiled in.
    ///
    /// Chapter [0](../../tutorial/ch00.html) of the book teaches its use.
    ///
    /// The session works inside a tokio task, under `smol::block_on` and in a plain `main`. Inside a tokio
    /// runtime, a session of `tokio` uses this runtime and ends with it. For a `static`, use a session on
    /// the global runtime: `inflight::tokio::builder_on(Tokio::global()?)`.
    ///
    /// For an example, see [How do I fetch a page?](crate#how-do-i-fetch-a-page)
    ///
    /// # Errors
    ///
    /// Fails if the backend cannot start.
    pub fn session() -> Result<Session, Error> {
        default_backend::session()
    }

    /// Returns a builder for a session on the default backend.
    ///
    /// For an example, see [How do I set timeouts?](crate#how-do-i-set-timeouts)
    pub fn builder() -> SessionBuilder {
        default_backend::builder()
    }

    /// Runs a future on the default backend, and blocks this thread until the future completes.
    ///
    /// Chapter [0](../../tutorial/ch00.html) of the book teaches its use.
    ///
    /// For an example, see [How do I fetch a page?](crate#how-do-i-fetch-a-page)
    ///
    /// # Panics
    ///
    /// - In async code on tokio, if the default backend is `tokio`. Use `.await` there.
    /// - If the system refuses a thread that the runtime needs.
    #[track_caller]
    pub fn block_on<F: Future>(future: F) -> F::Output {
        default_backend::block_on(future)
    }
}
#[cfg(any(
    feature = "tokio",
    feature = "smol",
    feature = "async-std",
    feature = "ureq"
))]
pub use default::{block_on, builder, session};
