//! Chapter 11 (`docs/src/tutorial/ch11.md`): two requests to each host.
//!
//! Each host accepts two requests at once. `urls` is sorted by host: 200 pages of a slow host, then 20 pages of each
//! of two fast hosts. `fetch_all` sends at most two requests at once in total, so the fast hosts wait for the slow
//! host. Change `fetch_all` so that each host gets two requests at once, and no host waits for another.

use inflight::{Error, SessionBuilder, gather_with};

/// Returns the host of a URL.
pub fn host(url: &str) -> String {
    url.split('/').nth(2).unwrap_or("").to_owned()
}

/// Returns each URL with the text of its page.
pub async fn fetch_all(
    builder: SessionBuilder,
    urls: Vec<String>,
) -> Result<Vec<(String, String)>, Error> {
    let session = builder.build()?;
    let jobs = gather_with(urls, |url| session.get(url).text()).limit(2);
    Ok(jobs.all().await?)
}
