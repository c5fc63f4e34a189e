//! Chapter 4 (`docs/src/tutorial/ch04.md`): choose how a gather ends.
//!
//! Each function calls `settled`, which waits for every page. Only one of the four functions needs that. Choose
//! another ending for the other three: `all`, `completed` or `first`. `session` returns an error for each response
//! with an error status. `flatten` on an iterator of `Result`s keeps the values of the `Ok`s and drops the errors.
//!
//! `completed` returns a stream. To use its method `next`, import `futures_lite::StreamExt`.

use inflight::{Error, Session, gather};

/// Returns the pages of an invoice, in the order of `urls`. If a page fails, the other pages are useless: the
/// function returns the error immediately.
pub async fn fetch_invoice(session: &Session, urls: &[String]) -> Result<Vec<String>, Error> {
    let jobs = urls.iter().map(|url| session.get(url).text());
    let mut pages = Vec::new();
    for page in gather(jobs).settled().await.results {
        pages.push(page?);
    }
    Ok(pages)
}

/// Calls `show` with each page as soon as the page arrives, and ignores failures.
pub async fn show_news(session: &Session, urls: &[String], show: &dyn Fn(String)) {
    let jobs = urls.iter().map(|url| session.get(url).text());
    for page in gather(jobs).settled().await.results.into_iter().flatten() {
        show(page);
    }
}

/// Returns whether each link works, in the order of `urls`.
pub async fn check_links(session: &Session, urls: &[String]) -> Vec<bool> {
    let jobs = urls.iter().map(|url| session.get(url).text());
    let pages = gather(jobs).settled().await.results;
    pages.iter().map(|page| page.is_ok()).collect()
}

/// Returns the page of the fastest mirror that works, as soon as the page arrives.
pub async fn fetch_fastest(session: &Session, mirrors: &[String]) -> Option<String> {
    let jobs = mirrors.iter().map(|url| session.get(url).text());
    let pages = gather(jobs).settled().await.results;
    pages.into_iter().flatten().next()
}
