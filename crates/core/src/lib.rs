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

mod auth;
mod body;
mod cancel;
mod charset;
mod client;
#[cfg(feature = "cookies")]
mod cookies;
mod decode;
mod error;
mod fetch;
mod file;
pub mod gather;
mod guard;
mod head;
mod lookups;
mod multipart;
mod observe;
mod offload;
mod progress;
mod proxy;
mod request;
mod resolve;
mod response;
mod runtime;
mod session;
mod socket;
mod target;
mod task;
mod tls;
#[cfg(feature = "tower")]
pub mod tower;
mod upload;

pub use body::{BlockingBody, Body};
pub use cancel::{Cancel, CancelGuard};
pub use client::{Capabilities, Ceiling, ClientOptions, Support};
#[cfg(feature = "cookies")]
pub use cookies::CookieJar;
pub use error::{BoxError, Error, ErrorKind, Phase};
pub use fetch::{AnyClient, BoxFuture, Deadline, Fetch, FetchBlocking, NewConnection};
pub use gather::{AllFailed, JobError, JobErrorKind, Settled, gather, gather_stream};
pub use guard::{AddressGuard, AddressRefused, IpNet};
pub use head::retires_connection;
pub use multipart::{Multipart, Part};
#[cfg(feature = "tracing")]
pub use observe::TracingObserver;
pub use observe::{Connection, Connections, Event, Observer, Step, Trace};
pub use offload::{Inline, Offload};
pub use progress::Progress;
pub use proxy::{Proxies, Proxy};
pub use request::{IntoUrl, RequestBuilder};
pub use resolve::{Resolve, Resolver, SystemResolver, connect_error, host_and_port};
pub use response::Response;
pub use runtime::{BlockOn, Runtime};
pub use session::{Redirect, Retry, Session, SessionBuilder, Stats};
pub use socket::{ConnectOptions, PollReadable, ReadinessSocket, Socket, TryRead, no_sockets};
pub use task::{Panic, Task, TaskError, unblock};
pub use tls::{Certificate, HttpVersions, Identity, TlsFault, TlsOptions};

pub use {bytes, http, http_body, url};
