//! `Task::spawn` and `sleep` use the runtime of the session. `Task::spawn` differs from `tokio::spawn` in one respect:
//! a task that is dropped is cancelled. `gather(jobs).all()` would do without tasks.

use std::time::Duration;

use inflight::{Error, Session, Task};

/// Returns the text of each page, in the order of the URLs.
pub async fn fetch_all(
    session: &Session,
    urls: &[String],
    pause: Duration,
) -> Result<Vec<String>, Error> {
    let mut tasks = Vec::new();
    for url in urls {
        let page = fetch(session.clone(), url.clone(), pause);
        tasks.push(Task::spawn(session.runtime(), page));
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
        session.runtime().sleep(pause).await;
    }
}
