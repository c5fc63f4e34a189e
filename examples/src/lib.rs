//! The example programs of the book. Each program runs on any of the four named backends:
//!
//! ```text
//! just run hundred_pages smol
//! ```
//!
//! - `server`: runs the test server that the book's first program needs.
//! - `get`: fetches one page.
//! - `hundred_pages`: fetches five pages one after another, then a hundred pages at once.
//! - `waterfall`: draws when each page was in flight, as an SVG picture.
//! - `gather`: fetches the URLs in its arguments. The project's README shows this program.
//! - `blocking_client`: fetches 100 pages in four ways and measures the times. `just bench` runs it first.
//! - `requests`: sends queries, headers, forms and JSON, and reads responses in several ways.
//! - `endings`: fetches the same 20 pages with four endings of `gather`.
//! - `failures`: fetches a hundred pages, and prints the errors of the three pages that fail.
//! - `errors`: causes an error of each kind, and prints its message.
//! - `event_loop`: fetches a hundred pages on an event loop that the program contains.
//! - `blocking_page`: fetches pages, one of which makes a blocking call, and measures the duration and a heartbeat.
//! - `retries`: shows which requests a session retries, and what a retry budget saves.
//! - `how_fast`: compares limits on the requests in flight, in total and for each host.
//! - `body_memory`: compares the memory of a collected body with that of a streamed body.
//! - `stall`: records how a call that blocks in one task stops a heartbeat in another task.
//! - `four_runtimes`: fetches a hundred pages on each of four backends (`just run four_runtimes all-backends`).
//! - `axum`: finds the line of a blocking call in a service.
//! - `crawler`: follows the links of a site, politely and up to a limit.
//! - `jobs`: runs jobs that add jobs.
//! - `upload`: uploads files, forms and streams.
//! - `policy`: shows timeouts, limits, redirects, retries and how to close a session.
//! - `when_to_stop`: ends requests by timeouts, by a deadline, by closing the session, and by Ctrl-C.
//! - `guard`: refuses to connect to private addresses.
//! - `trace`: draws the timeline of each request with an observer.
//! - `auth_refresh`, `cache`: wrap the client with custom middleware.
//! - `virtual_time`: tests a function that waits for an hour, in virtual time.
//! - `aiohttp`: does what common aiohttp code does.
//! - `virtual_time`: tests a function with long waits in virtual time.

pub mod attempts;

use std::sync::Arc;

use inflight::backend::{Fetch, Runtime};
use inflight::clients::Ureq;
use inflight::{Cell, Error, Session};
use inflight_charts::Figure;

/// Returns the name of the backend that [`inflight::session`] uses.
pub fn default_cell() -> Cell {
    let names = ["tokio", "smol", "async-std", "ureq"];
    let cells = names.map(|name| name.parse().expect("the name is that of a backend"));
    let mut compiled = cells.into_iter().filter(|cell: &Cell| cell.is_compiled());
    compiled.next().expect("a backend is compiled in")
}

// ANCHOR: clients
/// Builds a session over ureq, a blocking client. `wrap` turns ureq into an asynchronous client.
pub fn ureq_session<F: Fetch>(
    runtime: &Arc<dyn Runtime>,
    wrap: impl FnOnce(Ureq, Arc<dyn Runtime>) -> F + Send + 'static,
) -> Result<Session, Error> {
    let runtime = runtime.clone();
    Session::builder(move |options| Ok((wrap(Ureq::new(options)?, runtime.clone()), runtime)))
        .build()
}
// ANCHOR_END: clients

/// The form in which a program prints its picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An SVG file.
    Svg,
    /// An HTML element for a page of the book.
    Html,
}

/// Returns the form of the picture if the program should print its picture instead of its text. `just picture` sets the
/// environment variable `INFLIGHT_PICTURE` to `svg`.
pub fn picture_format() -> Option<Format> {
    match &*std::env::var("INFLIGHT_PICTURE").ok()? {
        "html" => Some(Format::Html),
        _ => Some(Format::Svg),
    }
}

/// Prints a picture in the form that [`picture_format`] returns.
#[allow(clippy::print_stdout, reason = "the output of the example programs")]
pub fn print_picture(figure: &Figure) {
    match picture_format() {
        Some(Format::Html) => print!("{}", figure.html()),
        _ => print!("{}", figure.svg()),
    }
}
