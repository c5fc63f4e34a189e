//! Chapter 9 (`docs/src/tutorial/ch09.md`): stop at a deadline.
//!
//! `fetch_in_time` has 2 s. Most pages take 0.6 s, and two of them take a minute. The session sends at most ten
//! requests at once. Change `fetch_in_time` so that it returns after 2 s with the pages that have arrived by then.
//! `session.runtime()` returns the runtime, which has a method `sleep`.

use inflight::{Session, gather};

/// Returns the pages that arrive within 2 s.
pub async fn fetch_in_time(session: &Session, urls: &[String]) -> Vec<String> {
    let jobs = urls.iter().map(|url| session.get(url).text());
    let pages = gather(jobs).settled().await.results;
    pages.into_iter().flatten().collect()
}
