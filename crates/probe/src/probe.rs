//! The probe and its settings.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use inflight_core::{Error, ErrorKind};

use crate::prometheus::{labels, polls};
use crate::report::Event;
use crate::site::{Site, poll_stats};
use crate::slot::lock;
use crate::watchdog::{Totals, Watchdog, WatchdogOptions};

/// The default of [`ProbeBuilder::threshold`], the same as asyncio's `slow_callback_duration`.
const THRESHOLD: Duration = Duration::from_millis(100);

/// The default of [`ProbeBuilder::fold`].
const FOLD: Duration = Duration::from_secs(1);

/// A watchdog thread that checks the polls of all [`probed`](crate::FutureExt::probed) futures in the
/// process. If a poll exceeds a threshold, the watchdog reports it while the poll is still stuck.
///
/// The thread ends when the probe is dropped. The watchdog only reads the state of other threads and
/// never stops them, so it does not disturb a stuck call. It sends signals only to find [the line that
/// is stuck](crate#the-line-that-is-stuck).
#[derive(Debug)]
pub struct Probe {
    totals: Arc<Mutex<Totals>>,
    // Dropped to end the thread.
    running: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Probe {
    /// Returns a builder with the default settings.
    pub fn builder() -> ProbeBuilder {
        ProbeBuilder(WatchdogOptions {
            threshold: THRESHOLD,
            fold: FOLD,
            stacks: false,
            root: None,
        })
    }

    /// Returns the stalls so far, and histograms of the polls and waits of each location, in
    /// Prometheus' text format.
    pub fn prometheus(&self) -> String {
        let totals = lock(&self.totals);
        let mut stalls = String::from(
            "# HELP inflight_probe_stalls_total Polls that exceeded the threshold.\n\
             # TYPE inflight_probe_stalls_total counter\n",
        );
        let mut seconds = String::from(
            "# HELP inflight_probe_stalled_seconds_total Time that those polls took.\n\
             # TYPE inflight_probe_stalled_seconds_total counter\n",
        );
        for (number, total) in &totals.by_site {
            let Some(site) = Site::numbered(*number) else {
                continue;
            };
            let labels = labels(site.label, site.location.file(), site.location.line());
            let (count, lasted) = (total.stalls, total.lasted.as_secs_f64());
            stalls += &format!("inflight_probe_stalls_total{{{labels}}} {count}\n");
            seconds += &format!("inflight_probe_stalled_seconds_total{{{labels}}} {lasted}\n");
        }
        let pauses = format!(
            "# HELP inflight_probe_machine_pauses_total Times that the watchdog itself was late.\n\
             # TYPE inflight_probe_machine_pauses_total counter\n\
             inflight_probe_machine_pauses_total {}\n",
            totals.pauses
        );
        stalls + &seconds + &pauses + &polls(&poll_stats())
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            // If the callback owns the probe, `drop` runs on the probe's thread, which cannot join itself.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

/// A builder for a [`Probe`].
#[derive(Debug, Clone)]
pub struct ProbeBuilder(WatchdogOptions);

impl ProbeBuilder {
    /// Sets how long a poll may last. The default is 100 ms.
    ///
    /// The watchdog checks at intervals of a quarter of this time, but at least 1 ms. It does not see
    /// a poll that starts and ends between two checks.
    #[must_use]
    pub fn threshold(mut self, threshold: Duration) -> Self {
        self.0.threshold = threshold;
        self
    }

    /// Sets the time after a report in which the probe only counts further stalls at the same
    /// location. The default is one second.
    #[must_use]
    pub fn fold(mut self, fold: Duration) -> Self {
        self.0.fold = fold;
        self
    }

    /// Sets whether to read the stack of a stuck thread, to name [the line that is
    /// stuck](crate#the-line-that-is-stuck). The default is `false`. The setting has an effect only on
    /// Linux on x86-64.
    ///
    /// The first probe with this setting reads the program's symbol tables on a short-lived thread.
    /// This takes a few tenths of a second for a program of 20 to 30 MB. Copying a stack takes less than
    /// a millisecond, and resolving its symbols takes a few milliseconds.
    #[cfg(feature = "stacks")]
    #[must_use]
    pub fn stacks(mut self, stacks: bool) -> Self {
        self.0.stacks = stacks;
        self
    }

    /// Limits the probe to the outermost polls of the site `root`, and to the polls nested in them.
    pub(crate) fn only_inside(mut self, root: usize) -> Self {
        self.0.root = Some(root);
        self
    }

    /// Starts the watchdog. It calls `callback` with each event, on the watchdog's thread.
    ///
    /// The watchdog reports a stall while the poll is still stuck. It checks nothing while `callback`
    /// runs. A panic in `callback` ends the watchdog.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::NoRuntime`] when the system refuses the thread.
    pub fn start(self, callback: impl FnMut(&Event) + Send + 'static) -> Result<Probe, Error> {
        let (stop, stopped) = channel::<()>();
        let totals = Arc::new(Mutex::new(Totals::default()));
        let interval = self.0.interval();
        // Created here, so that the watchdog also detects a pause before its thread runs.
        let mut watchdog = Watchdog::new(self.0, totals.clone(), Box::new(callback));
        let thread = thread::Builder::new()
            .name("inflight-probe".to_owned())
            .spawn(move || {
                watchdog.prepare_stacks();
                while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                    watchdog.check();
                }
                watchdog.finish();
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
