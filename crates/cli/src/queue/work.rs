//! `inflight queue work`: fetches the URLs of a queue.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use futures_util::future::{Either, FutureExt, pending};
use futures_util::{StreamExt, stream};
use inflight::backend::Runtime;
use inflight::{BlockOn, JobErrorKind, gather_stream};
use inflight_queue::{Bodies, Queue, Worker, WorkerOptions};
use tempfile::TempDir;

use super::connect::{failed, open, start_error};
use super::job;
use crate::args::{self, SummaryFormat};
use crate::exchange::{ExchangeStats, ResponseOptions, SharedStats};
use crate::exit::{CliError, ExitStatus};
use crate::gather;
use crate::gather::fetch::{FetchContext, Job};
use crate::gather::run::{Host, HostLimits, host};
use crate::input::InputUrl;
use crate::output::{Failure, Fetched, Printer, Record, WholeLines, json_line};
use crate::progress::{Progress, Unit};
use crate::request::RequestSettings;
use crate::save::{DirectoryOptions, OutputDirectory, SaveDecision};
use crate::signal::Interrupt;
use crate::summary::{Summary, UrlResult};

/// How often a worker asks for the progress of the queue.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// The first pause before a URL is fetched again. It doubles with each attempt.
const FIRST_DELAY: Duration = Duration::from_secs(1);

/// The longest of these pauses.
const MAX_DELAY: Duration = Duration::from_secs(60);

/// The longest pause that `Retry-After` can cause.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// In how many deliveries more than `--attempts` a URL may end its worker before it counts as lost.
const LOST_AFTER: u64 = 3;

/// The most characters of a text in a record that was too large for a message.
const MAX_SHORTENED: usize = 1000;

/// The kind of error of a URL that ends its workers.
const LOST: &str = "lost";

pub(super) fn run(args: args::Work) -> Result<ExitStatus, CliError> {
    let limits = args.limits.with_politeness();
    let settings = Arc::new(RequestSettings::from_args(&args.requests)?);
    let robots = gather::robots_rules(&limits, &settings, &args.requests);
    let path = match (args.output, args.store) {
        (Some(path), _) => Some(path),
        // Kept, because `main` ends the process without dropping its values.
        (None, true) => Some(temporary_directory()?.keep()),
        (None, false) => None,
    };
    let template = args.names.unwrap_or_default();
    let opened = path.map(|path| {
        let options = DirectoryOptions {
            path,
            template,
            is_resumed: false,
        };
        OutputDirectory::open(options, None)
    });
    let opened = opened.transpose()?;
    let temporary = opened.as_ref().filter(|_| args.store);
    let temporary = temporary.map(|opened| opened.directory.path().to_owned());
    let client = gather::start_client(&args.requests, &limits, &settings, robots.as_ref(), |b| b)?;
    let interrupt = Interrupt::listen()?;
    let (directory, completion) = opened
        .map(|opened| (opened.directory, opened.completion))
        .unzip();
    let context = FetchContext {
        session: client.session.clone(),
        settings,
        queue_timeout: args.requests.queue_timeout,
        options: ResponseOptions::from_args(&args.requests),
        with_digest: args.digest,
        probe: false,
        robots: robots.clone(),
        max_redirects: args.requests.max_redirects,
        directory,
    };
    let status = client.backend.block_on(async {
        let queue = open(&args.connection, &args.name).await?;
        let bodies = match args.store {
            true => Some(queue.bodies().await.map_err(start_error)?),
            false => None,
        };
        let options = WorkerOptions::default().max_starts(args.attempts.get() + LOST_AFTER);
        let worker = queue.worker(options).await.map_err(start_error)?;
        let printer = args
            .requests
            .format
            .map(|format| Printer::stdout(Some(format), args.digest));
        let progress = Progress::start(args.requests.progress, Unit::Urls);
        let run = WorkerRun {
            queue,
            worker: RefCell::new(worker),
            task: TaskContext {
                fetch: context,
                bodies,
                attempts: args.attempts.get(),
                is_stopping: Arc::default(),
                running: Arc::default(),
            },
            limit: limits.limit.get(),
            hosts: HostLimits::new(&limits, robots),
            grace: args.grace,
            printer,
            progress,
            summary: Summary::default(),
            summary_format: args.summary,
        };
        let status = Box::pin(run.run(&interrupt)).await;
        // Cancelled jobs may still be writing a file.
        if let Some(completion) = completion {
            completion.wait().await;
        }
        status
    });
    if let Some(path) = temporary {
        // If this fails, files remain in the directory of the system for temporary files.
        let _ = fs::remove_dir_all(path);
    }
    let saved = client.save_cookies();
    status.and_then(|status| saved.map(|()| status))
}

