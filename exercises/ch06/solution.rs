//! `unblock` runs the closure on the blocking pool of the runtime. Only this job waits for it. The closure may run
//! longer than the borrow of `archive` lasts, so it owns a clone.

use inflight::{Error, Session, gather_with, unblock};

use crate::Archive;

/// Fetches each page and stores it in the archive.
pub async fn store_all(session: &Session, archive: &Archive, urls: &[String]) -> Result<(), Error> {
    let jobs = gather_with(urls, async |url| {
        let page = session.get(url).text().await?;
        let archive = archive.clone();
        unblock(session.runtime(), move || archive.store(&page)).await?;
        Ok::<_, Error>(())
    });
    jobs.all().await?;
    Ok(())
}
