//! Jobs that add jobs: `just run jobs`.
#![allow(clippy::print_stdout, reason = "a program")]

use futures_lite::StreamExt;
use inflight::gather::Settled;
use inflight::{Error, JobError, JobErrorKind, Session, Task, gather_queue, gather_stream};
use inflight_origin::Origin;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let origin = Origin::start()?;
    inflight::block_on(async {
        let session = inflight::builder()
            .base_url(origin.url("/"))
            .error_for_status(true)
            .build()?;
        println!("tree: {} pages", fetch_tree(&session).await?);
        println!("producer: {} pages", fetch_from_producer(&session).await?);
        println!("channel: {} pages", fetch_from_channel(&session).await?);
        for (attempt, result) in fetch_again(&session).await.results {
            println!("attempt {}: {}", attempt.number, result.is_ok());
        }
        let cut_off = fetch_until(&session).await;
        println!("until: {} page fetched, next: {:?}", cut_off.0, cut_off.1);
        Ok(())
    })
}

// ANCHOR: tree
/// Fetches a tree of pages: the page n links to the pages 2n and 2n + 1.
async fn fetch_tree(session: &Session) -> Result<usize, Error> {
    let jobs = gather_queue([1], |page: u32, queue| async move {
        session.get(format!("page/{page}")).text().await?;
        for child in [2 * page, 2 * page + 1] {
            if child < 100 {
                queue.push(child).ok();
            }
        }
        Ok::<_, Error>(())
    });
    let pages = jobs.limit(10).all().await?;
    Ok(pages.len())
}
// ANCHOR_END: tree

// ANCHOR: producer
/// Another task adds the jobs, while the gather runs.
async fn fetch_from_producer(session: &Session) -> Result<usize, Failure> {
    let jobs = gather_queue([], |page, _| session.get(format!("page/{page}")).text());
    let queue = jobs.queue();
    let producer = Task::spawn(session.runtime(), async move {
        for page in 1..=10 {
            queue.push(page).ok();
        }
        // The gather ends after this task has dropped the handle.
    });
    let pages = jobs.all().await?;
    producer.await?;
    Ok(pages.len())
}
// ANCHOR_END: producer

// ANCHOR: channel
/// A channel with room for 5 numbers. The producer waits while the channel is full.
async fn fetch_from_channel(session: &Session) -> Result<usize, Failure> {
    let (sender, numbers) = async_channel::bounded(5);
    let producer = Task::spawn(session.runtime(), async move {
        for page in 1..=10 {
            sender.send(page).await.ok();
        }
    });
    let numbers = std::pin::pin!(numbers);
    let jobs = numbers.map(|page| session.get(format!("page/{page}")).text());
    let pages = gather_stream(jobs).limit(2).all().await?;
    producer.await?;
    Ok(pages.len())
}
// ANCHOR_END: channel

// ANCHOR: again
#[derive(Clone)]
struct Attempt {
    path: String,
    number: u32,
}

/// A job that fails puts its item back into the queue, at most twice.
async fn fetch_again(session: &Session) -> Settled<(Attempt, Result<String, JobError<Error>>)> {
    let first = Attempt {
        path: "flaky?fail=1&id=jobs".to_owned(),
        number: 1,
    };
    let jobs = gather_queue([first], |attempt, queue| async move {
        let result = session.get(&attempt.path).text().await;
        if result.is_err() && attempt.number < 3 {
            let number = attempt.number + 1;
            queue.push(Attempt { number, ..attempt }).ok();
        }
        result
    });
    jobs.settled().await
}
// ANCHOR_END: again

// ANCHOR: until
/// Stops at a signal, here after the first page. Returns the number of pages, and the items that did not start.
async fn fetch_until(session: &Session) -> (usize, Vec<&'static str>) {
    let (signal, stopped) = async_channel::bounded::<()>(1);
    let jobs = gather_queue(["page/1", "hang", "page/2"], |path, _| {
        let signal = signal.clone();
        async move {
            let page = session.get(path).text().await?;
            signal.send(()).await.ok();
            Ok::<_, Error>(page)
        }
    });
    let stop = async move { stopped.recv().await };
    let (mut fetched, mut next) = (0, Vec::new());
    for (path, result) in jobs.limit(2).until(stop).settled().await.results {
        match result.map_err(JobError::into_kind) {
            Ok(_) => fetched += 1,
            Err(JobErrorKind::NeverStarted | JobErrorKind::DeadlineExceeded { .. }) => {
                next.push(path)
            }
            Err(_) => {}
        }
    }
    (fetched, next)
}
// ANCHOR_END: until
