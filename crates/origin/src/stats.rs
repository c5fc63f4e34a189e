use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::cpu::Threads;

/// The counts of an [`Origin`](crate::Origin) since it started or since the last reset.
///
/// Requests for `/stats` and `/stats/reset` are not counted, and neither are connections that carry
/// no other requests. Reading the counts over HTTP therefore does not change them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stats {
    /// Connections accepted.
    pub connections_accepted: u64,
    /// Connections open now. A reset does not change this number.
    pub connections_open: u64,
    /// Connections that either side closed.
    pub connections_closed: u64,
    /// Requests whose head was received.
    pub requests: u64,
    /// Requests in flight now. A request is in flight from when its head was received until its
    /// whole response was passed to the connection. A reset does not change this number.
    pub in_flight: u64,
    /// The highest value of `in_flight`. A reset sets it to `in_flight`.
    pub peak_in_flight: u64,
    /// Requests whose connection ended before the whole response was passed to it.
    ///
    /// A request does not count as aborted if the kernel has accepted the whole response, because the
    /// server cannot detect that the peer never reads it.
    pub aborted: u64,
    /// The CPU time of the threads that `cpu_scope` names.
    pub cpu: Duration,
    /// The threads that `cpu` covers.
    pub cpu_scope: CpuScope,
    /// How late the timers of `/delay`, `/delay-ms` and `/page` were.
    pub delays: DelayStats,
}

/// The threads that [`Stats::cpu`] covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CpuScope {
    /// The origin's threads. Linux reports the CPU time of each thread in its `schedstat`.
    #[default]
    Threads,
    /// The whole process, on systems that do not report the CPU time of single threads. On Windows,
    /// the time is always zero.
    Process,
}

/// The lateness of delayed responses: the time from when a response was due until it left the handler.
///
/// A few hundred microseconds are normal on an idle machine. If thousands of responses are due at
/// the same time, their lateness is the time that the worker thread needs to send them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DelayStats {
    /// Delays that ended.
    pub count: u64,
    /// Delays that ended before they were due. Any value other than zero is a bug in the origin.
    pub early: u64,
    /// The median lateness in microseconds.
    pub p50: u64,
    /// The 99th percentile of the lateness in microseconds.
    pub p99: u64,
    /// The maximum lateness in microseconds.
    pub max: u64,
}

/// The largest lateness that is recorded: an hour.
const MAX_LATENESS_US: u64 = 3_600_000_000;

/// The counts of an origin. Each change notifies the threads that wait for one.
pub(crate) struct Recorder {
    counts: Mutex<RecorderState>,
    changed: Condvar,
    pub(crate) threads: Threads,
}

struct RecorderState {
    /// The counts, without the CPU time and the quantiles.
    stats: Stats,
    lateness: Histogram<u64>,
    cpu_at_reset: Duration,
    /// How many threads wait for a change. If no thread waits, a change skips the notification, which
    /// is a system call.
    waiters: usize,
}

