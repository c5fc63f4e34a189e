//! Every runtime with every client, by name: for programs that choose when they run.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::Arc;
#[cfg(feature = "probe")]
use std::time::Duration;

use inflight_core::{
    BlockOn, Body, Capabilities, Error, ErrorKind, Fetch, Runtime, Session, SessionBuilder, http,
};
#[cfg(feature = "probe")]
use inflight_probe::Heartbeat;

/// A runtime and a client, written `runtime/client`.
///
/// ```
/// use inflight::Cell;
///
/// let cell: Cell = "smol/hyper".parse()?;
/// assert_eq!(cell.features(), ["rt-smol", "client-hyper"]);
/// assert_eq!("tokio".parse::<Cell>()?.to_string(), "tokio/hyper");
/// # Ok::<(), inflight::UnknownCell>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Cell {
    runtime: RuntimeName,
    client: ClientName,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum RuntimeName {
    Tokio,
    Smol,
    AsyncStd,
    Threads,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum ClientName {
    Hyper,
    Isahc,
    Surf,
    Ureq,
}

impl Cell {
    /// All cells: three clients and the offloaded `ureq` on each async runtime, and `ureq` on
    /// threads.
    pub const ALL: [Self; 13] = {
        use ClientName::*;
        use RuntimeName::*;
        [
            Self::of(Tokio, Hyper),
            Self::of(Tokio, Isahc),
            Self::of(Tokio, Surf),
            Self::of(Tokio, Ureq),
            Self::of(Smol, Hyper),
            Self::of(Smol, Isahc),
            Self::of(Smol, Surf),
            Self::of(Smol, Ureq),
            Self::of(AsyncStd, Hyper),
            Self::of(AsyncStd, Isahc),
            Self::of(AsyncStd, Surf),
            Self::of(AsyncStd, Ureq),
            Self::of(Threads, Ureq),
        ]
    };

    const fn of(runtime: RuntimeName, client: ClientName) -> Self {
        Self { runtime, client }
    }

    /// The runtime's name.
    pub fn runtime(self) -> &'static str {
        match self.runtime {
            RuntimeName::Tokio => "tokio",
            RuntimeName::Smol => "smol",
            RuntimeName::AsyncStd => "async-std",
            RuntimeName::Threads => "threads",
        }
    }

    /// The client's name.
    pub fn client(self) -> &'static str {
        match self.client {
            ClientName::Hyper => "hyper",
            ClientName::Isahc => "isahc",
            ClientName::Surf => "surf",
            ClientName::Ureq => "ureq",
        }
    }

    /// The name of the backend that this cell is, if it is one: also the feature that adds it.
    pub fn short_name(self) -> Option<&'static str> {
        match (self.runtime, self.client) {
            (RuntimeName::Tokio, ClientName::Hyper) => Some("tokio"),
            (RuntimeName::Smol, ClientName::Isahc) => Some("smol"),
            (RuntimeName::AsyncStd, ClientName::Surf) => Some("async-std"),
            (RuntimeName::Threads, ClientName::Ureq) => Some("ureq"),
            _ => None,
        }
    }

    /// The two features of `inflight` that add this cell.
    pub fn features(self) -> [&'static str; 2] {
        let runtime = match self.runtime {
            RuntimeName::Tokio => "rt-tokio",
            RuntimeName::Smol => "rt-smol",
            RuntimeName::AsyncStd => "rt-async-std",
            RuntimeName::Threads => "rt-threads",
        };
        let client = match self.client {
            ClientName::Hyper => "client-hyper",
            ClientName::Isahc => "client-isahc",
            ClientName::Surf => "client-surf",
            ClientName::Ureq => "client-ureq",
        };
        [runtime, client]
    }

    /// Whether this program was built with the cell's features.
    pub fn is_compiled(self) -> bool {
        let runtime = match self.runtime {
            RuntimeName::Tokio => cfg!(feature = "rt-tokio"),
            RuntimeName::Smol => cfg!(feature = "rt-smol"),
            RuntimeName::AsyncStd => cfg!(feature = "rt-async-std"),
            RuntimeName::Threads => cfg!(feature = "rt-threads"),
        };
        let client = match self.client {
            ClientName::Hyper => cfg!(feature = "client-hyper"),
            ClientName::Isahc => cfg!(feature = "client-isahc"),
            ClientName::Surf => cfg!(feature = "client-surf"),
            ClientName::Ureq => cfg!(feature = "client-ureq"),
        };
        runtime && client
    }

    /// The cells that this program was built with.
    pub fn compiled() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|cell| cell.is_compiled())
    }

    /// Starts the cell's runtime with this many worker threads. `None` takes the runtime's
    /// default: a thread for each core on tokio and async-std, one on smol.
    ///
    /// async-std has one pool for the process; whoever starts it first fixes its size.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] when the cell is not compiled in (the message names the
    /// features that add it), and for a number of workers on `threads`, which has as many as
    /// there are tasks; [`ErrorKind::NoRuntime`] when the runtime cannot start.
    pub fn start(self, workers: Option<NonZeroUsize>) -> Result<Backend, Error> {
        if !self.is_compiled() {
            return Err(self.not_compiled());
        }
        let (engine, runtime) = Engine::start(self, workers)?;
        Ok(Backend {
            cell: self,
            engine,
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

    /// Takes `runtime/client` or a backend's short name.
    fn from_str(name: &str) -> Result<Self, UnknownCell> {
        Self::ALL
            .into_iter()
            .find(|cell| cell.short_name() == Some(name) || cell.to_string() == name)
            .ok_or_else(|| UnknownCell(name.to_owned()))
    }
}

/// A name that is no cell's. Its message lists those that are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownCell(String);

impl fmt::Display for UnknownCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown backend {:?}; there are", self.0)?;
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

/// A running runtime with a choice of client. Clones share the runtime.
#[derive(Clone)]
pub struct Backend {
    cell: Cell,
    engine: Engine,
    runtime: Arc<dyn Runtime>,
}

/// The runtimes that are compiled in: none, perhaps.
#[derive(Clone)]
enum Engine {
    #[cfg(feature = "rt-tokio")]
    Tokio(inflight_tokio::Tokio),
    #[cfg(feature = "rt-smol")]
    Smol(inflight_smol::Smol),
    #[cfg(feature = "rt-async-std")]
    AsyncStd(inflight_async_std::AsyncStd),
    #[cfg(feature = "rt-threads")]
    Threads(inflight_threads::Threads),
}

impl Engine {
    #[allow(unused_variables, reason = "with no runtime compiled in")]
    fn start(cell: Cell, workers: Option<NonZeroUsize>) -> Result<(Self, Arc<dyn Runtime>), Error> {
        match cell.runtime {
            #[cfg(feature = "rt-tokio")]
            RuntimeName::Tokio => {
                let tokio = inflight_tokio::Tokio::new(workers)?;
                Ok((Self::Tokio(tokio.clone()), Arc::new(tokio)))
            }
            #[cfg(feature = "rt-smol")]
            RuntimeName::Smol => {
                let smol = match workers {
                    Some(workers) => inflight_smol::Smol::new(workers)?,
                    None => inflight_smol::Smol::global(),
                };
                Ok((Self::Smol(smol.clone()), Arc::new(smol)))
            }
            #[cfg(feature = "rt-async-std")]
            RuntimeName::AsyncStd => {
                let async_std = match workers {
                    Some(workers) => inflight_async_std::AsyncStd::with_workers(workers)?,
                    None => inflight_async_std::AsyncStd::global(),
                };
                Ok((Self::AsyncStd(async_std), Arc::new(async_std)))
            }
            #[cfg(feature = "rt-threads")]
            RuntimeName::Threads => {
                if workers.is_some() {
                    return Err(Error::new(ErrorKind::Unsupported)
                        .with_context("threads have no workers: each task is a thread"));
                }
                let threads = inflight_threads::Threads::new();
                Ok((Self::Threads(threads.clone()), Arc::new(threads)))
            }
            #[allow(unreachable_patterns, reason = "with every runtime compiled in")]
            _ => Err(cell.not_compiled()),
        }
    }
}

impl Backend {
    /// The cell.
    pub fn cell(&self) -> Cell {
        self.cell
    }

    /// The runtime, for tasks and for `gather(..).on(..)`.
    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    /// A heart that beats on the runtime, by its timer and, except on `threads`, which open no
    /// sockets, through one of its sockets.
    ///
    /// # Errors
    ///
    /// As [`Heartbeat::with_socket`](inflight_probe::Heartbeat::with_socket).
    #[cfg(feature = "probe")]
    pub async fn heartbeat(&self, every: Duration) -> Result<Heartbeat, Error> {
        let on = self.runtime.clone();
        match self.cell.runtime {
            RuntimeName::Threads => Heartbeat::start(on, every),
            _ => Heartbeat::with_socket(on, every).await,
        }
    }

    /// A session with the default policy.
    ///
    /// # Errors
    ///
    /// Whatever keeps the client from starting.
    pub fn session(&self) -> Result<Session, Error> {
        self.builder().build()
    }

    /// A session to be built with options.
    pub fn builder(&self) -> SessionBuilder {
        #[allow(unused_variables, reason = "with no client compiled in")]
        let runtime = self.runtime.clone();
        match self.cell.client {
            #[cfg(feature = "client-hyper")]
            ClientName::Hyper => Session::builder(move |options| {
                let client = inflight_hyper::Hyper::new(runtime.clone(), options)?;
                Ok((client, runtime))
            }),
            #[cfg(feature = "client-isahc")]
            ClientName::Isahc => Session::builder(move |options| {
                let client = inflight_isahc::Isahc::new(runtime.clone(), options)?;
                Ok((client, runtime))
            }),
            #[cfg(feature = "client-surf")]
            ClientName::Surf => Session::builder(move |options| {
                let client = inflight_surf::Surf::new(runtime.clone(), options)?;
                Ok((client, runtime))
            }),
            #[cfg(feature = "client-ureq")]
            ClientName::Ureq => Session::builder(move |options| {
                let client = inflight_ureq::Ureq::new(options)?;
                Ok((
                    inflight_core::Offload::new(client, runtime.clone()),
                    runtime,
                ))
            }),
            #[allow(unreachable_patterns, reason = "with every client compiled in")]
            _ => {
                let cell = self.cell;
                Session::builder(move |_| {
                    Err::<(Nothing, Arc<dyn Runtime>), _>(cell.not_compiled())
                })
            }
        }
    }
}

impl BlockOn for Backend {
    #[allow(unused_variables, reason = "with no runtime compiled in")]
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        match self.engine {
            #[cfg(feature = "rt-tokio")]
            Engine::Tokio(ref tokio) => tokio.block_on(future),
            #[cfg(feature = "rt-smol")]
            Engine::Smol(ref smol) => smol.block_on(future),
            #[cfg(feature = "rt-async-std")]
            Engine::AsyncStd(ref async_std) => async_std.block_on(future),
            #[cfg(feature = "rt-threads")]
            Engine::Threads(ref threads) => threads.block_on(future),
        }
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backend({})", self.cell)
    }
}

/// The client of a cell without one: never made.
enum Nothing {}

impl Fetch for Nothing {
    async fn fetch(&self, _: http::Request<Body>) -> Result<http::Response<Body>, Error> {
        match *self {}
    }

    fn capabilities(&self) -> Capabilities {
        match *self {}
    }
}
