//! The client's side of SOCKS5 (RFC 1928), with the authentication by user name and password (RFC 1929).

use std::net::{IpAddr, SocketAddr};

use http::Uri;
use inflight_core::{Error, ErrorKind, Proxy, host_and_port};

const VERSION: u8 = 5;
/// The version of RFC 1929.
const CREDENTIALS_VERSION: u8 = 1;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NO_ACCEPTABLE_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const DOMAIN: u8 = 3;
const IPV6: u8 = 4;

/// The state of a SOCKS5 handshake. Each message of the client answers one of the proxy.
#[derive(Debug)]
pub(crate) struct Socks5 {
    expected: Message,
    /// The bytes of the expected message that have arrived.
    received: Vec<u8>,
    /// The request for the tunnel.
    request: Vec<u8>,
}

/// A message of the proxy.
#[derive(Clone, Copy, Debug)]
enum Message {
    /// The choice of an authentication method.
    Method,
    /// The verdict on the user name and the password.
    Verdict,
    /// The reply to the request for the tunnel.
    Reply,
}

/// What follows a byte of the proxy.
#[derive(Debug)]
pub(crate) enum Progress {
    /// The handshake continues. The client sends these bytes first, if there are any.
    Continue(Vec<u8>),
    /// The tunnel is open.
    Done,
}

impl Socks5 {
    /// Returns the handshake for a tunnel to the server of `uri`, and its first message. The tunnel leads
    /// to `address` if there is one.
    pub(crate) fn start(
        proxy: &Proxy,
        uri: &Uri,
        address: Option<SocketAddr>,
    ) -> Result<(Self, Vec<u8>), Error> {
        let methods: &[u8] = match proxy.credentials() {
            None => &[NO_AUTHENTICATION],
            Some(_) => &[NO_AUTHENTICATION, USER_AND_PASSWORD],
        };
        let mut greeting = vec![VERSION];
        push_with_length(&mut greeting, methods)?;
        let mut request = vec![VERSION, CONNECT, 0];
        push_target(&mut request, proxy, uri, address)?;
        let handshake = Self {
            expected: Message::Method,
            received: Vec::new(),
            request,
        };
        Ok((handshake, greeting))
    }

    /// Takes the next byte of the proxy's messages.
    pub(crate) fn receive(&mut self, proxy: &Proxy, byte: u8) -> Result<Progress, Error> {
        self.received.push(byte);
        let next = match (self.expected, &self.received[..]) {
            (Message::Method | Message::Reply, [version, ..]) if *version != VERSION => {
                return Err(proxy.tunnel_error(
                    "its response is not SOCKS5: if it is an HTTP proxy, use an http:// URL",
                ));
            }
            (Message::Method, [_, NO_AUTHENTICATION]) => self.take_request(),
            (Message::Method, [_, method]) => match (*method, proxy.credentials()) {
                (USER_AND_PASSWORD, Some((user, password))) => {
                    self.expected = Message::Verdict;
                    let mut message = vec![CREDENTIALS_VERSION];
                    push_with_length(&mut message, user.as_bytes())?;
                    push_with_length(&mut message, password.as_bytes())?;
                    message
                }
                (NO_ACCEPTABLE_METHOD, None) => {
                    return Err(proxy.tunnel_error(
                        "it requires authentication: add a user name and a password to its URL",
                    ));
                }
                (NO_ACCEPTABLE_METHOD, Some(_)) => {
                    return Err(proxy.tunnel_error(
                        "it does not accept authentication by user name and password",
                    ));
                }
                (method, _) => {
                    return Err(proxy.tunnel_error(format!(
                        "it requires the authentication method {method}, which was not offered"
                    )));
                }
            },
            // Some proxies send another version than RFC 1929 requires, so only the status counts.
            (Message::Verdict, [_, 0]) => self.take_request(),
            (Message::Verdict, [_, _]) => {
                return Err(proxy.tunnel_error("it refused the user name and the password"));
            }
            (Message::Reply, [_, code]) if *code != 0 => {
                return Err(proxy.tunnel_error(refusal(*code, proxy)));
            }
            (Message::Reply, [_, _, _, kind, address @ ..]) => {
                // The client does not need the address that the proxy connects from.
                let length = match (*kind, address) {
                    (IPV4, _) => 4,
                    (IPV6, _) => 16,
                    (DOMAIN, []) => return Ok(Progress::Continue(Vec::new())),
                    (DOMAIN, [length, ..]) => 1 + usize::from(*length),
                    (kind, _) => {
                        return Err(proxy.tunnel_error(format!(
                            "its reply has an address of the unknown type {kind}"
                        )));
                    }
                };
                if address.len() == length + size_of::<u16>() {
                    return Ok(Progress::Done);
                }
                return Ok(Progress::Continue(Vec::new()));
            }
            _ => return Ok(Progress::Continue(Vec::new())),
        };
        self.received.clear();
        Ok(Progress::Continue(next))
    }

    fn take_request(&mut self) -> Vec<u8> {
        self.expected = Message::Reply;
        std::mem::take(&mut self.request)
    }
}

/// Appends the address of the server of `uri`, as a request contains it.
fn push_target(
    request: &mut Vec<u8>,
    proxy: &Proxy,
    uri: &Uri,
    address: Option<SocketAddr>,
) -> Result<(), Error> {
    let (host, port) = host_and_port(uri)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = address.map(|address| address.ip());
    match address.or_else(|| bare.parse().ok()) {
        Some(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend_from_slice(&address.octets());
        }
        Some(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend_from_slice(&address.octets());
        }
        None if proxy.resolves_names() => {
            request.push(DOMAIN);
            push_with_length(request, host.as_bytes())?;
        }
        None => {
            return Err(
                Error::new(ErrorKind::Resolve).with_context(format!("{host} has no address"))
            );
        }
    }
    request.extend_from_slice(&port.to_be_bytes());
    Ok(())
}

/// Appends the length of `bytes` and then `bytes`.
fn push_with_length(message: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Error> {
    let length = u8::try_from(bytes.len()).map_err(|_| {
        Error::new(ErrorKind::InvalidUrl)
            .with_context("a host name for a SOCKS5 proxy has more than 255 bytes")
    })?;
    message.push(length);
    message.extend_from_slice(bytes);
    Ok(())
}

/// Returns the meaning of a reply's code (RFC 1928, section 6), with a remedy.
fn refusal(code: u8, proxy: &Proxy) -> String {
    let meaning = match code {
        1 => "it reports a general failure: see its log",
        2 => {
            "its rules do not allow the connection: change the rules, or exclude the host (NO_PROXY)"
        }
        3 => "it reports that the server's network is unreachable",
        4 => "it reports that the server is unreachable or that its name has no address",
        5 => "it reports that the server refused the connection: check the port of the URL",
        6 => "it reports that the time to live (TTL) expired on the way to the server",
        7 => "it does not support CONNECT: use another proxy",
        8 => "it does not support the type of the server's address",
        _ => "its reply has an unknown code",
    };
    let other_lookup = match (code, proxy.resolves_names()) {
        (3 | 4 | 8, false) => ": with a socks5h:// URL, the proxy looks up the name itself",
        (4 | 8, true) => ": with a socks5:// URL, the client looks up the name itself",
        _ => "",
    };
    format!("{meaning}{other_lookup} (code {code})")
}
