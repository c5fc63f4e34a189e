//! Follows the links of a site, with at most five requests to each host at once: `just run crawler`.
#![allow(clippy::print_stdout, reason = "a program")]

use std::cell::RefCell;
use std::collections::HashSet;
use std::error::Error as StdError;

use inflight::url::Url;
use inflight::{Error, Retry, gather_queue};
use inflight_origin::Origin;

fn main() -> Result<(), Box<dyn StdError>> {
    let origin = Origin::start()?;
    // This site has 100 pages. Each page links to all others.
    let start = Url::parse(&origin.url("/links/100/0"))?;
    Ok(inflight::block_on(crawl(start))?)
}

// ANCHOR: crawl
async fn crawl(start: Url) -> Result<(), Error> {
    let session = &inflight::builder().retry(Retry::new(2)).build()?;
    let seen = &RefCell::new(HashSet::from([start.clone()]));
    let crawl = gather_queue([start], |url, queue| async move {
        let request = session.get(url.clone()).error_for_status(true);
        for link in links(&url, &request.text().await?) {
            if link.host() == url.host() && seen.borrow_mut().insert(link.clone()) {
                queue.push(link).ok();
            }
        }
        Ok::<_, Error>(())
    });
    let crawl = crawl
        .limit(20)
        .key(|url| url.authority().to_owned())
        .per_key(5);
    for (url, result) in crawl.settled().await.results {
        match result {
            Ok(()) => println!("{url}"),
            Err(error) => println!("{url}: {}", Error::from(error)),
        }
    }
    Ok(())
}
// ANCHOR_END: crawl

fn links(base: &Url, page: &str) -> Vec<Url> {
    let links = page.split("href=\"").skip(1);
    let links = links.filter_map(|rest| base.join(rest.split('"').next()?).ok());
    links.collect()
}
