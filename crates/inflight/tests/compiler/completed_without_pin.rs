//! The stream of results needs no `pin!`.

use futures_util::StreamExt;
use inflight::{Error, Session, gather_with};

pub async fn fetch(session: &Session, urls: Vec<String>) -> Result<(), Error> {
    let mut pages = gather_with(urls, |url| async {
        session
            .get(url)
            .send()
            .await?
            .error_for_status()?
            .text()
            .await
    })
    .until(async {})
    .completed();
    while let Some((_url, page)) = pages.next().await {
        page?;
    }
    Ok(())
}
