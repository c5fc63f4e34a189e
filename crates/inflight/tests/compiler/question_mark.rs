//! `?` converts the error of a gather.

use inflight::{Error, Session, gather};

pub async fn fetch(session: &Session, urls: Vec<String>) -> Result<Vec<String>, Error> {
    let pages = urls.into_iter().map(|url| session.get(url).text());
    Ok(gather(pages).all().await?)
}
