//! A gather inside a task can map over an owned iterator.

use inflight::{Session, gather};

pub fn fetch(session: Session, urls: Vec<String>) -> impl Future<Output = ()> + Send {
    async move {
        let pages = urls.into_iter().map(|url| session.get(url).text());
        gather(pages).settled().await;
    }
}
