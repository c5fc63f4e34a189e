//! Starts a backend and a session from the options of the command line.

use std::env;
use std::fmt::Display;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use inflight::connect::{Certificate, HttpVersions, Proxies, Proxy, Resolve, SystemResolver};
use inflight::http::header::{ACCEPT, HeaderValue, USER_AGENT};
use inflight::{Backend, Cell, Error, Retry, Session, SessionBuilder};

use crate::args::{PinnedAddress, RequestArgs};
use crate::cookies::CookieFile;
use crate::exit::{CliError, print_to_stderr};
use crate::output::describe;

/// The `User-Agent` header of requests that do not set one.
const DEFAULT_USER_AGENT: &str = concat!("inflight/", env!("CARGO_PKG_VERSION"));

/// A backend, a session, and the cookies of the session.
pub(crate) struct Client {
    pub(crate) backend: Backend,
    pub(crate) session: Session,
    cookies: Option<CookieFile>,
}

impl Client {
    /// Writes the cookies to the file of `--cookies`.
    pub(crate) fn save_cookies(&self) -> Result<(), CliError> {
        self.cookies.as_ref().map_or(Ok(()), CookieFile::save)
    }
}

/// Returns the User-Agent of requests that have no header of their own.
pub(crate) fn user_agent(args: &RequestArgs) -> HeaderValue {
    let user_agent = args.user_agent.clone();
    user_agent.unwrap_or(HeaderValue::from_static(DEFAULT_USER_AGENT))
}

/// Starts a backend and builds a session. `configure` sets the options that `get` and `gather` do not share.
pub(crate) fn start(
    args: &RequestArgs,
    configure: impl FnOnce(SessionBuilder) -> SessionBuilder,
) -> Result<Client, CliError> {
    let cell = match args.backend {
        Some(cell) => cell,
        None => default_cell()?,
    };
    let usage = |error: Error| CliError::usage(describe(&error));
    let backend = cell.start(args.workers).map_err(usage)?;
    // Sets these headers explicitly, so that all clients send the same values.
    let mut builder = backend
        .builder()
        .header(USER_AGENT, user_agent(args))
        .header(ACCEPT, "*/*")
        .decompress(!args.no_decompress)
        .max_redirects(args.max_redirects)
        .retry(Retry::new(args.retries))
        .timeout(args.timeout)
        .queue_timeout(args.queue_timeout)
        .connect_timeout(args.connect_timeout)
        .read_timeout(args.read_timeout)
        .proxies(proxies(args).map_err(usage)?);
    if let Some(path) = &args.cacert {
        let pem = fs::read(path).map_err(|error| read_error(path, &error))?;
        let roots = Certificate::from_pem(pem).map_err(|error| read_error(path, &error))?;
        builder = builder.client_options(|options| options.tls.extra_roots.extend(roots));
    }
    if args.insecure {
        print_to_stderr(
            "warning: --insecure accepts any certificate, so the traffic is not protected",
        );
        builder = builder.danger_accept_invalid_certs(true);
    }
    if args.http1 {
        builder = builder.http_versions(HttpVersions::Http1Only);
    }
    if args.http2 {
        builder = builder.http_versions(HttpVersions::Http2PriorKnowledge);
    }
    if !args.resolve.is_empty() {
        builder = builder.resolver(PinnedAddresses(args.resolve.clone()));
    }
    if let Some(path) = &args.unix_socket {
        builder = builder.unix_socket(path);
    }
    let cookies = args.cookies.as_deref().map(CookieFile::open).transpose()?;
    if let Some(cookies) = &cookies {
        builder = builder.cookies(cookies.jar.clone());
    }
    Ok(Client {
        session: configure(builder).build().map_err(usage)?,
        backend,
        cookies,
    })
}

/// The addresses of `--resolve`. The system looks up all other names.
struct PinnedAddresses(Vec<PinnedAddress>);

impl Resolve for PinnedAddresses {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let pinned = self.0.iter();
        let pinned =
            pinned.filter(|pinned| pinned.port == port && pinned.host.eq_ignore_ascii_case(host));
        let addresses: Vec<_> = pinned.map(|pinned| (pinned.address, port).into()).collect();
        match addresses.is_empty() {
            true => SystemResolver.resolve(host, port),
            false => Ok(addresses),
        }
    }
}

/// Returns the proxy of `--proxy` or, without this option, the proxies of the environment. `NO_PROXY` applies
/// to both. With `--unix-socket`, there is no proxy.
fn proxies(args: &RequestArgs) -> Result<Proxies, Error> {
    // An empty variable counts as unset.
    let var = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
    match &args.proxy {
        _ if args.no_proxy || args.unix_socket.is_some() => Ok(Proxies::default()),
        None => Proxies::from_env(var),
        Some(url) => {
            let except = ["no_proxy", "NO_PROXY"].into_iter().find_map(var);
            Ok(Proxies::all(Proxy::new(url)?).except(&except.unwrap_or_default()))
        }
    }
}

fn read_error(path: &Path, error: &dyn Display) -> CliError {
    CliError::usage(format_args!("cannot read {}: {error}", path.display()))
}

/// Returns the cell (a runtime and a client) to use without `--backend`: the first compiled cell that has a
/// short name or, if there is none, the first compiled cell.
fn default_cell() -> Result<Cell, CliError> {
    let with_short_name = Cell::compiled().find(|cell| cell.short_name().is_some());
    with_short_name.or_else(|| Cell::compiled().next()).ok_or_else(|| {
        CliError::usage(
            "no backend is compiled in: build with one of the features tokio, smol, async-std, ureq",
        )
    })
}
