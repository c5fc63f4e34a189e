//! Checks that 97 pages and three failures are returned.

use std::process::ExitCode;
use std::time::Duration;

use inflight::clients::RecordedRequest;
use inflight::{Error, ErrorKind, Session};
use inflight_exercises::{Answer, Reason, Server, Verdict, most_in_flight, require, run, seconds};

pub mod solution;
#[allow(missing_docs, reason = "a reader may delete the comment")]
pub mod start;

const START_REASON: &str =
    "97 pages can be fetched, and the function returned 0 of them; 86 requests were cancelled";
const FAILURES: [(&str, ErrorKind); 3] = [
    ("http://pages.test/13", ErrorKind::Connect),
    ("http://pages.test/42", ErrorKind::Status),
    ("http://pages.test/77", ErrorKind::Incomplete),
];

/// The server redirects page 42 to this address.
const MOVED: &str = "http://pages.test/moved";
/// The time that the last page takes.
const SLOWEST: Duration = Duration::from_millis(99);

fn main() -> ExitCode {
    run(
        START_REASON,
        || check(start::fetch_all),
        || check(solution::fetch_all),
    )
}

/// Later pages take longer, so that some requests are still in flight at the first failure. Page 42 is at another address
/// that does not exist, so the URL of the error is not the URL in the input.
fn answer(request: &RecordedRequest) -> Answer {
    let page = request.uri.path().trim_start_matches('/');
    let answer = match page {
        "13" => Answer::error(ErrorKind::Connect),
        "42" => Answer::status(302, "").header("location", MOVED),
        "moved" => Answer::status(404, "Not Found"),
        "77" => Answer::error(ErrorKind::Incomplete),
        _ => Answer::text(format!("page {page}")),
    };
    answer.after(Duration::from_millis(page.parse().unwrap_or(0)))
}

fn check(
    fetch_all: impl AsyncFn(&Session, &[String]) -> (Vec<String>, Vec<(String, Error)>),
) -> Verdict {
    let server = Server::new(answer);
    let urls: Vec<_> = (0..100)
        .map(|page| format!("http://pages.test/{page}"))
        .collect();
    let (pages, failures) = server.block_on(fetch_all(&server.session(), &urls));

    require(
        !pages.iter().any(|page| page == "Not Found"),
        "\"Not Found\" is not a page but the text of a response with the status 404: return it as a failure",
    )?;
    let has_page = |page: &u32| pages.contains(&format!("page {page}"));
    let found = (0..100).filter(has_page).count();
    let cancelled = server
        .requests()
        .iter()
        .filter(|request| request.end.is_none())
        .count();
    let effect = match cancelled {
        0 => String::new(),
        n => format!("; {n} requests were cancelled"),
    };
    require(
        found == 97,
        format_args!("97 pages can be fetched, and the function returned {found} of them{effect}"),
    )?;
    require(
        pages.len() == 97,
        format_args!(
            "97 pages can be fetched, and the function returned {} texts",
            pages.len()
        ),
    )?;
    check_failures(&failures)?;
    require(
        failures.len() == FAILURES.len(),
        format_args!(
            "three URLs fail, and the function reported {} failures",
            failures.len()
        ),
    )?;
    let in_flight = most_in_flight(&server.requests());
    require(
        server.elapsed() <= SLOWEST,
        format_args!(
            "the pages and failures are right, but at most {in_flight} of 100 requests were in flight at once, and the \
             run took {} of virtual time: give all futures to one `gather`",
            seconds(server.elapsed())
        ),
    )?;
    Ok("97 pages were returned, and each of three failures with its URL".to_owned())
}

fn check_failures(failures: &[(String, Error)]) -> Result<(), Reason> {
    let reported: Vec<&str> = failures.iter().map(|(url, _)| url.as_str()).collect();
    for (url, kind) in FAILURES {
        let found = failures.iter().find(|(reported, _)| reported == url);
        let error = found.map(|(_, error)| error.kind());
        let actual = match error {
            Some(kind) => format!("reported an error of the kind `{kind:?}` for it"),
            None if reported.is_empty() => "reported no failure".to_owned(),
            None if reported.contains(&MOVED) => format!(
                "reported {MOVED} instead: the server redirected the request, and `error.url()` returns the last \
                 address; take the URL from `urls`"
            ),
            None => format!("reported failures only for {}", reported.join(", ")),
        };
        require(
            error == Some(kind),
            format_args!(
                "{url} fails with an error of the kind `{kind:?}`, and the function {actual}"
            ),
        )?;
    }
    Ok(())
}
