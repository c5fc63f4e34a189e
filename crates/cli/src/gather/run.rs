//! A run of the gather: starts the jobs, stops them early, and reports every URL.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::io;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, Either, Fuse, FusedFuture, pending};
use futures_util::{FutureExt as _, StreamExt, stream};
use inflight::backend::Runtime;
use inflight::gather::{Gather, Input as GatherInput, KeyLimits, Keyed};
use inflight::probe::FutureExt;
use inflight::url::Url;
use inflight::{ErrorKind, JobError, JobErrorKind, gather_stream};

use super::fetch::{FetchContext, Job};
use super::pulled::PulledUrls;
use crate::args::{HostInterval, Limits, SummaryFormat};
use crate::exchange::SharedStats;
use crate::exit::{CliError, ExitStatus, print_error};
use crate::input::InputUrl;
use crate::journal::Journal;
use crate::output::{Failure, Fetched, Printer, Record, WholeLines, host_of, json_line};
use crate::progress::Progress;
use crate::robots::RobotsRules;
use crate::save::SaveDecision;
use crate::signal::Interrupt;
use crate::summary::{Summary, UrlResult};

/// How often the progress bar shows the hosts that the run waits for.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// How many of these hosts it shows.
const MAX_PROGRESS_HOSTS: usize = 2;

/// How long records wait before they are written to the journal. A killed program loses the waiting records.
const FLUSH_INTERVAL: Duration = Duration::from_millis(10);

/// Why `inflight gather` stopped before all requests had finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StopReason {
    Interrupted,
    Deadline,
    FirstFailure,
    /// The input has another URL than an earlier run.
    Mismatch,
}

impl StopReason {
    /// Returns the failure to report for a URL that has no result.
    fn failure(self) -> Failure {
        let (kind, message) = match self {
            Self::Interrupted => (ErrorKind::Cancelled, "interrupted"),
            Self::Deadline => (
                ErrorKind::Deadline,
                "the deadline passed before the request finished",
            ),
            Self::FirstFailure => (ErrorKind::Cancelled, "another request failed"),
            Self::Mismatch => (
                ErrorKind::Cancelled,
                "the input differs from an earlier run",
            ),
        };
        Failure::new(kind, message)
    }
}

/// The limits for each host.
pub(crate) struct HostLimits {
    per_host: Option<usize>,
    /// The shortest time between the starts of two requests.
    interval: Option<Duration>,
    look_ahead: usize,
    robots: Option<RobotsRules>,
}

impl HostLimits {
    pub(crate) fn new(limits: &Limits, robots: Option<RobotsRules>) -> Self {
        Self {
            per_host: limits.per_host.map(NonZeroUsize::get),
            interval: limits.host_rate.map(|HostInterval(interval)| interval),
            look_ahead: limits.look_ahead.get(),
            robots,
        }
    }

    /// Sets the limits of the gather, so that jobs that wait for their host do not count towards `--limit`.
    pub(crate) fn apply<S, F>(
        &self,
        gather: Gather<S>,
        runtime: &Arc<dyn Runtime>,
        host: F,
    ) -> Gather<Keyed<S, F, Host, impl FnMut(&Host) -> KeyLimits + use<S, F>>>
    where
        S: GatherInput,
        F: FnMut(&S::Id) -> Host,
    {
        let robots = self.robots.clone();
        let mut gather = gather
            .key(host)
            .look_ahead(self.look_ahead)
            .limits_by_key(runtime, move |host: &Host| {
                robots_limits(robots.as_ref(), host)
            });
        if let Some(per_host) = self.per_host {
            gather = gather.per_key(per_host);
        }
        match self.interval {
            Some(interval) => gather.rate_per_key(1, interval, runtime),
            None => gather,
        }
    }
}

/// The scheme, host and port of a URL. `None` if the URL is invalid, so that its job fails.
pub(crate) type Host = Option<Rc<str>>;

/// Returns the limits of a host because of `--robots`. While the rules are unknown, only one job of the host runs.
/// This job fetches the rules.
fn robots_limits(robots: Option<&RobotsRules>, host: &Host) -> KeyLimits {
    let mut limits = KeyLimits::default();
    if let (Some(robots), Some(host)) = (robots, host) {
        match robots.crawl_delay(host) {
            Some(delay) => limits.interval = delay,
            None => limits.running = 1,
        }
    }
    limits
}

