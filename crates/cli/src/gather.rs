//! `inflight gather`: many URLs at once, each reported as it finishes.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::future::{Either, pending};
use futures_util::{StreamExt, stream};
use inflight::probe::FutureExt;
use inflight::{BlockOn, Error, ErrorKind, JobError, JobErrorKind, Session, gather_stream};
use sha2::{Digest, Sha256};

use crate::args;
use crate::exit::{Exit, Stop, complain, note};
use crate::incoming::{Incoming, Policy, Watch};
use crate::input::{Entry, Input};
use crate::output::{Failure, Printer, Record};
use crate::probe::Probing;
use crate::progress::{Progress, Unit};
use crate::save::{Directory, Saving};
use crate::session;
use crate::signal::Interrupt;

/// Why a batch ended before all of it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cutoff {
    Interrupted,
    Deadline,
    FirstFailure,
}

impl Cutoff {
    /// What a URL without a result of its own is reported as.
    fn failure(self) -> Failure {
        let (kind, message) = match self {
            Self::Interrupted => (ErrorKind::Cancelled, "interrupted"),
            Self::Deadline => (ErrorKind::Deadline, "the deadline passed before its end"),
            Self::FirstFailure => (ErrorKind::Cancelled, "another request failed"),
        };
        Failure::new(kind, message)
    }
}

/// What every job needs.
#[derive(Clone)]
struct Kit {
    session: Session,
    policy: Policy,
    digest: bool,
    probe: bool,
    directory: Option<Directory>,
}

/// A URL that is being fetched, for whoever reports it.
struct Running {
    entry: Entry,
    watch: Watch,
}

pub(crate) fn run(args: args::Gather) -> Result<Exit, Stop> {
    let input = Input::open(args.urls, args.input.as_deref())?;
    let (directory, finished) = args.output.map(Directory::open).transpose()?.unzip();
    let (backend, session) =
        session::start_batch(&args.requests, args.per_host, args.rate, args.probe)?;
    let interrupt = Interrupt::listen()?;
    let probing = args.probe.then(|| Probing::start(&backend)).transpose()?;

    let progress = Progress::start(args.requests.progress, Unit::Urls);
    if progress.is_shown() {
        let progress = progress.clone();
        input.count(move |total| progress.set_total(total));
    }
    let batch = Batch {
        limit: args.limit.get(),
        deadline: args.deadline,
        fail_fast: args.fail_fast,
        printer: Printer::stdout(args.requests.format, args.digest),
        progress,
        tally: Tally::default(),
    };
    let kit = Kit {
        session,
        policy: Policy::of(&args.requests),
        digest: args.digest,
        probe: args.probe,
        directory,
    };
    backend.block_on(async {
        let exit = batch.run(input, kit, &interrupt).await;
        // Jobs that were cancelled may be in the middle of a file.
        if let Some(finished) = finished {
            finished.wait().await;
        }
        if let Some(probing) = probing {
            probing.report();
        }
        exit
    })
}

/// A batch and how it is reported.
struct Batch {
    limit: usize,
    deadline: Option<Duration>,
    fail_fast: bool,
    printer: Printer<io::Stdout>,
    progress: Progress,
    tally: Tally,
}

impl Batch {
    async fn run(mut self, input: Input, kit: Kit, interrupt: &Interrupt) -> Result<Exit, Stop> {
        let started = Instant::now();
        let input = RefCell::new(input);
        let cutoff = self.report_all(&input, kit, interrupt).await;
        self.progress.clear();
        let (cutoff, input) = (cutoff?, input.into_inner());

        if self.printer.is_table() || self.progress.is_shown() {
            note(self.tally.summary(started.elapsed()));
        }
        let mut complete = self.tally.failed.is_empty();
        if let Some(failure) = input.failure() {
            complain(failure);
            complete = false;
        }
        match cutoff {
            Some(Cutoff::Interrupted) => return Ok(Exit::Interrupted),
            Some(Cutoff::Deadline) if input.was_cut_off() => {
                complain("the deadline passed before the input ended");
                complete = false;
            }
            _ => {}
        }
        Ok(if complete {
            Exit::Success
        } else {
            Exit::Failed
        })
    }

    /// Fetches until the input ends or something cuts it off, and reports every URL.
    async fn report_all(
        &mut self,
        input: &RefCell<Input>,
        kit: Kit,
        interrupt: &Interrupt,
    ) -> Result<Option<Cutoff>, Stop> {
        self.print(Printer::begin)?;
        let cutoff = Cell::new(None);
        self.fetch_all(input, kit, interrupt, &cutoff).await?;
        let Some(cutoff) = cutoff.get() else {
            return Ok(None);
        };
        // What was never started has a result all the same.
        input.borrow_mut().stop();
        let mut left = self.tally.reported();
        while let Some(entry) = poll_fn(|cx| input.borrow_mut().poll_next(cx)).await {
            self.report(&Record::unsent(left, &entry.text, cutoff.failure()))?;
            left += 1;
        }
        Ok(Some(cutoff))
    }

