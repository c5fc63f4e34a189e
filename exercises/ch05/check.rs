//! Checks that 97 pages and three failures are returned.

use std::process::ExitCode;
use std::time::Duration;

use inflight::clients::RecordedRequest;
use inflight::{Error, ErrorKind, Session};
use inflight_exercises::{Answer, Server, Verdict, require, run};

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

fn main() -> ExitCode {
    run(
        START_REASON,
        || check(start::fetch_all),
        || check(solution::fetch_all),
    )
}

/// Later pages take longer, so that some requests are still in flight at the first failure.
fn answer(request: &RecordedRequest) -> Answer {
    let page = request.uri.path().trim_start_matches('/');
    let answer = match page {
        "13" => Answer::error(ErrorKind::Connect),
        "42" => Answer::status(404, "Not Found"),
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
    for (url, kind) in FAILURES {
        let mut reported = failures.iter().filter(|(reported, _)| reported == url);
        let error = reported.next().map(|(_, error)| error.kind());
        let actual = match error {
            Some(kind) => format!("reported an error of the kind `{kind:?}` for it"),
            None => "reported no failure for it".to_owned(),
        };
        require(
            error == Some(kind),
            format_args!(
                "{url} fails with an error of the kind `{kind:?}`, and the function {actual}"
            ),
        )?;
    }
    require(
        failures.len() == FAILURES.len(),
        format_args!(
            "three URLs fail, and the function reported {} failures",
            failures.len()
        ),
    )?;
    Ok("97 pages were returned, and each of three failures with its URL".to_owned())
}
