//! The probe: what it looks for, and whom it tells.

use std::fmt::Write as _;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use inflight_core::{Error, ErrorKind};

use crate::prometheus::{labels, polls};
use crate::report::Event;
use crate::site::{Site, poll_stats};
use crate::slot::lock;
use crate::watchdog::{Totals, Watchdog};

/// As long as asyncio lets a callback run before it complains.
const THRESHOLD: Duration = Duration::from_millis(100);

/// So long a place is not told again.
const FOLD: Duration = Duration::from_secs(1);

/// Watches every poll of a [`probed`](crate::FutureExt::probed) future in the process, from a
/// thread of its own, and tells of those that exceed a threshold while they are stuck.
///
/// The thread ends when the probe is dropped. It only reads: it never stops a thread, so the stuck
/// call goes on as if nobody looked. Nor does it send a signal, but for [the line that is
/// stuck](crate#the-line-that-is-stuck).
#[derive(Debug)]
pub struct Probe {
    totals: Arc<Mutex<Totals>>,
    // Dropped to end the thread.
    running: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Probe {
    /// A probe to be set up.
    pub fn builder() -> ProbeBuilder {
        ProbeBuilder {
            threshold: THRESHOLD,
            fold: FOLD,
            stacks: false,
            root: None,
        }
    }

    /// What was seen so far, in Prometheus' text format: the stalls, and histograms of the polls and
    /// waits of each place.
    pub fn prometheus(&self) -> String {
        let totals = lock(&self.totals);
        let mut text = String::from(
            "# HELP inflight_probe_stalls_total Polls that exceeded the threshold.\n\
             # TYPE inflight_probe_stalls_total counter\n",
        );
        let places: Vec<_> = totals
            .by_site
            .iter()
            .filter_map(|(number, total)| {
                let site = Site::numbered(*number)?;
                let location = site.location;
                let labels = labels(site.label, location.file(), location.line());
                Some((format!("{{{labels}}}"), total))
            })
            .collect();
        for (labels, total) in &places {
            let _ = writeln!(text, "inflight_probe_stalls_total{labels} {}", total.stalls);
        }
        text.push_str(
            "# HELP inflight_probe_stalled_seconds_total Time that those polls took.\n\
             # TYPE inflight_probe_stalled_seconds_total counter\n",
        );
        for (labels, total) in &places {
            let seconds = total.lasted.as_secs_f64();
            let _ = writeln!(
                text,
                "inflight_probe_stalled_seconds_total{labels} {seconds}"
            );
        }
        text.push_str(
            "# HELP inflight_probe_machine_pauses_total Times that the watchdog itself was late.\n\
             # TYPE inflight_probe_machine_pauses_total counter\n",
        );
        let _ = writeln!(
            text,
            "inflight_probe_machine_pauses_total {}",
            totals.pauses
        );
        text + &polls(&poll_stats())
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            // The last clone may be dropped by the callback, on the thread itself.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

/// Sets up a [`Probe`].
#[derive(Debug, Clone)]
pub struct ProbeBuilder {
    threshold: Duration,
    fold: Duration,
    stacks: bool,
    root: Option<usize>,
}

impl ProbeBuilder {
    /// How long a poll may last; 100 ms unless said. The watchdog looks four times as often, at
    /// most once in a millisecond: what is over before it looked is not seen.
    #[must_use]
    pub fn threshold(mut self, threshold: Duration) -> Self {
        self.threshold = threshold;
        self
    }

    /// How long after a stall was told the next of the same place is only counted; a second
    /// unless said.
    #[must_use]
    pub fn fold(mut self, fold: Duration) -> Self {
        self.fold = fold;
        self
    }

    /// Whether to take the stack of a stuck thread, to name [the line that is
    /// stuck](crate#the-line-that-is-stuck); not unless said. On Linux, on x86-64 and AArch64;
    /// elsewhere it has no effect.
    ///
    /// The first probe with it has the program's tables read, on a thread that ends with that: some
    /// tenths of a second for a program of 20 to 30 MB. A stack takes less than a millisecond to copy, and some to work out.
    #[cfg(feature = "stacks")]
    #[must_use]
    pub fn stacks(mut self, stacks: bool) -> Self {
        self.stacks = stacks;
        self
    }

    /// Only the polls that this place's polls are around.
    pub(crate) fn inside(mut self, root: usize) -> Self {
        self.root = Some(root);
        self
    }

    /// Starts the watchdog. It calls `tell` on its own thread, while the stall lasts; until it
    /// returns the watchdog sees nothing else. A panic in it ends the watchdog.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoRuntime`] when the system refuses the thread.
    pub fn start(self, tell: impl FnMut(&Event) + Send + 'static) -> Result<Probe, Error> {
        let (stop, stopped) = channel::<()>();
        let totals = Arc::new(Mutex::new(Totals::default()));
        let pace = (self.threshold / 4).max(Duration::from_millis(1));
        let mut watchdog = Watchdog::new(
            self.threshold,
            self.fold,
            pace,
            self.root,
            totals.clone(),
            Box::new(tell),
        );
        let thread = thread::Builder::new()
            .name("inflight-probe".to_owned())
            .spawn(move || {
                if self.stacks {
                    watchdog.take_stacks();
                }
                while stopped.recv_timeout(pace) == Err(RecvTimeoutError::Timeout) {
                    watchdog.look();
                }
                watchdog.end();
            })
            .map_err(|error| {
                Error::new(ErrorKind::NoRuntime)
                    .with_context("the probe's thread could not start")
                    .with_source(error)
            })?;
        Ok(Probe {
            totals,
            running: Some((stop, thread)),
        })
    }
}
