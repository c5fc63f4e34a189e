//! A task that fetches one page after another on an event loop, and the statistics of the loop.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use futures_util::future::{Either, select};
use hdrhistogram::Histogram;
use inflight::backend::{Fetch, Inline, Offload, Runtime};
use inflight::clients::Ureq;
use inflight::probe::{Event, FutureExt, Heartbeat, Lateness, Probe, Stall};
use inflight::{Backend, BlockOn, Error, Session, SessionBuilder, Task};

use crate::output::describe;
use crate::probe::HEARTBEAT_INTERVAL;

/// The time limit for a page.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How pages are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FetchMode {
    /// By a blocking client inside the task.
    Inline,
    /// By a blocking client on the blocking pool.
    Offloaded,
    /// By an async client.
    Async,
    /// Not at all.
    Off,
}

impl FetchMode {
    pub(super) const ALL: [Self; 4] = [Self::Inline, Self::Offloaded, Self::Async, Self::Off];

    /// Returns the name, which is also the label of the fetches in the probe's reports.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Offloaded => "offloaded",
            Self::Async => "async",
            Self::Off => "nothing",
        }
    }

    /// Returns the client and where it runs.
    pub(super) fn client(self) -> &'static str {
        match self {
            Self::Inline => "ureq in the task",
            Self::Offloaded => "ureq on the pool",
            Self::Async => "hyper",
            Self::Off => "",
        }
    }
}

/// The options of a [`FetchTask`]: what it fetches, how often and how, and what counts as a stall.
pub(super) struct FetchOptions {
    pub(super) url: String,
    /// The interval at which pages are fetched. If a page takes longer, the next follows shortly after.
    pub(super) every: Duration,
    /// A poll that takes longer than this is reported as a stall.
    pub(super) threshold: Duration,
    pub(super) mode: FetchMode,
}

/// A handle to the running task. Dropping it stops the task.
pub(super) struct FetchTask {
    stats: Arc<Mutex<LoopStats>>,
    mode_sender: Sender<FetchMode>,
    _task: Task<()>,
    _probe: Probe,
}

impl FetchTask {
    pub(super) fn start(backend: &Backend, options: FetchOptions) -> Result<Self, Error> {
        let runtime = backend.runtime();
        let pool = runtime.clone();
        let inline = ureq_session(runtime, Inline::new);
        let offloaded = ureq_session(runtime, |ureq| Offload::new(ureq, pool));
        let builders = [inline, offloaded, backend.builder()];
        let [inline, offloaded, hyper] = builders.map(|builder| builder.timeout(TIMEOUT).build());

        let stats = Arc::new(Mutex::new(LoopStats::new(
            backend.block_on(backend.heartbeat(HEARTBEAT_INTERVAL))?,
            options.mode,
        )));
        let recorder = stats.clone();
        // Disables folding, so that each stall is counted, even if the same line of code causes all of them.
        let probe = Probe::builder()
            .threshold(options.threshold)
            .fold(Duration::ZERO)
            .start(move |event| lock(&recorder).record_event(event))?;
        let (mode_sender, mode_receiver) = async_channel::unbounded();
        let fetch_loop = FetchLoop {
            sessions: [inline?, offloaded?, hyper?],
            runtime: runtime.clone(),
            stats: stats.clone(),
            mode_receiver,
            options,
        };
        let task = Task::spawn(runtime, fetch_loop.run());
        Ok(Self {
            stats,
            mode_sender,
            _task: task,
            _probe: probe,
        })
    }

    /// Requests another mode. The task switches to it when the event loop is free.
    pub(super) fn switch_to(&self, mode: FetchMode) {
        // Sending fails only if the task has finished, which `is_finished` reports.
        let _ = self.mode_sender.try_send(mode);
    }

    /// Resets the counts.
    pub(super) fn reset(&self) {
        lock(&self.stats).reset();
    }

    /// Returns a snapshot of the statistics.
    pub(super) fn snapshot(&self) -> Snapshot {
        lock(&self.stats).snapshot()
    }

    /// Returns whether the task has finished. Only a panic ends the task.
    pub(super) fn is_finished(&self) -> bool {
        self.mode_sender.is_closed()
    }
}

/// Returns a builder for a session over ureq. `make` turns this blocking client into an asynchronous one.
fn ureq_session<F: Fetch>(
    runtime: &Arc<dyn Runtime>,
    make: impl FnOnce(Ureq) -> F + Send + 'static,
) -> SessionBuilder {
    let runtime = runtime.clone();
    Session::builder(move |options| Ok((make(Ureq::new(options)?), runtime)))
}

/// The state of the task.
struct FetchLoop {
    sessions: [Session; 3],
    runtime: Arc<dyn Runtime>,
    stats: Arc<Mutex<LoopStats>>,
    mode_receiver: Receiver<FetchMode>,
    options: FetchOptions,
}

