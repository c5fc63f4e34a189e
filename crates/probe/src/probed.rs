//! A future whose polls are timed.

use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use pin_project_lite::pin_project;

use crate::late;
use crate::site::{Sample, Site};
use crate::slot::{Entered, between, lock, nanos};

/// So many polls are handed to the place's histograms at once.
const BATCH: usize = 8;

/// A poll this long is handed in with what came before it, so that it shows in the counts at once.
const LONG: Duration = Duration::from_millis(1);

/// Adds [`probed`](Self::probed) to every future.
pub trait FutureExt: Future + Sized {
    /// Times the polls of this future under a label, and lets every [`Probe`](crate::Probe) see
    /// them while they last. The place of this call is remembered.
    ///
    /// It costs an allocation for the future and, for each poll, two readings of the clock and a lock
    /// that nobody else wants: some 85 ns, 145 ns with the wake (`cargo bench --bench probe`). The
    /// histograms of [`poll_stats`](crate::poll_stats) are shared by all futures of one label and
    /// place. Dropping it drops the future.
    #[track_caller]
    fn probed(self, label: &'static str) -> Probed<Self> {
        Probed::new(self, label)
    }
}

impl<F: Future> FutureExt for F {}

pin_project! {
    /// A future whose polls are timed. See [`FutureExt::probed`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Probed<F> {
        #[pin]
        future: F,
        timer: Timer,
    }
}

impl<F: Future> Probed<F> {
    #[track_caller]
    fn new(future: F, label: &'static str) -> Self {
        Self::at(future, Site::of(label, Location::caller()))
    }

    pub(crate) fn at(future: F, site: Arc<Site>) -> Self {
        Self {
            future,
            timer: Timer::new(site),
        }
    }
}

/// Times the polls of one thing, whatever it is.
#[derive(Debug)]
pub(crate) struct Timer {
    site: Arc<Site>,
    batch: [Sample; BATCH],
    filled: usize,
    // The one that the future is polled with, and the same as a `Waker`.
    waker: Option<(Arc<Stamp>, Waker)>,
}

impl<F: Future> Future for Probed<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.timer.time(cx, |cx| this.future.poll(cx))
    }
}

impl Timer {
    pub(crate) fn new(site: Arc<Site>) -> Self {
        Self {
            site,
            batch: [Sample {
                poll: Duration::ZERO,
                wait: None,
            }; BATCH],
            filled: 0,
            waker: None,
        }
    }

    /// Polls, with a waker that notes when it is used.
    pub(crate) fn time<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let started = nanos();
        let (stamp, waker) = self.waker.get_or_insert_with(|| {
            let stamp = Arc::new(Stamp::new(cx.waker().clone()));
            let waker = Waker::from(stamp.clone());
            (stamp, waker)
        });
        let wait = stamp.take(started);
        stamp.follow(cx.waker());
        let here = (&raw const started).addr();
        let entered = Entered::new(started, self.site.number, here);
        let polled = poll(&mut Context::from_waker(waker));
        drop(entered);
        self.take_down(Sample {
            poll: between(started, nanos()),
            wait,
        });
        polled
    }

    fn take_down(&mut self, sample: Sample) {
        self.batch[self.filled] = sample;
        self.filled += 1;
        if self.filled == BATCH || sample.poll >= LONG {
            self.hand_in();
        }
    }

    fn hand_in(&mut self) {
        self.site.record(&self.batch[..self.filled]);
        self.filled = 0;
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if self.filled > 0 {
            self.hand_in();
        }
        if let Some((stamp, _)) = &self.waker {
            stamp.close();
        }
    }
}

/// The time in [`Stamp::woken`] after the future is gone: wakes count no more.
const CLOSED: u64 = u64::MAX;

/// A waker that notes when it was first used since the last poll.
#[derive(Debug)]
struct Stamp {
    woken: AtomicU64,
    waker: Mutex<Waker>,
}

impl Stamp {
    fn new(waker: Waker) -> Self {
        Self {
            woken: AtomicU64::new(0),
            waker: Mutex::new(waker),
        }
    }

    fn note(&self) {
        // Only the first wake counts, and the look spares a future that is woken often the clock.
        if self.woken.load(Ordering::Relaxed) == 0
            && self
                .woken
                .compare_exchange(0, nanos(), Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        {
            late::woken();
        }
    }

    /// How long ago the wake was that this poll answers.
    fn take(&self, now: u64) -> Option<Duration> {
        if self.woken.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let woken = self.woken.swap(0, Ordering::AcqRel);
        late::polled(woken, now);
        Some(between(woken, now))
    }

    fn close(&self) {
        if !matches!(self.woken.swap(CLOSED, Ordering::AcqRel), 0 | CLOSED) {
            late::dropped();
        }
    }

    /// A future may be polled with another waker each time.
    fn follow(&self, current: &Waker) {
        let mut waker = lock(&self.waker);
        if !waker.will_wake(current) {
            waker.clone_from(current);
        }
    }
}

impl Wake for Stamp {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.note();
        // A waker may run the task on the spot: not under the lock that its poll takes.
        let waker = lock(&self.waker).clone();
        waker.wake();
    }
}