/// A run of `inflight gather`: its limits, its output and the counts of its results.
pub(super) struct GatherRun {
    pub(super) limit: usize,
    pub(super) hosts: HostLimits,
    pub(super) deadline: Option<Duration>,
    pub(super) fail_fast: bool,
    pub(super) printer: Printer<WholeLines>,
    pub(super) summary_format: SummaryFormat,
    pub(super) summary: Summary,
    pub(super) pulled: Rc<PulledUrls>,
    pub(super) progress: Progress,
    pub(super) journal: Option<Journal>,
}

/// A URL that the gather has taken but not reported.
struct UnfinishedUrl {
    index: usize,
    url: InputUrl,
    host: Host,
    stats: SharedStats,
    decision: SaveDecision,
}

/// The unfinished URLs by the index of their job in the gather. This index does not count skipped URLs.
type Unfinished = RefCell<HashMap<usize, UnfinishedUrl>>;

/// What the run does next.
enum Event<T> {
    Result(T),
    /// Duplicates have a result.
    Answers,
    /// The journal has lines that it has not written.
    Flush,
    ProgressTick,
    End,
}

impl GatherRun {
    pub(super) async fn run(
        mut self,
        context: FetchContext,
        interrupt: &Interrupt,
    ) -> Result<ExitStatus, CliError> {
        let started = Instant::now();
        let stop_reason = self.fetch_and_report(context, interrupt).await;
        self.progress.clear();
        if let Some(journal) = &mut self.journal {
            journal.finish()?;
        }
        let stop_reason = stop_reason?;
        if let Some(mismatch) = self.pulled.take_mismatch() {
            return Err(mismatch);
        }
        self.print_summary(started.elapsed());
        let input_failure = self.pulled.input_failure();
        if stop_reason.is_none() && input_failure.is_none() {
            self.pulled.check_length()?;
        }
        let mut succeeded = self.summary.has_succeeded() && self.pulled.skipped_failures.get() == 0;
        if let Some(failure) = input_failure {
            print_error(failure);
            succeeded = false;
        }
        match stop_reason {
            Some(StopReason::Interrupted) => return Ok(ExitStatus::Interrupted),
            Some(StopReason::Deadline) if self.pulled.is_truncated() => {
                print_error("the deadline passed before the whole input was read");
                succeeded = false;
            }
            _ => {}
        }
        Ok(if succeeded {
            ExitStatus::Success
        } else {
            ExitStatus::Failed
        })
    }

    fn print_summary(&self, elapsed: Duration) {
        let skipped = self.pulled.skipped.get();
        let failed = self.pulled.skipped_failures.get();
        self.summary
            .print(self.summary_format, elapsed, (skipped, failed));
    }

    /// Fetches URLs until the input ends or the run is stopped, and reports every URL. Returns why the
    /// run was stopped, or `None` if the input ended.
    async fn fetch_and_report(
        &mut self,
        context: FetchContext,
        interrupt: &Interrupt,
    ) -> Result<Option<StopReason>, CliError> {
        self.print(Printer::begin)?;
        let stop_reason = Cell::new(None);
        self.run_jobs(context, interrupt, &stop_reason).await?;
        let Some(stop_reason) = stop_reason.get() else {
            return Ok(None);
        };
        // Also reports the URLs that were never requested.
        self.pulled.stop();
        let pulled = self.pulled.clone();
        loop {
            let next = poll_fn(|cx| match pulled.poll_next(cx) {
                Poll::Pending if pulled.has_answers() => Poll::Ready(Event::Answers),
                Poll::Pending => Poll::Pending,
                Poll::Ready(Some(url)) => Poll::Ready(Event::Result(url)),
                Poll::Ready(None) => Poll::Ready(Event::End),
            });
            match next.await {
                Event::Result((index, url)) => {
                    let record = Record::unsent(index, &url.text, stop_reason.failure());
                    self.report_fetched(&record.with_id(url.id()), &url)?;
                }
                Event::End => {
                    self.report_answers()?;
                    return Ok(Some(stop_reason));
                }
                _ => self.report_answers()?,
            }
        }
    }

