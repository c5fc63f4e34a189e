//! The contract of inflight: what a *runtime* and a *client* owe to a [`Session`], and what
//! [`gather`](gather()) means, whatever is underneath. This crate names no backend.
//!
//! *The core owns the semantics, a runtime owns the waiting, a client owns the bytes.*
//!
//! Programs use the `inflight` crate, which adds the backends; this one is for those who write
//! a backend, or a library that takes a [`Session`] from its caller.
//!
//! In reading order:
//!
//! - [`Fetch`] and [`FetchBlocking`]: one HTTP exchange, what a client implements;
//!   [`Offload`] and [`Inline`] make the one of the other, [`Cancel`] ends a blocking call.
//! - [`Runtime`] and [`BlockOn`]: what a runtime implements; [`Task`] and [`unblock`] are built
//!   on it. [`Socket`] is what a runtime opens.
//! - [`Session`]: requests with a policy, on any of them.
//! - [`gather`](gather()): many futures at once, under a limit, answered one by one.
//! - [`Body`], [`Response`], [`Error`]: what goes in and comes out.
//! - [`ClientOptions`], [`TlsOptions`], [`Capabilities`], [`Resolver`], [`AddressGuard`]: what a client is given
//!   and what it says of itself.

// From the lowest layer to the highest: each uses only those above it in this list.
mod backend;
mod connect;
mod error;
pub mod gather;
mod message;
mod observe;
mod session;
#[cfg(feature = "tower")]
pub mod tower;
mod upload;

// Requests, and what they return.
pub use error::{BoxError, Error, ErrorKind, Phase, TlsFault};
pub use message::body::{BlockingBody, Body};
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
pub use session::retry::Retry;
pub use session::session::Session;

// Many requests at once.
pub use backend::task::{Panic, Task, TaskError, unblock};
pub use gather::{AllFailed, JobError, JobErrorKind, Settled, gather, gather_stream};

// Observers.
#[cfg(feature = "tracing")]
pub use observe::TracingObserver;
pub use observe::{Connection, Event, Observer, Step};

// What clients implement, and what helps them.
pub use backend::cancel::{Cancel, CancelGuard};
pub use backend::capabilities::{Capabilities, Ceiling, Support};
pub use backend::fetch::{AnyClient, BoxFuture, Deadline, Fetch, FetchBlocking, NewConnection};
pub use backend::offload::{Inline, Offload};
pub use connect::resolve::{connect_error, host_and_port};
pub use connect::resolver::Resolver;
pub use message::head::retires_connection;
pub use observe::{Connections, Trace};

// What runtimes implement, and what helps them.
pub use backend::runtime::{BlockOn, Runtime};
pub use backend::socket::{
    ConnectOptions, PollReadable, ReadinessSocket, Socket, TryRead, no_sockets,
};

pub use {bytes, http, http_body, url};
