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

/// Looks up host names for a client, and returns no address that the options' [`AddressGuard`]
/// refuses.
///
/// A client that connects to no other addresses supports the guard.
///
/// Concurrent calls for the same name share one lookup. At most 32 awaited lookups run at once. A
/// caller waits for each as long as [`ClientOptions::lookup_timeout`] allows. Nothing can interrupt
/// a lookup, so it runs on when all its callers have left. Up to 64 such lookups run in addition to
/// the 32.
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

    /// Returns the addresses of `host`, looked up on the runtime's blocking pool. For a literal
    /// address (`127.0.0.1`, `[::1]`), it returns at once.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Connect`] if the guard refuses every address. [`ErrorKind::Resolve`] if the
    /// lookup fails, or if it cannot begin in time because too many abandoned lookups hang.
    /// [`ErrorKind::Timeout`] in [`Phase::Connect`](crate::Phase::Connect) if the lookup timeout
    /// passes.
    ///
    /// # Panics
    ///
    /// If the resolver panics, one of its callers resumes the panic. The others get an error.
    pub async fn lookup(
        &self,
        runtime: &dyn Runtime,
        host: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, Error> {
        if let Some(literal) = literal(host, port) {
            return self.guarded(vec![literal]);
        }
        let (now, sleep) = (|| runtime.now(), |time| runtime.sleep(time));
        let spawn = |work| {
            runtime.spawn_blocking(work);
            Ok(())
        };
        let found = self.lookups.lookup((host, port), now, sleep, spawn).await?;
        self.guarded(found)
    }

    /// Looks up `host` like [`lookup`](Self::lookup), and blocks the calling thread.
    ///
    /// The lookup runs on a new thread: nothing interrupts the system's resolver, and the runtime's
    /// pool may be full of calls that wait for a name.
    ///
    /// # Errors
    ///
    /// As [`lookup`](Self::lookup). Also [`ErrorKind::Timeout`] in
    /// [`Phase::Connect`](crate::Phase::Connect) if `timeout` passes first, and
    /// [`ErrorKind::Cancelled`] if `cancel` fires.
    ///
    /// # Panics
    ///
    /// As [`lookup`](Self::lookup).
    pub fn lookup_blocking(
        &self,
        host: &str,
        port: u16,
        timeout: Option<Duration>,
        cancel: &Cancel,
    ) -> Result<Vec<SocketAddr>, Error> {
        if let Some(literal) = literal(host, port) {
            return self.guarded(vec![literal]);
        }
        let spawn = |work| {
            let thread = thread::Builder::new().name("inflight-look-up".to_owned());
            thread.spawn(work).map(drop)
        };
        let found = self
            .lookups
            .lookup_blocking((host, port), timeout, cancel, spawn)?;
        self.guarded(found)
    }

    /// Removes the refused addresses. Every address that this type returns passes through here.
    fn guarded(&self, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Error> {
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

fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    bare.parse::<IpAddr>()
        .ok()
        .map(|address| SocketAddr::new(address, port))
}