    /// Reports what was started.
    async fn fetch_all(
        &mut self,
        input: &RefCell<Input>,
        kit: Kit,
        interrupt: &Interrupt,
        cutoff: &Cell<Option<Cutoff>>,
    ) -> Result<(), Stop> {
        let runtime = kit.session.runtime().clone();
        let running = RefCell::new(HashMap::new());
        let mut next = 0;
        let jobs = stream::poll_fn(|cx| {
            input.borrow_mut().poll_next(cx).map(|entry| {
                let (index, entry, watch) = (next, entry?, Watch::start());
                next += 1;
                let (url, fault) = (entry.text.clone(), entry.fault);
                let probe = kit.probe;
                let job = fetch(kit.clone(), index, url, fault, watch.clone());
                let job = match probe {
                    true => Either::Left(job.probed("fetch")),
                    false => Either::Right(job),
                };
                running.borrow_mut().insert(index, Running { entry, watch });
                Some(job)
            })
        });

        let deadline = match self.deadline {
            Some(deadline) => Either::Left(runtime.sleep(deadline)),
            None => Either::Right(pending()),
        };
        let mut deadline = pin!(deadline);
        let mut interrupted = pin!(interrupt.wait());
        let until = poll_fn(|cx| {
            if cutoff.get().is_none() {
                if interrupted.as_mut().poll(cx).is_ready() {
                    cutoff.set(Some(Cutoff::Interrupted));
                } else if deadline.as_mut().poll(cx).is_ready() {
                    cutoff.set(Some(Cutoff::Deadline));
                }
            }
            match cutoff.get() {
                Some(_) => Poll::Ready(()),
                None => Poll::Pending,
            }
        });

        let results = gather_stream(jobs)
            .limit(self.limit)
            .on(&runtime)
            .until(until)
            .completed();
        let mut results = pin!(results);
        while let Some((index, result)) = results.next().await {
            let Some(Running { entry, watch }) = running.borrow_mut().remove(&index) else {
                continue;
            };
            let record = match result.map_err(JobError::into_kind) {
                Err(JobErrorKind::Failed(error)) if error.kind() == ErrorKind::InvalidUrl => {
                    Record::unsent(index, &entry.text, invalid(&entry, &error))
                }
                result => {
                    let result = result.map_err(|kind| failure(kind, cutoff.get()));
                    Record::sent(index, &entry.text, &watch.seen(), result)
                }
            };
            if self.fail_fast && record.error.is_some() && cutoff.get().is_none() {
                cutoff.set(Some(Cutoff::FirstFailure));
            }
            self.report(&record)?;
            let in_flight = running.borrow().len();
            let failed = self.tally.failures();
            self.progress
                .say(|| format!(", {in_flight} in flight, {failed} failed"));
        }
        Ok(())
    }

    fn report(&mut self, record: &Record) -> Result<(), Stop> {
        self.tally.count(record);
        self.progress.advance(1);
        self.print(|printer| printer.record(record))
    }

    fn print(
        &mut self,
        print: impl FnOnce(&mut Printer<io::Stdout>) -> io::Result<()>,
    ) -> Result<(), Stop> {
        let printer = &mut self.printer;
        // Only where both are on one terminal is there anything to step aside from.
        let printed = if printer.is_terminal() {
            self.progress.aside(|| print(printer))
        } else {
            print(printer)
        };
        printed.map_err(|error| Stop::stdout(&error))
    }
}

/// One URL, its body counted, digested and saved as it comes.
async fn fetch(
    kit: Kit,
    index: usize,
    url: String,
    fault: Option<&'static str>,
    watch: Watch,
) -> Result<Option<String>, Error> {
    let ended = async {
        if let Some(fault) = fault {
            return Err(Error::new(ErrorKind::InvalidUrl).with_context(fault));
        }
        let mut digest = kit.digest.then(Sha256::new);
        let mut saving: Option<Saving> = None;
        let request = kit.session.get(&url);
        let mut incoming = Incoming::open(request, kit.policy, watch.clone()).await?;
        if let Some(directory) = kit.directory {
            saving = Some(directory.file(index, kit.session.runtime().clone()));
        }
        while let Some(chunk) = incoming.chunk().await? {
            if let Some(digest) = &mut digest {
                digest.update(&chunk);
            }
            if let Some(file) = saving {
                saving = Some(file.write(chunk).await?);
            }
        }
        if let Some(file) = saving {
            file.finish().await?;
        }
        Ok(digest.map(|digest| format!("{:x}", digest.finalize())))
    }
    .await;
    watch.end();
    ended
}

fn failure(kind: JobErrorKind<Error>, cutoff: Option<Cutoff>) -> Failure {
    match (kind, cutoff) {
        (JobErrorKind::Failed(error), _) => Failure::from(&error),
        (JobErrorKind::DeadlineExceeded, Some(cutoff)) => cutoff.failure(),
        (JobErrorKind::Panicked(panic), _) => {
            let message = format!("the client panicked: {}", panic.message());
            Failure::new(ErrorKind::Io, message)
        }
        (_, _) => Failure::new(ErrorKind::Cancelled, "the runtime ended"),
    }
}

/// A line that is no URL is to be found again.
fn invalid(entry: &Entry, error: &Error) -> Failure {
    let mut failure = Failure::from(error);
    if let Some(place) = &entry.place {
        failure.message = format!("{place}: {}", failure.message);
    }
    failure
}

/// What has been reported so far.
#[derive(Default)]
struct Tally {
    ok: usize,
    failed: BTreeMap<&'static str, usize>,
    requested: usize,
}

impl Tally {
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

    fn reported(&self) -> usize {
        self.ok + self.failures()
    }

    fn summary(&self, elapsed: Duration) -> impl fmt::Display {
        let mut kinds = String::new();
        for (kind, n) in &self.failed {
            let opening = if kinds.is_empty() { " (" } else { ", " };
            kinds.push_str(&format!("{opening}{kind} {n}"));
        }
        if !kinds.is_empty() {
            kinds.push(')');
        }
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
        let tally = Tally {
            ok: 8,
            failed: BTreeMap::from([("timeout", 1), ("connect", 2)]),
            requested: 10,
        };
        assert_eq!(
            tally.summary(Duration::from_millis(2500)).to_string(),
            "8 ok, 3 failed (connect 2, timeout 1) in 2.50 s, 4.0 requests/s"
        );
    }
}
