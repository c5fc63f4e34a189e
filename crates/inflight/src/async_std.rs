//! The `async-std` backend: surf on async-std.
//!
//! Neither is maintained any more (RUSTSEC-2025-0052, RUSTSEC-2025-0036).

use std::sync::Arc;

pub use inflight_async_std::AsyncStd;
use inflight_core::{BlockOn, Error, Runtime, Session, SessionBuilder};
use inflight_surf::Surf;

/// A session to be built with options.
pub fn builder() -> SessionBuilder {
    Session::builder(|options| {
        let runtime: Arc<dyn Runtime> = Arc::new(AsyncStd::global());
        let client = Surf::new(runtime.clone(), options)?;
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
    AsyncStd::global().block_on(future)
}
