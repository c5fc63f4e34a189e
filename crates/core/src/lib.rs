#![doc = include_str!("../README.md")]
//!
//! [The book](../../writing-a-backend.html) explains how to write a backend.
//!
//! In reading order:
//!
//! - [`Fetch`] and [`FetchBlocking`]: a client, which performs HTTP exchanges. [`Offload`] and
//!   [`Inline`] turn a `FetchBlocking` into a `Fetch`. [`Cancel`] cancels a blocking call.
//! - [`Runtime`] and [`BlockOn`]: a runtime. [`Task`] and [`unblock`] work on every runtime. A
//!   runtime opens each [`Socket`].
//! - [`Session`]: sends requests with any client on any runtime. Its policy includes redirects,
//!   cookies, retries, timeouts and limits.
//! - [`gather`](gather()) and [`gather_with`]: many futures at once, under a limit.
//! - [`Body`], [`Response`], [`Error`]: the inputs and outputs of a request.
//! - [`ClientOptions`], [`TlsOptions`], [`AddressGuard`]: the options of a client. [`Resolver`]
//!   looks up names for a client. [`Capabilities`]: what a client can do.
#![cfg_attr(docsrs, feature(doc_cfg))]

// The layers, from the lowest to the highest: bugs, sync, prometheus, error, message, backend, observe, metrics,
// connect, upload, download, session and tower. Each layer uses only lower layers. gather uses only
// bugs, error and backend.
mod backend;
#[doc(hidden)]
pub mod bugs;
mod connect;
mod download;
mod error;
pub mod gather;
mod message;
mod metrics;
#[cfg(inflight_loom)]
#[doc(hidden)]
pub mod models;
mod observe;
pub mod prometheus;
mod session;
mod sync;
#[cfg(feature = "tower")]
pub mod tower;
mod upload;

// Requests and responses.
pub use download::partial_file::{CompleteFile, PartialFile};
pub use error::{BoxError, Error, ErrorKind, Phase, TlsFault};
pub use message::body::{BlockingBody, Body, ChunkOrRestart};
pub use message::progress::Progress;
pub use message::response::{Redirect, Response};
#[cfg(feature = "cookies")]
pub use session::cookies::CookieJar;
pub use session::request::{IntoUrl, RequestBuilder};
pub use upload::multipart::{Multipart, Part};

// Sessions and their policy.
pub use connect::guard::{AddressGuard, AddressRefused, IpNet};
pub use connect::options::ClientOptions;
pub use connect::proxy::{Proxies, Proxy};
pub use connect::resolve::{Resolve, SystemResolver};
pub use connect::tls::{Certificate, HttpVersions, Identity, TlsOptions};
pub use session::builder::SessionBuilder;
pub use session::in_flight::Stats;
pub use session::retry::{AttemptOutcome, Retry, RetryBudget};
pub use session::session::Session;

// Many requests at once.
pub use backend::task::{Panic, Task, TaskError, unblock};
pub use gather::{
    AllFailed, JobError, JobErrorKind, Settled, gather, gather_queue, gather_stream, gather_with,
};

// Observers.
#[cfg(feature = "metrics")]
pub use metrics::MetricsObserver;
pub use metrics::SessionMetrics;
#[cfg(feature = "tracing")]
pub use observe::TracingObserver;
pub use observe::{Connection, Event, Observer, Step};

// The traits that clients implement, and helpers for clients.
pub use backend::cancel::{Cancel, CancelGuard};
pub use backend::capabilities::{Capabilities, Ceiling, Support};
pub use backend::fetch::{AnyClient, BoxFuture, Deadline, Fetch, FetchBlocking, NewConnection};
pub use backend::offload::{Inline, Offload};
pub use connect::resolve::{connect_error, host_and_port};
pub use connect::resolver::Resolver;
pub use message::framing::{Framing, MAX_INTERIM_RESPONSES, retires_connection};
pub use observe::{Connections, Trace};

// The traits that runtimes implement, and helpers for runtimes.
pub use backend::descriptors::DescriptorCheck;
pub use backend::runtime::{BlockOn, Runtime, runtime_ended};
pub use backend::socket::{
    ConnectOptions, PollReadable, ReadinessSocket, Socket, TryRead, no_sockets, no_unix_sockets,
};

pub use {bytes, http, http_body, url};
