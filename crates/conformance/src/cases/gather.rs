//! Many requests at once with `gather`: results, limits and cancellation.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::FutureExt;
use futures_util::stream::StreamExt;
use inflight_core::{JobErrorKind, Session, gather};
use inflight_origin::{Origin, Stats};
use macro_rules_attribute::apply;

use crate::case::case;
use crate::check::{Failure, Result, check, check_equal};
use crate::context::{Context, EVENT_TIMEOUT, drop_after};
use crate::servers::{start_origin, wait_for_counts};
use crate::test_server::rendezvous_server;

/// The timeout of requests, for clients that cannot cancel a request at once.
const DEADLINE: Duration = Duration::from_secs(3);

/// Returns a session whose requests time out before the suite stops waiting.
fn session_with_deadline(context: &Context) -> Result<Session> {
    Ok(context.builder().timeout(DEADLINE).build()?)
}

/// all() returns every output in input order, with and without a task for each job.
#[apply(case!)]
#[marks(in_memory, tests_core)]
async fn outputs_are_in_input_order(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.session()?;
    // The first jobs are the slowest.
    let jobs = || {
        (0..20).map(|n| {
            let url = origin.url(&format!("/page/{n}?delay_ms={}", 40 - 2 * n));
            session.get(url).text()
        })
    };
    let without_tasks = gather(jobs()).all().await?;
    let with_tasks = gather(jobs()).on(session.runtime()).all().await?;
    for texts in [without_tasks, with_tasks] {
        for (n, text) in texts.iter().enumerate() {
            let expected = inflight_origin::payload::page(n as u64);
            check(
                *text == expected,
                format!("output {n} belongs to another job"),
            )?;
        }
        check_equal("outputs", texts.len(), 20)?;
    }
    Ok(())
}

/// The server receives as many requests at once as the limit allows, and never more.
#[apply(case!)]
#[marks(tests_core)]
async fn limit_bounds_the_requests_in_flight(context: Context) -> Result {
    const LIMIT: usize = 7;
    let session = context.session()?;
    for with_tasks in [false, true] {
        let (server, rendezvous) = rendezvous_server(LIMIT)?;
        let jobs = (0..50).map(|n| session.get(server.url(&format!("/{n}"))).text());
        let gather = gather(jobs).limit(LIMIT);
        let texts = match with_tasks {
            true => gather.on(session.runtime()).all().await?,
            false => gather.all().await?,
        };
        check_equal("outputs", texts.len(), 50)?;
        check_equal("requests at once", rendezvous.peak(), LIMIT)?;
    }
    Ok(())
}

/// When the future of until() completes, gather returns the finished results, cancels running jobs,
/// closes their connections and starts no more jobs.
#[apply(case!)]
async fn until_returns_finished_results(context: Context) -> Result {
    check_running_jobs_are_cancelled(&context, false).await
}

/// With a task for each job, when the future of until() completes, gather returns the finished
/// results, cancels running jobs and starts no more jobs.
#[apply(case!)]
async fn until_returns_finished_results_of_tasks(context: Context) -> Result {
    check_running_jobs_are_cancelled(&context, true).await
}

/// Runs five jobs that finish, and more hanging jobs than the limit allows. Checks that until()
/// cancels the hanging jobs that have started.
async fn check_running_jobs_are_cancelled(context: &Context, with_tasks: bool) -> Result {
    let origin = start_origin()?;
    let session = session_with_deadline(context)?;
    let jobs = (0..25).map(|n| {
        let path = if n < 5 { "/page/1" } else { "/hang" };
        session.get(origin.url(path)).text()
    });
    let stuck = wait_for_counts(&origin, "ten requests that hang", |stats: &Stats| {
        stats.requests == 15 && stats.in_flight == 10
    });
    let gather = gather(jobs).limit(10).until(stuck);
    let settled = match with_tasks {
        true => gather.on(session.runtime()).settled().await,
        false => gather.settled().await,
    };
    check_equal("inputs never started", settled.never_started, Some(10))?;
    check_equal("results", settled.results.len(), 15)?;
    for (n, result) in settled.results.iter().enumerate() {
        let kind = result.as_ref().map_err(|error| error.kind());
        let is_expected = match kind {
            Ok(_) => n < 5,
            Err(JobErrorKind::DeadlineExceeded { .. }) => n >= 5,
            Err(_) => false,
        };
        check(is_expected, format!("job {n} returned {kind:?}"))?;
    }
    wait_for_aborted(&origin, 10).await?;
    check_equal("requests", origin.stats().requests, 15)
}

