//! Follows the links of a site, politely and up to a limit: `just run crawler`.
#![allow(clippy::print_stdout, reason = "a program")]

use std::cell::RefCell;
use std::collections::HashSet;
use std::error::Error as StdError;
use std::time::Duration;

use inflight::gather::Settled;
use inflight::url::Url;
use inflight::{Error, JobError, Retry, Session, gather_queue};
use inflight_origin::Origin;

const MAX_PAGES: usize = 50;
const MAX_TIME: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn StdError>> {
    let origin = Origin::start()?;
    // This site has 100 pages. Each page links to all others.
    let start = Url::parse(&origin.url("/links/100/0"))?;
    inflight::block_on(run(&origin, start))
}

async fn run(origin: &Origin, start: Url) -> Result<(), Box<dyn StdError>> {
    let session = session()?;
    // ANCHOR: interval
    // The `Crawl-delay` of the host's robots.txt.
    let crawl_delay = Duration::from_millis(20);
    session.set_host_interval(&start, crawl_delay);
    // ANCHOR_END: interval
    let crawl = crawl(&session, start).await;
    let failed: Vec<_> = crawl
        .results
        .iter()
        .filter(|(_, page)| page.is_err())
        .collect();
    println!("{} pages, {} failed", crawl.results.len(), failed.len());
    for (url, result) in failed {
        println!("{url}: {}", result.as_ref().unwrap_err());
    }
    println!("stopped by the time limit: {}", crawl.is_cut_off);
    let most = origin.stats().peak_in_flight;
    println!("at most 5 requests at once: {}", most <= 5);
    Ok(())
}

// ANCHOR: session
fn session() -> Result<Session, Error> {
    inflight::builder()
        .header(
            "user-agent",
            "example-crawler/1.0 (+https://example.com/crawler)",
        )
        .max_per_host(5)
        .max_rate_per_host(50, Duration::from_secs(1))
        .retry(Retry::new(2))
        .timeout(Duration::from_secs(30))
        .error_for_status(true)
        .build()
}
// ANCHOR_END: session

// ANCHOR: visited
/// The URLs that the crawl has found so far.
struct Visited {
    urls: HashSet<Url>,
    max: usize,
}

impl Visited {
    /// Returns whether the crawl should fetch this URL: it is new, and the limit is not reached.
    fn add(&mut self, url: &Url) -> bool {
        self.urls.len() < self.max && self.urls.insert(url.clone())
    }
}

/// Returns the form of a URL that identifies its page.
///
/// `Url::parse` has already lowered the case of the scheme and the host, and removed the default port and the
/// dots of the path.
fn normalize(mut url: Url) -> Url {
    // The server does not receive the fragment.
    url.set_fragment(None);
    // An empty query and no query usually mean the same page.
    if url.query() == Some("") {
        url.set_query(None);
    }
    url
}
// ANCHOR_END: visited

// ANCHOR: crawl
type Page = (Url, Result<(), JobError<Error>>);

async fn crawl(session: &Session, start: Url) -> Settled<Page> {
    let start = normalize(start);
    let visited = &RefCell::new(Visited {
        urls: HashSet::from([start.clone()]),
        max: MAX_PAGES,
    });
    let jobs = gather_queue([start], |url, queue| async move {
        let page = session.get(&url).text().await?;
        for link in links(&url, &page) {
            if link.host() == url.host() && visited.borrow_mut().add(&link) {
                queue.push(link).ok();
            }
        }
        Ok::<_, Error>(())
    });
    jobs.limit(20)
        .key(|url| url.authority().to_owned())
        .per_key(5)
        .rate_per_key(50, Duration::from_secs(1), session.runtime())
        .until(session.runtime().sleep(MAX_TIME))
        .settled()
        .await
}

/// Returns the links of a page. A program for real pages needs an HTML parser.
fn links(base: &Url, page: &str) -> Vec<Url> {
    let links = page.split("href=\"").skip(1);
    let links = links.filter_map(|rest| base.join(rest.split('"').next()?).ok());
    links.map(normalize).collect()
}
// ANCHOR_END: crawl

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_page_have_one_url() {
        let expected = Url::parse("http://pages.test/a/b").unwrap();
        for spelling in [
            "http://pages.test/a/b#part",
            "HTTP://Pages.Test:80/a/b",
            "http://pages.test/a/./x/../b",
            "http://pages.test/a/b?",
        ] {
            assert_eq!(
                normalize(Url::parse(spelling).unwrap()),
                expected,
                "{spelling}"
            );
        }
    }

    #[test]
    fn links_are_relative_to_their_page() {
        let base = Url::parse("http://pages.test/a/b").unwrap();
        let page = r#"<a href="c#top">c</a> <a href="/d">d</a>"#;
        let expected = ["http://pages.test/a/c", "http://pages.test/d"];
        let found = links(&base, page);
        assert_eq!(found.iter().map(Url::as_str).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn visited_urls_are_new_and_limited() {
        let url = |path: &str| Url::parse(&format!("http://pages.test/{path}")).unwrap();
        let mut visited = Visited {
            urls: HashSet::new(),
            max: 2,
        };
        let added = ["a", "a", "b", "c"].map(|path| visited.add(&url(path)));
        assert_eq!(added, [true, false, true, false]);
    }
}
