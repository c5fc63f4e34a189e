//! The `smol` backend: isahc on smol.
//!
//! isahc moves its bytes with libcurl, on a thread of its own: smol only waits for them. The cell
//! `smol/hyper` has the whole exchange on smol.
//!
//! smol's executor has one thread unless `SMOL_THREADS` says otherwise.

use std::sync::Arc;

use inflight_core::{BlockOn, Error, Runtime, Session, SessionBuilder};
use inflight_isahc::Isahc;
pub use inflight_smol::Smol;

/// A session to be built with options.
pub fn builder() -> SessionBuilder {
    Session::builder(|options| {
        let runtime: Arc<dyn Runtime> = Arc::new(Smol::global());
        let client = Isahc::new(runtime.clone(), options)?;
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
    Smol::global().block_on(future)
}
