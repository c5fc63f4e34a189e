//! Checks that a hundred pages take as long as the slowest one.

use std::process::ExitCode;
use std::time::Duration;

use inflight::{Error, ErrorKind, Session};
use inflight_exercises::{
    Answer, Reason, Server, Verdict, catch_panic, most_in_flight, require, run, seconds,
};

pub mod solution;
#[allow(missing_docs, reason = "a reader may delete the comment")]
pub mod start;

const START_REASON: &str = "the pages were requested one after another: \
    the run took 7.5 s of virtual time, and the slowest page takes 0.1 s";
const PAGES: usize = 100;
/// The page that cannot be fetched, in the second run.
const FAILING: &str = "/page/42";
const SLOWEST: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    run(
        START_REASON,
        || check(start::fetch_all),
        || check(solution::fetch_all),
    )
}

fn paths() -> Vec<String> {
    (0..PAGES).map(|page| format!("/page/{page}")).collect()
}

fn urls() -> Vec<String> {
    paths()
        .iter()
        .map(|path| format!("http://pages.test{path}"))
        .collect()
}

fn check(fetch_all: impl AsyncFn(&Session, &[String]) -> Result<Vec<String>, Error>) -> Verdict {
    let server = Server::new(|request| {
        let path = request.uri.path();
        let is_slow = path.ends_with(['0', '2', '4', '6', '8']);
        let delay = if is_slow { SLOWEST } else { SLOWEST / 2 };
        Answer::text(path).after(delay)
    });
    let pages = server.block_on(fetch_all(&server.session(), &urls()))?;

    let sent = server.requests().len();
    require(
        sent == PAGES,
        format_args!("the server received {sent} requests for {PAGES} pages"),
    )?;
    let in_flight = most_in_flight(&server.requests());
    let how = match in_flight {
        1 => "the pages were requested one after another".to_owned(),
        n => format!("at most {n} of {PAGES} requests were in flight at once"),
    };
    let hint = match in_flight {
        1 => "; a future starts only when something runs it, so pass all futures to `gather`",
        _ => "",
    };
    let (took, slowest) = (seconds(server.elapsed()), seconds(SLOWEST));
    require(
        server.elapsed() <= SLOWEST,
        format_args!(
            "{how}: the run took {took} of virtual time, and the slowest page takes {slowest}{hint}"
        ),
    )?;
    let count = pages.len();
    require(
        count == PAGES,
        format_args!("the function returned {count} of {PAGES} pages"),
    )?;
    let paths = paths();
    let wrong = (0..PAGES).find(|&page| pages[page] != paths[page]);
    require(
        wrong.is_none(),
        format_args!(
            "the pages are not in the order of `urls`: page {} is in another place",
            wrong.unwrap_or(0)
        ),
    )?;
    check_error(fetch_all)?;
    Ok(format!(
        "{PAGES} pages took {took} of virtual time, as long as the slowest page"
    ))
}

/// One page cannot be fetched.
fn check_error(
    fetch_all: impl AsyncFn(&Session, &[String]) -> Result<Vec<String>, Error>,
) -> Result<(), Reason> {
    let server = Server::new(|request| match request.uri.path() {
        FAILING => Answer::error(ErrorKind::Connect),
        path => Answer::text(path),
    });
    let session = server.session();
    let expectation = format!(
        "if {FAILING} cannot be fetched, the function should return the error, which `?` does"
    );
    let result = catch_panic(|| server.block_on(fetch_all(&session, &urls())))
        .map_err(|panic| Reason::new(format!("{expectation}; {panic}")))?;
    let count = result.as_ref().map_or(0, Vec::len);
    require(
        result.is_err(),
        format_args!("{expectation}; it returned {count} pages and no error"),
    )
}
