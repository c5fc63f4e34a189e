//! `settled` waits for every job. `gather_with` returns each URL with its result. `error_for_status` turns the 404
//! into an error.

use inflight::{Error, Session, gather_with};

/// Returns the pages that arrived, and each failure with its URL.
pub async fn fetch_all(session: &Session, urls: &[String]) -> (Vec<String>, Vec<(String, Error)>) {
    let jobs = gather_with(urls, |url| session.get(url).error_for_status(true).text());
    let (mut pages, mut failures) = (Vec::new(), Vec::new());
    for (url, page) in jobs.settled().await.results {
        match page {
            Ok(text) => pages.push(text),
            Err(error) => failures.push((url.clone(), error.into())),
        }
    }
    (pages, failures)
}
