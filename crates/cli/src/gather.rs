//! `inflight gather`: fetches many URLs at once and reports the result of each URL as soon as it is known.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::poll_fn;
use std::hash::Hash;
use std::io;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_util::future::{Either, pending};
use futures_util::{StreamExt, stream};
use inflight::backend::Runtime;
use inflight::download::ChunkOrRestart;
use inflight::gather::{Gather, Input as GatherInput, Keyed};
use inflight::probe::{FutureExt, exchanges};
use inflight::url::Url;
use inflight::{BlockOn, Error, ErrorKind, JobError, JobErrorKind, Phase, Session, gather_stream};
use sha2::{Digest, Sha256};

use crate::args;
use crate::exchange::{ResponseOptions, ResponseReader, SharedStats};
use crate::exit::{CliError, ExitStatus, print_error, print_to_stderr};
use crate::input::{Input, InputUrl};
use crate::journal::{Decision, EarlierRecords, Journal};
use crate::output::{Failure, Printer, Record};
use crate::probe::LoopProbe;
use crate::progress::{Progress, Unit};
use crate::request::RequestSettings;
use crate::save::OutputDirectory;
use crate::session;
use crate::signal::Interrupt;

const SECOND: Duration = Duration::from_secs(1);

/// Why `inflight gather` stopped before all requests had finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StopReason {
    Interrupted,
    Deadline,
    FirstFailure,
    /// The input has another URL than the journal.
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
            Self::Mismatch => (ErrorKind::Cancelled, "the input differs from the journal"),
        };
        Failure::new(kind, message)
    }
}

/// The data that each job needs. A job fetches one URL.
#[derive(Clone)]
struct FetchContext {
    session: Session,
    settings: RequestSettings,
    /// The limit for the waits in the gather and in the session together.
    queue_timeout: Option<Duration>,
    options: ResponseOptions,
    digest: bool,
    probe: bool,
    directory: Option<OutputDirectory>,
}

pub(crate) fn run(args: args::Gather) -> Result<ExitStatus, CliError> {
    let input = Input::open(args.urls, args.input.as_deref())?;
    let output = args.output.clone();
    let (directory, completion) = output.map(OutputDirectory::open).transpose()?.unzip();
    let settings = RequestSettings::from_args(&args.requests)?;
    let (backend, session) = session::start(&args.requests, |builder| {
        let builder = builder
            .head_timeout(settings.head_timeout(&args.requests))
            .max_per_host(args.per_host.map(NonZeroUsize::get));
        let builder = match args.host_rate.map(NonZeroU32::get) {
            Some(rate) => builder.max_rate_per_host(rate, SECOND),
            None => builder,
        };
        let builder = match args.probe {
            true => builder.wrap(exchanges("client")),
            false => builder,
        };
        match args.rate.map(NonZeroU32::get) {
            // Allows bursts, because timers have a resolution of about a millisecond.
            Some(rate) => builder.max_rate(rate, (rate / 20).max(1)),
            None => builder,
        }
    })?;
    let journal = args.journal.as_deref();
    let journal = journal.map(|path| Journal::open(path, args.retry_failed));
    let (journal, earlier) = journal.transpose()?.unzip();
    if let (Some(path), Some(directory)) = (&args.journal, &args.output) {
        check_journal_path(path, directory)?;
    }
    if let Some(earlier) = &earlier {
        check_input(&input, earlier)?;
    }
    let interrupt = Interrupt::listen()?;
    let loop_probe = args.probe.then(|| LoopProbe::start(&backend)).transpose()?;

    let progress = Progress::start(args.requests.progress, Unit::Urls);
    if progress.is_shown() {
        let progress = progress.clone();
        input.count(move |total| progress.set_total(total));
    }
    let gather = GatherRun {
        limit: args.limit.get(),
        per_host: args.per_host.map(NonZeroUsize::get),
        host_rate: args.host_rate.map(NonZeroU32::get),
        look_ahead: args.look_ahead.get(),
        deadline: args.deadline,
        fail_fast: args.fail_fast,
        printer: Printer::stdout(args.requests.format, args.digest),
        progress,
        counts: ResultCounts::default(),
        journal,
        earlier: earlier.unwrap_or_default(),
        pulled: Rc::default(),
    };
    let context = FetchContext {
        session,
        settings,
        queue_timeout: args.requests.queue_timeout,
        options: ResponseOptions::from_args(&args.requests),
        digest: args.digest,
        probe: args.probe,
        directory,
    };
    backend.block_on(async {
        let status = gather.run(input, context, &interrupt).await;
        // Cancelled jobs may still be writing a file.
        if let Some(completion) = completion {
            completion.wait().await;
        }
        if let Some(loop_probe) = loop_probe {
            loop_probe.report();
        }
        status
    })
}

