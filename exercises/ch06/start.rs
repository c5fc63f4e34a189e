//! Chapter 6 (`docs/src/tutorial/ch06.md`): call a blocking function.
//!
//! `Archive::store` is a blocking function: it takes 0.1 s and returns when the page is on the disk. `store_all`
//! calls `store` in a task, on the thread of the event loop. Meanwhile, no other task can run. Another task of this
//! program is a heartbeat that ticks every millisecond. Change `store_all` so that the heartbeat continues.
//!
//! The signature is `fn store(&self, page: &str)`, so a call returns no `Result`. Clones of an `Archive` share the
//! stored pages.

use inflight::{Error, Session, gather_with};

use crate::Archive;

/// Fetches each page and stores it in the archive.
pub async fn store_all(session: &Session, archive: &Archive, urls: &[String]) -> Result<(), Error> {
    let jobs = gather_with(urls, async |url| {
        let page = session.get(url).text().await?;
        archive.store(&page);
        Ok::<_, Error>(())
    });
    jobs.all().await?;
    Ok(())
}
