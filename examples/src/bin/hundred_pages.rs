//! Fetches five pages one after another, then a hundred pages at once: `just run hundred_pages`.
#![allow(clippy::print_stdout, reason = "a program")]

use std::time::Instant;

use inflight::{Error, Session, gather};
use inflight_origin::Origin;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let origin = Origin::start()?;
    inflight::block_on(async {
        let session = inflight::session()?;
        fetch_sequentially(&session, &origin).await?;
        fetch_concurrently(&session, &origin).await;
        fetch_with_failures(&session, &origin).await;
        Ok(())
    })
}

async fn fetch_sequentially(session: &Session, origin: &Origin) -> Result<(), Error> {
    let started = Instant::now();
    for number in 0..5 {
        let url = origin.url(&format!("/page/{number}?delay_ms=100"));
        session.get(url).text().await?;
    }
    println!(
        "5 pages, one after another: {} ms",
        started.elapsed().as_millis()
    );
    Ok(())
}

// ANCHOR: gathered
async fn fetch_concurrently(session: &Session, origin: &Origin) {
    let started = Instant::now();
    let urls = (0..100).map(|number| origin.url(&format!("/page/{number}?delay_ms=100")));
    let pages = gather(urls.map(|url| session.get(url).text()))
        .limit(100)
        .settled()
        .await
        .results;
    let succeeded = pages.iter().filter(|page| page.is_ok()).count();
    println!(
        "{succeeded} pages, gathered: {} ms",
        started.elapsed().as_millis()
    );
}
// ANCHOR_END: gathered

// ANCHOR: errors
async fn fetch_with_failures(session: &Session, origin: &Origin) {
    let urls = [
        origin.url("/page/1"),
        origin.url("/status/503"),
        "http://127.0.0.1:1/".to_owned(),
        "not a url".to_owned(),
    ];
    let get = |url: &String| {
        let request = session.get(url);
        async move { request.send().await?.error_for_status()?.text().await }
    };
    for result in gather(urls.iter().map(get)).settled().await.results {
        match result {
            Ok(text) => println!("a page of {} bytes", text.len()),
            Err(error) => {
                let index = error.index();
                println!("{index}: {}", Error::from(error).kind());
            }
        }
    }
}
// ANCHOR_END: errors
