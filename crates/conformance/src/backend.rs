use std::fmt;
use std::sync::{Arc, OnceLock};

use inflight_core::{BoxFuture, Capabilities, SessionBuilder};

/// A backend under test: a function that returns a session builder, and the `block_on` of its runtime.
#[derive(Clone)]
pub struct TestedBackend {
    name: Arc<str>,
    builder: Arc<dyn Fn() -> SessionBuilder + Send + Sync>,
    block_on: Arc<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>,
    external_url: Option<Arc<str>>,
    in_memory: bool,
    pub(crate) capabilities: Arc<OnceLock<Result<Arc<Capabilities>, String>>>,
}

impl TestedBackend {
    /// Creates a backend. Reports use `name`.
    ///
    /// `builder` returns a new builder for each call. `block_on` runs a future on the runtime and
    /// returns when the future completes. The suite calls both from several threads at once.
    pub fn new(
        name: impl Into<String>,
        builder: impl Fn() -> SessionBuilder + Send + Sync + 'static,
        block_on: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into().into(),
            builder: Arc::new(builder),
            block_on: Arc::new(block_on),
            external_url: None,
            in_memory: false,
            capabilities: Arc::default(),
        }
    }

    /// Runs the cases against the server at `url`, such as `http://127.0.0.1:8080`.
    ///
    /// The suite then runs only the cases that work with any server like httpbin. They are marked with
    /// [`Case::anywhere`](crate::Case::anywhere), and start no servers of the suite.
    #[must_use]
    pub fn against(mut self, url: &str) -> Self {
        self.external_url = Some(url.trim_end_matches('/').into());
        self
    }

    /// Marks the backend as one without sockets and with a single thread. Its client must answer
    /// requests to `url` from memory, for example with an
    /// [`InProcessOrigin`](inflight_origin::InProcessOrigin). Cases that need sockets or threads
    /// are skipped.
    #[must_use]
    pub fn in_memory(mut self, url: &str) -> Self {
        self.in_memory = true;
        self.against(url)
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        self.in_memory
    }

    pub(crate) fn external_url(&self) -> Option<Arc<str>> {
        self.external_url.clone()
    }

    /// Returns the name for reports.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn builder(&self) -> SessionBuilder {
        (self.builder)()
    }

    pub(crate) fn block_on(&self, future: BoxFuture<'static, ()>) {
        (self.block_on)(future);
    }
}

impl fmt::Debug for TestedBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TestedBackend({})", self.name)
    }
}
