//! Addresses: the order in which a host's addresses are tried, and the delay between attempts (RFC 8305).

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An address that a client connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl From<&Path> for Address {
    fn from(path: &Path) -> Self {
        Self::Unix(path.to_owned())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// The delay after which the next address is tried in parallel: 250 ms, as RFC 8305, section 5,
/// recommends.
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Returns the same addresses with alternating families (RFC 8305, section 4).
///
/// If one family does not work, only one attempt fails before an address of the other family is tried. The
/// function keeps the resolver's order within a family. The first address stays first.
///
/// ```
/// use inflight_net::addresses::interleave;
///
/// let addresses = ["[::1]:80", "[::2]:80", "127.0.0.1:80"].map(|text| text.parse().unwrap());
/// let order: Vec<_> = interleave(addresses.to_vec()).iter().map(ToString::to_string).collect();
/// assert_eq!(order, ["[::1]:80", "127.0.0.1:80", "[::2]:80"]);
/// ```
pub fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv6) else {
        return addresses;
    };
    let (same_family, other_family): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first);
    let mut order = Vec::with_capacity(same_family.len() + other_family.len());
    let (mut same_family, mut other_family) = (same_family.into_iter(), other_family.into_iter());
    loop {
        let before = order.len();
        order.extend(same_family.next());
        order.extend(other_family.next());
        if order.len() == before {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interleave_keeps_every_address_once() {
        for text in [
            "",
            "1.1.1.1:1",
            "1.1.1.1:1 2.2.2.2:1 [::1]:1",
            "[::1]:1 1.1.1.1:1 2.2.2.2:1 3.3.3.3:1",
        ] {
            let addresses: Vec<SocketAddr> = text
                .split_whitespace()
                .map(|text| text.parse().unwrap())
                .collect();
            let order = interleave(addresses.clone());
            assert_eq!(order.first(), addresses.first());
            let (mut order, mut addresses) = (order, addresses);
            order.sort();
            addresses.sort();
            assert_eq!(order, addresses);
        }
    }
}