fn temporary_directory() -> Result<TempDir, CliError> {
    tempfile::tempdir().map_err(|error| {
        CliError::usage(format_args!(
            "cannot create a directory for bodies: {error}"
        ))
    })
}

/// A run of `inflight queue work`.
struct WorkerRun {
    queue: Queue,
    worker: RefCell<Worker>,
    task: TaskContext,
    limit: usize,
    hosts: HostLimits,
    grace: Duration,
    printer: Option<Printer<WholeLines>>,
    progress: Progress,
    summary: Summary,
    summary_format: SummaryFormat,
}

/// What all tasks of a run have in common.
#[derive(Clone)]
struct TaskContext {
    fetch: FetchContext,
    bodies: Option<Bodies>,
    attempts: u64,
    /// Whether no more URLs may start.
    is_stopping: Arc<AtomicBool>,
    /// The number of URLs that are being fetched.
    running: Arc<AtomicUsize>,
}

/// How a task ended without an error.
enum Ended {
    /// The result is recorded.
    Done(Box<Record>),
    /// The job went back to the queue, or had a result.
    Skipped,
}

enum RunEvent<T> {
    Result(T),
    Progress(Result<inflight_queue::Progress, inflight_queue::Error>),
    End,
}

impl WorkerRun {
    async fn run(mut self, interrupt: &Interrupt) -> Result<ExitStatus, CliError> {
        let started = Instant::now();
        if let Some(printer) = &mut self.printer {
            printer.begin().map_err(|error| CliError::stdout(&error))?;
        }
        let is_complete = self.fetch_all(interrupt).await;
        self.progress.clear();
        self.summary
            .print(self.summary_format, started.elapsed(), (0, 0));
        let closed = self.worker.into_inner().close().await;
        match is_complete? {
            true => Ok(ExitStatus::Success),
            // An error of `close` is not important: the leases end.
            false => Ok(closed.map_or(ExitStatus::Interrupted, |()| ExitStatus::Interrupted)),
        }
    }

