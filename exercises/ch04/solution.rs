//! `all` ends with the first failure, `completed` returns each result as soon as its job finishes, `settled`
//! waits for every job, and `first` ends with the first success. `all` and `first` cancel the other jobs.

use futures_lite::StreamExt;
use inflight::{Error, Session, gather};

/// Returns the pages of an invoice, in the order of `urls`. If a page fails, the other pages are useless: the
/// function returns the error immediately.
pub async fn fetch_invoice(session: &Session, urls: &[String]) -> Result<Vec<String>, Error> {
    let jobs = urls.iter().map(|url| session.get(url).text());
    Ok(gather(jobs).all().await?)
}

/// Calls `show` with each page as soon as the page arrives, and ignores failures.
pub async fn show_news(session: &Session, urls: &[String], show: &dyn Fn(String)) {
    let jobs = urls.iter().map(|url| session.get(url).text());
    let mut pages = gather(jobs).completed();
    while let Some((_, page)) = pages.next().await {
        if let Ok(page) = page {
            show(page);
        }
    }
}

/// Returns whether each link works, in the order of `urls`.
pub async fn check_links(session: &Session, urls: &[String]) -> Vec<bool> {
    let jobs = urls.iter().map(|url| session.get(url).text());
    let pages = gather(jobs).settled().await.results;
    pages.iter().map(|page| page.is_ok()).collect()
}

/// Returns the page of the fastest mirror that works, as soon as the page arrives.
pub async fn fetch_fastest(session: &Session, mirrors: &[String]) -> Option<String> {
    let jobs = mirrors.iter().map(|url| session.get(url).text());
    gather(jobs).first().await.ok()
}
