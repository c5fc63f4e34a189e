//! Many requests at once, tasks, and blocking work.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_lite::StreamExt;
use inflight::backend::BoxFuture;
use inflight::clients::{Mock, Reply, When};
use inflight::runtimes::Virtual;
use inflight::{
    Error, ErrorKind, JobErrorKind, Session, Task, gather, gather_queue, gather_with, unblock,
};
use inflight_origin::Origin;

use crate::{TestResult, run, run_in_virtual_time};

/// How long a test waits for an event at the server before it fails.
const WAIT: Duration = Duration::from_secs(20);

/// Waits until the server notices that its request has been cancelled. Does nothing if the client of the session may keep
/// the connection of such a request open.
fn wait_for_cancelled_request(session: &Session, origin: &Origin) {
    if session.capabilities().prompt_cancel.is_yes() {
        let aborted = origin.wait_for(WAIT, |stats| stats.aborted == 1);
        assert!(aborted.is_ok(), "{aborted:?}");
    }
}

/// Adds a rule for a page that arrives after this many seconds.
fn add_page(mock: &Mock, path: &str, seconds: u64) {
    let reply = Reply::text(path).after(Duration::from_secs(seconds));
    mock.on(When::get(path), reply);
}

#[test]
fn gather_all() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let urls: Vec<String> = (1..=5).map(|n| origin.url(&format!("/page/{n}"))).collect();
        // ANCHOR: gather_all
        let jobs = urls.iter().map(|url| session.get(url).text());
        let pages = gather(jobs).all().await?;
        // ANCHOR_END: gather_all
        for (n, page) in (1..).zip(pages) {
            assert!(page.contains(&format!("Page {n}")));
        }
        Ok(())
    })
}

#[test]
fn failure_cancels_siblings() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::builder().error_for_status(true).build()?;
        let silent = Arc::new(Origin::start()?);
        let hanging: BoxFuture<'_, _> = Box::pin(session.get(silent.url("/hang")).text());
        let server = silent.clone();
        let failing: BoxFuture<'_, _> = Box::pin(async {
            let is_sent = move || server.wait_for(WAIT, |stats| stats.requests == 1).is_ok();
            assert!(unblock(session.runtime(), is_sent).await.unwrap());
            session.get(origin.url("/status/404")).text().await
        });
        // ANCHOR: failure_cancels_siblings
        let error = gather([hanging, failing]).all().await.unwrap_err();
        assert_eq!(error.index(), 1);
        // The hanging request has been cancelled. Most clients close its connection at once.
        // ANCHOR_END: failure_cancels_siblings
        assert_eq!(Error::from(error).kind(), ErrorKind::Status);
        wait_for_cancelled_request(&session, &silent);
        Ok(())
    })
}

#[test]
fn return_exceptions() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::builder().error_for_status(true).build()?;
        let urls = [origin.url("/page/1"), origin.url("/status/404")];
        let (mut pages, mut failures) = (0, Vec::new());
        // ANCHOR: return_exceptions
        let results = gather_with(&urls, |url| session.get(url).text())
            .settled()
            .await
            .results;
        for (url, result) in results {
            match result {
                Ok(_) => pages += 1,
                Err(error) => failures.push(format!("{url}: {}", Error::from(error))),
            }
        }
        // ANCHOR_END: return_exceptions
        assert_eq!((pages, failures.len()), (1, 1));
        Ok(())
    })
}

#[test]
fn as_completed() -> TestResult {
    run_in_virtual_time(async |_: &Virtual, mock: &Mock| {
        add_page(mock, "/slow", 2);
        add_page(mock, "/fast", 1);
        let session = mock.session().base_url("http://pages.test/").build()?;
        let mut order = Vec::new();
        // ANCHOR: as_completed
        let mut pages = gather_with(["slow", "fast"], |path| session.get(path).text()).completed();
        while let Some((path, page)) = pages.next().await {
            page?;
            order.push(path);
        }
        // ANCHOR_END: as_completed
        assert_eq!(order, ["fast", "slow"]);
        Ok(())
    })
}

#[test]
fn wait_with_timeout() -> TestResult {
    run_in_virtual_time(async |runtime: &Virtual, mock: &Mock| {
        add_page(mock, "/fast", 1);
        mock.on(When::any(), Reply::pending());
        let session = mock.session().base_url("http://pages.test/").build()?;
        // ANCHOR: wait_with_timeout
        let timeout = session.runtime().sleep(Duration::from_secs(10));
        let jobs = ["fast", "hanging"].map(|path| session.get(path).text());
        let settled = gather(jobs).until(timeout).settled().await;
        assert!(settled.results[0].is_ok());
        let error = settled.results[1].as_ref().unwrap_err();
        assert!(matches!(
            error.kind(),
            JobErrorKind::DeadlineExceeded { .. }
        ));
        // ANCHOR_END: wait_with_timeout
        assert_eq!(runtime.elapsed().as_secs(), 10);
        Ok(())
    })
}

#[test]
fn first_completed() -> TestResult {
    run_in_virtual_time(async |_: &Virtual, mock: &Mock| {
        mock.on(When::get("/broken"), Reply::error(ErrorKind::Connect));
        add_page(mock, "/mirror", 1);
        let session = mock.session().base_url("http://pages.test/").build()?;
        // ANCHOR: first_completed
        let mirrors = ["broken", "mirror"].map(|path| session.get(path).text());
        let page = gather(mirrors).first().await?;
        // ANCHOR_END: first_completed
        assert_eq!(page, "/mirror");
        Ok(())
    })
}

