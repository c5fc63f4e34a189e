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
