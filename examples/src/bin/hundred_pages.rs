//! A hundred pages that each take 100 ms: `just run hundred_pages`.
#![allow(clippy::print_stdout, reason = "a program")]

use std::time::Instant;

use inflight::{Error, JobErrorKind, Session, gather};
use inflight_origin::Origin;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let origin = Origin::start()?;
    inflight::block_on(async {
        let session = inflight::session()?;
        one_after_another(&session, &origin).await?;
        all_at_once(&session, &origin).await;
        some_fail(&session, &origin).await;
        Ok(())
    })
}

// ANCHOR: sequential
async fn one_after_another(session: &Session, origin: &Origin) -> Result<(), Error> {
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
// ANCHOR_END: sequential

// ANCHOR: gathered
async fn all_at_once(session: &Session, origin: &Origin) {
    let started = Instant::now();
    let urls = (0..100).map(|number| origin.url(&format!("/page/{number}?delay_ms=100")));
    let pages = gather(urls.map(|url| session.get(url).text()))
        .limit(100)
        .settled()
        .await
        .results;
    let good = pages.iter().filter(|page| page.is_ok()).count();
    println!(
        "{good} pages, gathered: {} ms",
        started.elapsed().as_millis()
    );
}
// ANCHOR_END: gathered

// ANCHOR: errors
async fn some_fail(session: &Session, origin: &Origin) {
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
                match error.into_kind() {
                    JobErrorKind::Failed(error) => println!("{index}: {}", error.kind()),
                    other => println!("{index}: {other:?}"),
                }
            }
        }
    }
}
// ANCHOR_END: errors
