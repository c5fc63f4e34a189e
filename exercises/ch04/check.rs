//! Checks when each function returns, and what it returns.

use std::cell::RefCell;
use std::process::ExitCode;
use std::time::Duration;

use inflight::{Error, Session};
use inflight_exercises::{Answer, Reason, Server, Verdict, require, run, seconds};

pub mod solution;
#[allow(missing_docs, reason = "a reader may delete the comment")]
pub mod start;

const START_REASON: &str = "`fetch_invoice`: a page failed after 1.0 s, and the function waited until 5.0 s for the other pages";

fn main() -> ExitCode {
    run(
        START_REASON,
        || {
            check_invoice(start::fetch_invoice)?;
            check_news(start::show_news)?;
            check_links(start::check_links)?;
            check_fastest(start::fetch_fastest)
        },
        || {
            check_invoice(solution::fetch_invoice)?;
            check_news(solution::show_news)?;
            check_links(solution::check_links)?;
            check_fastest(solution::fetch_fastest)
        },
    )
}

/// Starts a server with these pages. Each page is a number of seconds, and `-` before the number means a
/// failure after this time.
fn start_server(pages: &[&str]) -> (Server, Session, Vec<String>) {
    let server = Server::new(|request| {
        let page = request.uri.path().trim_start_matches('/');
        let delay: u64 = page.trim_start_matches('-').parse().unwrap_or(0);
        let answer = match page.starts_with('-') {
            true => Answer::status(503, "the server is overloaded"),
            false => Answer::text(format!("page {page}")),
        };
        answer.after(Duration::from_secs(delay))
    });
    let session = server.builder().error_for_status(true).build();
    let session = session.expect("the options are valid");
    let urls = pages.iter().map(|page| format!("http://pages.test/{page}"));
    (server, session, urls.collect())
}

fn check_invoice(
    fetch_invoice: impl AsyncFn(&Session, &[String]) -> Result<Vec<String>, Error>,
) -> Result<(), Reason> {
    let (server, session, urls) = start_server(&["3", "1", "2"]);
    let pages = server.block_on(fetch_invoice(&session, &urls))?;
    require(
        pages == ["page 3", "page 1", "page 2"],
        format_args!(
            "`fetch_invoice`: the expected pages are page 3, page 1 and page 2, and the function returned {pages:?}"
        ),
    )?;

    let (server, session, urls) = start_server(&["5", "-1", "2"]);
    let result = server.block_on(fetch_invoice(&session, &urls));
    let returned = server.elapsed();
    require(
        result.is_err(),
        "`fetch_invoice`: one page failed, and the function returned no error",
    )?;
    require(
        returned == Duration::from_secs(1),
        format_args!(
            "`fetch_invoice`: a page failed after 1.0 s, and the function waited until {} for the other pages",
            seconds(returned)
        ),
    )
}

fn check_news(show_news: impl AsyncFn(&Session, &[String], &dyn Fn(String))) -> Result<(), Reason> {
    let (server, session, urls) = start_server(&["3", "1", "-1", "2"]);
    let shown = RefCell::new(Vec::new());
    server.block_on(show_news(&session, &urls, &|page| {
        shown.borrow_mut().push((page, server.elapsed()));
    }));
    let shown = shown.into_inner();
    require(
        shown.len() == 3,
        format_args!(
            "`show_news`: three pages arrived, and the function showed {}",
            shown.len()
        ),
    )?;
    for (page, at) in shown {
        let arrival = Duration::from_secs(page.trim_start_matches("page ").parse().unwrap_or(0));
        require(
            at == arrival,
            format_args!(
                "`show_news`: {page} arrived after {}, and the function showed it after {}",
                seconds(arrival),
                seconds(at)
            ),
        )?;
    }
    Ok(())
}

fn check_links(check_links: impl AsyncFn(&Session, &[String]) -> Vec<bool>) -> Result<(), Reason> {
    let (server, session, urls) = start_server(&["3", "-1", "2", "-2"]);
    let works = server.block_on(check_links(&session, &urls));
    require(
        works == [true, false, true, false],
        format_args!(
            "`check_links`: the expected result is [true, false, true, false], and the function returned {works:?}"
        ),
    )
}

fn check_fastest(fetch_fastest: impl AsyncFn(&Session, &[String]) -> Option<String>) -> Verdict {
    let (server, session, urls) = start_server(&["-1", "5", "2"]);
    let page = server.block_on(fetch_fastest(&session, &urls));
    let returned = server.elapsed();
    require(
        page.as_deref() == Some("page 2"),
        format_args!(
            "`fetch_fastest`: the fastest mirror that works sends page 2, and the function returned {}",
            page.as_deref().unwrap_or("no page")
        ),
    )?;
    require(
        returned == Duration::from_secs(2),
        format_args!(
            "`fetch_fastest`: the page arrived after 2.0 s, and the function waited until {} for the other mirrors",
            seconds(returned)
        ),
    )?;
    let (server, session, urls) = start_server(&["-1", "-2"]);
    let page = server.block_on(fetch_fastest(&session, &urls));
    require(
        page.is_none(),
        format_args!("`fetch_fastest`: every mirror failed, and the function returned {page:?}"),
    )?;
    Ok("each gather ends when its caller needs it".to_owned())
}