impl FetchLoop {
    async fn run(self) {
        let mut mode = self.options.mode;
        loop {
            let iteration = pin!(self.iteration(mode));
            let next_mode = pin!(self.mode_receiver.recv());
            if let Either::Right((next_mode, _)) = select(iteration, next_mode).await {
                let Ok(next_mode) = next_mode else { return };
                // Waits for the ticks that the last page delayed, so that they count for the mode of
                // that page.
                self.runtime.sleep(HEARTBEAT_INTERVAL * 2).await;
                lock(&self.stats).switch_to(next_mode);
                mode = next_mode;
            }
        }
    }

    /// Fetches a page and waits until the next one is due.
    async fn iteration(&self, mode: FetchMode) {
        let started = Instant::now();
        let [inline, offloaded, hyper] = &self.sessions;
        let session = match mode {
            FetchMode::Inline => Some(inline),
            FetchMode::Offloaded => Some(offloaded),
            FetchMode::Async => Some(hyper),
            FetchMode::Off => None,
        };
        if let Some(session) = session {
            let result = fetch_page(session, &self.options.url)
                .probed(mode.name())
                .await;
            lock(&self.stats).record_page(result);
        }
        // Waits at least long enough for the loop to run other tasks, such as the heartbeat.
        let rest = self.options.every.saturating_sub(started.elapsed());
        self.runtime.sleep(rest.max(HEARTBEAT_INTERVAL * 2)).await;
    }
}

async fn fetch_page(session: &Session, url: &str) -> Result<(), Error> {
    let response = session.get(url).send().await?.error_for_status()?;
    response.bytes().await.map(drop)
}

fn lock(stats: &Mutex<LoopStats>) -> MutexGuard<'_, LoopStats> {
    stats.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The statistics of the event loop. Most of them are separate for each mode.
struct LoopStats {
    /// Measures three kinds of ticks: those of a timer on the event loop, those of a socket on the event
    /// loop, and those on a thread without an event loop.
    heartbeat: Heartbeat,
    /// The lateness at the last call of `count_ticks`.
    last_lateness: Lateness,
    mode: FetchMode,
    /// The largest lateness of a tick of the timer since the last snapshot, in nanoseconds.
    peak: u64,
    by_mode: [ModeStats; 4],
    /// The largest lateness of a tick on a thread without an event loop, in nanoseconds.
    control: u64,
    /// The last stall.
    stall: Option<Stall>,
    /// The error of the last page that failed.
    error: Option<Error>,
}

/// The statistics of one mode.
#[derive(Clone, Default)]
pub(super) struct ModeStats {
    pub(super) pages: u64,
    pub(super) failed: u64,
    pub(super) stalls: u64,
    /// How late the ticks of the timer were, in nanoseconds. `None` if nothing has been recorded.
    pub(super) lateness: Option<Histogram<u64>>,
    /// The largest lateness of a socket tick, in nanoseconds.
    pub(super) socket: u64,
}

/// A snapshot of the statistics.
pub(super) struct Snapshot {
    /// The current mode.
    pub(super) mode: FetchMode,
    /// The largest lateness of a tick of the timer since the last snapshot, in nanoseconds. Includes the tick
    /// that is overdue now.
    pub(super) lateness: u64,
    /// The statistics of each mode, in the order of [`FetchMode::ALL`].
    pub(super) by_mode: [ModeStats; 4],
    /// The largest lateness of a tick on a thread without an event loop, in nanoseconds.
    pub(super) control: u64,
    /// The last stall.
    pub(super) stall: Option<String>,
    /// The error of the last page that failed.
    pub(super) error: Option<String>,
}

impl LoopStats {
    fn new(heartbeat: Heartbeat, mode: FetchMode) -> Self {
        Self {
            last_lateness: heartbeat.lateness(),
            heartbeat,
            mode,
            peak: 0,
            by_mode: Default::default(),
            control: 0,
            stall: None,
            error: None,
        }
    }

    fn current_stats(&mut self) -> &mut ModeStats {
        &mut self.by_mode[self.mode as usize]
    }

    /// Adds the ticks since the last call to the statistics of the current mode.
    fn count_ticks(&mut self) {
        let lateness = self.heartbeat.lateness();
        let timer = recorded_since(&lateness.runtime, &self.last_lateness.runtime);
        let socket = match (&lateness.socket, &self.last_lateness.socket) {
            (Some(now), Some(before)) => recorded_since(now, before).max(),
            _ => 0,
        };
        self.control = recorded_since(&lateness.control, &self.last_lateness.control)
            .max()
            .max(self.control);
        self.last_lateness = lateness;
        self.peak = self.peak.max(timer.max());
        let mode_stats = self.current_stats();
        mode_stats.socket = mode_stats.socket.max(socket);
        match &mut mode_stats.lateness {
            // Adding cannot fail, because both histograms resize automatically.
            Some(lateness) => lateness.add(timer).unwrap_or_default(),
            none if timer.is_empty() => *none = None,
            none => *none = Some(timer),
        }
    }

    fn switch_to(&mut self, mode: FetchMode) {
        self.count_ticks();
        self.mode = mode;
    }

    fn record_page(&mut self, result: Result<(), Error>) {
        let mode_stats = self.current_stats();
        match result {
            Ok(()) => mode_stats.pages += 1,
            Err(error) => {
                mode_stats.failed += 1;
                self.error = Some(error);
            }
        }
    }

