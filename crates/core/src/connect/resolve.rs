//! Name resolution for all clients.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use http::uri::Scheme;

use crate::error::{Error, ErrorKind};

/// A resolver of host names. A call may block, so it never runs in an event loop.
///
/// ```
/// use std::io;
/// use std::net::SocketAddr;
/// use std::sync::Arc;
///
/// use inflight_core::{ClientOptions, Resolve, SystemResolver};
///
/// /// Resolves one name to this machine, like an entry in the hosts file.
/// struct Pinned;
///
/// impl Resolve for Pinned {
///     fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
///         match host {
///             "pages.test" => Ok(vec![([127, 0, 0, 1], port).into()]),
///             _ => SystemResolver.resolve(host, port),
///         }
///     }
/// }
///
/// let mut options = ClientOptions::default();
/// options.resolver = Arc::new(Pinned);
/// assert!(options.resolver.resolve("pages.test", 8080).unwrap()[0].ip().is_loopback());
/// ```
pub trait Resolve: Send + Sync + 'static {
    /// Returns the addresses of `host`, in the order in which the client tries them.
    ///
    /// # Errors
    ///
    /// The error of the lookup. The caller treats an empty list as an error too.
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

impl<R: Resolve + ?Sized> Resolve for Arc<R> {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        (**self).resolve(host, port)
    }
}

/// The system's resolver: `getaddrinfo`, with the system's files, caches and order of addresses.
///
/// For an example, see [`Resolve`].
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok((host, port).to_socket_addrs()?.collect())
    }
}

/// Returns the host and the port of a URL. Without a port in the URL, returns the default port of its
/// scheme.
///
/// ```
/// use inflight_core::host_and_port;
///
/// assert_eq!(host_and_port(&"https://pages.test/1".parse()?)?, ("pages.test", 443));
/// assert_eq!(host_and_port(&"http://[::1]:8080/".parse()?)?, ("[::1]", 8080));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`ErrorKind::InvalidUrl`] if there is no host.
pub fn host_and_port(uri: &http::Uri) -> Result<(&str, u16), Error> {
    let host = uri
        .host()
        .ok_or_else(|| Error::new(ErrorKind::InvalidUrl).with_context("the URL has no host"))?;
    let default = if uri.scheme() == Some(&Scheme::HTTPS) {
        443
    } else {
        80
    };
    Ok((host, uri.port_u16().unwrap_or(default)))
}

/// Returns the error for a failed connect. It is the same for every client.
///
/// ```
/// use inflight_core::connect_error;
///
/// let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
/// let error = connect_error("192.0.2.1:80".parse().unwrap(), refused);
/// assert_eq!(error.to_string(), "could not connect: 192.0.2.1:80");
/// ```
pub fn connect_error(address: SocketAddr, error: io::Error) -> Error {
    Error::new(ErrorKind::Connect)
        .with_context(address.to_string())
        .with_source(error)
}
