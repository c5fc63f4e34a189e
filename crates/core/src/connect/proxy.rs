//! The proxies of a client.

use std::fmt;
use std::net::IpAddr;

use http::uri::Scheme;
use http::{HeaderValue, Uri};
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::error::{BoxError, Error, ErrorKind};
use crate::message::auth;

/// An HTTP or SOCKS5 proxy, with its credentials. `Debug` and `Display` output do not contain the
/// credentials.
///
/// With an HTTP proxy and an `http` URL, the client sends the request to the proxy, with the absolute
/// URL as the target (RFC 9112, 3.2.2). For an `https` URL, the client requests a tunnel with CONNECT
/// (RFC 9110, 9.3.6), and uses TLS with the server through the tunnel.
///
/// With a SOCKS5 proxy (RFC 1928), the client requests a tunnel for every URL. With the scheme
/// `socks5`, the client looks up the name of the server, and the tunnel leads to the first address that
/// the resolver returns. With the scheme `socks5h`, the proxy looks up the name.
///
/// ```
/// use inflight_core::Proxy;
///
/// let proxy = Proxy::new("http://me:secret@proxy.test:3128")?;
/// assert_eq!((proxy.host(), proxy.port()), ("proxy.test", 3128));
/// assert_eq!(proxy.to_string(), "http://proxy.test:3128/");
///
/// let proxy = Proxy::new("socks5h://me:secret@proxy.test")?;
/// assert_eq!((proxy.host(), proxy.port()), ("proxy.test", 1080));
/// # Ok::<(), inflight_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Proxy {
    uri: Uri,
    port: u16,
    protocol: ProxyProtocol,
    credentials: Option<Credentials>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ProxyProtocol {
    Http,
    Socks5,
    /// SOCKS5, and the proxy looks up the names of servers.
    Socks5h,
}

impl ProxyProtocol {
    /// Returns the protocol for the scheme of a URL, or `None` if the scheme is not supported.
    fn from_scheme(scheme: &str) -> Option<Self> {
        let protocols = [
            ("http", Self::Http),
            ("socks5", Self::Socks5),
            ("socks5h", Self::Socks5h),
        ];
        let mut protocols = protocols.into_iter();
        let found = protocols.find(|(name, _)| name.eq_ignore_ascii_case(scheme));
        found.map(|(_, protocol)| protocol)
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Socks5 | Self::Socks5h => 1080,
        }
    }
}

#[derive(Clone)]
struct Credentials {
    user: String,
    password: String,
    /// The value of `Proxy-Authorization`. `None` for a SOCKS5 proxy.
    header: Option<HeaderValue>,
}

/// The longest user name and the longest password of SOCKS5, in bytes (RFC 1929, 2).
const MAX_SOCKS_CREDENTIAL: usize = 255;

impl Proxy {
    /// Creates a proxy from `http://host:port` or `http://user:password@host:port`. The scheme may also
    /// be `socks5` or `socks5h`.
    ///
    /// In the credentials, characters that URLs do not allow must be percent-encoded. The default
    /// scheme is `http`. The default port is 80, and 1080 for SOCKS5.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidUrl`] if `url` has another form. Proxies over TLS and SOCKS4 are not
    /// supported.
    pub fn new(url: &str) -> Result<Self, Error> {
        let invalid = |why: &str| {
            Error::new(ErrorKind::InvalidUrl).with_context(format!("the proxy's URL {why}"))
        };
        let with_scheme = match url.contains("://") {
            true => url.to_owned(),
            false => format!("http://{url}"),
        };
        let mut url =
            Url::parse(&with_scheme).map_err(|error| invalid(&format!("is invalid: {error}")))?;
        let Some(protocol) = ProxyProtocol::from_scheme(url.scheme()) else {
            let scheme = url.scheme();
            return Err(invalid(&format!(
                "uses {scheme}, not http, socks5 or socks5h"
            )));
        };
        if protocol != ProxyProtocol::Http {
            // The parser leaves the hosts of schemes that it does not know unchanged.
            let host = url.host_str().unwrap_or_default();
            let host =
                Host::parse(host).map_err(|error| invalid(&format!("is invalid: {error}")))?;
            let set = url.set_host(Some(&host.to_string()));
            set.map_err(|error| invalid(&format!("is invalid: {error}")))?;
        }
        let decoded = |text: &str| {
            let text = percent_decode_str(text).decode_utf8();
            let text = text.map_err(|_| invalid("has credentials that are not UTF-8"))?;
            Ok::<_, Error>(text.into_owned())
        };
        let (user, password) = (decoded(url.username())?, url.password().map(decoded));
        let password = password.transpose()?.unwrap_or_default();
        let is_http = protocol == ProxyProtocol::Http;
        if !is_http && user.len().max(password.len()) > MAX_SOCKS_CREDENTIAL {
            return Err(invalid(
                "has a user name or a password of more than 255 bytes, which SOCKS5 cannot send",
            ));
        }
        let header = || auth::basic(format!("{user}:{password}").as_bytes());
        let credentials = match user.is_empty() && password.is_empty() {
            true => None,
            false => Some(Credentials {
                header: is_http.then(header).transpose()?,
                user,
                password,
            }),
        };
        // Neither call fails for a URL with a host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_path("/");
        url.set_query(None);
        url.set_fragment(None);
        let port = url.port().unwrap_or(protocol.default_port());
        let uri = url.as_str().parse();
        Ok(Self {
            uri: uri.map_err(|error| invalid("cannot be used").with_source(error))?,
            port,
            protocol,
            credentials,
        })
    }

