//! A task may run longer than this function. So it owns what it uses: a clone of the session, of the URL, and of the
//! `Arc`. `move` moves the clones into the task. The guard of the mutex is dropped in the same line, not held across an
//! `.await`.

use inflight::{Session, Task};

use crate::Sizes;

/// Fetches the pages in the background. Each task adds the URL and the number of characters of its page to `sizes`.
pub fn start_downloads(session: &Session, urls: &[String], sizes: &Sizes) {
    for url in urls {
        let (client, url, sizes) = (session.clone(), url.clone(), sizes.clone());
        let download = async move {
            if let Ok(text) = client.get(&url).text().await {
                let size = text.chars().count();
                sizes.lock().unwrap().insert(url, size);
            }
        };
        Task::spawn(session.runtime(), download).detach();
    }
}