    fn record_event(&mut self, event: &Event) {
        match event {
            Event::Stalled(stall) => {
                let by_label = FetchMode::ALL
                    .iter()
                    .position(|mode| mode.name() == stall.label);
                if let Some(index) = by_label {
                    self.by_mode[index].stalls += 1;
                }
                self.stall = Some(stall.clone());
            }
            Event::Recovered(stall) => self.stall = Some(stall.clone()),
            _ => {}
        }
    }

    fn reset(&mut self) {
        self.count_ticks();
        self.by_mode = Default::default();
        self.control = 0;
        (self.stall, self.error) = (None, None);
    }

    fn snapshot(&mut self) -> Snapshot {
        self.count_ticks();
        let overdue = u64::try_from(self.heartbeat.overdue().as_nanos()).unwrap_or(u64::MAX);
        Snapshot {
            mode: self.mode,
            lateness: std::mem::take(&mut self.peak).max(overdue),
            by_mode: self.by_mode.clone(),
            control: self.control,
            stall: self.stall.as_ref().map(Stall::to_string),
            error: self.error.as_ref().map(|error| describe(error)),
        }
    }
}

/// Returns the values that were recorded after `before`. `before` is an earlier copy of the histogram `now`.
fn recorded_since(now: &Histogram<u64>, before: &Histogram<u64>) -> Histogram<u64> {
    let mut new = now.clone();
    match new.subtract(before) {
        Ok(()) => new,
        Err(_) => unreachable!("counts only grow"),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::thread;

    use inflight::Cell;
    use inflight_origin::Origin;

    use super::*;

    fn wait_until(task: &FetchTask, is_reached: impl Fn(&Snapshot) -> bool) -> Snapshot {
        loop {
            let snapshot = task.snapshot();
            assert!(!task.is_finished(), "{:?}", snapshot.error);
            if is_reached(&snapshot) {
                return snapshot;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Also tests that the mode can be switched.
    #[test]
    fn fetching_inline_stalls_the_loop_and_the_other_modes_do_not() {
        let origin = Origin::start().unwrap();
        let async_cells = Cell::compiled().filter(|cell| cell.client() == "hyper");
        for cell in async_cells {
            let backend = cell.start(Some(NonZeroUsize::MIN)).unwrap();
            let options = FetchOptions {
                url: origin.url("/delay-ms/400"),
                every: Duration::from_millis(1),
                threshold: Duration::from_millis(200),
                mode: FetchMode::Inline,
            };
            let task = FetchTask::start(&backend, options).unwrap();
            let stats_of =
                |snapshot: &Snapshot, mode: FetchMode| snapshot.by_mode[mode as usize].clone();
            wait_until(&task, |snapshot| {
                stats_of(snapshot, FetchMode::Inline).pages >= 1
            });
            for mode in [FetchMode::Offloaded, FetchMode::Async] {
                task.switch_to(mode);
                wait_until(&task, |snapshot| {
                    snapshot.mode == mode && stats_of(snapshot, mode).pages >= 2
                });
            }
            task.switch_to(FetchMode::Off);
            let snapshot = wait_until(&task, |snapshot| snapshot.mode == FetchMode::Off);

            let inline = stats_of(&snapshot, FetchMode::Inline);
            // The probe reports a stall before the stall ends, and the page arrives when the stall ends.
            assert!(inline.stalls >= inline.pages, "{cell}");
            assert!(inline.lateness.unwrap().max() >= 350_000_000, "{cell}");
            assert!(inline.socket >= 350_000_000, "{cell}");
            assert!(
                snapshot.stall.as_ref().unwrap().starts_with("inline ("),
                "{cell}"
            );
            for mode in [FetchMode::Offloaded, FetchMode::Async] {
                let mode_stats = stats_of(&snapshot, mode);
                assert_eq!((mode_stats.stalls, mode_stats.failed), (0, 0), "{cell}");
                // A busy machine also delays ticks, but the median stays below the threshold for a stall.
                assert!(
                    mode_stats.lateness.unwrap().value_at_quantile(0.5) < 200_000_000,
                    "{cell}"
                );
            }
            task.reset();
            let snapshot = task.snapshot();
            assert!(
                snapshot
                    .by_mode
                    .iter()
                    .all(|mode_stats| mode_stats.pages == 0)
            );
        }
    }

    #[test]
    fn a_page_that_fails_is_reported() {
        let Some(cell) = Cell::compiled().find(|cell| cell.client() == "hyper") else {
            return;
        };
        let origin = Origin::start().unwrap();
        let backend = cell.start(Some(NonZeroUsize::MIN)).unwrap();
        let options = FetchOptions {
            url: origin.url("/status/500"),
            every: Duration::from_millis(1),
            threshold: Duration::from_millis(100),
            mode: FetchMode::Async,
        };
        let task = FetchTask::start(&backend, options).unwrap();
        let snapshot = wait_until(&task, |snapshot| {
            snapshot.by_mode[FetchMode::Async as usize].failed >= 1
        });
        assert!(snapshot.error.unwrap().contains("500"));
    }
}
