//! A running backend with a session, as the options ask for it.

use std::env;
use std::fmt::Display;
use std::fs;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;

use inflight::http::header::{ACCEPT, USER_AGENT};
use inflight::probe::exchanges;
use inflight::{Backend, Cell, Certificate, Error, Proxies, Proxy, Retry, Session, SessionBuilder};

use crate::args::{BACKENDS, Requests};
use crate::exit::Stop;
use crate::output::describe;

/// What the program says it is, unless a request says otherwise.
const AGENT: &str = concat!("inflight/", env!("CARGO_PKG_VERSION"));

/// Starts the runtime and the client, for one request.
pub(crate) fn start(asked: &Requests, has_body: bool) -> Result<(Backend, Session), Stop> {
    start_with(asked, |builder| match has_body {
        // While a body goes out nobody waits for bytes, however long that takes.
        true => builder,
        false => builder.head_timeout(asked.read_timeout),
    })
}

/// The same with the caps of a batch, and with a label for what the client does.
pub(crate) fn start_batch(
    asked: &Requests,
    per_host: Option<NonZeroUsize>,
    rate: Option<NonZeroU32>,
    probe: bool,
) -> Result<(Backend, Session), Stop> {
    start_with(asked, |builder| {
        let builder = builder
            .head_timeout(asked.read_timeout)
            .max_per_host(per_host.map(NonZeroUsize::get));
        let builder = match probe {
            true => builder.wrap(exchanges("client")),
            false => builder,
        };
        match rate.map(NonZeroU32::get) {
            // A timer is no finer than a millisecond or so: a few may start together.
            Some(rate) => builder.max_rate(rate, (rate / 20).max(1)),
            None => builder,
        }
    })
}

fn start_with(
    asked: &Requests,
    caps: impl FnOnce(SessionBuilder) -> SessionBuilder,
) -> Result<(Backend, Session), Stop> {
    let cell = match asked.backend {
        Some(cell) => cell,
        None => default_cell()?,
    };
    let backend = cell
        .start(asked.workers)
        .map_err(|error| Stop::usage(describe(&error)))?;
    // Given by name, so that every client sends the same and adds nothing of its own.
    let mut builder = backend
        .builder()
        .header(USER_AGENT, AGENT)
        .header(ACCEPT, "*/*")
        .decompress(!asked.no_decompress)
        .max_redirects(asked.max_redirects)
        .retry(Retry::new(asked.retries))
        .read_timeout(asked.read_timeout);
    if let Some(timeout) = asked.timeout {
        builder = builder.timeout(timeout);
    }
    if let Some(timeout) = asked.connect_timeout {
        builder = builder.connect_timeout(timeout);
    }
    if let Some(path) = &asked.cacert {
        let pem = fs::read(path).map_err(|error| unreadable(path, &error))?;
        let roots = Certificate::from_pem(pem).map_err(|error| unreadable(path, &error))?;
        builder = builder.client_options(|options| options.tls.extra_roots.extend(roots));
    }
    builder = builder.proxies(proxies(asked).map_err(|error| Stop::usage(describe(&error)))?);
    let session = caps(builder)
        .build()
        .map_err(|error| Stop::usage(describe(&error)))?;
    Ok((backend, session))
}

/// The proxies that were asked for, or else the environment's.
fn proxies(asked: &Requests) -> Result<Proxies, Error> {
    // An empty value is none.
    let var = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
    match &asked.proxy {
        _ if asked.no_proxy => Ok(Proxies::default()),
        None => Proxies::from_env(var),
        Some(url) => {
            let except = ["no_proxy", "NO_PROXY"].into_iter().find_map(var);
            Ok(Proxies::all(Proxy::new(url)?).except(&except.unwrap_or_default()))
        }
    }
}

fn unreadable(path: &Path, error: &dyn Display) -> Stop {
    Stop::usage(format_args!("cannot read {}: {error}", path.display()))
}

/// The first of the backends that is compiled in, or any other cell.
fn default_cell() -> Result<Cell, Stop> {
    let named = BACKENDS
        .iter()
        .find_map(|name| Cell::compiled().find(|cell| cell.short_name() == Some(name)));
    named.or_else(|| Cell::compiled().next()).ok_or_else(|| {
        Stop::usage(format_args!(
            "no backend is compiled in: build with one of the features {}",
            BACKENDS.join(", ")
        ))
    })
}
