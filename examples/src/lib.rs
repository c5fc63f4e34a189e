//! The example programs of the book. Each program runs on any of the four named backends:
//!
//! ```text
//! just run hundred_pages smol
//! ```
//!
//! The page "Examples" of the book lists all programs.

pub mod attempts;

use std::sync::Arc;
use std::time::{Duration, Instant};

use inflight::backend::{Fetch, Runtime};
use inflight::clients::Ureq;
use inflight::{Cell, Error, Session};
use inflight_charts::{Figure, Group, Row, Series};

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

/// The start and the end of a request, as times since the start of its run.
pub type Bar = (Duration, Duration);

/// Fetches a page. Returns the time for which the request was in flight. `started` is the start of the run.
pub async fn time_page(session: &Session, url: &str, started: Instant) -> Result<Bar, Error> {
    let begin = started.elapsed();
    session.get(url).text().await?;
    Ok((begin, started.elapsed()))
}

/// Returns the end of the request that ended last.
pub fn last_end(bars: &[Bar]) -> Duration {
    let ends = bars.iter().map(|(_, end)| *end);
    ends.max().unwrap_or_default()
}

/// Returns the heading of a run: its name, the number of its pages, and the time that it took.
pub fn bars_heading(name: &str, bars: &[Bar]) -> String {
    let total = last_end(bars).as_millis();
    format!("{name}: {} pages in {total} ms", bars.len())
}

/// Draws the requests of a run: one thin bar for each, without a label.
pub fn draw_bars(heading: &str, bars: &[Bar], series: Series) -> Group {
    let rows = bars
        .iter()
        .map(|&(begin, end)| Row::new("").bar(begin, end, series));
    Group::new(heading).rows(rows)
}
