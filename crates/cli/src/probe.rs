//! `--probe`: reports how late the event loop was and what stalled it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use inflight::probe::{Event, Heartbeat, Probe, Stall};
use inflight::{Backend, BlockOn, Error};

use crate::exit::{CliError, print_to_stderr};
use crate::output::describe;

/// The interval of the heartbeat, which measures how late a timer on the event loop ticks. With a shorter
/// interval, it would measure the resolution of the timer instead of the delays of the loop.
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(10);

/// The maximum number of stalls that are listed.
const MAX_STALLS_SHOWN: usize = 20;

/// Measures the event loop until [`report`](Self::report) is called.
pub(crate) struct LoopProbe {
    heartbeat: Heartbeat,
    probe: Probe,
    events: Arc<Mutex<ProbeEvents>>,
}

/// The events that the probe has reported.
#[derive(Default)]
struct ProbeEvents {
    stalls: Vec<Stall>,
    /// The total time in which the whole process did not run.
    paused: Duration,
}

impl LoopProbe {
    pub(crate) fn start(backend: &Backend) -> Result<Self, CliError> {
        if backend.runtime().name() == "threads" {
            return Err(CliError::usage(
                "--probe measures an event loop, but the runtime `threads` has none: each request has its own thread",
            ));
        }
        Self::start_on(backend).map_err(|error| CliError::usage(describe(&error)))
    }

    fn start_on(backend: &Backend) -> Result<Self, Error> {
        let events = Arc::new(Mutex::new(ProbeEvents::default()));
        let recorder = events.clone();
        // Disables folding, which would combine the stalls at one location within a second into one event.
        let probe = Probe::builder()
            .fold(Duration::ZERO)
            .stacks(true)
            .start(move |event| {
                let mut events = recorder.lock().unwrap_or_else(PoisonError::into_inner);
                match event {
                    Event::Recovered(stall) => events.stalls.push(stall.clone()),
                    Event::MachinePaused(lateness) => events.paused += *lateness,
                    _ => {}
                }
            })?;
        let heartbeat = backend.block_on(backend.heartbeat(HEARTBEAT_INTERVAL))?;
        Ok(Self {
            heartbeat,
            probe,
            events,
        })
    }

    /// Prints the measurements to standard error.
    pub(crate) fn report(self) {
        let lateness = self.heartbeat.lateness();
        // Dropping the probe checks once more, so that stalls that have just ended are also listed.
        drop(self.probe);
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let [median, p99, max] =
            [0.5, 0.99, 1.0].map(|q| Millis(lateness.runtime.value_at_quantile(q)));
        let socket = Millis(lateness.socket.map_or(0, |lateness| lateness.max()));
        let control = Millis(lateness.control.max());
        print_to_stderr(format_args!(
            "probe: timer ticks on the loop were late by {median} (median), {p99} (99th percentile), \
             {max} (maximum); socket ticks by at most {socket}; ticks on a thread without an event loop \
             by at most {control}"
        ));
        if events.paused > Duration::ZERO {
            let paused = events.paused.as_millis();
            print_to_stderr(format_args!("probe: the machine paused for {paused} ms"));
        }
        if events.stalls.is_empty() {
            print_to_stderr("probe: no stall");
        }
        for stall in events.stalls.iter().take(MAX_STALLS_SHOWN) {
            print_to_stderr(format_args!("probe: {stall}"));
        }
        if let Some(hidden @ 1..) = events.stalls.len().checked_sub(MAX_STALLS_SHOWN) {
            print_to_stderr(format_args!("probe: and {hidden} more"));
        }
    }
}

/// Nanoseconds, shown as milliseconds.
pub(crate) struct Millis(pub(crate) u64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = Duration::from_nanos(self.0).as_secs_f64() * 1e3;
        // `pad` applies the width of a table column.
        f.pad(&format!("{ms:.1} ms"))
    }
}