    /// Returns whether this is a SOCKS5 proxy. The client then opens a tunnel for every request, and
    /// never sends HTTP to the proxy.
    pub fn is_socks(&self) -> bool {
        self.protocol != ProxyProtocol::Http
    }

    /// Returns whether the proxy looks up the names of servers. If not, the client looks them up with
    /// its [`Resolver`](crate::Resolver), so the address guard checks the addresses of servers too.
    pub fn resolves_names(&self) -> bool {
        self.protocol != ProxyProtocol::Socks5
    }

    /// Returns the proxy's URL, without credentials.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Returns the proxy's host name or address.
    pub fn host(&self) -> &str {
        self.uri.host().unwrap_or_default()
    }

    /// Returns the proxy's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the value of `Proxy-Authorization`, if this is an HTTP proxy with credentials.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.credentials.as_ref()?.header.as_ref()
    }

    /// Returns the user and the password, for SOCKS5 and for a client that makes the header itself.
    pub fn credentials(&self) -> Option<(&str, &str)> {
        let credentials = self.credentials.as_ref()?;
        Some((&credentials.user, &credentials.password))
    }

    /// Converts the error of a connection to the proxy. [`Connect`](ErrorKind::Connect) and
    /// [`Resolve`](ErrorKind::Resolve) become [`Proxy`](ErrorKind::Proxy). Other kinds, such as a
    /// timeout, stay the same.
    pub fn connection_error(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Connect | ErrorKind::Resolve => Error::new(ErrorKind::Proxy)
                .with_context(format!("no connection to {self}"))
                .with_source(error),
            _ => error,
        }
    }

    /// Returns an error of kind [`Proxy`](ErrorKind::Proxy) for a failed tunnel, with its cause.
    pub fn tunnel_error(&self, cause: impl Into<BoxError>) -> Error {
        Error::new(ErrorKind::Proxy)
            .with_context(format!("no tunnel through {self}"))
            .with_source(cause)
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(f)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// The rules that select the proxy for a URL. Default: no proxy.
///
/// ```
/// use inflight_core::{Proxies, Proxy};
///
/// let proxies = Proxies::all(Proxy::new("http://proxy.test:3128")?)
///     .except("localhost, .internal.test, 10.0.0.0/8");
/// let through = |url: &'static str| proxies.of(&url.parse().unwrap()).map(|proxy| proxy.is_some());
/// assert!(through("https://example.com/")?);
/// assert!(!through("http://api.internal.test/")?);
/// assert!(!through("http://10.1.2.3/")?);
/// # Ok::<(), inflight_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    http: Option<Route>,
    https: Option<Route>,
    exceptions: Vec<Exception>,
}

/// The proxy for the URLs of one scheme.
#[derive(Clone, Debug)]
enum Route {
    Through(Proxy),
    /// An environment variable sets a proxy of an unsupported kind.
    Unsupported {
        variable: &'static str,
        scheme: String,
    },
}

