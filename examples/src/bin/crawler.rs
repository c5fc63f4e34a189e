//! Follows the links of a site, with at most five requests to each host at once: `just run crawler`.
#![allow(clippy::print_stdout, reason = "a program")]

use std::cell::RefCell;
use std::collections::HashSet;

use futures_lite::StreamExt;
use inflight::url::Url;
use inflight::{Error, Retry, gather_queue};
use inflight_origin::Origin;

const MAX_PAGES: usize = 200;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let origin = Origin::start()?;
    // This site has 100 pages. Each page links to all others.
    inflight::block_on(crawl(Url::parse(&origin.url("/links/100/0"))?))
}

// ANCHOR: crawl
async fn crawl(start: Url) -> Result<(), Failure> {
    let session = &inflight::builder().retry(Retry::new(2)).build()?;
    let seen = &RefCell::new(HashSet::from([start.clone()]));
    let mut pages = gather_queue([start], |url, queue| async move {
        let page = session
            .get(url.clone())
            .error_for_status(true)
            .text()
            .await?;
        for link in links(&url, &page) {
            let mut seen = seen.borrow_mut();
            if link.host() == url.host() && seen.len() < MAX_PAGES && seen.insert(link.clone()) {
                queue.push(link).ok();
            }
        }
        Ok::<_, Error>(page.len())
    })
    .limit(20)
    .key(|url| url.host_str().map(str::to_owned))
    .per_key(5)
    .completed();
    let (mut succeeded, mut failed) = (0, 0);
    while let Some((url, result)) = pages.next().await {
        match result {
            Ok(_) => succeeded += 1,
            Err(error) => {
                failed += 1;
                println!("{url}: {}", Error::from(error));
            }
        }
    }
    println!("{succeeded} pages, {failed} failures");
    Ok(())
}
// ANCHOR_END: crawl

fn links(base: &Url, page: &str) -> Vec<Url> {
    let links = page.split("href=\"").skip(1);
    let links = links.filter_map(|rest| base.join(rest.split('"').next()?).ok());
    links.collect()
}
