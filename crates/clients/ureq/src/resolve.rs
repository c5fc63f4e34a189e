//! Name lookup with the core's resolver.

use std::fmt;
use std::time::Duration;

use inflight_core::{Resolver, host_and_port};
use inflight_net::addresses::interleave;
use ureq::http::Uri;
use ureq::unversioned::resolver::{self, ResolvedSocketAddrs};
use ureq::unversioned::transport::NextTimeout;

use crate::{call, error};

/// A resolver for ureq that calls the core's resolver.
pub(crate) struct CoreResolver {
    pub(crate) resolver: Resolver,
    pub(crate) timeout: Option<Duration>,
    /// Whether all connections go to a Unix socket, so that no name is looked up.
    pub(crate) is_unused: bool,
}

impl resolver::Resolver for CoreResolver {
    fn resolve(
        &self,
        uri: &Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        if self.is_unused {
            return Ok(self.empty());
        }
        let proxy = call::proxy();
        let (host, port) = match &proxy {
            Some(proxy) => (proxy.host(), proxy.port()),
            None => host_and_port(uri).map_err(error::to_ureq_error)?,
        };
        call::record_lookup_start();
        let found = self
            .resolver
            .lookup_blocking(host, port, self.timeout, &call::cancel())
            .map_err(|error| error::to_ureq_error(call::via_proxy(error)))?;
        let mut addresses = self.empty();
        // ureq accepts at most 16 addresses. Interleaving puts IPv4 and IPv6 addresses among the first 16.
        for address in interleave(found).into_iter().take(16) {
            addresses.push(address);
        }
        Ok(addresses)
    }
}

impl fmt::Debug for CoreResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CoreResolver")
    }
}