impl Route {
    /// Reads the proxy that an environment variable sets.
    fn from_var(variable: &'static str, value: &str) -> Result<Self, Error> {
        let value = value.trim();
        let scheme = value.split_once("://").map(|(scheme, _)| scheme);
        match scheme
            .filter(|scheme| is_scheme(scheme) && ProxyProtocol::from_scheme(scheme).is_none())
        {
            Some(scheme) => Ok(Self::Unsupported {
                variable,
                scheme: scheme.to_owned(),
            }),
            None => Proxy::new(value).map(Self::Through).map_err(|error| {
                Error::new(ErrorKind::InvalidUrl)
                    .with_context(format!("the environment variable {variable}"))
                    .with_source(error)
            }),
        }
    }
}

/// Returns whether `text` has the form of a scheme (RFC 3986, 3.1). Other text may contain
/// credentials, so no message prints it.
fn is_scheme(text: &str) -> bool {
    let is_rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(is_rest)
}

#[derive(Clone, Debug)]
enum Exception {
    Everything,
    Network(IpNet),
    /// A domain with its subdomains, for this port or for all ports.
    Domain(String, Option<u16>),
    Address(IpAddr, Option<u16>),
}

impl Proxies {
    /// Uses one proxy for every URL.
    pub fn all(proxy: Proxy) -> Self {
        Self {
            http: Some(Route::Through(proxy.clone())),
            https: Some(Route::Through(proxy)),
            exceptions: Vec::new(),
        }
    }

    /// Sets the proxy for `http` URLs.
    pub fn http(mut self, proxy: Proxy) -> Self {
        self.http = Some(Route::Through(proxy));
        self
    }

    /// Sets the proxy for `https` URLs.
    pub fn https(mut self, proxy: Proxy) -> Self {
        self.https = Some(Route::Through(proxy));
        self
    }

    /// Adds hosts that are reached without a proxy. `list` has the format of `NO_PROXY`: entries that
    /// are separated by commas or spaces.
    ///
    /// An entry is a domain with its subdomains (`internal.test`, `.internal.test` and
    /// `*.internal.test` mean the same), an address, a network (`10.0.0.0/8`), or `*` for all
    /// hosts. A domain or an address may have a port. The comparison does not look up names. Any
    /// other entry matches no host.
    pub fn except(mut self, list: &str) -> Self {
        let entries = list.split(|c: char| c == ',' || c.is_whitespace());
        let entries = entries.filter(|entry| !entry.is_empty());
        self.exceptions.extend(entries.map(exception));
        self
    }

    /// Returns the proxies that environment variables set.
    ///
    /// The variables are `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`. The name in lower
    /// case takes precedence over the one in upper case. `var` returns the value of a variable. An
    /// empty value counts as unset.
    ///
    /// If `REQUEST_METHOD` is set, as in a CGI program, `HTTP_PROXY` in upper case is ignored. A
    /// CGI server copies a request's `Proxy` header to this variable (<https://httpoxy.org>).
    ///
    /// A variable may set a proxy that is not supported, such as `socks4://host:port`. Only the
    /// requests that would use this proxy then fail: see [`of`](Self::of).
    ///
    /// The library never reads the environment by itself. A program can pass the environment to
    /// this function:
    ///
    /// ```
    /// use inflight_core::Proxies;
    ///
    /// let proxies = Proxies::from_env(|name| std::env::var(name).ok())?;
    /// # Ok::<(), inflight_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidUrl`], with the name of the variable whose value is not a URL.
    pub fn from_env(var: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let var = |name: &str| var(name).filter(|value| !value.trim().is_empty());
        let first = |names: &[&'static str]| {
            let mut values = names.iter().map(|name| Some((*name, var(name)?)));
            values.find_map(|value| value)
        };
        let route = |found: Option<(&'static str, String)>| {
            let route = found.map(|(name, value)| Route::from_var(name, &value));
            route.transpose()
        };
        let http: &[_] = match var("REQUEST_METHOD") {
            None => &["http_proxy", "HTTP_PROXY"],
            Some(_) => &["http_proxy"],
        };
        let all = || first(&["all_proxy", "ALL_PROXY"]);
        let proxies = Self {
            http: route(first(http).or_else(all))?,
            https: route(first(&["https_proxy", "HTTPS_PROXY"]).or_else(all))?,
            exceptions: Vec::new(),
        };
        Ok(match first(&["no_proxy", "NO_PROXY"]) {
            Some((_, list)) => proxies.except(&list),
            None => proxies,
        })
    }

