//! `gather` polls all futures, so all requests are in flight at the same time. `all` returns the texts in the
//! order of the input, whichever page arrives first.

use inflight::{Error, Session, gather};

/// Returns the text of each page, in the order of `urls`.
pub async fn fetch_all(session: &Session, urls: &[String]) -> Result<Vec<String>, Error> {
    let pages = urls.iter().map(|url| session.get(url).text());
    Ok(gather(pages).all().await?)
}
