//! Events of a probe as events of the `tracing` crate.

use std::time::Duration;

use crate::report::Event;

impl Event {
    /// Emits the event through the `tracing` crate with the target `inflight::probe`. The end of a
    /// stall or of a loop's delay, and a written trace, have the level `INFO`. All other events have the level `WARN`.
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
                tracing::warn!(
                    target: "inflight::probe",
                    label = stall.label,
                    file = stall.location.file(),
                    line = stall.location.line(),
                    lasted_ms = millis(stall.lasted),
                    class = stall.class.as_str(),
                    at = stall.culprit().map(tracing::field::display),
                    thread = stall.thread.as_deref(),
                    ready = stall.ready,
                    folded = stall.folded,
                    "stalled"
                );
            }
            Self::Recovered(stall) => {
                tracing::info!(
                    target: "inflight::probe",
                    label = stall.label,
                    file = stall.location.file(),
                    line = stall.location.line(),
                    lasted_ms = millis(stall.lasted),
                    class = stall.class.as_str(),
                    at = stall.culprit().map(tracing::field::display),
                    thread = stall.thread.as_deref(),
                    late = stall.aftermath.map(|after| after.late),
                    longest_wait_ms = stall.aftermath.map(|after| millis(after.longest_wait)),
                    "recovered"
                );
            }
            Self::MachinePaused(late) => tracing::warn!(
                target: "inflight::probe",
                lasted_ms = millis(*late),
                "machine paused"
            ),
            Self::LoopDelayed(delay) => tracing::warn!(
                target: "inflight::probe",
                lasted_ms = millis(delay.lasted),
                at = delay.culprit().map(tracing::field::display),
                folded = delay.folded,
                "loop delayed"
            ),
            Self::LoopResumed(delay) => tracing::info!(
                target: "inflight::probe",
                lasted_ms = millis(delay.lasted),
                at = delay.culprit().map(tracing::field::display),
                "loop resumed"
            ),
            Self::EventsLost(count) => {
                tracing::warn!(target: "inflight::probe", count, "events lost");
            }
            Self::TraceWritten(path) => tracing::info!(
                target: "inflight::probe",
                path = %path.display(),
                "trace written"
            ),
            Self::TraceFailed(error) => tracing::warn!(
                target: "inflight::probe",
                error = %error,
                "trace failed"
            ),
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
