//! A gather inside a task cannot map over a borrowed iterator. The documentation of `gather` quotes this
//! error and contains the remedy.
//! error: implementation of `FnOnce` is not general enough

use inflight::{Session, gather};

pub fn fetch(session: Session, urls: Vec<String>) -> impl Future<Output = ()> + Send {
    async move {
        let pages = urls.iter().map(|url| session.get(url).text());
        gather(pages).settled().await;
    }
}
