//! The probe and its settings.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use inflight_core::prometheus::MetricText;
use inflight_core::{Error, ErrorKind};

use crate::heartbeat::Heartbeat;
use crate::prometheus::{labels, polls};
use crate::recorder::{Recorder, StallTraceWriter};
use crate::report::Event;
use crate::site::{Site, poll_stats};
use crate::slot::lock;
use crate::watchdog::{Totals, Watchdog, WatchdogOptions};

/// The default of [`ProbeBuilder::threshold`], the same as asyncio's `slow_callback_duration`.
const THRESHOLD: Duration = Duration::from_millis(100);

/// The default of [`ProbeBuilder::fold`].
const FOLD: Duration = Duration::from_secs(1);

/// The maximum number of events that wait for the listener.
const EVENT_QUEUE_LEN: usize = 256;

/// A watchdog thread that checks the polls of all [`probed`](crate::FutureExt::probed) futures in the
/// process. If a poll exceeds a threshold, the watchdog reports it while the poll is still stuck.
///
/// A second thread calls the listener with the reports, so a slow listener does not delay the watchdog.
///
/// Dropping the probe ends both threads. The drop waits until the listener has received all events.
///
/// By default, the watchdog only reads the state of other threads, so it does not disturb a stuck call. If
/// it also [reads stacks](crate#the-line-that-is-stuck), it sends a signal to a thread that computes. A
/// waiting thread never gets a signal.
///
/// For an example, see the [crate's documentation](crate).
#[derive(Debug)]
pub struct Probe {
    totals: Arc<Mutex<Totals>>,
    // Dropped to end the threads.
    stop: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Probe {
    /// Returns a builder with the default settings.
    pub fn builder() -> ProbeBuilder {
        ProbeBuilder(WatchdogOptions {
            threshold: THRESHOLD,
            fold: FOLD,
            stacks: false,
            heartbeats: Vec::new(),
            root: None,
            recorder: None,
        })
    }

    /// Returns metrics in Prometheus' text format: the stalls so far, and histograms of the polls and
    /// waits of each label and location.
    pub fn prometheus(&self) -> String {
        let totals = lock(&self.totals);
        let mut stalls = MetricText::counter(
            "inflight_probe_stalls_total",
            "Polls that exceeded the threshold.",
        );
        let mut seconds = MetricText::counter(
            "inflight_probe_stalled_seconds_total",
            "Time in polls that exceeded the threshold.",
        );
        for (number, total) in &totals.by_site {
            let Some(site) = Site::numbered(*number) else {
                continue;
            };
            let labels = labels(site.label, site.location.file(), site.location.line());
            stalls.add(&labels, total.stalls);
            seconds.add(&labels, total.lasted.as_secs_f64());
        }
        let mut pauses = MetricText::counter(
            "inflight_probe_machine_pauses_total",
            "Pauses of the machine or of the process that delayed the watchdog by at least the threshold.",
        );
        pauses.add("", totals.pauses);
        let mut lost = MetricText::counter(
            "inflight_probe_lost_events_total",
            "Events that a slow listener did not receive.",
        );
        lost.add("", totals.lost);
        let texts = [stalls, seconds, pauses, lost];
        texts.map(MetricText::finish).concat() + &polls(&poll_stats())
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        drop(self.stop.take());
        let current = thread::current().id();
        // If the listener owns the probe, `drop` runs on the listener's thread, which cannot wait for
        // itself.
        if self
            .threads
            .iter()
            .any(|thread| thread.thread().id() == current)
        {
            return;
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A builder for a [`Probe`].
///
/// For an example, see the [crate's documentation](crate).
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

    /// Sets the time after a report during which the probe counts further stalls at the same location
    /// and does not report them. If the probe reads stacks, this applies only to stalls whose
    /// [culprit](crate::Stall::culprit) is the same line. The default is one second.
    #[must_use]
    pub fn fold(mut self, fold: Duration) -> Self {
        self.0.fold = fold;
        self
    }

    /// Sets whether to read the stack of a stuck thread, to name [the line that is
    /// stuck](crate#the-line-that-is-stuck). The default is `false`. The setting has an effect only on
    /// Linux on x86-64.
    ///
    /// Before [`start`](Self::start) starts the watchdog, it reads the program's symbol tables, so that
    /// no report waits for them. The first time, this takes a few tenths of a second for a program of
    /// 20 to 30 MB. Copying a stack takes less than a millisecond. Resolving its symbols takes a few
    /// milliseconds, and less for addresses that an earlier stack contained.
    ///
    /// The probe does not report a stall in tokio's `block_in_place`, because another thread runs the
    /// event loop meanwhile. The probe recognises this function on the stack. Without stacks, exclude
    /// such code with [`unwatched`](crate::unwatched).
    #[cfg(feature = "stacks")]
    #[must_use]
    pub fn stacks(mut self, stacks: bool) -> Self {
        self.0.stacks = stacks;
        self
    }

    /// Watches the ticks of this heartbeat too. If a tick is late by more than the threshold, the probe
    /// reports [`Event::LoopDelayed`] with the state of the threads that have run the heartbeat, and
    /// with their stacks if it [reads stacks](crate#the-line-that-is-stuck).
    ///
    /// This finds blocking tasks without a label. The probe does not report a late tick if each thread
    /// that has run the heartbeat is in a stalled poll with a label, because it reports these stalls.
    /// The probe watches the heartbeat until the heartbeat is dropped.
    ///
    /// ```
    /// # use std::num::NonZeroUsize;
    /// # use std::sync::mpsc::channel;
    /// # use std::sync::{Arc, Barrier};
    /// # use std::time::Duration;
    /// # use inflight_core::{BlockOn, Runtime, Task};
    /// use inflight_probe::{Event, Heartbeat, Probe};
    /// # use inflight_smol::Smol;
    ///
    /// # let (sender, events) = channel();
    /// # let smol = Smol::new(NonZeroUsize::MIN)?;
    /// let heartbeat = Heartbeat::start(Arc::new(smol.clone()), Duration::from_millis(5))?;
    /// let probe = Probe::builder()
    ///     .threshold(Duration::from_millis(20))
    ///     .heartbeat(&heartbeat)
    ///     .start(move |event| {
    ///         let _ = sender.send(event.clone());
    ///     })?;
    /// # // A delay of a heartbeat that has never run would name no thread.
    /// # while heartbeat.lateness().runtime.is_empty() {
    /// #     smol.block_on(smol.sleep(Duration::from_millis(5)));
    /// # }
    /// # let release = Arc::new(Barrier::new(2));
    /// # let blocker = release.clone();
    /// // This task without a label blocks the only thread of the runtime.
    /// Task::spawn(&smol, async move { blocker.wait() }).detach();
    /// let delay = events.iter().find_map(|event| match event {
    ///     Event::LoopDelayed(delay) => Some(delay),
    ///     _ => None,
    /// });
    /// assert_eq!(delay.unwrap().threads.len(), 1);
    /// # release.wait();
    /// # drop(probe);
    /// # Ok::<(), inflight_core::Error>(())
    /// ```
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: &Heartbeat) -> Self {
        self.0.heartbeats.push(Arc::downgrade(heartbeat.ticks()));
        self
    }

    /// Passes the stalls that the probe detects to this recorder, and writes its
    /// [traces](Recorder::write_on_stall). The thread that calls the listener also writes the traces, so that
    /// a slow disk does not delay the watchdog. A later call replaces the recorder.
    ///
    /// ```
    /// use std::sync::mpsc::channel;
    /// use std::time::Duration;
    ///
    /// use inflight_probe::{Event, FutureExt, Probe, Recorder};
    ///
    /// let recorder = Recorder::start(1000);
    /// let (release, released) = channel();
    /// let probe = Probe::builder()
    ///     .threshold(Duration::from_millis(20))
    ///     .recorder(&recorder)
    ///     .start(move |event| {
    ///         if let Event::Stalled(_) = event {
    ///             let _ = release.send(());
    ///         }
    ///     })?;
    /// // This blocks inside a poll, until the listener has received the report.
    /// futures_lite::future::block_on(async { released.recv() }.probed("stuck"))?;
    /// // Waits until the end of the stall is recorded too.
    /// drop(probe);
    ///
    /// let mut trace = Vec::new();
    /// recorder.write_to(&mut trace)?;
    /// let trace: serde_json::Value = serde_json::from_slice(&trace)?;
    /// let mut events = trace["traceEvents"].as_array().unwrap().iter();
    /// assert!(events.any(|event| event["name"] == "stall: stuck" && event["cat"] == "stall"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn recorder(mut self, recorder: &Recorder) -> Self {
        self.0.recorder = Some(recorder.clone());
        self
    }

    /// Limits the probe to polls whose outermost probed future belongs to the site number `root`. A site
    /// is a label with its location.
    pub(crate) fn only_inside(mut self, root: usize) -> Self {
        self.0.root = Some(root);
        self
    }

    /// Starts the watchdog. A separate thread calls `listener` with each event, in order.
    ///
    /// Up to 256 events wait for a slow listener. The probe drops further events and reports their
    /// number with [`Event::EventsLost`]. The counters of [`Probe::prometheus`] still include the stalls
    /// of the dropped events. A panic in `listener` ends the probe.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::NoRuntime`] when the system refuses a thread, and with [`ErrorKind::Io`] when
    /// the folder for [traces](Recorder::write_on_stall) cannot be created.
    pub fn start(self, mut listener: impl FnMut(&Event) + Send + 'static) -> Result<Probe, Error> {
        let (sender, events) = sync_channel(EVENT_QUEUE_LEN);
        let (stop, stopped) = channel::<()>();
        let totals = Arc::new(Mutex::new(Totals::default()));
        let interval = self.0.interval();
        let recorder = self.0.recorder.clone();
        let mut traces = recorder.map(StallTraceWriter::new).transpose()?.flatten();
        // Created here, so that the watchdog also detects a pause before its thread runs.
        let mut watchdog = Watchdog::new(self.0, totals.clone(), sender);
        // If the second thread cannot start, its closure is dropped with the watchdog. This closes the
        // channel of the events, so the first thread ends.
        let threads = vec![
            start_thread("inflight-events", move || {
                for event in events {
                    listener(&event);
                    let written = traces.as_mut().and_then(|traces| traces.write(&event));
                    if let Some(event) = written {
                        listener(&event);
                    }
                }
            })?,
            start_thread("inflight-probe", move || {
                while !watchdog.has_no_listener()
                    && stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout)
                {
                    watchdog.check();
                }
                watchdog.finish();
            })?,
        ];
        Ok(Probe {
            totals,
            stop: Some(stop),
            threads,
        })
    }
}

fn start_thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(|error| {
            Error::new(ErrorKind::NoRuntime)
                .with_context("the probe's threads could not start")
                .with_source(error)
        })
}
