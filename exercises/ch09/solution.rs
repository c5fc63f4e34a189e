//! `until` ends the whole gather when the sleep completes, and keeps the results of the jobs that have finished. A
//! timeout of each request would not limit the time for which requests wait for the session. Dropping the gather
//! at the deadline would also drop the pages that have arrived.

use std::time::Duration;

use inflight::{Session, gather};

/// Returns the pages that arrive within 2 s.
pub async fn fetch_in_time(session: &Session, urls: &[String]) -> Vec<String> {
    let jobs = urls.iter().map(|url| session.get(url).text());
    let deadline = session.runtime().sleep(Duration::from_secs(2));
    let pages = gather(jobs).until(deadline).settled().await.results;
    pages.into_iter().flatten().collect()
}
