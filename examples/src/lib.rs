//! The example programs of the book. Each runs on any backend:
//!
//! ```text
//! just run hundred_pages smol
//! ```
//!
//! - `get`: fetches one page.
//! - `hundred_pages`: fetches pages one after another, then a hundred at once.
//! - `gather`: fetches the URLs in its arguments. The project's README shows this program.
//! - `blocking_client`: times 100 pages in four ways. `just bench` runs it first.
//! - `stall`: measures how a blocking call stalls an event loop.
//! - `policy`: timeouts, limits, redirects, retries and closing a session.
//! - `guard`: refuses to connect to private addresses.
//! - `trace`: draws the timeline of each request with an observer.
//! - `auth_refresh`, `cache`: custom middleware around the client.
//! - `virtual_time`: tests a program with long waits in virtual time.
//! - `aiohttp`: counterparts of common aiohttp code.

use std::sync::Arc;

use inflight::backend::{Fetch, Runtime};
use inflight::clients::Ureq;
use inflight::{Error, Session};

// ANCHOR: clients
/// Builds a session over ureq, a blocking client.
pub fn ureq_session<F: Fetch>(
    runtime: &Arc<dyn Runtime>,
    make: impl FnOnce(Ureq, Arc<dyn Runtime>) -> F + Send + 'static,
) -> Result<Session, Error> {
    let runtime = runtime.clone();
    Session::builder(move |options| Ok((make(Ureq::new(options)?, runtime.clone()), runtime)))
        .build()
}
// ANCHOR_END: clients
