//! `per_key` limits the jobs of each host. A URL whose host is at its limit does not count towards the limit of the
//! gather, so later URLs start.
//!
//! `SessionBuilder::max_per_host` alone is not enough. With it, a hundred jobs of the slow host fill the gather, and
//! 98 of them wait. To limit redirects and retries too, use both.

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
    let jobs = gather_with(urls, |url| session.get(url).text())
        .key(|url| host(url))
        .per_key(2);
    Ok(jobs.all().await?)
}
