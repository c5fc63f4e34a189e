//! Shows timeouts, limits, redirects, retries and how to close a session: `just run policy`.
#![allow(clippy::print_stdout, reason = "a program")]

use std::time::{Duration, Instant};

use futures_lite::future::zip;
use inflight::{Error, JobError, JobErrorKind, Retry, RetryBudget, gather};
use inflight_origin::Origin;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let origin = Origin::start()?;
    inflight::block_on(async {
        timeouts(&origin).await?;
        limits(&origin).await?;
        redirects(&origin).await?;
        retries(&origin).await?;
        retry_budget(&origin).await?;
        close(&origin).await
    })
}

// ANCHOR: timeouts
async fn timeouts(origin: &Origin) -> Result<(), Error> {
    let timeout = Duration::from_millis(200);
    let print_phase = |error: Error| {
        let phase = error.phase().map_or("no phase", |phase| phase.as_str());
        println!("{}: {phase}", error.kind());
    };

    let session = inflight::builder().head_timeout(timeout).build()?;
    print_phase(session.get(origin.url("/hang")).text().await.unwrap_err());

    let session = inflight::builder().read_timeout(timeout).build()?;
    let response = session.get(origin.url("/hang-body")).send().await?;
    print_phase(response.text().await.unwrap_err());

    let session = inflight::session()?;
    let request = session.get(origin.url("/hang")).timeout(timeout);
    print_phase(request.text().await.unwrap_err());

    let session = inflight::builder().max_in_flight(1).queue_timeout(timeout);
    let session = session.build()?;
    let first = session.get(origin.url("/page/1")).send().await?;
    let second = session.get(origin.url("/page/2"));
    print_phase(second.text().await.unwrap_err());
    first.text().await?;
    Ok(())
}
// ANCHOR_END: timeouts

// ANCHOR: caps
async fn limits(origin: &Origin) -> Result<(), Failure> {
    let session = inflight::builder().max_in_flight(3).build()?;
    let urls = (1..=9).map(|number| origin.url(&format!("/page/{number}?delay_ms=50")));
    let started = Instant::now();
    gather(urls.map(|url| session.get(url).text()))
        .all()
        .await?;
    let took = started.elapsed().as_millis();
    println!("9 pages of 50 ms, 3 at a time: {took} ms");
    Ok(())
}
// ANCHOR_END: caps

// ANCHOR: redirects
async fn redirects(origin: &Origin) -> Result<(), Failure> {
    let session = inflight::session()?;
    let response = session.get(origin.url("/redirect/3")).send().await?;
    for redirect in response.history() {
        let from = redirect.url().map_or("", |url| url.path());
        println!("{} from {from}", redirect.status());
    }
    println!("{}", response.status());

    let session = inflight::builder().max_redirects(2).build()?;
    let error = session
        .get(origin.url("/redirect/3"))
        .send()
        .await
        .unwrap_err();
    println!("{} after {}", error.kind(), error.redirects());
    let session = inflight::builder().max_redirects(0).build()?;
    let response = session.get(origin.url("/redirect/3")).send().await?;
    println!("{}", response.status());
    Ok(())
}
// ANCHOR_END: redirects

// ANCHOR: retries
async fn retries(origin: &Origin) -> Result<(), Failure> {
    let retry = Retry::new(3).delays(Duration::from_millis(20), Duration::from_secs(1));
    let session = inflight::builder().retry(retry).build()?;
    let response = session
        .get(origin.url("/flaky?fail=2&id=get"))
        .send()
        .await?;
    println!(
        "GET: {} after {} attempts",
        response.status(),
        response.attempts()
    );
    let response = session
        .post(origin.url("/flaky?fail=2&id=post"))
        .send()
        .await?;
    println!(
        "POST: {} after {} attempt",
        response.status(),
        response.attempts()
    );
    Ok(())
}
// ANCHOR_END: retries

// ANCHOR: budget
async fn retry_budget(origin: &Origin) -> Result<(), Failure> {
    let retry = Retry::new(5).delays(Duration::from_millis(20), Duration::from_secs(1));
    for (name, retry) in [
        ("the default budget", retry.clone()),
        (
            "a budget of 200 retries",
            retry.budget(RetryBudget::new(200, 20)),
        ),
    ] {
        let session = inflight::builder().retry(retry).error_for_status(true);
        let session = session.build()?;
        // Each of these URLs fails twice, and then succeeds.
        let urls = (0..100).map(|n| origin.url(&format!("/flaky?fail=2&id={name} {n}")));
        let pages = gather(urls.map(|url| session.get(url).text()));
        let (mut succeeded, mut refused) = (0, 0);
        for page in pages.settled().await.results {
            match page {
                Ok(_) => succeeded += 1,
                Err(error) => refused += usize::from(is_budget_exhausted(&error)),
            }
        }
        println!("{name}: {succeeded} succeed, {refused} are not retried");
    }
    Ok(())
}

fn is_budget_exhausted(error: &JobError<Error>) -> bool {
    matches!(error.kind(), JobErrorKind::Failed(error) if error.is_retry_budget_exhausted())
}
// ANCHOR_END: budget

// ANCHOR: close
async fn close(origin: &Origin) -> Result<(), Failure> {
    let session = inflight::session()?;
    let page = session.get(origin.url("/page/1?delay_ms=100")).text();
    let (page, ()) = zip(page, session.close(Duration::from_secs(30))).await;
    println!("within the grace period: {} characters", page?.len());
    let late = session.get(origin.url("/page/2")).text().await;
    println!("after close: {}", late.unwrap_err().kind());

    let session = inflight::session()?;
    let hanging = session.get(origin.url("/hang")).text();
    let (cancelled, ()) = zip(hanging, session.close(Duration::ZERO)).await;
    println!("without a grace period: {}", cancelled.unwrap_err().kind());
    Ok(())
}
// ANCHOR_END: close