    /// Runs the jobs, and reports the result of each job that was started. Sets `stop_reason` if the run
    /// is stopped.
    async fn run_jobs(
        &mut self,
        context: FetchContext,
        interrupt: &Interrupt,
        stop_reason: &Cell<Option<StopReason>>,
    ) -> Result<(), CliError> {
        let session = context.session.clone();
        let runtime = session.runtime().clone();
        let probe = context.probe;
        let unfinished = Unfinished::default();
        let pulled = self.pulled.clone();
        let mut next = 0;
        let jobs = stream::poll_fn(|cx| {
            let polled = ready!(pulled.poll_next(cx));
            Poll::Ready(polled.map(|(index, url)| {
                let entry = UnfinishedUrl {
                    index,
                    host: host(&url.text),
                    url: url.clone(),
                    stats: SharedStats::start(),
                    decision: SaveDecision::default(),
                };
                let job = Job {
                    index,
                    url,
                    stats: entry.stats.clone(),
                    decision: entry.decision.clone(),
                };
                unfinished.borrow_mut().insert(next, entry);
                next += 1;
                let job = job.run(context.clone());
                match probe {
                    true => Either::Left(job.probed("fetch")),
                    false => Either::Right(job),
                }
            }))
        });

        let deadline = match self.deadline {
            Some(deadline) => Either::Left(runtime.sleep(deadline)),
            None => Either::Right(pending()),
        };
        let mut deadline = pin!(deadline);
        let mut interrupted = pin!(interrupt.wait());
        let stop = poll_fn(|cx| {
            if stop_reason.get().is_none() {
                if pulled.has_mismatch() {
                    stop_reason.set(Some(StopReason::Mismatch));
                } else if interrupted.as_mut().poll(cx).is_ready() {
                    stop_reason.set(Some(StopReason::Interrupted));
                } else if deadline.as_mut().poll(cx).is_ready() {
                    stop_reason.set(Some(StopReason::Deadline));
                }
            }
            match stop_reason.get() {
                Some(_) => Poll::Ready(()),
                None => Poll::Pending,
            }
        });

        let host_of = |index: &usize| unfinished.borrow().get(index)?.host.clone();
        let gather = gather_stream(jobs).limit(self.limit);
        let gather = self.hosts.apply(gather, &runtime, host_of);
        let mut results = gather.on(&runtime).until(stop).completed();
        let mut tick = self.next_tick(&runtime);
        let mut flush = Fuse::terminated();
        loop {
            let has_unflushed = self.journal.as_ref().is_some_and(Journal::has_unflushed);
            if has_unflushed && flush.is_terminated() {
                flush = runtime.sleep(FLUSH_INTERVAL).fuse();
            }
            let event = poll_fn(|cx| {
                if let Poll::Ready(result) = results.poll_next_unpin(cx) {
                    return Poll::Ready(result.map_or(Event::End, Event::Result));
                }
                if pulled.has_answers() {
                    return Poll::Ready(Event::Answers);
                }
                if has_unflushed && flush.poll_unpin(cx).is_ready() {
                    return Poll::Ready(Event::Flush);
                }
                tick.as_mut().poll(cx).map(|()| Event::ProgressTick)
            });
            match event.await {
                Event::End => return self.report_answers(),
                Event::Answers => self.report_answers()?,
                Event::Flush => {
                    if let Some(journal) = &mut self.journal {
                        journal.flush()?;
                    }
                }
                Event::ProgressTick => {
                    self.show_progress(&unfinished.borrow());
                    tick = self.next_tick(&runtime);
                }
                Event::Result((job, result)) => {
                    let Some(entry) = unfinished.borrow_mut().remove(&job) else {
                        continue;
                    };
                    let record = entry.record(result, stop_reason.get());
                    if self.fail_fast && record.error.is_some() && stop_reason.get().is_none() {
                        stop_reason.set(Some(StopReason::FirstFailure));
                    }
                    self.report_fetched(&record, &entry.url)?;
                }
            }
        }
    }

