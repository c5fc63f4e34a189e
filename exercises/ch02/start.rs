//! Chapter 2 (`docs/src/tutorial/ch02.md`): run futures in the background.
//!
//! `start_downloads` creates a future for each page, and nothing runs the futures. Change the function so that each
//! page is fetched in a task of its own. The function must return at once, and the tasks must continue after that. Keep
//! the signature: the function is not `async`, so it cannot wait for the tasks.
//!
//! You need `inflight::Task`. `Task::spawn(session.runtime(), future)` starts a task. If you drop a `Task`, you cancel
//! it. `detach` lets it run to its end.
//!
//! `Sizes` is `Arc<Mutex<BTreeMap<String, usize>>>`. A `BTreeMap` is a map with sorted keys. A clone of the `Arc` is
//! cheap, and shares the same map.

use inflight::Session;

use crate::Sizes;

/// Fetches the pages in the background. Each task adds the URL and the number of characters of its page to `sizes`.
pub fn start_downloads(session: &Session, urls: &[String], sizes: &Sizes) {
    let mut downloads = Vec::new();
    for url in urls {
        downloads.push(async move {
            if let Ok(text) = session.get(url).text().await {
                let size = text.chars().count();
                sizes.lock().unwrap().insert(url.clone(), size);
            }
        });
    }
}
