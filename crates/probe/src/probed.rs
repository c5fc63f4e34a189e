//! A future whose polls are timed.

use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use pin_project_lite::pin_project;

use crate::late;
use crate::site::{Sample, Site};
use crate::slot::{Entered, coarse, is_timed, nanos};

/// So many polls are handed to the place's histograms at once.
const BATCH: usize = 8;

/// A poll this long is handed in with what came before it, so that it shows in the counts at once.
const LONG: u64 = 1_000_000;

/// Adds [`probed`](Self::probed) to every future.
pub trait FutureExt: Future + Sized {
    /// Times the polls of this future under a label, and lets every [`Probe`](crate::Probe) see
    /// them while they last. The place of this call is remembered.
    ///
    /// It costs an allocation for the future and, for each poll, two readings of the clock: some
    /// 51 ns, 82 ns with the wake (`cargo bench --bench probe`). That is much where a thread begins
    /// thousands of futures in a second. Beyond the first 512 in a quarter of a second, one in 32
    /// futures is timed. The others are watched all the same, to the tick of the system's coarse
    /// clock, and their polls are counted; how long they waited is not known,
    /// and who comes late in a stall is counted among those that are timed. Other systems have no such
    /// clock, and time all.
    ///
    /// The histograms of [`poll_stats`](crate::poll_stats) are shared by all futures of one label and
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

    pub(crate) fn at(future: F, site: &'static Site) -> Self {
        Self {
            future,
            timer: Timer::new(site),
        }
    }
}

/// Times the polls of one thing, whatever it is.
#[derive(Debug)]
pub(crate) struct Timer {
    site: &'static Site,
    batch: [Short; BATCH],
    filled: u32,
    // Decided at the first poll.
    timed: Option<bool>,
    // Polls that were not timed.
    untimed: u32,
    // The one that the future is polled with, and the same as a `Waker`.
    waker: Option<(Arc<Stamp>, Waker)>,
}

/// A poll that took less than [`LONG`], and the wait for it if that was less than four seconds,
/// in nanoseconds. A future is moved about: this is a quarter of a [`Sample`].
#[derive(Debug, Clone, Copy)]
struct Short {
    poll: u32,
    wait: u32,
}

impl Short {
    /// In place of a wait: there was none.
    const NONE: u32 = u32::MAX;

    fn of(sample: Sample) -> Option<Self> {
        let wait = match sample.wait {
            None => Self::NONE,
            Some(wait) => u32::try_from(wait)
                .ok()
                .filter(|&wait| wait != Self::NONE)?,
        };
        let poll = u32::try_from(sample.poll).ok()?;
        (sample.poll < LONG).then_some(Self { poll, wait })
    }
}

impl From<Short> for Sample {
    fn from(short: Short) -> Self {
        Self {
            poll: short.poll.into(),
            wait: (short.wait != Short::NONE).then_some(short.wait.into()),
        }
    }
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
            batch: [Short { poll: 0, wait: 0 }; BATCH],
            filled: 0,
            timed: None,
            untimed: 0,
            waker: None,
        }
    }

    /// Polls where the watchdog sees it, and times it, if this is one that is timed.
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
        let _entered = Entered::new(started, self.site.number, here);
        self.untimed = self.untimed.saturating_add(1);
        poll(cx)
    }

    /// Polls, with a waker that notes when it is used.
    fn time_exactly<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let started = nanos();
        let before = self.waker.as_ref();
        let wait = before.and_then(|(stamp, _)| stamp.take(started));
        // A future may be polled with another waker each time, if it seldom is.
        let before = self
            .waker
            .take_if(|(stamp, _)| !stamp.waker.will_wake(cx.waker()));
        if let Some((stamp, _)) = before {
            stamp.close();
        }
        let (_, waker) = self.waker.get_or_insert_with(|| {
            let stamp = Arc::new(Stamp::new(cx.waker().clone()));
            let waker = Waker::from(stamp.clone());
            (stamp, waker)
        });
        let here = (&raw const started).addr();
        let entered = Entered::new(started, self.site.number, here);
        let polled = poll(&mut Context::from_waker(waker));
        drop(entered);
        self.take_down(Sample {
            poll: nanos().saturating_sub(started),
            wait,
        });
        polled
    }

    fn take_down(&mut self, sample: Sample) {
        let Some(short) = Short::of(sample) else {
            self.hand_in();
            return self.site.record([sample]);
        };
        self.batch[self.filled as usize] = short;
        self.filled += 1;
        if self.filled as usize == BATCH {
            self.hand_in();
        }
    }

    fn hand_in(&mut self) {
        let filled = std::mem::take(&mut self.filled) as usize;
        if filled > 0 {
            let batch = &self.batch[..filled];
            self.site.record(batch.iter().copied().map(Sample::from));
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.hand_in();
        if self.untimed > 0 {
            self.site.count_untimed(self.untimed.into());
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
    waker: Waker,
}

impl Stamp {
    fn new(waker: Waker) -> Self {
        Self {
            woken: AtomicU64::new(0),
            waker,
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
    fn take(&self, now: u64) -> Option<u64> {
        if self.woken.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let woken = self.woken.swap(0, Ordering::AcqRel);
        late::polled(woken, now);
        Some(now.saturating_sub(woken))
    }

    fn close(&self) {
        if !matches!(self.woken.swap(CLOSED, Ordering::AcqRel), 0 | CLOSED) {
            late::dropped();
        }
    }
}

impl Wake for Stamp {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.note();
        self.waker.wake_by_ref();
    }
}
