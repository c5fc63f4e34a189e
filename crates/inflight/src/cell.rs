//! The names of the backends, for programs that choose a backend at run time.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::Arc;
#[cfg(feature = "probe")]
use std::time::Duration;

use inflight_core::{
    BlockOn, Body, Capabilities, ClientOptions, Error, ErrorKind, Fetch, Runtime, Session,
    SessionBuilder, http,
};
#[cfg(feature = "probe")]
use inflight_probe::Heartbeat;

/// The name of a backend: a runtime and a client, written `runtime/client`.
///
/// Chapters [8](../../tutorial/ch08.html) and [14](../../tutorial/ch14.html) of the book teach its use.
///
/// ```
/// use inflight::Cell;
///
/// let cell: Cell = "smol/hyper".parse()?;
/// assert_eq!(cell.features(), ["rt-smol", "client-hyper"]);
/// assert_eq!("tokio".parse::<Cell>()?.to_string(), "tokio/hyper");
/// # Ok::<(), inflight::backend::UnknownCell>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Cell {
    runtime: RuntimeName,
    client: ClientName,
}

/// Declares an enum of runtimes or clients. Each variant has a name, and a feature that compiles it in.
macro_rules! feature_enum {
    ($enum:ident { $($variant:ident, $name:literal, $feature:literal;)* }) => {
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        enum $enum {
            $($variant,)*
        }

        impl $enum {
            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            fn feature(self) -> &'static str {
                match self {
                    $(Self::$variant => $feature,)*
                }
            }

            fn is_compiled(self) -> bool {
                match self {
                    $(Self::$variant => cfg!(feature = $feature),)*
                }
            }
        }
    };
}

