//! Events of a probe as events of the `tracing` crate.

use crate::report::{Event, Stall};

impl Event {
    /// Emits the event through the `tracing` crate with the target `inflight::probe`: a stall and a
    /// pause of the machine at level `WARN`, the end of a stall at `INFO`.
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
                let StallFields { file, line, lasted } = StallFields::of(stall);
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
                let StallFields { file, line, lasted } = StallFields::of(stall);
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

/// The fields that both events of a stall have.
struct StallFields {
    file: &'static str,
    line: u32,
    lasted: f64,
}

impl StallFields {
    fn of(stall: &Stall) -> Self {
        Self {
            file: stall.location.file(),
            line: stall.location.line(),
            lasted: stall.lasted.as_secs_f64() * 1e3,
        }
    }
}
