//! Checks that a function works on two runtimes: in virtual time, and on plain threads.

use std::process::ExitCode;
use std::time::Duration;

use inflight::clients::{Mock, Reply, When};
use inflight::runtimes::{Threads, Virtual};
use inflight::{BlockOn, Error, Session};
use inflight_exercises::{Reason, Verdict, catch_panic, require, run};

pub mod solution;
#[allow(missing_docs, reason = "a reader may delete the comment")]
pub mod start;

/// The rest of the reason is a text of tokio, which differs between versions.
const START_REASON: &str =
    "on the runtime `virtual`, the code panicked in exercises/ch08/start.rs, line 21: ";
const PAGES: usize = 10;
/// How often the response to each request is 202 before the page is ready.
const NOT_READY: u32 = 3;
/// The pause in virtual time. It is short, because a mistake can make it a pause in real time.
const PAUSE: Duration = Duration::from_millis(20);
/// On threads, the clock is real, and the check only compares the pages.
const SHORT_PAUSE: Duration = Duration::from_millis(1);

fn main() -> ExitCode {
    run(
        START_REASON,
        || check(start::fetch_all),
        || check(solution::fetch_all),
    )
}

fn check(
    fetch_all: impl AsyncFn(&Session, &[String], Duration) -> Result<Vec<String>, Error> + Copy,
) -> Verdict {
    // The virtual runtime comes first, because it reports a task that never ends.
    let clock = Virtual::new();
    on_runtime("virtual", || {
        let mock = mock(Mock::new(clock.clone()));
        clock.block_on(check_pages(fetch_all, &mock, PAUSE))?;
        check_pause(clock.elapsed())
    })?;
    on_runtime("threads", || {
        let threads = Threads::new();
        let mock = mock(Mock::new(threads.clone()));
        threads.block_on(check_pages(fetch_all, &mock, SHORT_PAUSE))
    })?;
    Ok(format!(
        "{PAGES} pages arrived in virtual time, after {NOT_READY} pauses, and on plain threads"
    ))
}

fn check_pause(actual: Duration) -> Result<(), Reason> {
    let expected = PAUSE * NOT_READY;
    let effect = match actual < expected {
        true => "it paused on another clock, or not at all",
        false => "the pages waited for each other",
    };
    require(
        actual == expected,
        format_args!(
            "{NOT_READY} pauses take {} ms of virtual time, and the function took {} ms: {effect}",
            expected.as_millis(),
            actual.as_millis()
        ),
    )
}

/// Runs a part of the check, and adds the name of the runtime to its failure.
fn on_runtime(name: &str, part: impl FnOnce() -> Result<(), Reason>) -> Result<(), Reason> {
    let result = catch_panic(part).unwrap_or_else(Err);
    result.map_err(|reason| Reason::new(format!("on the runtime `{name}`, {reason}")))
}

/// Adds the replies to a client: each page is ready after some requests.
fn mock(mock: Mock) -> Mock {
    for page in 0..PAGES {
        let path = format!("/{page}");
        mock.on(
            When::get(&path).times(NOT_READY as usize),
            Reply::status(202),
        );
        mock.on(
            When::get(&path).repeated(),
            Reply::text(format!("page {page}")),
        );
    }
    mock
}

async fn check_pages(
    fetch_all: impl AsyncFn(&Session, &[String], Duration) -> Result<Vec<String>, Error>,
    mock: &Mock,
    pause: Duration,
) -> Result<(), Reason> {
    let paths = 0..PAGES;
    let urls: Vec<_> = paths
        .map(|page| format!("http://pages.test/{page}"))
        .collect();
    let session = mock.session().build()?;
    let pages = fetch_all(&session, &urls, pause).await?;
    let expected: Vec<_> = (0..PAGES).map(|page| format!("page {page}")).collect();
    let wrong = expected
        .iter()
        .zip(&pages)
        .position(|(page, text)| page != text);
    if let Some(page) = wrong {
        let text = &pages[page];
        return Err(Reason::new(format!(
            "page {page} has the text \"page {page}\", and the function returned \"{text}\" for it"
        )));
    }
    require(
        pages.len() == PAGES,
        format_args!(
            "{PAGES} pages were requested, and the function returned {}",
            pages.len()
        ),
    )
}