/// A run of `inflight gather`: its limits, its output and the counts of its results.
struct GatherRun {
    limit: usize,
    per_host: Option<usize>,
    /// The number of requests to one host that start per second.
    host_rate: Option<u32>,
    look_ahead: usize,
    deadline: Option<Duration>,
    fail_fast: bool,
    printer: Printer<io::Stdout>,
    progress: Progress,
    counts: ResultCounts,
    journal: Option<Journal>,
    earlier: EarlierRecords,
    pulled: Rc<Pulled>,
}

/// Counts of the URLs that were taken from the input.
#[derive(Default)]
struct Pulled {
    /// The number of URLs, which is the index of the next one.
    next: Cell<usize>,
    /// The URLs that an earlier run has finished, and how many of them have failed.
    skipped: Cell<usize>,
    skipped_failures: Cell<usize>,
    /// The URL that differs from the journal.
    mismatch: RefCell<Option<String>>,
}

impl Pulled {
    /// Polls for the next URL that must be fetched, and returns it with its index. Sets `mismatch` and ends
    /// if the journal has another URL.
    fn poll_next(
        &self,
        cx: &mut Context<'_>,
        input: &RefCell<Input>,
        earlier: &EarlierRecords,
        progress: &Progress,
    ) -> Poll<Option<(usize, InputUrl)>> {
        while self.mismatch.borrow().is_none() {
            let Some(url) = ready!(input.borrow_mut().poll_next(cx)) else {
                break;
            };
            let index = self.next.get();
            self.next.set(index + 1);
            match earlier.decide(index, &url.text) {
                Decision::Fetch => return Poll::Ready(Some((index, url))),
                Decision::Skip { has_failed } => {
                    self.skipped.set(self.skipped.get() + 1);
                    let failures = self.skipped_failures.get() + usize::from(has_failed);
                    self.skipped_failures.set(failures);
                    progress.advance(1);
                }
                Decision::Mismatch => {
                    *self.mismatch.borrow_mut() = Some(location_of(index, &url));
                }
            }
        }
        Poll::Ready(None)
    }
}