#[test]
fn task_group() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let page = session.get(origin.url("/page/1")).text();
        let bytes = session.get(origin.url("/bytes/10")).bytes();
        // ANCHOR: task_group
        let (page, bytes) = futures_lite::future::try_zip(page, bytes).await?;
        // ANCHOR_END: task_group
        assert!(page.contains("Page 1"));
        assert_eq!(bytes.len(), 10);
        Ok(())
    })
}

#[test]
fn semaphore() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let urls = (1..=6).map(|n| origin.url(&format!("/page/{n}?delay_ms=20")));
        // ANCHOR: semaphore
        let jobs = urls.map(|url| session.get(url).text());
        let pages = gather(jobs).limit(2).all().await?;
        // ANCHOR_END: semaphore
        assert_eq!(pages.len(), 6);
        assert!(origin.stats().peak_in_flight <= 2);
        Ok(())
    })
}

#[test]
fn queue_of_jobs() -> TestResult {
    run_in_virtual_time(async |_: &Virtual, mock: &Mock| {
        mock.on(When::get("/1"), Reply::text("2 3"));
        mock.on(When::get("/2"), Reply::text(""));
        mock.on(When::get("/3"), Reply::text(""));
        let session = &mock.session().base_url("http://pages.test/").build()?;
        // ANCHOR: queue_of_jobs
        let jobs = gather_queue(["1".to_owned()], |path, queue| async move {
            let links = session.get(&path).text().await?;
            for link in links.split_whitespace() {
                queue.push(link.to_owned()).ok();
            }
            Ok::<_, Error>(())
        });
        let pages = jobs.limit(10).all().await?;
        // ANCHOR_END: queue_of_jobs
        assert_eq!(pages.len(), 3);
        Ok(())
    })
}

#[test]
fn rate_limit() -> TestResult {
    run_in_virtual_time(async |runtime: &Virtual, mock: &Mock| {
        mock.on(When::any().repeated(), Reply::text("a page"));
        // ANCHOR: rate_limit
        // At most one request at once after a pause, and five in each second.
        let session = mock.session().max_rate(5, 1).build()?;
        // ANCHOR_END: rate_limit
        let jobs = (0..6).map(|n| session.get(format!("http://pages.test/{n}")).text());
        gather(jobs).all().await?;
        assert_eq!(runtime.elapsed(), Duration::from_secs(1));
        Ok(())
    })
}

#[test]
fn create_task() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let request = session.get(origin.url("/page/1")).text();
        // ANCHOR: create_task
        let task = Task::spawn(session.runtime(), request);
        // The task runs while this function does other work.
        let page = task.await??;
        // ANCHOR_END: create_task
        assert!(page.contains("Page 1"));
        Ok(())
    })
}

#[test]
fn cancel() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let request = session.get(origin.url("/hang")).text();
        // ANCHOR: cancel
        let task = Task::spawn(session.runtime(), request);
        // ANCHOR_END: cancel
        let started = origin.wait_for(WAIT, |stats| stats.in_flight == 1);
        assert!(started.is_ok());
        // ANCHOR: cancel
        drop(task);
        // ANCHOR_END: cancel
        wait_for_cancelled_request(&session, origin);
        Ok(())
    })
}

#[test]
fn shield() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let request = session.get(origin.url("/page/1?delay_ms=20")).text();
        // ANCHOR: shield
        Task::spawn(session.runtime(), request).detach();
        // ANCHOR_END: shield
        let ended = origin.wait_for(WAIT, |stats| stats.requests == 1 && stats.in_flight == 0);
        assert_eq!(ended.map(|stats| stats.aborted), Ok(0));
        Ok(())
    })
}

#[test]
fn to_thread() -> TestResult {
    run(async |_: &Origin| {
        let session = inflight::session()?;
        // ANCHOR: to_thread
        let sum: u64 = unblock(session.runtime(), || (1..=1000).sum()).await?;
        // ANCHOR_END: to_thread
        assert_eq!(sum, 500_500);
        Ok(())
    })
}

#[test]
fn sleep() -> TestResult {
    run_in_virtual_time(async |runtime: &Virtual, mock: &Mock| {
        let session = mock.session().build()?;
        // ANCHOR: sleep
        session.runtime().sleep(Duration::from_secs(60)).await;
        // ANCHOR_END: sleep
        assert_eq!(runtime.elapsed().as_secs(), 60);
        Ok(())
    })
}

#[test]
fn lazy_futures() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let url = origin.url("/page/1");
        // ANCHOR: lazy_futures
        let request = session.get(url).text(); // nothing is sent
        assert_eq!(origin.stats().requests, 0);
        request.await?; // the request is sent here
        assert_eq!(origin.stats().requests, 1);
        // ANCHOR_END: lazy_futures
        Ok(())
    })
}

#[test]
fn shared_state() -> TestResult {
    run(async |origin: &Origin| {
        let session = inflight::session()?;
        let urls = (1..=5).map(|n| origin.url(&format!("/bytes/{n}")));
        // ANCHOR: shared_state
        let total = Mutex::new(0);
        let jobs = gather_with(urls, async |url| {
            let body = session.get(url).bytes().await?;
            *total.lock().unwrap() += body.len();
            Ok::<_, Error>(())
        });
        jobs.all().await?;
        // ANCHOR_END: shared_state
        assert_eq!(total.into_inner()?, 15);
        Ok(())
    })
}
