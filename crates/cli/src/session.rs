//! A running backend with a session, as the options ask for it.

use inflight::http::header::{ACCEPT, USER_AGENT};
use inflight::{Backend, Cell, Session};

use crate::args::{BACKENDS, Requests};
use crate::exit::Stop;
use crate::output::describe;

/// What the program says it is, unless a request says otherwise.
const AGENT: &str = concat!("inflight/", env!("CARGO_PKG_VERSION"));

/// Starts the runtime and the client.
pub(crate) fn start(asked: &Requests) -> Result<(Backend, Session), Stop> {
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
        .header(ACCEPT, "*/*");
    if let Some(timeout) = asked.timeout {
        builder = builder.timeout(timeout);
    }
    if let Some(timeout) = asked.connect_timeout {
        builder = builder.connect_timeout(timeout);
    }
    let session = builder
        .build()
        .map_err(|error| Stop::usage(describe(&error)))?;
    Ok((backend, session))
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