impl GatherRun {
    async fn run(
        mut self,
        input: Input,
        context: FetchContext,
        interrupt: &Interrupt,
    ) -> Result<ExitStatus, CliError> {
        let started = Instant::now();
        let input = RefCell::new(input);
        let stop_reason = self.fetch_and_report(&input, context, interrupt).await;
        self.progress.clear();
        if let Some(journal) = &mut self.journal {
            journal.finish()?;
        }
        let (stop_reason, input) = (stop_reason?, input.into_inner());

        if self.printer.is_table() || self.progress.is_shown() {
            print_to_stderr(self.counts.summary(started.elapsed()));
        }
        if let Some(place) = self.pulled.mismatch.take() {
            return Err(mismatch_error(&place));
        }
        if self.pulled.skipped.get() > 0 {
            let (skipped, failed) = (
                self.pulled.skipped.get(),
                self.pulled.skipped_failures.get(),
            );
            print_to_stderr(format_args!(
                "skipped {skipped} URLs that the journal says are finished, {failed} of them failed"
            ));
        }
        let is_whole = stop_reason.is_none() && input.failure().is_none();
        if is_whole {
            check_length(self.pulled.next.get(), &self.earlier)?;
        }
        let mut succeeded =
            self.counts.failed.is_empty() && self.pulled.skipped_failures.get() == 0;
        if let Some(failure) = input.failure() {
            print_error(failure);
            succeeded = false;
        }
        match stop_reason {
            Some(StopReason::Interrupted) => return Ok(ExitStatus::Interrupted),
            Some(StopReason::Deadline) if input.is_truncated() => {
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

    /// Fetches URLs until the input ends or the run is stopped, and reports every URL. Returns why the
    /// run was stopped, or `None` if the input ended.
    async fn fetch_and_report(
        &mut self,
        input: &RefCell<Input>,
        context: FetchContext,
        interrupt: &Interrupt,
    ) -> Result<Option<StopReason>, CliError> {
        self.print(Printer::begin)?;
        let stop_reason = Cell::new(None);
        self.run_jobs(input, context, interrupt, &stop_reason)
            .await?;
        let Some(stop_reason) = stop_reason.get() else {
            return Ok(None);
        };
        // Also reports the URLs that were never requested.
        input.borrow_mut().stop();
        while let Some((index, url)) = poll_fn(|cx| {
            self.pulled
                .poll_next(cx, input, &self.earlier, &self.progress)
        })
        .await
        {
            self.report(&Record::unsent(index, &url.text, stop_reason.failure()))?;
        }
        Ok(Some(stop_reason))
    }

    /// Sets the limits of the gather, so that jobs that wait for their host do not occupy `--limit`.
    fn limit_hosts<S, F, K>(
        &self,
        gather: Gather<S>,
        runtime: &Arc<dyn Runtime>,
        host: F,
    ) -> Gather<Keyed<S, F, K>>
    where
        S: GatherInput,
        F: FnMut(&S::Id) -> K,
        K: Clone + Eq + Hash,
    {
        let mut gather = gather
            .limit(self.limit)
            .key(host)
            .look_ahead(self.look_ahead);
        if let Some(per_host) = self.per_host {
            gather = gather.per_key(per_host);
        }
        match self.host_rate {
            Some(rate) => gather.rate_per_key(rate, SECOND, runtime),
            None => gather,
        }
    }

    /// Runs the jobs, and reports the result of each job that was started. Sets `stop_reason` if the run
    /// is stopped.
    async fn run_jobs(
        &mut self,
        input: &RefCell<Input>,
        context: FetchContext,
        interrupt: &Interrupt,
        stop_reason: &Cell<Option<StopReason>>,
    ) -> Result<(), CliError> {
        let session = context.session.clone();
        let runtime = session.runtime().clone();
        let probe = context.probe;
        let running = RefCell::new(HashMap::new());
        let (pulled, earlier) = (self.pulled.clone(), self.earlier.clone());
        let progress = self.progress.clone();
        // The jobs by their index in the gather, which has no place for URLs that are skipped.
        let mut next = 0;
        let jobs = stream::poll_fn(|cx| {
            let polled = ready!(pulled.poll_next(cx, input, &earlier, &progress));
            Poll::Ready(polled.map(|(index, url)| {
                let stats = SharedStats::start();
                let job = fetch(context.clone(), index, url.clone(), stats.clone());
                running.borrow_mut().insert(next, (index, url, stats));
                next += 1;
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
                if pulled.mismatch.borrow().is_some() {
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

        let mut results = self
            .limit_hosts(gather_stream(jobs), &runtime, |index| {
                running.borrow().get(index).map(|(_, url, _)| host(url))
            })
            .on(&runtime)
            .until(stop)
            .completed();
        while let Some((job, result)) = results.next().await {
            let Some((index, url, stats)) = running.borrow_mut().remove(&job) else {
                continue;
            };
            let record = match result.map_err(JobError::into_kind) {
                Err(JobErrorKind::Failed(error)) if error.kind() == ErrorKind::InvalidUrl => {
                    Record::unsent(index, &url.text, invalid_url_failure(&url, &error))
                }
                Err(kind @ JobErrorKind::NeverStarted) => {
                    Record::unsent(index, &url.text, job_failure(kind, stop_reason.get()))
                }
                result => {
                    let result = result.map_err(|kind| job_failure(kind, stop_reason.get()));
                    Record::sent(index, &url.text, &stats.snapshot(), result)
                }
            };
            if self.fail_fast && record.error.is_some() && stop_reason.get().is_none() {
                stop_reason.set(Some(StopReason::FirstFailure));
            }
            self.report(&record)?;
            let in_flight = session.stats().in_flight;
            let failed = self.counts.failures();
            self.progress
                .set_message(|| format!(", {in_flight} in flight, {failed} failed"));
        }
        Ok(())
    }

    fn report(&mut self, record: &Record) -> Result<(), CliError> {
        self.counts.count(record);
        self.progress.advance(1);
        // After a mismatch, the records belong to another input.
        if let Some(journal) = &mut self.journal
            && self.pulled.mismatch.borrow().is_none()
        {
            journal.append(record)?;
        }
        self.print(|printer| printer.record(record))
    }

    fn print(
        &mut self,
        print: impl FnOnce(&mut Printer<io::Stdout>) -> io::Result<()>,
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

/// Fetches one URL. Counts, hashes and saves the body as it arrives. Returns the digest of the body, if
/// `--digest` requests it.
async fn fetch(
    context: FetchContext,
    index: usize,
    url: InputUrl,
    stats: SharedStats,
) -> Result<Option<String>, Error> {
    let result = async {
        if let Some(fault) = url.fault {
            return Err(Error::new(ErrorKind::InvalidUrl).with_context(fault));
        }
        let mut digest = context.digest.then(Sha256::new);
        let mut request = context.settings.request(&context.session, &url.text);
        if let Some(limit) = context.queue_timeout {
            let left = limit.saturating_sub(stats.snapshot().queued());
            if left.is_zero() {
                return Err(Error::timeout(Phase::Queue));
            }
            request = request.queue_timeout(left);
        }
        let mut reader = ResponseReader::open(request, context.options, stats.clone()).await?;
        let runtime = context.session.runtime();
        let directory = context.directory.as_ref();
        let mut file = directory.map(|directory| directory.file(index, runtime.clone()));
        while let Some(part) = reader.chunk_or_restart().await? {
            match part {
                ChunkOrRestart::Chunk(chunk) => {
                    if let Some(digest) = &mut digest {
                        digest.update(&chunk);
                    }
                    if let Some(file) = &mut file {
                        file.write(&chunk).await?;
                    }
                }
                ChunkOrRestart::Restart => {
                    if let Some(digest) = &mut digest {
                        digest.reset();
                    }
                    if let Some(file) = &mut file {
                        file.restart().await?;
                    }
                }
            }
        }
        if let Some(file) = file {
            file.finish().await?;
        }
        Ok(digest.map(|digest| format!("{:x}", digest.finalize())))
    }
    .await;
    stats.finish();
    result
}

/// Checks that no body can replace the journal.
fn check_journal_path(journal: &Path, directory: &Path) -> Result<(), CliError> {
    let folder = journal.parent().map(Path::canonicalize);
    let is_inside = match (folder, directory.canonicalize()) {
        (Some(Ok(folder)), Ok(directory)) => folder == directory,
        _ => false,
    };
    let name = journal.file_name().unwrap_or_default().as_encoded_bytes();
    match is_inside && name.iter().all(u8::is_ascii_digit) {
        true => Err(CliError::usage(
            "a body in --output could replace the --journal: use another name for the journal",
        )),
        false => Ok(()),
    }
}

/// Checks that the journal belongs to this input, if the input can be read before the run.
fn check_input(input: &Input, earlier: &EarlierRecords) -> Result<(), CliError> {
    if earlier.is_empty() {
        return Ok(());
    }
    let count = input.visit(|index, url| match earlier.decide(index, &url.text) {
        Decision::Mismatch => Err(mismatch_error(&location_of(index, url))),
        Decision::Fetch | Decision::Skip { .. } => Ok(()),
    })?;
    count.map_or(Ok(()), |count| check_length(count, earlier))
}

/// Checks that the input has all URLs of the journal.
fn check_length(count: usize, earlier: &EarlierRecords) -> Result<(), CliError> {
    match earlier.index_after(count) {
        Some(index) => Err(CliError::usage(format_args!(
            "the journal has the index {index}, but the input ends before it"
        ))),
        None => Ok(()),
    }
}

fn location_of(index: usize, url: &InputUrl) -> String {
    match &url.location {
        Some(location) => location.to_string(),
        None => format!("URL {index}"),
    }
}

fn mismatch_error(place: &str) -> CliError {
    CliError::usage(format_args!(
        "{place} is not the URL that the journal has at this index: use the input of the earlier run, or \
         another journal"
    ))
}

/// Returns the scheme, host and port of a URL. `None` if the URL is invalid, so that its job fails.
fn host(url: &InputUrl) -> Option<String> {
    let url = Url::parse(&url.text).ok()?;
    Some(url.origin().ascii_serialization())
}

fn job_failure(kind: JobErrorKind<Error>, stop_reason: Option<StopReason>) -> Failure {
    match (kind, stop_reason) {
        (JobErrorKind::Failed(error), _) => Failure::from(&error),
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

/// Returns the failure of a text that is not a URL. The message names the line that contains the text.
fn invalid_url_failure(url: &InputUrl, error: &Error) -> Failure {
    let mut failure = Failure::from(error);
    if let Some(location) = &url.location {
        failure.message = format!("{location}: {}", failure.message);
    }
    failure
}

/// Counts of the results reported so far.
#[derive(Default)]
struct ResultCounts {
    ok: usize,
    /// The number of failures by kind of error.
    failed: BTreeMap<&'static str, usize>,
    /// The number of URLs with at least one attempt.
    requested: usize,
}

impl ResultCounts {
    fn count(&mut self, record: &Record) {
        match &record.error {
            None => self.ok += 1,
            Some(failure) => *self.failed.entry(failure.kind).or_default() += 1,
        }
        self.requested += usize::from(record.attempts > 0);
    }

    fn failures(&self) -> usize {
        self.failed.values().sum()
    }

    fn summary(&self, elapsed: Duration) -> impl fmt::Display {
        let kinds = self.failed.iter().map(|(kind, n)| format!("{kind} {n}"));
        let kinds = match self.failed.is_empty() {
            true => String::new(),
            false => format!(" ({})", kinds.collect::<Vec<_>>().join(", ")),
        };
        let seconds = elapsed.as_secs_f64();
        let rate = self.requested as f64 / seconds;
        let (ok, failed) = (self.ok, self.failures());
        format!("{ok} ok, {failed} failed{kinds} in {seconds:.2} s, {rate:.1} requests/s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_failures_by_kind() {
        let counts = ResultCounts {
            ok: 8,
            failed: BTreeMap::from([("timeout", 1), ("connect", 2)]),
            requested: 10,
        };
        assert_eq!(
            counts.summary(Duration::from_millis(2500)).to_string(),
            "8 ok, 3 failed (connect 2, timeout 1) in 2.50 s, 4.0 requests/s"
        );
    }
}
