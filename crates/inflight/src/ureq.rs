//! The `ureq` backend: a blocking client, each call on a thread of its own.

use std::sync::Arc;

use inflight_core::{BlockOn, Error, Offload, Runtime, Session, SessionBuilder};
pub use inflight_threads::Threads;
use inflight_ureq::Ureq;

/// A session to be built with options.
pub fn builder() -> SessionBuilder {
    Session::builder(|options| {
        let runtime: Arc<dyn Runtime> = Arc::new(Threads::new());
        let client = Offload::new(Ureq::new(options)?, runtime.clone());
        Ok((client, runtime))
    })
}

/// A session with the default policy.
///
/// # Errors
///
/// Whatever keeps the client from starting.
pub fn session() -> Result<Session, Error> {
    builder().build()
}

/// Runs a future and blocks this thread until its end.
pub fn block_on<F: Future>(future: F) -> F::Output {
    Threads::new().block_on(future)
}
