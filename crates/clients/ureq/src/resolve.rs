//! Names are looked up by core.

use std::fmt;
use std::time::{Duration, Instant};

use inflight_core::{Resolver, host_and_port};
use ureq::http::Uri;
use ureq::unversioned::resolver::{self, ResolvedSocketAddrs};
use ureq::unversioned::transport::NextTimeout;

use crate::{secure, socket};

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
        let (host, port) = host_and_port(uri).map_err(secure::ours)?;
        let started = Instant::now();
        let found = self
            .resolver
            .lookup_blocking(host, port, self.timeout, &socket::current())
            .map_err(secure::ours)?;
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