/// Waits until the server has counted this many aborted requests.
async fn wait_for_aborted(origin: &Arc<Origin>, n: u64) -> Result {
    let aborted = move |stats: &Stats| stats.in_flight == 0 && stats.aborted == n;
    wait_for_counts(origin, &format!("the end of {n} requests"), aborted)
        .await
        .map(drop)
}

/// Dropping a gather cancels its requests and closes their connections.
#[apply(case!)]
async fn dropping_a_gather_cancels_its_requests(context: Context) -> Result {
    check_dropped_gather(&context, false).await
}

/// With a task for each job, dropping a gather cancels its requests.
#[apply(case!)]
async fn dropping_a_gather_cancels_its_tasks(context: Context) -> Result {
    check_dropped_gather(&context, true).await
}

async fn check_dropped_gather(context: &Context, with_tasks: bool) -> Result {
    let origin = start_origin()?;
    let session = session_with_deadline(context)?;
    let jobs = (0..20).map(|_| session.get(origin.url("/hang")).text());
    let gather = gather(jobs).limit(10);
    let all = match with_tasks {
        true => gather.on(session.runtime()).all().boxed(),
        false => gather.all().boxed(),
    };
    let started = wait_for_counts(&origin, "ten requests", |stats| stats.in_flight == 10);
    drop_after(all, started).await?;
    wait_for_aborted(&origin, 10).await?;
    check_equal("requests", origin.stats().requests, 10)
}

/// first() returns the first success and cancels the other requests.
#[apply(case!)]
async fn first_cancels_the_other_requests(context: Context) -> Result {
    let origin = start_origin()?;
    let session = session_with_deadline(&context)?;
    for with_tasks in [false, true] {
        let before = origin.stats().aborted;
        let gather = gather(one_among_hanging(&session, &origin, "/page/7"));
        let text = match with_tasks {
            true => gather.on(session.runtime()).first().await,
            false => gather.first().await,
        };
        let text = text.map_err(|error| Failure::new(error.to_string()))?;
        check(
            text.contains("Page 7"),
            "the response is not the requested page",
        )?;
        wait_for_aborted(&origin, before + 5).await?;
    }
    Ok(())
}

/// all() returns the first failure and cancels the other requests.
#[apply(case!)]
async fn all_cancels_the_other_requests_after_a_failure(context: Context) -> Result {
    let origin = start_origin()?;
    let session = session_with_deadline(&context)?;
    for with_tasks in [false, true] {
        let before = origin.stats().aborted;
        let gather = gather(one_among_hanging(&session, &origin, "/status/503"));
        let result = match with_tasks {
            true => gather.on(session.runtime()).all().await,
            false => gather.all().await,
        };
        match result {
            Ok(texts) => return Err(Failure::new(format!("all() succeeded: {texts:?}"))),
            Err(error) => check_equal("the job that failed", error.index(), 2)?,
        }
        wait_for_aborted(&origin, before + 5).await?;
    }
    Ok(())
}

/// Returns six jobs. The job with index 2 requests `path` once the other five are in flight. The
/// other five hang.
fn one_among_hanging(
    session: &Session,
    origin: &Arc<Origin>,
    path: &'static str,
) -> Vec<impl Future<Output = Result<String>> + Send + 'static + use<>> {
    let jobs = (0..6).map(|n| {
        let (session, origin) = (session.clone(), origin.clone());
        async move {
            if n != 2 {
                return Ok(session.get(origin.url("/hang")).text().await?);
            }
            wait_for_counts(&origin, "five requests", |stats| stats.in_flight == 5).await?;
            let response = session.get(origin.url(path)).send().await?;
            Ok(response.error_for_status()?.text().await?)
        }
    });
    jobs.collect()
}