impl Recorder {
    pub(crate) fn new() -> io::Result<Arc<Recorder>> {
        let lateness = Histogram::new_with_bounds(1, MAX_LATENESS_US, 3);
        Ok(Arc::new(Recorder {
            counts: Mutex::new(RecorderState {
                stats: Stats::default(),
                lateness: lateness.map_err(io::Error::other)?,
                cpu_at_reset: Duration::ZERO,
                waiters: 0,
            }),
            changed: Condvar::new(),
            threads: Threads::default(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, RecorderState> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Stats)) {
        self.change_counts(|counts| change(&mut counts.stats));
    }

    fn change_counts(&self, change: impl FnOnce(&mut RecorderState)) {
        let mut counts = self.lock();
        change(&mut counts);
        if counts.waiters > 0 {
            self.changed.notify_all();
        }
    }

    fn snapshot(&self, counts: &RecorderState) -> Stats {
        let (cpu, cpu_scope) = self.threads.cpu_time();
        Stats {
            cpu: cpu.saturating_sub(counts.cpu_at_reset),
            cpu_scope,
            delays: DelayStats {
                count: counts.lateness.len(),
                p50: counts.lateness.value_at_quantile(0.50),
                p99: counts.lateness.value_at_quantile(0.99),
                max: counts.lateness.max(),
                ..counts.stats.delays
            },
            ..counts.stats.clone()
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        self.snapshot(&self.lock())
    }

    pub(crate) fn reset(&self) {
        let (cpu, _) = self.threads.cpu_time();
        self.change_counts(|counts| {
            counts.stats = Stats {
                connections_open: counts.stats.connections_open,
                in_flight: counts.stats.in_flight,
                peak_in_flight: counts.stats.in_flight,
                ..Stats::default()
            };
            counts.lateness.reset();
            counts.cpu_at_reset = cpu;
        });
    }

    pub(crate) fn wait_for(
        &self,
        timeout: Duration,
        condition: impl Fn(&Stats) -> bool,
    ) -> Result<Stats, Stats> {
        let mut counts = self.lock();
        counts.waiters += 1;
        let mut stats = Stats::default();
        let waited = self.changed.wait_timeout_while(counts, timeout, |counts| {
            stats = self.snapshot(counts);
            !condition(&stats)
        });
        let (mut counts, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        counts.waiters -= 1;
        match timeout.timed_out() {
            true => Err(stats),
            false => Ok(stats),
        }
    }

    /// Records the lateness of a response that was due at `due` and left its handler at `left`.
    pub(crate) fn record_delay(&self, due: Instant, left: Instant) {
        let late = left.saturating_duration_since(due).as_micros();
        self.change_counts(|counts| {
            counts.stats.delays.early += u64::from(left < due);
            counts
                .lateness
                .saturating_record(u64::try_from(late).unwrap_or(MAX_LATENESS_US));
        });
    }
}

/// A guard that counts a connection, from accept to drop.
pub(crate) struct CountedConnection {
    recorder: Arc<Recorder>,
    state: Mutex<ConnectionState>,
}

#[derive(Clone, Copy, PartialEq)]
enum ConnectionState {
    /// Counted, without a request so far.
    New,
    /// Counted, with at least one counted request.
    Counted,
    /// Not counted, because it has carried only requests for `/stats` and `/stats/reset`.
    Excluded,
}

impl CountedConnection {
    pub(crate) fn new(recorder: Arc<Recorder>) -> CountedConnection {
        recorder.change(|stats| {
            stats.connections_accepted += 1;
            stats.connections_open += 1;
        });
        CountedConnection {
            recorder,
            state: Mutex::new(ConnectionState::New),
        }
    }

    pub(crate) fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    /// Counts a request whose head was received.
    pub(crate) fn start_request(&self) -> InFlightGuard {
        let mut state = self.state();
        let was_excluded = *state == ConnectionState::Excluded;
        *state = ConnectionState::Counted;
        self.recorder.change(|stats| {
            if was_excluded {
                stats.connections_accepted += 1;
                stats.connections_open += 1;
            }
            stats.requests += 1;
            stats.in_flight += 1;
            stats.peak_in_flight = stats.peak_in_flight.max(stats.in_flight);
        });
        InFlightGuard {
            recorder: self.recorder.clone(),
            completed: false,
        }
    }

    /// Excludes the connection from the counts if it has carried no request yet. Called when a
    /// request for `/stats` or `/stats/reset` arrives.
    pub(crate) fn exclude_if_new(&self) {
        let mut state = self.state();
        if *state == ConnectionState::New {
            *state = ConnectionState::Excluded;
            self.recorder.change(|stats| {
                // The counts may have been reset since the connection was accepted.
                stats.connections_accepted = stats.connections_accepted.saturating_sub(1);
                stats.connections_open -= 1;
            });
        }
    }

    fn state(&self) -> MutexGuard<'_, ConnectionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        if *self.state() != ConnectionState::Excluded {
            self.recorder.change(|stats| {
                stats.connections_open -= 1;
                stats.connections_closed += 1;
            });
        }
    }
}

/// A guard for a request in flight. Dropping it without a call of [`InFlightGuard::mark_completed`]
/// counts the request as aborted.
pub(crate) struct InFlightGuard {
    recorder: Arc<Recorder>,
    completed: bool,
}

impl InFlightGuard {
    pub(crate) fn mark_completed(mut self) {
        self.completed = true;
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.recorder.change(|stats| {
            stats.in_flight -= 1;
            stats.aborted += u64::from(!self.completed);
        });
    }
}
