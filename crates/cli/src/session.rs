//! Starts a backend and a session from the options of the command line.

use std::env;
use std::fmt::Display;
use std::fs;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;

use inflight::connect::{Certificate, Proxies, Proxy};
use inflight::http::header::{ACCEPT, USER_AGENT};
use inflight::probe::exchanges;
use inflight::{Backend, Cell, Error, Retry, Session, SessionBuilder};

use crate::args::{BACKENDS, RequestArgs};
use crate::exit::CliError;
use crate::output::describe;

/// The `User-Agent` header of requests that set none.
const DEFAULT_USER_AGENT: &str = concat!("inflight/", env!("CARGO_PKG_VERSION"));

/// Starts the runtime and the client, for one request.
pub(crate) fn start(args: &RequestArgs, has_body: bool) -> Result<(Backend, Session), CliError> {
    start_with(args, |builder| match has_body {
        // The head timeout would include the time that sending the body takes.
        true => builder,
        false => builder.head_timeout(args.read_timeout),
    })
}

/// Starts the runtime and the client, for the requests of a gather.
pub(crate) fn start_gather(
    args: &RequestArgs,
    per_host: Option<NonZeroUsize>,
    rate: Option<NonZeroU32>,
    probe: bool,
) -> Result<(Backend, Session), CliError> {
    start_with(args, |builder| {
        let builder = builder
            .head_timeout(args.read_timeout)
            .max_per_host(per_host.map(NonZeroUsize::get));
        let builder = match probe {
            true => builder.wrap(exchanges("client")),
            false => builder,
        };
        match rate.map(NonZeroU32::get) {
            // Timers have a resolution of about a millisecond, so a few requests may start at once.
            Some(rate) => builder.max_rate(rate, (rate / 20).max(1)),
            None => builder,
        }
    })
}

fn start_with(
    args: &RequestArgs,
    configure: impl FnOnce(SessionBuilder) -> SessionBuilder,
) -> Result<(Backend, Session), CliError> {
    let cell = match args.backend {
        Some(cell) => cell,
        None => default_cell()?,
    };
    let backend = cell
        .start(args.workers)
        .map_err(|error| CliError::usage(describe(&error)))?;
    // Set explicitly, so that all clients send the same headers.
    let mut builder = backend
        .builder()
        .header(USER_AGENT, DEFAULT_USER_AGENT)
        .header(ACCEPT, "*/*")
        .decompress(!args.no_decompress)
        .max_redirects(args.max_redirects)
        .retry(Retry::new(args.retries))
        .read_timeout(args.read_timeout);
    if let Some(timeout) = args.timeout {
        builder = builder.timeout(timeout);
    }
    if let Some(timeout) = args.connect_timeout {
        builder = builder.connect_timeout(timeout);
    }
    if let Some(path) = &args.cacert {
        let pem = fs::read(path).map_err(|error| read_error(path, &error))?;
        let roots = Certificate::from_pem(pem).map_err(|error| read_error(path, &error))?;
        builder = builder.client_options(|options| options.tls.extra_roots.extend(roots));
    }
    builder = builder.proxies(proxies(args).map_err(|error| CliError::usage(describe(&error)))?);
    let session = configure(builder)
        .build()
        .map_err(|error| CliError::usage(describe(&error)))?;
    Ok((backend, session))
}

/// Returns the proxies of the options, or else those of the environment.
fn proxies(args: &RequestArgs) -> Result<Proxies, Error> {
    // An empty variable counts as unset.
    let var = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
    match &args.proxy {
        _ if args.no_proxy => Ok(Proxies::default()),
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

/// Returns the first of [`BACKENDS`] that is compiled in, or else any cell that is.
fn default_cell() -> Result<Cell, CliError> {
    let named = BACKENDS
        .iter()
        .find_map(|name| Cell::compiled().find(|cell| cell.short_name() == Some(name)));
    named.or_else(|| Cell::compiled().next()).ok_or_else(|| {
        CliError::usage(format_args!(
            "no backend is compiled in: build with one of the features {}",
            BACKENDS.join(", ")
        ))
    })
}
