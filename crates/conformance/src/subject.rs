use std::fmt;
use std::sync::Arc;

use inflight_core::{BoxFuture, SessionBuilder};

/// A backend under test: a way to make sessions, and a way into its runtime.
#[derive(Clone)]
pub struct Subject {
    name: Arc<str>,
    builder: Arc<dyn Fn() -> SessionBuilder + Send + Sync>,
    block_on: Arc<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>,
    foreign: Option<Arc<str>>,
    in_memory: bool,
}

impl Subject {
    /// A backend by the name it has in reports.
    ///
    /// `builder` makes a fresh builder each time, and `block_on` enters the runtime with a future
    /// and returns at its end. Both are called from several threads at once.
    pub fn new(
        name: impl Into<String>,
        builder: impl Fn() -> SessionBuilder + Send + Sync + 'static,
        block_on: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into().into(),
            builder: Arc::new(builder),
            block_on: Arc::new(block_on),
            foreign: None,
            in_memory: false,
        }
    }

    /// The same backend, tried against a server elsewhere: only the cases that any httpbin can
    /// answer ([`Case::anywhere`](crate::Case::anywhere)) are run, and none starts an origin for
    /// its pages. `url` is its address, as in `http://127.0.0.1:8080`.
    #[must_use]
    pub fn against(mut self, url: &str) -> Self {
        self.foreign = Some(url.trim_end_matches('/').into());
        self
    }

    /// A backend without sockets and with one thread, whose client answers itself as the origin
    /// would at `url`: see [`InProcess`](inflight_origin::InProcess). Cases that need a wire, or
    /// things that happen at once, are reported as skipped.
    #[must_use]
    pub fn in_memory(mut self, url: &str) -> Self {
        self.in_memory = true;
        self.against(url)
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        self.in_memory
    }

    pub(crate) fn foreign(&self) -> Option<Arc<str>> {
        self.foreign.clone()
    }

    /// Its name.
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

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subject({})", self.name)
    }
}
