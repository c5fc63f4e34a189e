//! Chapter 5 (`docs/src/tutorial/ch05.md`): keep the other pages if three of a hundred fail.
//!
//! `fetch_all` returns either all pages or one error. Change it so that it returns every page that arrived, and each
//! failure with its URL. A response with the status 404 is a failure too. By default, the session returns the text of
//! such a response as if it were a page.

use inflight::{Error, Session, gather};

/// Returns the pages that arrived, and each failure with its URL.
pub async fn fetch_all(session: &Session, urls: &[String]) -> (Vec<String>, Vec<(String, Error)>) {
    let jobs = urls.iter().map(|url| session.get(url).text());
    match gather(jobs).all().await {
        Ok(pages) => (pages, Vec::new()),
        Err(error) => (
            Vec::new(),
            vec![(urls[error.index()].clone(), error.into())],
        ),
    }
}