/// Declares the runtimes. Each has a variant, a name, a feature, a type, and a function that starts the
/// runtime with the given number of worker threads.
macro_rules! runtimes {
    ($($variant:ident, $name:literal, $feature:literal, $runtime:path, $start:expr;)*) => {
        feature_enum! { RuntimeName { $($variant, $name, $feature;)* } }

        /// A running runtime. Without a runtime feature, the enum has no variants.
        #[derive(Clone)]
        enum StartedRuntime {
            $(#[cfg(feature = $feature)] $variant($runtime),)*
        }

        impl StartedRuntime {
            #[allow(unused_variables, reason = "if no runtime is compiled in")]
            fn start(
                cell: Cell,
                workers: Option<NonZeroUsize>,
            ) -> Result<(Self, Arc<dyn Runtime>), Error> {
                match cell.runtime {
                    $(
                        #[cfg(feature = $feature)]
                        RuntimeName::$variant => {
                            let start: fn(Option<NonZeroUsize>) -> Result<$runtime, Error> = $start;
                            let runtime = start(workers)?;
                            #[allow(clippy::clone_on_copy, reason = "only some runtimes are Copy")]
                            Ok((Self::$variant(runtime.clone()), Arc::new(runtime)))
                        }
                    )*
                    #[allow(unreachable_patterns, reason = "if every runtime is compiled in")]
                    _ => Err(cell.not_compiled()),
                }
            }

            #[allow(unused_variables, reason = "if no runtime is compiled in")]
            #[track_caller]
            fn block_on<F: Future>(&self, future: F) -> F::Output {
                match *self {
                    $(#[cfg(feature = $feature)] Self::$variant(ref runtime) => runtime.block_on(future),)*
                }
            }
        }
    };
}

runtimes! {
    Tokio, "tokio", "rt-tokio", inflight_tokio::Tokio, inflight_tokio::Tokio::new;
    Smol, "smol", "rt-smol", inflight_smol::Smol, |workers| match workers {
        Some(workers) => inflight_smol::Smol::new(workers),
        None => Ok(inflight_smol::Smol::global()),
    };
    AsyncStd, "async-std", "rt-async-std", inflight_async_std::AsyncStd, |workers| match workers {
        Some(workers) => inflight_async_std::AsyncStd::with_workers(workers),
        None => Ok(inflight_async_std::AsyncStd::global()),
    };
    Threads, "threads", "rt-threads", inflight_threads::Threads, |workers| match workers {
        Some(_) => Err(Error::new(ErrorKind::Unsupported)
            .with_context("the runtime `threads` has no worker threads: each task has its own thread")),
        None => Ok(inflight_threads::Threads::new()),
    };
}

/// Declares the clients. Each has a variant, a name, a feature, and a function that creates the client.
macro_rules! clients {
    ($($variant:ident, $name:literal, $feature:literal, $make:expr;)*) => {
        feature_enum! { ClientName { $($variant, $name, $feature;)* } }

        #[allow(unused_variables, reason = "if no client is compiled in")]
        fn builder(cell: Cell, runtime: Arc<dyn Runtime>) -> SessionBuilder {
            match cell.client {
                $(
                    #[cfg(feature = $feature)]
                    ClientName::$variant => session_builder(runtime, $make),
                )*
                #[allow(unreachable_patterns, reason = "if every client is compiled in")]
                _ => session_builder(runtime, move |_, _| Err::<NoClient, _>(cell.not_compiled())),
            }
        }
    };
}

clients! {
    Hyper, "hyper", "client-hyper", inflight_hyper::Hyper::new;
    Isahc, "isahc", "client-isahc", inflight_isahc::Isahc::new;
    Surf, "surf", "client-surf", inflight_surf::Surf::new;
    Ureq, "ureq", "client-ureq", |runtime, options| {
        Ok(inflight_core::Offload::new(inflight_ureq::Ureq::new(options)?, runtime))
    };
}

fn session_builder<F: Fetch>(
    runtime: Arc<dyn Runtime>,
    make: impl FnOnce(Arc<dyn Runtime>, &ClientOptions) -> Result<F, Error> + Send + 'static,
) -> SessionBuilder {
    Session::builder(|options| Ok((make(runtime.clone(), options)?, runtime)))
}

/// Declares the cells, and the short names of the four named backends.
macro_rules! cells {
    ($($runtime:ident / $client:ident $($short:literal)?,)*) => {
        impl Cell {
            /// All cells: the four clients on each async runtime, and `ureq` on `threads`. On an async
            /// runtime, `ureq` runs on the runtime's blocking pool.
            pub const ALL: [Self; [$(stringify!($runtime/$client)),*].len()] = [
                $(Self {
                    runtime: RuntimeName::$runtime,
                    client: ClientName::$client,
                },)*
            ];

            /// Returns the short name of the cell if it has one. The feature that adds the backend has the
            /// same name.
            pub fn short_name(self) -> Option<&'static str> {
                match (self.runtime, self.client) {
                    $($((RuntimeName::$runtime, ClientName::$client) => Some($short),)?)*
                    _ => None,
                }
            }
        }
    };
}

cells! {
    Tokio/Hyper "tokio",
    Tokio/Isahc,
    Tokio/Surf,
    Tokio/Ureq,
    Smol/Hyper,
    Smol/Isahc "smol",
    Smol/Surf,
    Smol/Ureq,
    AsyncStd/Hyper,
    AsyncStd/Isahc,
    AsyncStd/Surf "async-std",
    AsyncStd/Ureq,
    Threads/Ureq "ureq",
}

impl Cell {
    /// Returns the name of the runtime.
    pub fn runtime(self) -> &'static str {
        self.runtime.name()
    }

    /// Returns the name of the client.
    pub fn client(self) -> &'static str {
        self.client.name()
    }

    /// Returns the two features of `inflight` that add this backend.
    pub fn features(self) -> [&'static str; 2] {
        [self.runtime.feature(), self.client.feature()]
    }

    /// Returns `true` if the cell's features are enabled.
    pub fn is_compiled(self) -> bool {
        self.runtime.is_compiled() && self.client.is_compiled()
    }

    /// Returns the cells whose features are enabled.
    pub fn compiled() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|cell| cell.is_compiled())
    }

    /// Starts the cell's runtime with this number of worker threads. `None` means the runtime's
    /// default: a thread for each core on tokio and async-std, and one thread on smol.
    ///
    /// async-std has one pool for the process. The first use of async-std fixes the size of the pool.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::Unsupported`] if the cell is not compiled in. The message names the features that
    ///   add it.
    /// - [`ErrorKind::Unsupported`] if `workers` is set for `threads`, which has a thread for each task.
    /// - [`ErrorKind::NoRuntime`] if the runtime cannot start.
    pub fn start(self, workers: Option<NonZeroUsize>) -> Result<Backend, Error> {
        if !self.is_compiled() {
            return Err(self.not_compiled());
        }
        let (started, runtime) = StartedRuntime::start(self, workers)?;
        Ok(Backend {
            cell: self,
            started,
            runtime,
        })
    }

    fn not_compiled(self) -> Error {
        let [runtime, client] = self.features();
        let features = match self.short_name() {
            Some(short) => format!("feature \"{short}\""),
            None => format!("features \"{runtime}\" and \"{client}\""),
        };
        Error::new(ErrorKind::Unsupported).with_context(format!(
            "the backend {self} is not compiled in: build with the {features}"
        ))
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.runtime(), self.client())
    }
}

