//! Names are looked up by core, on the thread that blocks anyway.

use std::fmt;

use inflight_core::Resolver;
use ureq::http::Uri;
use ureq::unversioned::resolver::{self, ResolvedSocketAddrs};
use ureq::unversioned::transport::NextTimeout;

pub(crate) struct Names(pub(crate) Resolver);

impl resolver::Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().ok_or(ureq::Error::HostNotFound)?;
        let port = uri.port_u16().unwrap_or(80);
        let found = self
            .0
            .lookup_blocking(host, port)
            .map_err(|error| ureq::Error::Other(error.into()))?;
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
