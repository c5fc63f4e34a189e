//! The resolver of a client.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::backend::cancel::Cancel;
use crate::backend::runtime::Runtime;
use crate::connect::guard::AddressGuard;
use crate::connect::lookups::SharedLookups;
use crate::connect::options::ClientOptions;
use crate::error::Error;
#[cfg(doc)]
use crate::error::ErrorKind;

/// A resolver that looks up host names for a client. It returns no address that the options'
/// [`AddressGuard`] refuses.
///
/// A client enforces the guard by connecting only to the returned addresses.
///
/// Concurrent calls for the same name share one lookup. A caller waits for a lookup until
/// [`ClientOptions::lookup_timeout`] passes. At most 32 lookups that have a waiting caller run at
/// once. Nothing can interrupt a lookup, so it continues to run when all its callers have stopped
/// waiting. Up to 64 of these abandoned lookups run in addition to the 32.
///
/// ```
/// use inflight_core::{AddressGuard, BlockOn, ClientOptions, ErrorKind, Resolver};
/// use inflight_threads::Threads;
///
/// let mut options = ClientOptions::default();
/// options.address_guard = Some(AddressGuard::public());
/// let resolver = Resolver::new(&options);
/// let threads = Threads::new();
/// let found = threads.block_on(resolver.lookup(&threads, "192.168.1.1", 80));
/// assert_eq!(found.unwrap_err().kind(), ErrorKind::Connect);
/// ```
#[derive(Clone)]
pub struct Resolver {
    lookups: Arc<SharedLookups>,
    guard: Option<AddressGuard>,
}

impl Resolver {
    /// Creates a resolver from the options of a client.
    pub fn new(options: &ClientOptions) -> Self {
        Self {
            lookups: SharedLookups::new(options.resolver.clone(), options.lookup_timeout),
            guard: options.address_guard.clone(),
        }
    }

    /// Looks up the addresses of `host` on the runtime's blocking pool. A literal address
    /// (`127.0.0.1`, `[::1]`) needs no lookup.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Connect`] if the guard refuses every address. [`ErrorKind::Resolve`] if the
    /// lookup fails, or if it cannot start in time because too many abandoned lookups are running.
    /// [`ErrorKind::Timeout`] in [`Phase::Connect`](crate::Phase::Connect) if the lookup timeout
    /// passes.
    ///
    /// # Panics
    ///
    /// If the resolver panics, the panic resumes in one of the callers. The other callers get an
    /// error.
    pub async fn lookup(
        &self,
        runtime: &dyn Runtime,
        host: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, Error> {
        if let Some(literal) = parse_literal(host, port) {
            return self.apply_guard(vec![literal]);
        }
        let (now, sleep) = (|| runtime.now(), |time| runtime.sleep(time));
        let spawn = |work| {
            runtime.spawn_blocking(work);
            Ok(())
        };
        let found = self.lookups.lookup((host, port), now, sleep, spawn).await?;
        self.apply_guard(found)
    }

    /// Looks up `host` like [`lookup`](Self::lookup), and blocks the calling thread.
    ///
    /// The lookup runs on a new thread, because nothing can interrupt the system's resolver, and
    /// the runtime's pool may be full of calls that wait for a lookup.
    ///
    /// # Errors
    ///
    /// The same as [`lookup`](Self::lookup). Also [`ErrorKind::Timeout`] in
    /// [`Phase::Connect`](crate::Phase::Connect) if `timeout` passes first, and
    /// [`ErrorKind::Cancelled`] if `cancel` is cancelled.
    ///
    /// # Panics
    ///
    /// The same as [`lookup`](Self::lookup).
    pub fn lookup_blocking(
        &self,
        host: &str,
        port: u16,
        timeout: Option<Duration>,
        cancel: &Cancel,
    ) -> Result<Vec<SocketAddr>, Error> {
        if let Some(literal) = parse_literal(host, port) {
            return self.apply_guard(vec![literal]);
        }
        let spawn = |work| {
            let thread = thread::Builder::new().name("inflight-look-up".to_owned());
            thread.spawn(work).map(drop)
        };
        let found = self
            .lookups
            .lookup_blocking((host, port), timeout, cancel, spawn)?;
        self.apply_guard(found)
    }

    /// Removes the addresses that the guard refuses. Every lookup passes its result to this method.
    fn apply_guard(&self, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Error> {
        match &self.guard {
            None => Ok(addresses),
            Some(guard) => guard.filter(addresses),
        }
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

/// Parses a host that is an address (`127.0.0.1`, `[::1]`).
fn parse_literal(host: &str, port: u16) -> Option<SocketAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    bare.parse::<IpAddr>()
        .ok()
        .map(|address| SocketAddr::new(address, port))
}