impl FromStr for Cell {
    type Err = UnknownCell;

    /// Parses `runtime/client` or a short name.
    fn from_str(name: &str) -> Result<Self, UnknownCell> {
        Self::ALL
            .into_iter()
            .find(|cell| cell.short_name() == Some(name) || cell.to_string() == name)
            .ok_or_else(|| UnknownCell(name.to_owned()))
    }
}

/// The error for a name that is not a cell. Its message lists all cells.
///
/// ```
/// use inflight::Cell;
///
/// let error = "smol/reqwest".parse::<Cell>().unwrap_err();
/// assert!(error.to_string().starts_with("unknown backend \"smol/reqwest\": use one of tokio"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownCell(String);

impl fmt::Display for UnknownCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown backend {:?}: use one of", self.0)?;
        for cell in Cell::ALL {
            match cell.short_name() {
                Some(short) => write!(f, " {short} ({cell})")?,
                None => write!(f, " {cell}")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for UnknownCell {}

/// A backend whose runtime is running. Its sessions use the client that the [`Cell`] names. Clones share
/// the runtime.
///
/// Chapter [8](../../tutorial/ch08.html) of the book teaches its use.
///
/// ```
/// use inflight::{BlockOn, Cell};
///
/// # let origin = inflight_origin::Origin::start()?;
/// # let url = origin.url("/page/1");
/// // A program can read the name from an option or a configuration file.
/// let cell: Cell = "tokio/hyper".parse()?;
/// # let cell = Cell::compiled().next().unwrap_or(cell);
/// let backend = cell.start(None)?;
/// let session = backend.session()?;
/// let page = backend.block_on(session.get(url).text())?;
/// assert!(page.contains("Page 1"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Backend {
    cell: Cell,
    started: StartedRuntime,
    runtime: Arc<dyn Runtime>,
}

impl Backend {
    /// Returns the name of the backend.
    pub fn cell(&self) -> Cell {
        self.cell
    }

    /// Returns the runtime, to spawn tasks on it or to pass it to `gather(..).on(..)`.
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    /// Starts a [`Heartbeat`](inflight_probe::Heartbeat) on the runtime, which measures how late the runtime
    /// wakes tasks. The heartbeat uses the runtime's timer and, except on `threads`, a socket.
    ///
    /// # Errors
    ///
    /// The same as [`Heartbeat::with_socket`](inflight_probe::Heartbeat::with_socket).
    #[cfg(feature = "probe")]
    pub async fn heartbeat(&self, interval: Duration) -> Result<Heartbeat, Error> {
        let runtime = self.runtime.clone();
        match self.cell.runtime {
            RuntimeName::Threads => Heartbeat::start(runtime, interval),
            _ => Heartbeat::with_socket(runtime, interval).await,
        }
    }

    /// Returns a session with the default policy.
    ///
    /// # Errors
    ///
    /// Fails if the client cannot start.
    pub fn session(&self) -> Result<Session, Error> {
        self.builder().build()
    }

    /// Returns a builder for a session.
    pub fn builder(&self) -> SessionBuilder {
        builder(self.cell, self.runtime.clone())
    }
}

impl BlockOn for Backend {
    #[track_caller]
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.started.block_on(future)
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backend({})", self.cell)
    }
}

/// The client of a backend that is not compiled in. The enum has no variants.
enum NoClient {}

impl Fetch for NoClient {
    async fn fetch(&self, _: http::Request<Body>) -> Result<http::Response<Body>, Error> {
        match *self {}
    }

    fn capabilities(&self) -> Capabilities {
        match *self {}
    }
}
