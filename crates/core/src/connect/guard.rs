//! The address guard, which decides which addresses a client may connect to.

use std::error::Error as StdError;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

pub use ipnet::IpNet;

#[cfg(doc)]
use crate::connect::options::ClientOptions;
use crate::error::{Error, ErrorKind};

/// A rule that decides which addresses a client may connect to.
///
/// A guard is for programs that fetch URLs from untrusted sources. A URL from an attacker must not
/// make the program connect to its own machine or to an internal network (server-side request
/// forgery).
///
/// The guard checks each address before the client connects to it, whether the address comes from a
/// lookup, from the URL itself or from a redirect. Because the client connects to the checked
/// address, a name that resolves differently the next time (DNS rebinding) does not bypass the
/// guard. If a name has several addresses, the client tries only those that the guard allows. If the
/// guard allows none of them, the request fails with an error of kind
/// [`Connect`](ErrorKind::Connect) and the source [`AddressRefused`]. The session does not retry the
/// request.
///
/// A request on a pooled connection needs no check, because the guard checked the address when the
/// connection was made. With a proxy, the guard checks the proxy's address, and the proxy decides
/// which addresses it connects to. With a `socks5` proxy, the client looks up the name of the server,
/// so the guard checks the server's addresses too. With a [Unix socket](ClientOptions::unix_socket),
/// there is no address to check.
///
/// [`SessionBuilder::build`](crate::SessionBuilder::build) fails if there is a guard and the client
/// does not support [`address_guard`](crate::Capabilities::address_guard).
///
/// ```
/// use inflight_core::AddressGuard;
///
/// let guard = AddressGuard::public().allow("10.1.2.0/24".parse().unwrap());
/// assert!(guard.check("93.184.215.14:443".parse().unwrap()).is_ok());
/// assert!(guard.check("10.1.2.3:443".parse().unwrap()).is_ok());
/// let refused = guard.check("169.254.169.254:80".parse().unwrap()).unwrap_err();
/// assert_eq!(refused.reason(), "it is link-local");
/// ```
#[derive(Clone)]
pub struct AddressGuard {
    rule: Rule,
    allowed: Vec<IpNet>,
}

#[derive(Clone)]
enum Rule {
    Public,
    Custom(Arc<dyn Fn(SocketAddr) -> bool + Send + Sync>),
}

impl AddressGuard {
    /// Returns a guard that allows the addresses that are reachable from the whole internet,
    /// according to IANA's registries of special-purpose addresses (RFC 6890) and of multicast
    /// addresses.
    ///
    /// It refuses unspecified, loopback, private (RFC 1918), shared (100.64.0.0/10), link-local,
    /// multicast, broadcast, documentation, benchmarking and reserved addresses. For IPv6, it also
    /// refuses unique local and site-local addresses, and every address that contains an IPv4
    /// address: mapped, compatible and translated addresses, NAT64, 6to4 and Teredo.
    ///
    /// In a network that reaches IPv4 through NAT64, [`allow`](Self::allow) `64:ff9b::/96`. The
    /// NAT64 translator must then itself refuse IPv4 addresses that are not public.
    pub fn public() -> Self {
        Self {
            rule: Rule::Public,
            allowed: Vec::new(),
        }
    }

    /// Returns a guard that allows the addresses for which `allows` returns `true`.
    ///
    /// The guard calls `allows` for each new connection, on any thread, so `allows` must not block.
    /// The guard converts an IPv4-mapped address (`::ffff:127.0.0.1`) to IPv4 before it calls
    /// `allows`, because the system connects to the IPv4 address.
    ///
    /// ```
    /// use inflight_core::AddressGuard;
    ///
    /// let guard = AddressGuard::custom(|address| address.ip().is_loopback());
    /// assert!(guard.check("[::ffff:127.0.0.1]:80".parse().unwrap()).is_ok());
    /// assert!(guard.check("192.0.2.1:80".parse().unwrap()).is_err());
    /// ```
    pub fn custom(allows: impl Fn(SocketAddr) -> bool + Send + Sync + 'static) -> Self {
        Self {
            rule: Rule::Custom(Arc::new(allows)),
            allowed: Vec::new(),
        }
    }