    /// Fetches URLs until the queue is complete or a signal arrives. Returns whether the queue is complete.
    async fn fetch_all(&mut self, interrupt: &Interrupt) -> Result<bool, CliError> {
        let runtime = self.task.fetch.session.runtime().clone();
        let unfinished = RefCell::new(HashMap::<usize, Host>::new());
        let is_complete = Cell::new(false);
        let (worker, task) = (&self.worker, &self.task);
        let is_stopping = || task.is_stopping.load(Ordering::Relaxed);
        let mut next = 0;
        let jobs = stream::poll_fn(|cx| {
            if is_complete.get() || is_stopping() {
                return Poll::Ready(None);
            }
            let Some(queued) = ready!(worker.borrow_mut().poll_next(cx)) else {
                is_complete.set(true);
                return Poll::Ready(None);
            };
            let decoded = queued.map(|queued| {
                let url = job::decode(queued.payload());
                (queued, url)
            });
            let host = decoded.as_ref().ok().and_then(|(_, url)| host(&url.text));
            unfinished.borrow_mut().insert(next, host);
            next += 1;
            let task = task.clone();
            Poll::Ready(Some(Box::pin(async move {
                let (queued, url) = decoded?;
                task.run(queued, url).await
            })))
        });
        let mut interrupted = pin!(interrupt.wait().fuse());
        let mut grace = pin!(Either::Right(pending()));
        let stop = poll_fn(|cx| {
            if !is_stopping() && interrupted.as_mut().poll(cx).is_ready() {
                task.is_stopping.store(true, Ordering::Relaxed);
                grace.set(Either::Left(runtime.sleep(self.grace)));
            }
            let is_idle = is_stopping() && task.running.load(Ordering::Relaxed) == 0;
            match is_idle || grace.as_mut().poll(cx).is_ready() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        });
        let host_of = |index: &usize| unfinished.borrow().get(index)?.clone();
        let gathered = gather_stream(jobs).limit(self.limit);
        let gathered = self.hosts.apply(gathered, &runtime, host_of);
        let mut results = pin!(gathered.on(&runtime).until(stop).completed());
        let ask_after = |delay: Duration| {
            let (queue, waiting) = (self.queue.clone(), runtime.sleep(delay));
            async move {
                waiting.await;
                // Waits while the server is away, so the loop must not wait for it.
                queue.progress().await
            }
            .boxed()
        };
        let mut ask = ask_after(Duration::ZERO);
        loop {
            let event = poll_fn(|cx| {
                if let Poll::Ready(result) = results.as_mut().poll_next_unpin(cx) {
                    return Poll::Ready(result.map_or(RunEvent::End, RunEvent::Result));
                }
                if is_complete.get() || is_stopping() {
                    return Poll::Pending;
                }
                ask.as_mut().poll(cx).map(RunEvent::Progress)
            });
            match event.await {
                RunEvent::End => return Ok(is_complete.get()),
                RunEvent::Progress(status) => {
                    let status = status.map_err(failed)?;
                    if let Some(total) = status.total {
                        self.progress.set_total(total);
                    }
                    self.progress.set_position(status.done);
                    ask = ask_after(PROGRESS_INTERVAL);
                }
                RunEvent::Result((index, result)) => {
                    unfinished.borrow_mut().remove(&index);
                    match result.map_err(|error| error.into_kind()) {
                        Ok(Ended::Done(record)) => {
                            self.summary.add(&UrlResult::from(&*record));
                            if let Some(printer) = &mut self.printer {
                                let printed = printer.record(&record);
                                printed.map_err(|error| CliError::stdout(&error))?;
                            }
                        }
                        Err(JobErrorKind::Failed(error)) => return Err(failed(error)),
                        // The job went back to the queue when its task was dropped.
                        Ok(Ended::Skipped) | Err(_) => {}
                    }
                }
            }
        }
    }
}

