//! `--probe`: how late the event loop was, and what stalled it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use inflight::probe::{Event, Heartbeat, Probe, Stall};
use inflight::{Backend, BlockOn, Error};

use crate::exit::{Stop, note};
use crate::output::describe;

/// How often the heart beats. A finer one measures the timer rather than the loop.
const BEAT: Duration = Duration::from_millis(10);

/// How many stalls are shown one by one.
const SHOWN: usize = 20;

/// Looks at the runtime until its end is asked for.
pub(crate) struct Probing {
    heart: Heartbeat,
    probe: Probe,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    stalls: Vec<Stall>,
    paused: Duration,
}

impl Probing {
    pub(crate) fn start(backend: &Backend) -> Result<Self, Stop> {
        if backend.runtime().name() == "threads" {
            return Err(Stop::usage(
                "--probe looks at an event loop, and the runtime threads has none: each request waits on a thread of its own",
            ));
        }
        Self::on(backend).map_err(|error| Stop::usage(describe(&error)))
    }

    fn on(backend: &Backend) -> Result<Self, Error> {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let noted = seen.clone();
        // All jobs have one label: folded, a second of stalls would be told as one.
        let probe = Probe::builder()
            .fold(Duration::ZERO)
            .stacks(true)
            .start(move |event| {
                let mut seen = noted.lock().unwrap_or_else(PoisonError::into_inner);
                match event {
                    Event::Recovered(stall) => seen.stalls.push(stall.clone()),
                    Event::MachinePaused(late) => seen.paused += *late,
                    _ => {}
                }
            })?;
        let heart = backend.block_on(backend.heartbeat(BEAT))?;
        Ok(Self { heart, probe, seen })
    }

    /// Says on standard error what was seen.
    pub(crate) fn report(self) {
        let late = self.heart.lateness();
        // What is stuck to the end is over with the probe.
        drop(self.probe);
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let [middle, most, worst] =
            [0.5, 0.99, 1.0].map(|q| Millis(late.runtime.value_at_quantile(q)));
        let socket = Millis(late.socket.map_or(0, |late| late.max()));
        let control = Millis(late.control.max());
        note(format_args!(
            "probe: the loop was late by {middle} in the median, {most} at 99 %, {worst} at most; through a socket by {socket} at most; a plain thread by {control} at most"
        ));
        if seen.paused > Duration::ZERO {
            let paused = seen.paused.as_millis();
            note(format_args!("probe: the machine paused for {paused} ms"));
        }
        if seen.stalls.is_empty() {
            note("probe: no stall");
        }
        for stall in seen.stalls.iter().take(SHOWN) {
            note(format_args!("probe: {stall}"));
        }
        if let Some(more @ 1..) = seen.stalls.len().checked_sub(SHOWN) {
            note(format_args!("probe: and {more} more"));
        }
    }
}

/// Nanoseconds, shown as milliseconds.
pub(crate) struct Millis(pub(crate) u64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = Duration::from_nanos(self.0).as_secs_f64() * 1e3;
        // As wide as a column wants it.
        f.pad(&format!("{ms:.1} ms"))
    }
}