    /// Allows all addresses of a network, even if the guard's rule refuses them.
    ///
    /// The network is compared with the address as written: `127.0.0.0/8` does not contain
    /// `::ffff:127.0.0.1`.
    #[must_use]
    pub fn allow(mut self, network: IpNet) -> Self {
        self.allowed.push(network);
        self
    }

    /// Checks whether the client may connect to an address.
    ///
    /// # Errors
    ///
    /// [`AddressRefused`], with the reason.
    pub fn check(&self, address: SocketAddr) -> Result<(), AddressRefused> {
        let ip = address.ip();
        if self.allowed.iter().any(|network| network.contains(&ip)) {
            return Ok(());
        }
        let reason = match &self.rule {
            Rule::Public => refusal_reason(ip),
            Rule::Custom(allows) => {
                let address = SocketAddr::new(ip.to_canonical(), address.port());
                (!allows(address)).then_some("the program's custom rule refuses it")
            }
        };
        match reason {
            None => Ok(()),
            Some(reason) => Err(AddressRefused { address, reason }),
        }
    }

    /// Returns the addresses that the guard allows.
    ///
    /// # Errors
    ///
    /// An error with the source [`AddressRefused`], if the guard allows none of them.
    pub(crate) fn filter(&self, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Error> {
        let mut refused = None;
        let mut addresses = addresses;
        addresses.retain(|address| match self.check(*address) {
            Ok(()) => true,
            Err(refusal) => {
                refused.get_or_insert(refusal);
                false
            }
        });
        match refused {
            Some(refusal) if addresses.is_empty() => Err(refusal.into()),
            _ => Ok(addresses),
        }
    }
}

impl fmt::Debug for AddressGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rule = match self.rule {
            Rule::Public => "public",
            Rule::Custom(_) => "custom",
        };
        f.debug_struct("AddressGuard")
            .field("rule", &rule)
            .field("allowed", &self.allowed)
            .finish()
    }
}

/// An address that the session's [`AddressGuard`] refuses. It is the source of an error of kind
/// [`Connect`](ErrorKind::Connect): see [`Error::address_refused`].
///
/// For an example, see [`AddressGuard`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressRefused {
    address: SocketAddr,
    reason: &'static str,
}

impl AddressRefused {
    /// Returns the refused address, or the first one if the guard refused several.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the reason, for example `it is link-local`.
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

impl fmt::Display for AddressRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is refused: {}", self.address.ip(), self.reason)
    }
}

impl StdError for AddressRefused {}

impl From<AddressRefused> for Error {
    fn from(refused: AddressRefused) -> Self {
        Self::new(ErrorKind::Connect)
            .with_context(refused.to_string())
            .with_source(refused)
    }
}

impl Error {
    /// Returns the address that the session's [`AddressGuard`] refused, if that is the source of
    /// the error.
    pub fn address_refused(&self) -> Option<&AddressRefused> {
        self.source()?.downcast_ref()
    }
}

/// Returns why an address is not reachable from the whole internet, or `None` if it is reachable.
fn refusal_reason(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => refusal_reason_v4(ip),
        IpAddr::V6(ip) => refusal_reason_v6(ip),
    }
}

fn refusal_reason_v4(ip: Ipv4Addr) -> Option<&'static str> {
    let bits = ip.to_bits();
    let within = |&&([a, b, c], len, _): &&Net4| {
        (bits ^ Ipv4Addr::new(a, b, c, 0).to_bits()) >> (32 - len) == 0
    };
    let found = SPECIAL_V4.iter().find(within);
    found.map(|(_, _, reason)| *reason)
}

fn refusal_reason_v6(ip: Ipv6Addr) -> Option<&'static str> {
    if ip.is_unspecified() {
        return Some("it is unspecified");
    }
    if ip.is_loopback() {
        return Some("it is loopback");
    }
    let bits = ip.to_bits();
    let within = |(net, len, _): &&Net6| (bits ^ net.to_bits()) >> (128 - len) == 0;
    let found = SPECIAL_V6.iter().find(within).map(|(_, _, reason)| *reason);
    // IANA has allocated no global unicast addresses outside 2000::/3 (RFC 4291, 2.4).
    let global = (ip.segments()[0] & 0xe000) == 0x2000;
    found.or((!global).then_some("it is reserved"))
}

