//! The `tokio` backend: hyper on tokio.
//!
//! Inside a tokio runtime it uses that one. Outside of any it uses [`Tokio::global`], which
//! starts once, on background threads, and stays: a session works from plain `main` and under
//! any other executor. To insist on the runtime around, ask [`Tokio::current`].

use std::sync::Arc;

use inflight_core::{BlockOn, ClientOptions, Error, Runtime, Session, SessionBuilder};
use inflight_hyper::Hyper;
pub use inflight_tokio::Tokio;

type Parts = (Hyper, Arc<dyn Runtime>);

fn open(tokio: Tokio, options: &ClientOptions) -> Result<Parts, Error> {
    let runtime: Arc<dyn Runtime> = Arc::new(tokio);
    Ok((Hyper::new(runtime.clone(), options)?, runtime))
}

/// A session to be built with options.
pub fn builder() -> SessionBuilder {
    Session::builder(|options| open(Tokio::current_or_global()?, options))
}

/// A session on this tokio runtime.
pub fn builder_on(tokio: Tokio) -> SessionBuilder {
    Session::builder(|options| open(tokio, options))
}

/// A session with the default policy.
///
/// # Errors
///
/// [`NoRuntime`](inflight_core::ErrorKind::NoRuntime) when a runtime is needed and the system
/// refuses its threads.
pub fn session() -> Result<Session, Error> {
    builder().build()
}

/// Runs a future on the program's own tokio runtime and blocks this thread until its end.
///
/// # Panics
///
/// Inside a tokio runtime, whose threads must not block; and when the system refuses the threads
/// that the runtime needs.
pub fn block_on<F: Future>(future: F) -> F::Output {
    match Tokio::global() {
        Ok(tokio) => tokio.block_on(future),
        Err(error) => panic!("{error}"),
    }
}
