//! Asynchronous HTTP with one meaning on every runtime.
//!
//! A program that fetches waits. One that waits for each page in turn takes as long as all of
//! them together; one that has them all in flight takes as long as the slowest:
//!
#![cfg_attr(
    any(
        feature = "tokio",
        feature = "smol",
        feature = "async-std",
        feature = "ureq"
    ),
    doc = "```"
)]
#![cfg_attr(
    not(any(
        feature = "tokio",
        feature = "smol",
        feature = "async-std",
        feature = "ureq"
    )),
    doc = "```ignore"
)]
//! use inflight::gather;
//!
//! # let origin = inflight_origin::Origin::start()?;
//! # let pages = origin.url("/page");
//! inflight::block_on(async {
//!     let session = inflight::session()?;
//!     let urls = (0..10).map(|n| format!("{pages}/{n}"));
//!     let results = gather(urls.map(|url| session.get(url).text()))
//!         .limit(100)
//!         .settled()
//!         .await
//!         .results;
//!     for result in &results {
//!         match result {
//!             Ok(text) => assert!(text.contains("page")),
//!             Err(error) => eprintln!("{error}"),
//!         }
//!     }
//!     assert_eq!(results.len(), 10);
//!     Ok::<_, inflight::Error>(())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Backends
//!
//! No backend is there by default; each is a feature, and any number of them may be on:
//!
//! | feature | cell | |
//! |---|---|---|
//! | `tokio` | `tokio/hyper` | |
//! | `smol` | `smol/isahc` | isahc moves its bytes on a libcurl thread of its own |
//! | `async-std` | `async-std/surf` | neither crate is maintained any more |
//! | `ureq` | `threads/ureq` | blocking; a thread for each request in flight |
//!
//! [`session()`] and [`block_on`] are for programs: they take the first of `tokio`, `smol`,
//! `async-std` and `ureq` that is on. As [`Session`] is one type, a feature that somebody else
//! switches on can change its cost, never its meaning. Libraries take a [`Session`] from their
//! caller, or name a backend: `inflight::tokio::session()`.
//!
//! Other pairs of a runtime and a client are [`Cell`]s, from the features `rt-tokio`, `rt-smol`,
//! `rt-async-std`, `rt-threads` and `client-hyper`, `client-isahc`, `client-surf`,
//! `client-ureq`.
//!
//! For tests there are the features `rt-virtual` and `client-mock`: a runtime whose time passes
//! when nothing else is left to do, and a client that answers from a script.
//!
//! # TLS
//!
//! `https` works on every cell. The authorities that Mozilla trusts are compiled in;
//! [`SessionBuilder::add_root_certificate`] adds others, and [`TlsOptions`] has the rest. hyper and
//! isahc speak HTTP/2 with a server that offers it ([`HttpVersions`]).
//!
//! # Names and addresses
//!
//! Names are looked up by the system; [`SessionBuilder::resolver`] takes another [`Resolve`], and
//! with the feature `hickory` there is one that asks the name servers itself: `Hickory`. What
//! may be connected to is for an [`AddressGuard`] to say.
//!
//! # Proxies
//!
//! [`SessionBuilder::proxy`] sends requests through one, [`Proxies`] says which; the environment is
//! read only by a program that asks for it ([`Proxies::from_env`]).

mod backends;
#[cfg(any(
    feature = "tokio",
    feature = "smol",
    feature = "async-std",
    feature = "ureq"
))]
pub mod blocking;
mod cell;

#[cfg(feature = "async-std")]
pub use backends::async_std;
#[cfg(feature = "smol")]
pub use backends::smol;
#[cfg(feature = "tokio")]
pub use backends::tokio;
#[cfg(feature = "ureq")]
pub use backends::ureq;
pub use cell::{Backend, Cell, UnknownCell};
pub use inflight_core::*;
#[cfg(feature = "hickory")]
pub use inflight_net::hickory::Hickory;
/// Finds what stalls an event loop.
#[cfg(feature = "probe")]
pub use inflight_probe as probe;

/// The runtimes that are compiled in.
pub mod runtimes {
    #[cfg(feature = "rt-async-std")]
    pub use inflight_async_std::AsyncStd;
    #[cfg(feature = "rt-smol")]
    pub use inflight_smol::Smol;
    #[cfg(feature = "rt-threads")]
    pub use inflight_threads::Threads;
    #[cfg(feature = "rt-tokio")]
    pub use inflight_tokio::Tokio;
    #[cfg(feature = "rt-virtual")]
    pub use inflight_virtual::{LinkOptions, Listener, Network, Virtual};
}

/// The clients that are compiled in, to be put into a session by hand.
pub mod clients {
    #[cfg(feature = "client-hyper")]
    pub use inflight_hyper::Hyper;
    #[cfg(feature = "client-isahc")]
    pub use inflight_isahc::Isahc;
    #[cfg(feature = "client-mock")]
    pub use inflight_mock::{Mock, Recorded, Reply, When};
    #[cfg(feature = "client-surf")]
    pub use inflight_surf::Surf;
    #[cfg(feature = "client-ureq")]
    pub use inflight_ureq::Ureq;
}

#[cfg(all(feature = "async-std", not(any(feature = "tokio", feature = "smol"))))]
use crate::async_std as default_backend;
#[cfg(all(feature = "smol", not(feature = "tokio")))]
use crate::smol as default_backend;
#[cfg(feature = "tokio")]
use crate::tokio as default_backend;
#[cfg(all(
    feature = "ureq",
    not(any(feature = "tokio", feature = "smol", feature = "async-std"))
))]
use crate::ureq as default_backend;

#[cfg(any(
    feature = "tokio",
    feature = "smol",
    feature = "async-std",
    feature = "ureq"
))]
mod default {
    use super::*;

    /// A session with the default policy, on the default backend: the first of `tokio`, `smol`,
    /// `async-std` and `ureq` that is compiled in. It works inside a tokio task, under
    /// `smol::block_on` and in plain `main`.
    ///
    /// # Errors
    ///
    /// Whatever keeps the backend from starting.
    pub fn session() -> Result<Session, Error> {
        default_backend::session()
    }

    /// A session on the default backend, to be built with options.
    pub fn builder() -> SessionBuilder {
        default_backend::builder()
    }

    /// Runs a future on the default backend and blocks this thread until its end.
    ///
    /// # Panics
    ///
    /// Where the runtime forbids it: tokio does, on its own threads.
    pub fn block_on<F: Future>(future: F) -> F::Output {
        default_backend::block_on(future)
    }
}
#[cfg(any(
    feature = "tokio",
    feature = "smol",
    feature = "async-std",
    feature = "ureq"
))]
pub use default::{block_on, builder, session};