/// An IPv4 network: the first three bytes of its address, the length of its prefix in bits, and the
/// reason why the guard refuses it.
type Net4 = ([u8; 3], u32, &'static str);

const SPECIAL_V4: &[Net4] = &[
    ([0, 0, 0], 8, "it is unspecified"),
    ([10, 0, 0], 8, "it is private"),
    ([100, 64, 0], 10, "it is shared address space"),
    ([127, 0, 0], 8, "it is loopback"),
    ([169, 254, 0], 16, "it is link-local"),
    ([172, 16, 0], 12, "it is private"),
    ([192, 0, 0], 24, "it is reserved for protocols"),
    ([192, 0, 2], 24, "it is for documentation"),
    ([192, 88, 99], 24, "it is a 6to4 relay"),
    ([192, 168, 0], 16, "it is private"),
    ([198, 18, 0], 15, "it is for benchmarks"),
    ([198, 51, 100], 24, "it is for documentation"),
    ([203, 0, 113], 24, "it is for documentation"),
    ([224, 0, 0], 4, "it is multicast"),
    // This range includes the broadcast address.
    ([240, 0, 0], 4, "it is reserved"),
];

/// An IPv6 network: its address, the length of its prefix in bits, and the reason why the guard
/// refuses it.
type Net6 = (Ipv6Addr, u32, &'static str);

const fn net6(a: u16, b: u16, c: u16, e: u16, f: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, 0, e, f, 0, 0)
}

const SPECIAL_V6: &[Net6] = &[
    (net6(0, 0, 0, 0, 0xffff), 96, "it is a mapped IPv4 address"),
    (
        net6(0, 0, 0, 0xffff, 0),
        96,
        "it is a translated IPv4 address",
    ),
    (net6(0, 0, 0, 0, 0), 96, "it is a compatible IPv4 address"),
    (
        net6(0x64, 0xff9b, 0, 0, 0),
        96,
        "it is an IPv4 address behind NAT64",
    ),
    (
        net6(0x64, 0xff9b, 1, 0, 0),
        48,
        "it is an IPv4 address behind NAT64",
    ),
    (net6(0x100, 0, 0, 0, 0), 64, "it is discard-only"),
    (
        net6(0x2001, 0, 0, 0, 0),
        32,
        "it is an IPv4 address behind Teredo",
    ),
    (net6(0x2001, 2, 0, 0, 0), 48, "it is for benchmarks"),
    (net6(0x2001, 0, 0, 0, 0), 23, "it is reserved for protocols"),
    (net6(0x2001, 0xdb8, 0, 0, 0), 32, "it is for documentation"),
    (
        net6(0x2002, 0, 0, 0, 0),
        16,
        "it is an IPv4 address behind 6to4",
    ),
    (net6(0x3fff, 0, 0, 0, 0), 20, "it is for documentation"),
    (net6(0xfc00, 0, 0, 0, 0), 7, "it is unique local"),
    (net6(0xfe80, 0, 0, 0, 0), 10, "it is link-local"),
    (net6(0xfec0, 0, 0, 0, 0), 10, "it is site-local"),
    (net6(0xff00, 0, 0, 0, 0), 8, "it is multicast"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(ip: &str) -> Option<&'static str> {
        let address = SocketAddr::new(ip.parse().unwrap(), 80);
        let refused = AddressGuard::public().check(address).err();
        refused.map(|refused| refused.reason())
    }

    /// The first and the last address of each range, and a part of the reason.
    const RANGES: &[(&str, &str, &str)] = &[
        ("0.0.0.0", "0.255.255.255", "unspecified"),
        ("10.0.0.0", "10.255.255.255", "private"),
        ("100.64.0.0", "100.127.255.255", "shared"),
        ("127.0.0.0", "127.255.255.255", "loopback"),
        ("169.254.0.0", "169.254.255.255", "link-local"),
        ("172.16.0.0", "172.31.255.255", "private"),
        ("192.0.0.0", "192.0.0.255", "protocols"),
        ("192.0.2.0", "192.0.2.255", "documentation"),
        ("192.88.99.0", "192.88.99.255", "6to4"),
        ("192.168.0.0", "192.168.255.255", "private"),
        ("198.18.0.0", "198.19.255.255", "benchmarks"),
        ("198.51.100.0", "198.51.100.255", "documentation"),
        ("203.0.113.0", "203.0.113.255", "documentation"),
        ("224.0.0.0", "239.255.255.255", "multicast"),
        ("240.0.0.0", "255.255.255.255", "reserved"),
        ("::", "::", "unspecified"),
        ("::1", "::1", "loopback"),
        ("::2", "::ffff:ffff", "compatible"),
        ("::ffff:0.0.0.0", "::ffff:255.255.255.255", "mapped"),
        ("::ffff:0:0:0", "::ffff:0:ffff:ffff", "translated"),
        ("64:ff9b::", "64:ff9b::ffff:ffff", "NAT64"),
        ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "NAT64"),
        ("100::", "100::ffff:ffff:ffff:ffff", "discard"),
        ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "Teredo"),
        (
            "2001:2::",
            "2001:2:0:ffff:ffff:ffff:ffff:ffff",
            "benchmarks",
        ),
        (
            "2001:1::",
            "2001:1:ffff:ffff:ffff:ffff:ffff:ffff",
            "protocols",
        ),
        (
            "2001:3::",
            "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
            "protocols",
        ),
        (
            "2001:db8::",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            "documentation",
        ),
        ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "6to4"),
        (
            "3fff::",
            "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
            "documentation",
        ),
        (
            "4000::",
            "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "reserved",
        ),
        (
            "fc00::",
            "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "unique local",
        ),
        (
            "fe80::",
            "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "link-local",
        ),
        (
            "fec0::",
            "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "site-local",
        ),
        (
            "ff00::",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "multicast",
        ),
    ];

    #[test]
    fn special_ranges_are_refused_including_both_ends() {
        for (first, last, expected) in RANGES {
            for ip in [first, last] {
                let reason = reason(ip).unwrap_or_else(|| panic!("{ip} is allowed"));
                assert!(reason.contains(expected), "{ip}: {reason}");
            }
        }
    }

    #[test]
    fn public_addresses_next_to_special_ranges_are_allowed() {
        for ip in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.255",
            "192.0.3.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "2000::",
            "2001:200::",
            "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
            "2001:db9::",
            "2003::",
            "2606:2800:21f:cb07:6820:80da:af6b:8b2c",
            "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "3fff:1000::",
        ] {
            assert_eq!(reason(ip), None, "{ip}");
        }
    }

    #[test]
    fn an_allowed_network_matches_addresses_as_written() {
        let guard = AddressGuard::public().allow("127.0.0.0/8".parse().unwrap());
        let check = |address: &str| guard.check(address.parse().unwrap());
        assert!(check("127.1.2.3:80").is_ok());
        assert!(check("[::ffff:127.1.2.3]:80").is_err());
        assert!(check("10.0.0.1:80").is_err());
    }

    #[test]
    fn a_custom_rule_gets_ipv4_mapped_addresses_as_ipv4() {
        let guard =
            AddressGuard::custom(|address| !address.ip().is_loopback() && address.port() == 443);
        let check = |address: &str| guard.check(address.parse().unwrap());
        assert!(check("10.0.0.1:443").is_ok());
        for refused in ["10.0.0.1:80", "127.0.0.1:443", "[::ffff:127.0.0.1]:443"] {
            assert!(check(refused).is_err(), "{refused}");
        }
        let guard = guard.allow("127.0.0.1/32".parse().unwrap());
        assert!(guard.check("127.0.0.1:80".parse().unwrap()).is_ok());
    }

    #[test]
    fn a_host_is_refused_if_all_its_addresses_are_refused() {
        let guard = AddressGuard::public();
        let addresses = |ips: &[&str]| {
            let ips = ips
                .iter()
                .map(|ip| SocketAddr::new(ip.parse().unwrap(), 80));
            ips.collect::<Vec<_>>()
        };
        let allowed = guard.filter(addresses(&["10.0.0.1", "1.1.1.1", "::1"]));
        assert_eq!(allowed.unwrap(), addresses(&["1.1.1.1"]));
        let error = guard.filter(addresses(&["10.0.0.1", "::1"])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect);
        let refused = error.address_refused().unwrap();
        assert_eq!(refused.to_string(), "10.0.0.1 is refused: it is private");
    }
}
