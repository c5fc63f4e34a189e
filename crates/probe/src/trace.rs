//! What a probe tells, as events of the `tracing` crate.

use crate::report::{Event, Stall};

impl Event {
    /// Hands the event on to the `tracing` crate, with the target `inflight::probe`: a stall that
    /// lasts and a pause of the machine at the level `WARN`, the end of a stall at `INFO`.
    ///
    /// ```
    /// use inflight_probe::{Event, Probe};
    ///
    /// let probe = Probe::builder().start(Event::trace)?;
    /// # Ok::<(), inflight_core::Error>(())
    /// ```
    pub fn trace(&self) {
        match self {
            Self::Stalled(stall) => {
                let Told { file, line, lasted } = Told::of(stall);
                tracing::warn!(
                    target: "inflight::probe",
                    label = stall.label,
                    file,
                    line,
                    lasted_ms = lasted,
                    class = stall.class.as_str(),
                    at = stall.culprit().map(tracing::field::display),
                    thread = stall.thread.as_deref(),
                    ready = stall.ready,
                    folded = stall.folded,
                    "stalled"
                );
            }
            Self::Recovered(stall) => {
                let Told { file, line, lasted } = Told::of(stall);
                tracing::info!(
                    target: "inflight::probe",
                    label = stall.label,
                    file,
                    line,
                    lasted_ms = lasted,
                    class = stall.class.as_str(),
                    at = stall.culprit().map(tracing::field::display),
                    thread = stall.thread.as_deref(),
                    late = stall.aftermath.map(|after| after.late),
                    longest_wait_ms = stall
                        .aftermath
                        .map(|after| after.longest_wait.as_secs_f64() * 1e3),
                    "recovered"
                );
            }
            Self::MachinePaused(late) => tracing::warn!(
                target: "inflight::probe",
                lasted_ms = late.as_secs_f64() * 1e3,
                "machine paused"
            ),
        }
    }
}

struct Told {
    file: &'static str,
    line: u32,
    lasted: f64,
}

impl Told {
    fn of(stall: &Stall) -> Self {
        Self {
            file: stall.location.file(),
            line: stall.location.line(),
            lasted: stall.lasted.as_secs_f64() * 1e3,
        }
    }
}
