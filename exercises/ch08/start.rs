//! Chapter 8 (`docs/src/tutorial/ch08.md`): run on every runtime.
//!
//! Some pages are not ready at the first request. Their response has the status 202. `fetch_all` requests such a page
//! again after a pause. Each page has its own task.
//!
//! The code was written for tokio: `tokio::spawn` and `tokio::time::sleep` work only inside a tokio runtime. Change the
//! code so that it works on the runtime of the session, whatever runtime this is.

use std::time::Duration;

use inflight::{Error, Session};

/// Returns the text of each page, in the order of the URLs.
pub async fn fetch_all(
    session: &Session,
    urls: &[String],
    pause: Duration,
) -> Result<Vec<String>, Error> {
    let mut tasks = Vec::new();
    for url in urls {
        tasks.push(tokio::spawn(fetch(session.clone(), url.clone(), pause)));
    }
    let mut pages = Vec::new();
    for task in tasks {
        pages.push(task.await.expect("the task does not panic")?);
    }
    Ok(pages)
}

/// Requests a page until it is ready.
async fn fetch(session: Session, url: String, pause: Duration) -> Result<String, Error> {
    loop {
        let response = session.get(&url).send().await?;
        if response.status() != 202 {
            return response.text().await;
        }
        tokio::time::sleep(pause).await;
    }
}