/// settled() and completed() return failures among the outputs, each with the index of its job.
#[apply(case!)]
#[marks(tests_core)]
async fn failures_are_returned_with_their_index(context: Context) -> Result {
    let origin = start_origin()?;
    let session = context.session()?;
    let refused = format!("http://{}/", inflight_origin::script::refused_address()?);
    let jobs = || {
        (0..9).map(|n| match n % 3 {
            1 => session.get(&refused).text(),
            _ => session.get(origin.url(&format!("/page/{n}"))).text(),
        })
    };
    let settled = gather(jobs()).settled().await;
    check_equal("results", settled.results.len(), 9)?;
    for (n, result) in settled.results.iter().enumerate() {
        check(
            result.is_err() == (n % 3 == 1),
            format!("job {n} returned {result:?}"),
        )?;
        let index = result.as_ref().err().map_or(n, |error| error.index());
        check_equal("the failure's index", index, n)?;
    }
    let mut indices = Vec::new();
    let mut completed = gather(jobs()).limit(3).completed();
    while let Some((index, result)) = completed.next().await {
        check(
            result.is_err() == (index % 3 == 1),
            format!("job {index} returned {result:?}"),
        )?;
        indices.push(index);
    }
    indices.sort_unstable();
    check_equal("the indices", indices, (0..9).collect::<Vec<usize>>())
}

/// The panic of a job is returned as the result of that job and does not affect other jobs, with and
/// without a task for each job.
#[apply(case!)]
#[marks(in_memory, tests_core)]
async fn panics_are_returned_as_results(context: Context) -> Result {
    let origin = context.httpbin()?;
    let session = context.session()?;
    for with_tasks in [false, true] {
        let jobs = (0..6).map(|n| {
            let text = session.get(origin.url(&format!("/page/{n}"))).text();
            async move {
                let text = text.await?;
                if n == 3 {
                    // Panics like `panic!`, but prints no message to standard error.
                    resume_unwind(Box::new("a job's panic"));
                }
                Ok::<_, Failure>(text)
            }
        });
        let gather = gather(jobs);
        let settled = match with_tasks {
            true => gather.on(session.runtime()).settled().await,
            false => gather.settled().await,
        };
        check_equal("results", settled.results.len(), 6)?;
        for (n, result) in settled.results.iter().enumerate() {
            let kind = result.as_ref().map_err(|error| error.kind());
            let is_expected = match kind {
                Ok(text) => n != 3 && text.contains(&format!("Page {n}")),
                Err(JobErrorKind::Panicked(panic)) => n == 3 && panic.message() == "a job's panic",
                Err(_) => false,
            };
            check(is_expected, format!("job {n} returned {kind:?}"))?;
        }
    }
    Ok(())
}

/// With on(), which runs each job in a task, requests progress while the consumer's thread is
/// blocked.
#[apply(case!)]
async fn tasks_progress_while_the_consumer_blocks(context: Context) -> Result {
    let origin = start_origin()?;
    let session = context.session()?;
    let jobs = (0..8).map(|n| {
        session
            .get(origin.url(&format!("/page/{n}?delay_ms=50")))
            .text()
    });
    let mut results = gather(jobs).on(session.runtime()).completed();
    let first = results.next().now_or_never();
    check(first.is_none(), "a delayed page arrived at once")?;
    // This blocks the consumer's thread on purpose.
    let all = origin.wait_for(EVENT_TIMEOUT / 2, |stats| {
        stats.requests == 8 && stats.in_flight == 0
    });
    if let Err(stats) = all {
        return Err(Failure::new(format!(
            "the requests made no progress: {stats:?}"
        )));
    }
    check_equal("requests that were aborted", origin.stats().aborted, 0)?;
    let mut outputs = 0;
    while let Some((_, result)) = results.next().await {
        result?;
        outputs += 1;
    }
    check_equal("outputs", outputs, 8)
}
