//! Looks names up for a client.

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

/// Looks names up for a client, and gives out no address that the options'
/// [`AddressGuard`] refuses: a client that connects to nothing else has the guard.
///
/// Those who ask for the same name at the same time share one look-up. At most 32 of them run at
/// once that somebody waits for, and each is waited for as long as
/// [`ClientOptions::lookup_timeout`] says. One that nobody waits for any more runs on, as nothing
/// ends it, and is in nobody's way: up to 64 of these run beside the others.
#[derive(Clone)]
pub struct Resolver {
    lookups: Arc<SharedLookups>,
    guard: Option<AddressGuard>,
}

impl Resolver {
    /// A resolver as the options want it.
    pub fn new(options: &ClientOptions) -> Self {
        Self {
            lookups: SharedLookups::new(options.resolver.clone(), options.lookup_timeout),
            guard: options.address_guard.clone(),
        }
    }

    /// The addresses of `host`, looked up on the runtime's blocking pool. An address in the
    /// place of a name (`127.0.0.1`, `[::1]`) is answered at once.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Connect`] when the guard refuses every address. [`ErrorKind::Resolve`] with the cause, which is that too many look-ups hang when none could
    /// begin in time; [`ErrorKind::Timeout`] in [`Phase::Connect`](crate::Phase::Connect) when a look-up's own time has
    /// passed.
    ///
    /// # Panics
    ///
    /// With the resolver's panic: one of those who wait for it, while the others get an error.
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
        let found = self.lookups.ask((host, port), now, sleep, spawn).await?;
        self.guarded(found)
    }

    /// The same for a thread that may block. The look-up runs on a thread of its own: nothing
    /// interrupts the system's resolver, and the runtime's pool may be full of calls that wait
    /// for a name.
    ///
    /// # Errors
    ///
    /// As [`lookup`](Self::lookup); [`ErrorKind::Timeout`] in [`Phase::Connect`](crate::Phase::Connect) when `timeout`
    /// passes first, [`ErrorKind::Cancelled`] when `cancel` fires.
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
            .ask_blocking((host, port), timeout, cancel, spawn)?;
        self.guarded(found)
    }

    /// What may be connected to. All that this type gives out comes through here.
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
