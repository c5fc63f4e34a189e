//! Checks that a gather ends at its deadline and keeps the pages that have arrived.

use std::process::ExitCode;
use std::time::Duration;

use inflight::Session;
use inflight_exercises::{Answer, ServedRequest, Server, Verdict, require, run, seconds};

pub mod solution;
#[allow(missing_docs, reason = "a reader may delete the comment")]
pub mod start;

const START_REASON: &str = "the deadline is after 2.0 s, and the function returned after 60.0 s";
const PAGES: usize = 60;
const DEADLINE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    run(
        START_REASON,
        || check(start::fetch_in_time),
        || check(solution::fetch_in_time),
    )
}

fn check(fetch_in_time: impl AsyncFn(&Session, &[String]) -> Vec<String>) -> Verdict {
    let server = Server::new(|request| {
        let path = request.uri.path();
        let delay = match path {
            "/3" | "/8" => Duration::from_secs(60),
            _ => Duration::from_millis(600),
        };
        Answer::text(path).after(delay)
    });
    let session = server.builder().max_in_flight(10).build()?;
    let urls: Vec<_> = (0..PAGES)
        .map(|page| format!("http://pages.test/{page}"))
        .collect();
    let pages = server.block_on(fetch_in_time(&session, &urls));

    let (returned, deadline) = (server.elapsed(), seconds(DEADLINE));
    require(
        returned <= DEADLINE,
        format_args!(
            "the deadline is after {deadline}, and the function returned after {}",
            seconds(returned)
        ),
    )?;
    let requests = server.requests();
    let arrived = requests.iter().filter(|request| request.end.is_some());
    let is_returned =
        |request: &&ServedRequest| pages.iter().any(|page| page == request.request.uri.path());
    let (count, kept) = (arrived.clone().count(), arrived.filter(is_returned).count());
    require(
        kept == count,
        format_args!(
            "{count} pages had arrived when the function returned, and it returned {kept} of them"
        ),
    )?;
    require(
        returned == DEADLINE,
        format_args!(
            "the deadline is after {deadline}, and the function returned too early, after {}",
            seconds(returned)
        ),
    )?;
    Ok(format!(
        "the function returned after {deadline} with {kept} of {PAGES} pages"
    ))
}