    /// Returns the proxy for a request to this URL, or `None` if the request goes directly to its
    /// server.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if an environment variable sets a proxy for this URL that is neither an
    /// HTTP nor a SOCKS5 proxy, and `NO_PROXY` does not list the host. A client must then not send the
    /// request directly to the server.
    pub fn of(&self, uri: &Uri) -> Result<Option<&Proxy>, Error> {
        let https = uri.scheme() == Some(&Scheme::HTTPS);
        let route = match https {
            true => &self.https,
            false => &self.http,
        };
        let (Some(route), Some(host)) = (route, uri.host()) else {
            return Ok(None);
        };
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let mut exceptions = self.exceptions.iter();
        if exceptions.any(|entry| entry.matches(host, port)) {
            return Ok(None);
        }
        match route {
            Route::Through(proxy) => Ok(Some(proxy)),
            Route::Unsupported { variable, scheme } => Err(Error::new(ErrorKind::Unsupported)
                .with_context(format!(
                    "the environment variable {variable} sets a {scheme} proxy, and only http, \
                     socks5 and socks5h proxies work: set {variable} to a proxy with an http:// or \
                     socks5h:// URL, or add {host} to NO_PROXY"
                ))),
        }
    }

    /// Returns whether a request may use a SOCKS5 proxy.
    pub(crate) fn has_socks(&self) -> bool {
        let mut routes = [&self.http, &self.https].into_iter().flatten();
        routes.any(|route| matches!(route, Route::Through(proxy) if proxy.is_socks()))
    }

    /// Returns whether every request goes directly to its server.
    pub fn is_empty(&self) -> bool {
        self.http.is_none() && self.https.is_none()
    }
}

fn exception(entry: &str) -> Exception {
    if entry == "*" {
        return Exception::Everything;
    }
    if let Ok(network) = entry.parse() {
        return Exception::Network(network);
    }
    let address = |text: &str| {
        let text = text.trim_start_matches('[').trim_end_matches(']');
        text.parse::<IpAddr>().ok()
    };
    if let Some(address) = address(entry) {
        return Exception::Address(address, None);
    }
    let (name, port) = match entry.rsplit_once(':') {
        Some((name, port)) => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => (entry, None),
        },
        None => (entry, None),
    };
    if let Some(address) = address(name) {
        return Exception::Address(address, port);
    }
    let name = name.strip_prefix('*').unwrap_or(name);
    let name = name.trim_start_matches('.').trim_end_matches('.');
    // Converts the name to the lower case and ASCII form that names have in URLs.
    let name = match Host::parse(name) {
        Ok(Host::Domain(name)) => name,
        _ => name.to_ascii_lowercase(),
    };
    Exception::Domain(name, port)
}