impl TaskContext {
    /// Fetches a URL and records its result. The task counts towards `--limit` until the result is recorded, so a
    /// worker that is killed has at most that many results that it did not record.
    async fn run(
        self,
        queued: inflight_queue::Job,
        url: InputUrl,
    ) -> Result<Ended, inflight_queue::Error> {
        if self.is_stopping.load(Ordering::Relaxed) {
            return Ok(Ended::Skipped);
        }
        let _running = Running::start(self.running.clone());
        let index = usize::try_from(queued.index()).unwrap_or(usize::MAX);
        let Some(queued) = queued.start().await? else {
            return Ok(Ended::Skipped);
        };
        let stats = SharedStats::start();
        let result = match queued.is_lost() {
            true => Err(lost(queued.attempt())),
            false => {
                let job = Job {
                    index,
                    url: url.clone(),
                    stats: stats.clone(),
                    decision: SaveDecision::default(),
                };
                // Boxed, because the future is large, and some runtimes poll it on the stack of the main thread.
                Box::pin(job.run(self.fetch.clone())).await
            }
        };
        let stats = stats.snapshot();
        if let Some(delay) = self.retry_delay(queued.attempt(), &url, &stats, &result) {
            if let (Ok(fetched), Some(directory)) = (&result, &self.fetch.directory)
                && let Some(file) = &fetched.file
            {
                // The body of a status that is not final. If this fails, the file stays.
                let _ = fs::remove_file(directory.path().join(file));
            }
            queued.retry(delay).await?;
            return Ok(Ended::Skipped);
        }
        let result = match (result, &self.bodies) {
            (Ok(fetched), Some(bodies)) => Ok(self.store(&queued, bodies, fetched).await?),
            (result, _) => result,
        };
        let record = match queued.is_lost() {
            true => result.map_or_else(
                |failure| Record::unsent(index, &url.text, failure),
                |_| Record::default(),
            ),
            false => Record::sent(index, &url.text, &stats, result),
        };
        let mut record = record.with_id(url.id());
        let mut line = json_line(&record).unwrap_or_default();
        if line.len() > queued.max_result_len() {
            record = shortened(record);
            line = json_line(&record).unwrap_or_default();
        }
        let failure = record.error.as_ref().map(|failure| failure.kind);
        queued.finish(line.into(), failure).await?;
        Ok(Ended::Done(Box::new(record)))
    }

    /// Moves a body from the temporary directory to the server.
    async fn store(
        &self,
        queued: &inflight_queue::Job,
        bodies: &Bodies,
        fetched: Fetched,
    ) -> Result<Fetched, inflight_queue::Error> {
        let (Some(directory), Some(file)) = (&self.fetch.directory, &fetched.file) else {
            return Ok(fetched);
        };
        let path = directory.path().join(file);
        let name = queued.new_body_name();
        bodies.store(&name, &path).await?;
        // If this fails, the file is deleted with its directory.
        let _ = fs::remove_file(path);
        Ok(Fetched {
            file: Some(name),
            ..fetched
        })
    }

    /// Returns the pause after which the URL must be fetched again, or `None` if its result is final.
    fn retry_delay(
        &self,
        attempt: u64,
        url: &InputUrl,
        stats: &ExchangeStats,
        result: &Result<Fetched, Failure>,
    ) -> Option<Duration> {
        let method = self.fetch.settings.method(url.own.as_deref());
        if attempt >= self.attempts || !method.is_idempotent() {
            return None;
        }
        // A host that requires a pause makes other requests to it fail in this phase.
        let is_transient = |failure: &Failure| {
            failure.is_transient
                || failure.phase == Some("queue")
                || (failure.kind == "status" && stats.retry_after.is_some())
        };
        let is_retried = match result {
            Ok(_) => stats.retry_after.is_some(),
            Err(failure) => is_transient(failure),
        };
        let doubled = 1_u32.checked_shl((attempt - 1).try_into().ok()?)?;
        let delay = FIRST_DELAY.saturating_mul(doubled).min(MAX_DELAY);
        let required = stats.retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
        is_retried.then(|| delay.max(required))
    }
}

fn lost(attempt: u64) -> Failure {
    Failure {
        kind: LOST,
        phase: None,
        message: format!(
            "the URL was started {} times and got no result",
            attempt - 1
        ),
        is_transient: false,
    }
}

/// Shortens the texts of a record that is too large for a message. Its index still identifies the URL.
fn shortened(mut record: Record) -> Record {
    let failure = record.error.as_mut().map(|failure| &mut failure.message);
    let texts = [
        Some(&mut record.url),
        record.final_url.as_mut(),
        record.id.as_mut(),
        failure,
    ];
    for text in texts.into_iter().flatten() {
        if let Some((end, _)) = text.char_indices().nth(MAX_SHORTENED) {
            text.truncate(end);
            text.push('…');
        }
    }
    record
}

/// Counts a URL while it is being fetched.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn start(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
