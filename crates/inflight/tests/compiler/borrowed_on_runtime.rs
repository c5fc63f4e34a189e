//! Jobs that borrow cannot run in tasks of a runtime.
//! error: requires that `urls` is borrowed for `'static`

use inflight::{Error, Session, gather};

pub async fn fetch(session: Session, urls: Vec<String>) -> Result<(), Error> {
    let jobs = urls.iter().map(|url| {
        let session = session.clone();
        async move { session.get(url).text().await }
    });
    gather(jobs).on(session.runtime()).all().await?;
    Ok(())
}