impl Exception {
    fn matches(&self, host: &str, port: u16) -> bool {
        let has_port = |entry: Option<u16>| entry.is_none_or(|entry| entry == port);
        let address = host.trim_start_matches('[').trim_end_matches(']').parse();
        match (self, address) {
            (Self::Everything, _) => true,
            (Self::Network(network), Ok(address)) => network.contains::<&IpAddr>(&address),
            (Self::Address(entry, port), Ok(address)) => *entry == address && has_port(*port),
            (Self::Domain(domain, port), Err(_)) => {
                let host = host.trim_end_matches('.');
                let start = host.len().checked_sub(domain.len());
                let is_in_domain = start.is_some_and(|start| {
                    host[start..].eq_ignore_ascii_case(domain)
                        && (start == 0 || host[..start].ends_with('.'))
                });
                is_in_domain && has_port(*port)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy() -> Proxy {
        Proxy::new("proxy.test:3128").unwrap()
    }

    fn excepts(list: &str, url: &str) -> bool {
        let proxies = Proxies::all(proxy()).except(list);
        proxies.of(&url.parse().unwrap()).unwrap().is_none()
    }

    #[test]
    fn a_proxy_is_an_http_or_socks5_url() {
        for (text, host, port) in [
            ("http://proxy.test", "proxy.test", 80),
            ("proxy.test:3128", "proxy.test", 3128),
            ("http://127.0.0.1:8080/ignored?as=well", "127.0.0.1", 8080),
            ("http://[::1]:8080", "[::1]", 8080),
            ("socks5://proxy.test", "proxy.test", 1080),
            ("socks5h://PROXY.test:80/", "proxy.test", 80),
            ("SOCKS5://[::1]:9", "[::1]", 9),
            ("socks5://b\u{fc}cher.test", "xn--bcher-kva.test", 1080),
        ] {
            let proxy = Proxy::new(text).unwrap();
            assert_eq!((proxy.host(), proxy.port()), (host, port), "{text}");
            assert!(proxy.authorization().is_none());
            let is_socks = text.to_lowercase().starts_with("socks");
            assert_eq!(proxy.is_socks(), is_socks, "{text}");
            let resolves_names = !text.to_lowercase().starts_with("socks5:");
            assert_eq!(proxy.resolves_names(), resolves_names, "{text}");
        }
        for text in [
            "",
            "https://proxy.test",
            "socks4://proxy.test",
            "socks5://",
            "socks5://:1080",
            "socks5:///path",
            "socks5://a%20b",
            "http://:80",
            "http://a b",
        ] {
            let error = Proxy::new(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidUrl, "{text}");
        }
    }

    #[test]
    fn credentials_are_decoded_and_never_printed() {
        let proxy = Proxy::new("http://me%40work:s%3Acret%20@proxy.test").unwrap();
        assert_eq!(proxy.credentials(), Some(("me@work", "s:cret ")));
        let header = proxy.authorization().unwrap();
        assert!(header.is_sensitive());
        assert_eq!(header, "Basic bWVAd29yazpzOmNyZXQg");
        let shown = format!(
            "{proxy} {proxy:?} {} {:?}",
            proxy.uri(),
            Proxies::all(proxy.clone())
        );
        assert!(
            !shown.contains("cret") && !shown.contains("work"),
            "{shown}"
        );
        let proxy = Proxy::new("socks5://me%40work:s%3Acret%20@proxy.test").unwrap();
        assert_eq!(proxy.credentials(), Some(("me@work", "s:cret ")));
        assert!(proxy.authorization().is_none());
        assert_eq!(proxy.to_string(), "socks5://proxy.test/");
        for url in ["ftp://me:secret@proxy.test", "socks5://me:secret@a b"] {
            let error = Proxy::new(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"));
        }
        for too_long in [
            format!("socks5://{}:secret@proxy.test", "x".repeat(256)),
            format!("socks5://me:{}@proxy.test", "x".repeat(256)),
        ] {
            let error = Proxy::new(&too_long).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidUrl);
            let text = format!("{error} {error:?}");
            assert!(!text.contains("secret") && !text.contains("xxx"), "{text}");
        }
    }

    #[test]
    fn exceptions_are_domains_addresses_and_networks() {
        for list in [
            "example.com",
            ".example.com",
            "*.example.com",
            "a EXAMPLE.com.,b",
        ] {
            for host in ["example.com", "www.example.com", "a.b.EXAMPLE.com"] {
                assert!(excepts(list, &format!("http://{host}/")), "{list} {host}");
            }
            for host in ["notexample.com", "example.com.org", "com"] {
                assert!(!excepts(list, &format!("http://{host}/")), "{list} {host}");
            }
        }
        assert!(excepts("*", "https://example.com/"));
        assert!(excepts("10.0.0.0/8", "http://10.255.0.1/"));
        assert!(!excepts("10.0.0.0/8", "http://11.0.0.1/"));
        assert!(excepts("192.0.2.7", "http://192.0.2.7:8080/"));
        assert!(excepts("::1", "http://[::1]/") && excepts("[::1]:80", "http://[::1]/"));
        assert!(excepts("fd00::/8", "http://[fd12::1]/"));
        assert!(!excepts("", "http://example.com/") && !excepts(",,", "http://example.com/"));
        // An address is not a domain.
        assert!(!excepts("2.7", "http://192.0.2.7/"));
    }

    #[test]
    fn exceptions_may_have_a_port() {
        assert!(excepts("example.com:8080", "http://example.com:8080/"));
        assert!(!excepts("example.com:8080", "http://example.com/"));
        assert!(excepts("example.com:443", "https://example.com/"));
        assert!(excepts("127.0.0.1:80", "http://127.0.0.1/"));
        assert!(!excepts("127.0.0.1:80", "http://127.0.0.1:81/"));
    }

    fn from_env(vars: &[(&str, &str)]) -> Result<Proxies, Error> {
        let vars: Vec<_> = vars.to_vec();
        Proxies::from_env(|name| {
            let found = vars.iter().find(|(var, _)| *var == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn hosts(vars: &[(&str, &str)]) -> [Option<String>; 2] {
        let proxies = from_env(vars).unwrap();
        ["http://x.test/", "https://x.test/"].map(|url| {
            let proxy = proxies.of(&url.parse().unwrap()).unwrap();
            proxy.map(|proxy| proxy.host().to_owned())
        })
    }

    #[test]
    fn from_env_reads_the_proxies() {
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(hosts(&[]), [None, None]);
        assert_eq!(
            hosts(&[("http_proxy", "a"), ("HTTPS_PROXY", "b")]),
            [some("a"), some("b")]
        );
        assert_eq!(
            hosts(&[("ALL_PROXY", "c"), ("https_proxy", "b")]),
            [some("c"), some("b")]
        );
        assert_eq!(
            hosts(&[("HTTP_PROXY", "B"), ("http_proxy", "a")]),
            [some("a"), None]
        );
        assert_eq!(
            hosts(&[("http_proxy", "a"), ("NO_PROXY", "x.test")]),
            [None, None]
        );
        assert_eq!(
            hosts(&[("http_proxy", " "), ("ALL_PROXY", "")]),
            [None, None]
        );
        let error = from_env(&[("HTTPS_PROXY", "http://me:secret@a b")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidUrl);
        assert!(error.to_string().contains("HTTPS_PROXY"), "{error}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }

    #[test]
    fn from_env_refuses_only_requests_through_an_unsupported_proxy() {
        let of = |vars: &[(&str, &str)], url: &str| {
            let proxies = from_env(vars).unwrap();
            let proxy = proxies.of(&url.parse().unwrap())?;
            Ok::<_, Error>(proxy.map(|proxy| proxy.host().to_owned()))
        };
        for value in [
            "socks4://me:secret@a:9",
            "SOCKS4a://a",
            "socks://a",
            "https://a",
            " ftp://a",
        ] {
            let vars = [("ALL_PROXY", value), ("NO_PROXY", "x.test")];
            for url in ["http://x.test/", "https://x.test/"] {
                assert_eq!(of(&vars, url).unwrap(), None, "{value}");
            }
            for url in ["http://y.test/", "https://y.test/"] {
                let error = of(&vars, url).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{value}");
                let message = format!("{error} {error:?}");
                let scheme = value.trim().split_once(':').unwrap().0;
                for part in ["ALL_PROXY", "NO_PROXY", "y.test", scheme] {
                    assert!(message.contains(part), "{message}");
                }
                assert!(!message.contains("secret"), "{message}");
            }
            // The other variables remain usable.
            let vars = [("all_proxy", value), ("http_proxy", "b")];
            assert_eq!(of(&vars, "http://y.test/").unwrap().unwrap(), "b");
            assert!(of(&vars, "https://y.test/").is_err());
            let vars = [("https_proxy", value)];
            assert_eq!(of(&vars, "http://y.test/").unwrap(), None);
        }
        // Text before `://` that is not a scheme may be a password.
        let error = from_env(&[("http_proxy", "me:se/cret@a://b")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidUrl);
        assert!(!format!("{error} {error:?}").contains("cret"), "{error:?}");
    }

    #[test]
    fn from_env_accepts_socks5_proxies() {
        let some = |name: &str| Some(name.to_owned());
        let vars = [
            ("ALL_PROXY", " SOCKS5h://me:secret@a:9 "),
            ("http_proxy", "b"),
        ];
        assert_eq!(hosts(&vars), [some("b"), some("a")]);
        assert!(from_env(&vars).unwrap().has_socks());
        assert!(!from_env(&[("http_proxy", "b")]).unwrap().has_socks());
    }

    #[test]
    fn is_empty_is_false_for_an_unsupported_proxy() {
        assert!(!from_env(&[("ALL_PROXY", "socks4://a")]).unwrap().is_empty());
        assert!(from_env(&[]).unwrap().is_empty());
    }

    #[test]
    fn from_env_ignores_http_proxy_in_a_cgi_program() {
        let cgi = [("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "evil")];
        assert_eq!(hosts(&cgi), [None, None]);
        let lower_case = [("REQUEST_METHOD", "GET"), ("http_proxy", "a")];
        assert_eq!(hosts(&lower_case), [Some("a".to_owned()), None]);
    }
}
