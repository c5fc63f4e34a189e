//! Chapter 9: stop at a deadline.
//!
//! `fetch_in_time` has 2 s. Most pages take 0.6 s, and two of them take a minute. The session sends at most ten
//! requests at once. Return the pages that have arrived after 2 s, and do not wait for the others.
//! `session.runtime()` returns the runtime, which has a method `sleep`.

use inflight::{Session, gather};

/// Returns the pages that arrive within 2 s.
pub async fn fetch_in_time(session: &Session, urls: &[String]) -> Vec<String> {
    let jobs = urls.iter().map(|url| session.get(url).text());
    let pages = gather(jobs).settled().await.results;
    pages.into_iter().flatten().collect()
}
