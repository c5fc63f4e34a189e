//! Checks that each page is fetched in the background.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use inflight::Session;
use inflight_exercises::{Answer, Reason, Server, Verdict, most_in_flight, require, run, seconds};

pub mod solution;
#[allow(missing_docs, reason = "a reader may delete the comment")]
pub mod start;

/// The number of characters of each page.
pub type Sizes = Arc<Mutex<BTreeMap<String, usize>>>;

const START_REASON: &str = "a second later, the server had received 0 of 3 requests: a future runs if you await it, \
    gather it or spawn it, and if you drop a `Task` without `detach`, you cancel it";
const TEXTS: [&str; 3] = ["one", "twenty-two", "three hundred"];
const SECOND: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    run(
        START_REASON,
        || check(start::start_downloads),
        || check(solution::start_downloads),
    )
}

fn check(start_downloads: fn(&Session, &[String], &Sizes)) -> Verdict {
    let server = Server::new(|request| {
        let page = request.uri.path().trim_start_matches('/');
        let text = page.parse().map_or("", |page: usize| TEXTS[page]);
        Answer::text(text).after(SECOND / 10)
    });
    let session = server.session();
    let sizes = Sizes::default();
    server.block_on(async {
        let urls: Vec<_> = (0..TEXTS.len()).map(url_of).collect();
        start_downloads(&session, &urls, &sizes);
        drop(urls);
        session.runtime().sleep(SECOND).await;
    });
    check_requests(&server)?;
    let sizes = sizes.lock().unwrap_or_else(PoisonError::into_inner);
    check_sizes(&sizes)?;
    Ok(format!(
        "the function returned at once, and {} tasks fetched the pages",
        TEXTS.len()
    ))
}

fn url_of(page: usize) -> String {
    format!("http://pages.test/{page}")
}

fn check_requests(server: &Server) -> Result<(), Reason> {
    let requests = server.requests();
    let (expected, received) = (TEXTS.len(), requests.len());
    let hint = match received {
        0 => {
            ": a future runs if you await it, gather it or spawn it, and if you drop a `Task` without `detach`, \
              you cancel it"
        }
        _ => "",
    };
    require(
        received == expected,
        format_args!(
            "a second later, the server had received {received} of {expected} requests{hint}"
        ),
    )?;
    let in_flight = most_in_flight(&requests);
    let last = requests.iter().map(|request| request.start).max();
    require(
        in_flight == expected,
        format_args!(
            "at most {in_flight} of {expected} requests were in flight at once, and the last one was sent after {}: \
             start a task for each page",
            seconds(last.unwrap_or_default())
        ),
    )?;
    let cancelled = requests.iter().filter(|request| request.end.is_none());
    let cancelled = cancelled.count();
    require(
        cancelled == 0,
        format_args!("{cancelled} of {expected} requests were cancelled"),
    )
}

fn check_sizes(sizes: &BTreeMap<String, usize>) -> Result<(), Reason> {
    let expected = TEXTS.len();
    let count = sizes.len();
    require(
        count == expected,
        format_args!("the server sent {expected} pages, and `sizes` contains {count} of them"),
    )?;
    for (page, text) in TEXTS.iter().enumerate() {
        let url = url_of(page);
        let size = sizes.get(&url).copied();
        let contents = size.map_or("nothing".to_owned(), |size| size.to_string());
        require(
            size == Some(text.chars().count()),
            format_args!(
                "{url} has {} characters, and `sizes` contains {contents} for it",
                text.chars().count()
            ),
        )?;
    }
    Ok(())
}