    /// Returns a timer for the next update of the progress bar. It never completes if there is no bar.
    fn next_tick(&self, runtime: &Arc<dyn Runtime>) -> BoxFuture<'static, ()> {
        match self.progress.is_shown() {
            true => runtime.sleep(PROGRESS_INTERVAL),
            false => Box::pin(pending()),
        }
    }

    /// Shows the number of failures, and the hosts with the most unfinished URLs.
    fn show_progress(&self, unfinished: &HashMap<usize, UnfinishedUrl>) {
        let mut hosts = BTreeMap::<_, usize>::new();
        let mut in_flight = 0;
        for entry in unfinished.values() {
            in_flight += usize::from(entry.stats.snapshot().has_started());
            if let Some(host) = &entry.host {
                *hosts.entry(&**host).or_default() += 1;
            }
        }
        let failed = self.summary.failed();
        let mut hosts: Vec<_> = hosts.into_iter().collect();
        hosts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let hosts = hosts.iter().take(MAX_PROGRESS_HOSTS);
        let hosts: Vec<_> = hosts
            .map(|(host, count)| format!("{host} ({count})"))
            .collect();
        self.progress.set_message(|| {
            let counts = format!(", {in_flight} in flight, {failed} failed");
            match hosts.is_empty() {
                true => counts,
                false => format!("{counts}, waiting for {}", hosts.join(", ")),
            }
        });
    }

    /// Reports the duplicates that have a result.
    fn report_answers(&mut self) -> Result<(), CliError> {
        let pulled = self.pulled.clone();
        let Some(duplicates) = &pulled.duplicates else {
            return Ok(());
        };
        while let Some(record) = duplicates.next_answer() {
            self.report(&record)?;
        }
        Ok(())
    }

    /// Reports the result of a URL, and answers the duplicates of the URL.
    fn report_fetched(&mut self, record: &Record, url: &InputUrl) -> Result<(), CliError> {
        if let Some(duplicates) = &self.pulled.duplicates {
            duplicates.finish(url, record);
        }
        self.report(record)
    }

    fn report(&mut self, record: &Record) -> Result<(), CliError> {
        self.summary.add(&UrlResult::from(record));
        self.progress.advance(1);
        // After a mismatch, the records belong to another input.
        if let Some(journal) = &mut self.journal
            && !self.pulled.has_mismatch()
        {
            let line = json_line(record).map_err(CliError::failed)?;
            journal.append(&line)?;
            return self.print(|printer| printer.record_with_line(record, line));
        }
        self.print(|printer| printer.record(record))
    }

    fn print(
        &mut self,
        print: impl FnOnce(&mut Printer<WholeLines>) -> io::Result<()>,
    ) -> Result<(), CliError> {
        let printer = &mut self.printer;
        // If standard output is a terminal, hides the progress bar during the write.
        let printed = if printer.is_terminal() {
            self.progress.suspend(|| print(printer))
        } else {
            print(printer)
        };
        printed.map_err(|error| CliError::stdout(&error))
    }
}

impl UnfinishedUrl {
    /// Returns the record of the URL. A body that already has its name is a success, even if the job was
    /// cancelled. Otherwise the body gets no name after this call.
    fn record(
        &self,
        result: Result<Fetched, JobError<Failure>>,
        stop_reason: Option<StopReason>,
    ) -> Record {
        let result = match result.map_err(JobError::into_kind) {
            Ok(fetched) => Ok(fetched),
            Err(kind @ JobErrorKind::NeverStarted) => {
                let failure = job_failure(kind, stop_reason);
                let record = Record::unsent(self.index, &self.url.text, failure);
                return record.with_id(self.url.id());
            }
            Err(kind) => match self.decision.cancel() {
                Some(saved) => Ok(saved.into()),
                None => Err(job_failure(kind, stop_reason)),
            },
        };
        let record = Record::sent(self.index, &self.url.text, &self.stats.snapshot(), result);
        record.with_id(self.url.id())
    }
}

pub(crate) fn host(url: &str) -> Host {
    let url = Url::parse(url).ok()?;
    Some(host_of(&url).into())
}

fn job_failure(kind: JobErrorKind<Failure>, stop_reason: Option<StopReason>) -> Failure {
    match (kind, stop_reason) {
        (JobErrorKind::Failed(failure), _) => failure,
        (JobErrorKind::DeadlineExceeded { .. } | JobErrorKind::NeverStarted, Some(stop_reason)) => {
            stop_reason.failure()
        }
        (JobErrorKind::Panicked(panic), _) => {
            let message = format!("the client panicked: {}", panic.message());
            Failure::new(ErrorKind::Panicked, message)
        }
        (_, _) => Failure::new(
            ErrorKind::Cancelled,
            "the runtime shut down before the request finished",
        ),
    }
}
