use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::cpu::Threads;

/// What an [`Origin`](crate::Origin) has counted since it started or since the last reset.
///
/// Requests for `/stats` and `/stats/reset`, and connections that have carried nothing else, are not in it, so that
/// asking from another process does not change the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stats {
    /// Connections accepted.
    pub connections_accepted: u64,
    /// Connections open now. A reset leaves it as it is.
    pub connections_open: u64,
    /// Connections that ended, whoever ended them.
    pub connections_closed: u64,
    /// Requests whose head was received.
    pub requests: u64,
    /// Requests being answered now: from the head received to the whole response handed to the connection. A reset
    /// leaves it as it is.
    pub in_flight: u64,
    /// The highest `in_flight` has been. A reset sets it to `in_flight`.
    pub peak_in_flight: u64,
    /// Requests whose connection went away before the whole response was handed to it.
    ///
    /// Bytes the kernel had already taken and the peer never read are not noticed, as no server can notice them.
    pub aborted: u64,
    /// CPU time, of what `cpu_scope` says.
    pub cpu: Duration,
    /// Whose CPU time `cpu` is.
    pub cpu_scope: CpuScope,
    /// How late the timers of `/delay`, `/delay-ms` and `/page` were.
    pub delays: DelayStats,
}

/// Whose CPU time [`Stats::cpu`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CpuScope {
    /// The origin's own threads: on Linux, from their `schedstat`.
    Threads,
    /// The whole process, because this system does not tell about single threads. On Windows it is always zero.
    Process,
}

/// The lateness of delays in microseconds: from the instant the answer was due to the instant it left the handler.
///
/// On an idle machine some hundred are ordinary. With thousands due at one instant it is how long the worker needs to
/// answer them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DelayStats {
    /// Delays that ended.
    pub count: u64,
    /// Delays that ended before they were due. Anything but zero is a fault of the origin.
    pub early: u64,
    /// The median.
    pub p50: u64,
    /// The 99th percentile.
    pub p99: u64,
    /// The worst.
    pub max: u64,
}

/// An hour: later than this a delay is recorded as this.
const MAX_LATENESS_US: u64 = 3_600_000_000;

/// Keeps the counts, and tells who waits for them of every change.
pub(crate) struct Recorder {
    counts: Mutex<Counts>,
    changed: Condvar,
    pub(crate) threads: Threads,
}

struct Counts {
    connections_accepted: u64,
    connections_open: u64,
    connections_closed: u64,
    requests: u64,
    in_flight: u64,
    peak_in_flight: u64,
    aborted: u64,
    early: u64,
    lateness: Histogram<u64>,
    cpu_at_reset: Duration,
    /// A notification is a system call even when nobody waits: count who does.
    waiters: usize,
}

impl Recorder {
    pub(crate) fn new() -> io::Result<Arc<Recorder>> {
        let lateness = Histogram::new_with_bounds(1, MAX_LATENESS_US, 3);
        let lateness = lateness.map_err(io::Error::other)?;
        let recorder = Recorder {
            counts: Mutex::new(Counts {
                connections_accepted: 0,
                connections_open: 0,
                connections_closed: 0,
                requests: 0,
                in_flight: 0,
                peak_in_flight: 0,
                aborted: 0,
                early: 0,
                lateness,
                cpu_at_reset: Duration::ZERO,
                waiters: 0,
            }),
            changed: Condvar::new(),
            threads: Threads::default(),
        };
        Ok(Arc::new(recorder))
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.lock();
        change(&mut counts);
        if counts.waiters > 0 {
            self.changed.notify_all();
        }
    }

