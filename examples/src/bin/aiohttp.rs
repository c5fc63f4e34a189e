//! The equivalents of common aiohttp code: `just run aiohttp`.
#![allow(clippy::print_stdout, reason = "a program")]

use std::time::Duration;

use futures_lite::StreamExt;
use inflight::observe::{Event, Step};
use inflight::{CookieJar, Error, Session, gather};
use inflight_origin::Origin;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let origin = Origin::start()?;
    inflight::block_on(run(&origin))
}

async fn run(origin: &Origin) -> Result<(), Failure> {
    let page = |number: u32| origin.url(&format!("/page/{number}"));
    fetch_one(&page(1)).await?;
    let session = configured()?;
    fetch_all(&session, (1..=10).map(page).collect()).await?;
    fetch_settled(&session, vec![page(1), origin.url("/status/404")]).await;
    let slow = |ms: u32| origin.url(&format!("/page/1?delay_ms={ms}"));
    fetch_completed(&session, vec![slow(300), slow(0)]).await;
    fetch_until(&session, vec![slow(0), slow(60_000)]).await;
    session
        .get(origin.url("/cookies/set?user=me"))
        .text()
        .await?;
    let cookies = session.get(origin.url("/cookies")).text().await?;
    println!(
        "cookies: {}",
        cookies.split_whitespace().collect::<String>()
    );
    close(&session, &page(1)).await;
    Ok(())
}

// ANCHOR: one
async fn fetch_one(url: &str) -> Result<(), Error> {
    let session = inflight::session()?;
    let response = session.get(url).send().await?.error_for_status()?;
    println!("{} {}", response.status(), response.text().await?.len());
    Ok(())
}
// ANCHOR_END: one

// ANCHOR: all
async fn fetch_all(session: &Session, urls: Vec<String>) -> Result<(), Failure> {
    let jobs = urls.into_iter().map(|url| session.get(url).text());
    let pages = gather(jobs).limit(5).all().await?;
    println!("{} pages", pages.len());
    Ok(())
}
// ANCHOR_END: all

// ANCHOR: tolerant
async fn fetch_settled(session: &Session, urls: Vec<String>) {
    let jobs = urls.into_iter().map(|url| {
        let request = session.get(url).send();
        async move { request.await?.error_for_status()?.text().await }
    });
    for result in gather(jobs).settled().await.results {
        match result {
            Ok(text) => println!("{} characters", text.len()),
            Err(error) => println!("{}", Error::from(error).kind()),
        }
    }
}
// ANCHOR_END: tolerant

// ANCHOR: completed
async fn fetch_completed(session: &Session, urls: Vec<String>) {
    let jobs = urls.into_iter().map(|url| session.get(url).text());
    let mut results = gather(jobs).completed();
    while let Some((index, result)) = results.next().await {
        println!("page {index}: {}", result.is_ok());
    }
}
// ANCHOR_END: completed

// ANCHOR: until
async fn fetch_until(session: &Session, urls: Vec<String>) {
    let jobs = urls.into_iter().map(|url| session.get(url).text());
    let timeout = session.runtime().sleep(Duration::from_secs(1));
    let settled = gather(jobs).until(timeout).settled().await;
    let succeeded = settled.results.iter().filter(|page| page.is_ok()).count();
    println!("{succeeded} of {} in time", settled.results.len());
}
// ANCHOR_END: until

// ANCHOR: configured
fn configured() -> Result<Session, Error> {
    inflight::builder()
        .max_in_flight(100)
        .max_per_host(10)
        .timeout(Duration::from_secs(60))
        .connect_timeout(Duration::from_secs(5))
        .read_timeout(Duration::from_secs(20))
        .header("user-agent", "pages/1.0")
        .cookies(CookieJar::new())
        .observe(|event: &Event<'_>| {
            if let Step::Failed { error } = event.step {
                println!("request {} failed: {}", event.request, error.kind());
            }
        })
        .build()
}
// ANCHOR_END: configured

// ANCHOR: close
async fn close(session: &Session, url: &str) {
    session.close(Duration::from_secs(10)).await;
    let error = session.get(url).text().await.unwrap_err();
    println!("after close: {}", error.kind());
}
// ANCHOR_END: close
