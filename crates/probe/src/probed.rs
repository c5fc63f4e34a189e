//! A future whose polls are timed.

use std::borrow::Cow;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use pin_project_lite::pin_project;

use crate::latency;
use crate::recorder::{self, RecordedPoll};
use crate::site::{Sample, Site};
use crate::slot::{PollGuard, coarse, is_timed, nanos};

/// How many polls a future collects before it records them in the shared histograms. A larger batch
/// would make each future larger, and futures are moved.
const BATCH: usize = 4;

/// A poll of at least this length, in nanoseconds, is recorded immediately, with the polls before it. A recorder
/// records it even if its future is not timed.
const LONG_POLL: u64 = 1_000_000;

/// An extension trait that adds [`probed`](Self::probed) to every future.
///
/// For an example, see the [crate's documentation](crate).
pub trait FutureExt: Future + Sized {
    /// Times the polls of this future under a label, and makes them visible to every
    /// [`Probe`](crate::Probe). Reports name the location of this call.
    ///
    /// Each future costs an allocation, and each poll two readings of the clock: about 51 ns, or 82 ns
    /// with the wake (`cargo bench --bench probe`). This is significant if a thread starts thousands of
    /// futures per second. A thread therefore times the first 512 futures in each quarter of a second,
    /// and one in 32 of the others. The watchdog also checks the futures that are not timed, but on
    /// Linux it knows the start of their polls only with the precision of the system's coarse clock.
    /// The polls of these futures are counted. Their waits are not measured, so the futures are missing
    /// from [`Stall::ready`](crate::Stall::ready) and [`Aftermath::late`](crate::Aftermath::late).
    ///
    /// All futures with the same label and location share the histograms of
    /// [`poll_stats`](crate::poll_stats). Dropping the returned future drops this one.
    ///
    /// The process never frees a label. It therefore keeps at most 256 labels that are owned strings.
    /// Futures with further owned labels share the label `other`. An owned label also costs a lock, which
    /// all threads share.
    #[track_caller]
    fn probed(self, label: impl Into<Cow<'static, str>>) -> Probed<Self> {
        Probed::at(self, Site::of(label, Location::caller()))
    }
}

impl<F: Future> FutureExt for F {}

pin_project! {
    /// A future whose polls are timed. Created by [`FutureExt::probed`].
    ///
    /// For an example, see the [crate's documentation](crate).
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Probed<F> {
        #[pin]
        future: F,
        timer: Timer,
    }
}

impl<F: Future> Probed<F> {
    pub(crate) fn at(future: F, site: &'static Site) -> Self {
        Self {
            future,
            timer: Timer::new(site),
        }
    }
}

/// Times the polls of one future or body.
#[derive(Debug)]
pub(crate) struct Timer {
    site: &'static Site,
    batch: [Sample; BATCH],
    filled: u32,
    // Whether the polls are timed. Decided at the first poll.
    timed: Option<bool>,
    // The number of polls that were not timed.
    untimed: u32,
    // The waker that the future is polled with, twice: as its own type and as a `Waker`.
    waker: Option<(Arc<TimingWaker>, Waker)>,
}

impl<F: Future> Future for Probed<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.timer.time(cx, |cx| this.future.poll(cx))
    }
}

impl Timer {
    pub(crate) fn new(site: &'static Site) -> Self {
        Self {
            site,
            batch: [Sample::default(); BATCH],
            filled: 0,
            timed: None,
            untimed: 0,
            waker: None,
        }
    }

    /// Calls `poll` while the thread's slot shows this poll. Times the poll if this future is timed.
    pub(crate) fn time<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if self.timed == Some(true) {
            return self.time_exactly(cx, poll);
        }
        let started = coarse();
        if *self.timed.get_or_insert_with(|| is_timed(started)) {
            return self.time_exactly(cx, poll);
        }
        let here = (&raw const started).addr();
        let guard = PollGuard::new(started, self.site.number, here);
        self.untimed = self.untimed.saturating_add(1);
        let polled = poll(cx);
        drop(guard);
        // The coarse clock costs less than the exact one. After a short poll, it is usually the same.
        if recorder::is_recording() && coarse() != started {
            self.record_long_poll(started);
        }
        polled
    }

    /// Records a poll that was not timed, if it was long.
    #[cold]
    fn record_long_poll(&self, started: u64) {
        // `started` is rounded up.
        let lasted = nanos().saturating_sub(started);
        if lasted >= LONG_POLL {
            recorder::record(RecordedPoll {
                site: self.site.number,
                started,
                lasted,
                wait: None,
                is_exact: false,
            });
        }
    }

    /// Calls `poll` with a waker that records the time of its first use.
    fn time_exactly<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let started = nanos();
        let before = self.waker.as_ref();
        let wait = before.and_then(|(timing, _)| timing.take_wait(started));
        // A future may be polled with a different waker each time.
        let before = self
            .waker
            .take_if(|(timing, _)| !timing.waker.will_wake(cx.waker()));
        if let Some((timing, _)) = before {
            timing.close();
        }
        let (_, waker) = self.waker.get_or_insert_with(|| {
            let timing = Arc::new(TimingWaker::new(cx.waker().clone()));
            let waker = Waker::from(timing.clone());
            (timing, waker)
        });
        let here = (&raw const started).addr();
        let guard = PollGuard::new(started, self.site.number, here);
        let polled = poll(&mut Context::from_waker(waker));
        drop(guard);
        let lasted = nanos().saturating_sub(started);
        recorder::record(RecordedPoll {
            site: self.site.number,
            started,
            lasted,
            wait,
            is_exact: true,
        });
        self.push(Sample { poll: lasted, wait });
        polled
    }

    fn push(&mut self, sample: Sample) {
        self.batch[self.filled as usize] = sample;
        self.filled += 1;
        if self.filled as usize == BATCH || sample.poll >= LONG_POLL {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let filled = std::mem::take(&mut self.filled) as usize;
        if filled > 0 {
            self.site.record(&self.batch[..filled]);
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.flush();
        if self.untimed > 0 {
            self.site.count_untimed(self.untimed.into());
        }
        if let Some((timing, _)) = &self.waker {
            timing.close();
        }
    }
}

/// The value of [`TimingWaker::woken`] once wakes no longer count.
const CLOSED: u64 = u64::MAX;

/// A waker that records when it was first used since the last poll.
#[derive(Debug)]
struct TimingWaker {
    woken: AtomicU64,
    waker: Waker,
}

impl TimingWaker {
    fn new(waker: Waker) -> Self {
        Self {
            woken: AtomicU64::new(0),
            waker,
        }
    }

    fn record_wake(&self) {
        // Only the first wake counts. The load avoids reading the clock for each further wake.
        if self.woken.load(Ordering::Relaxed) == 0
            && self
                .woken
                .compare_exchange(0, nanos(), Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        {
            latency::woken();
        }
    }

    /// Returns the nanoseconds from the first wake since the last poll until `now`.
    fn take_wait(&self, now: u64) -> Option<u64> {
        if self.woken.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let woken = self.woken.swap(0, Ordering::AcqRel);
        latency::polled(woken, now);
        Some(now.saturating_sub(woken))
    }

    fn close(&self) {
        if !matches!(self.woken.swap(CLOSED, Ordering::AcqRel), 0 | CLOSED) {
            latency::dropped();
        }
    }
}

impl Wake for TimingWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.record_wake();
        self.waker.wake_by_ref();
    }
}
