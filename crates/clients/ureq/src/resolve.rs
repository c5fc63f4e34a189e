//! Names are looked up by core.

use std::fmt;
use std::time::{Duration, Instant};

use inflight_core::Resolver;
use ureq::http::Uri;
use ureq::unversioned::resolver::{self, ResolvedSocketAddrs};
use ureq::unversioned::transport::NextTimeout;

use crate::socket;

pub(crate) struct Names {
    pub(crate) resolver: Resolver,
    pub(crate) timeout: Option<Duration>,
}

impl resolver::Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().ok_or(ureq::Error::HostNotFound)?;
        let port = uri.port_u16().unwrap_or(80);
        let started = Instant::now();
        let found = self
            .resolver
            .lookup_blocking(host, port, self.timeout, &socket::current())
            .map_err(|error| ureq::Error::Other(error.into()))?;
        socket::looked_up_in(started.elapsed());
        let mut addresses = self.empty();
        // ureq has room for 16.
        for address in found.into_iter().take(16) {
            addresses.push(address);
        }
        Ok(addresses)
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}