    fn snapshot(&self, counts: &Counts) -> Stats {
        let (cpu, cpu_scope) = self.threads.used();
        Stats {
            connections_accepted: counts.connections_accepted,
            connections_open: counts.connections_open,
            connections_closed: counts.connections_closed,
            requests: counts.requests,
            in_flight: counts.in_flight,
            peak_in_flight: counts.peak_in_flight,
            aborted: counts.aborted,
            cpu: cpu.saturating_sub(counts.cpu_at_reset),
            cpu_scope,
            delays: DelayStats {
                count: counts.lateness.len(),
                early: counts.early,
                p50: counts.lateness.value_at_quantile(0.50),
                p99: counts.lateness.value_at_quantile(0.99),
                max: counts.lateness.max(),
            },
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        self.snapshot(&self.lock())
    }

    pub(crate) fn reset(&self) {
        let (cpu, _) = self.threads.used();
        self.change(|counts| {
            counts.connections_accepted = 0;
            counts.connections_closed = 0;
            counts.requests = 0;
            counts.peak_in_flight = counts.in_flight;
            counts.aborted = 0;
            counts.early = 0;
            counts.lateness.reset();
            counts.cpu_at_reset = cpu;
        });
    }

    pub(crate) fn wait_for(
        &self,
        timeout: Duration,
        condition: impl Fn(&Stats) -> bool,
    ) -> Result<Stats, Stats> {
        let start = Instant::now();
        let mut counts = self.lock();
        loop {
            let stats = self.snapshot(&counts);
            if condition(&stats) {
                return Ok(stats);
            }
            let Some(left) = timeout.checked_sub(start.elapsed()) else {
                return Err(stats);
            };
            counts.waiters += 1;
            counts = self
                .changed
                .wait_timeout(counts, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            counts.waiters -= 1;
        }
    }

    /// An answer that was due at `due` left its handler at `left`.
    pub(crate) fn delayed(&self, due: Instant, left: Instant) {
        let late = left.saturating_duration_since(due).as_micros();
        self.change(|counts| {
            counts.early += u64::from(left < due);
            counts
                .lateness
                .saturating_record(u64::try_from(late).unwrap_or(MAX_LATENESS_US));
        });
    }
}

/// A connection as the counts see it, from accept to drop.
pub(crate) struct Connection {
    recorder: Arc<Recorder>,
    standing: Mutex<Standing>,
}

#[derive(Clone, Copy, PartialEq)]
enum Standing {
    /// Counted, and has carried nothing yet.
    Fresh,
    /// Counted for good.
    Counted,
    /// Has carried only questions about the counts: taken out of them.
    Withdrawn,
}

impl Connection {
    pub(crate) fn accepted(recorder: Arc<Recorder>) -> Connection {
        recorder.change(|counts| {
            counts.connections_accepted += 1;
            counts.connections_open += 1;
        });
        Connection {
            recorder,
            standing: Mutex::new(Standing::Fresh),
        }
    }

    pub(crate) fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    /// A request's head was received.
    pub(crate) fn request(&self) -> InFlight {
        let mut standing = self.standing();
        let back = *standing == Standing::Withdrawn;
        *standing = Standing::Counted;
        self.recorder.change(|counts| {
            if back {
                counts.connections_accepted += 1;
                counts.connections_open += 1;
            }
            counts.requests += 1;
            counts.in_flight += 1;
            counts.peak_in_flight = counts.peak_in_flight.max(counts.in_flight);
        });
        InFlight {
            recorder: self.recorder.clone(),
            handed_over: false,
        }
    }

    /// The head was of a request about the counts.
    pub(crate) fn question(&self) {
        let mut standing = self.standing();
        if *standing == Standing::Fresh {
            *standing = Standing::Withdrawn;
            self.recorder.change(|counts| {
                // A reset may have come between.
                counts.connections_accepted = counts.connections_accepted.saturating_sub(1);
                counts.connections_open -= 1;
            });
        }
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if *self.standing() != Standing::Withdrawn {
            self.recorder.change(|counts| {
                counts.connections_open -= 1;
                counts.connections_closed += 1;
            });
        }
    }
}

/// A request in flight. Dropped without [`InFlight::handed_over`], it counts as aborted.
pub(crate) struct InFlight {
    recorder: Arc<Recorder>,
    handed_over: bool,
}

impl InFlight {
    pub(crate) fn handed_over(mut self) {
        self.handed_over = true;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.recorder.change(|counts| {
            counts.in_flight -= 1;
            counts.aborted += u64::from(!self.handed_over);
        });
    }
}
