//! The progress bar on standard error.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::format::When;

/// The maximum number of redraws per second.
const MAX_DRAWS_PER_SECOND: u8 = 10;

/// The interval of automatic redraws, which keep the elapsed time current.
const TICK_INTERVAL: Duration = Duration::from_millis(100);

/// The unit that the bar counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Urls,
    Bytes,
    /// Steps of a fixed total, shown as a percentage.
    #[cfg(feature = "lab")]
    Steps,
}

/// A progress bar, or a spinner while the total is unknown. Clones share the bar.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
    unit: Unit,
    skipped: Arc<AtomicU64>,
}

impl Progress {
    pub(crate) fn start(when: When, unit: Unit) -> Self {
        let target = match when {
            When::Never => ProgressDrawTarget::hidden(),
            // Hidden if standard error is not a terminal.
            When::Auto => ProgressDrawTarget::stderr_with_hz(MAX_DRAWS_PER_SECOND),
            When::Always => ProgressDrawTarget::term_like_with_hz(
                Box::new(Term::stderr()),
                MAX_DRAWS_PER_SECOND,
            ),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let progress = Self {
            bar,
            unit,
            skipped: Arc::default(),
        };
        if progress.is_shown() {
            progress.update_style();
            progress.bar.enable_steady_tick(TICK_INTERVAL);
        }
        progress
    }

    pub(crate) fn is_shown(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Leaves out a URL that an earlier run has finished, so that it counts neither as done nor for the rate.
    pub(crate) fn skip(&self) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
        if self.bar.length().is_some() {
            self.bar.dec_length(1);
        }
    }

    pub(crate) fn set_total(&self, total: u64) {
        let total = total.saturating_sub(self.skipped.load(Ordering::Relaxed));
        if self.bar.length() == Some(total) {
            return;
        }
        self.bar.set_length(total);
        self.update_style();
    }

    pub(crate) fn advance(&self, by: u64) {
        self.bar.inc(by);
    }

    pub(crate) fn set_position(&self, position: u64) {
        self.bar.set_position(position);
    }

    pub(crate) fn set_message(&self, message: impl FnOnce() -> String) {
        if self.is_shown() {
            self.bar.set_message(message());
        }
    }

    /// Hides the bar while `work` writes to the same terminal.
    pub(crate) fn suspend<T>(&self, work: impl FnOnce() -> T) -> T {
        self.bar.suspend(work)
    }

    /// Removes the bar.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn update_style(&self) {
        let template = template(self.unit, self.bar.length().is_some());
        // The templates are constants, and a test checks that they are valid.
        if let Ok(style) = ProgressStyle::with_template(template) {
            let rate = |state: &ProgressState, f: &mut dyn fmt::Write| {
                // The error is ignored, because it affects only the drawing.
                let _ = write!(f, "{:.0}/s", state.per_sec());
            };
            self.bar
                .set_style(style.with_key("rate", rate).progress_chars("=> "));
        }
    }
}

/// Returns the template for a unit and for a known or an unknown total.
fn template(unit: Unit, has_total: bool) -> &'static str {
    match (unit, has_total) {
        (Unit::Urls, false) => "{spinner} {elapsed} {pos} done, {rate}{wide_msg}",
        (Unit::Urls, true) => {
            "{spinner} {elapsed} [{bar:20}] {pos}/{len}, {rate}, {eta} left{wide_msg}"
        }
        #[cfg(feature = "lab")]
        (Unit::Steps, _) => "{spinner} {elapsed} [{bar:30}] {percent} %, {msg}",
        (Unit::Bytes, false) => "{spinner} {elapsed} {bytes}, {bytes_per_sec}",
        (Unit::Bytes, true) => {
            "{spinner} {elapsed} [{wide_bar}] {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_valid() {
        let units = [
            Unit::Urls,
            Unit::Bytes,
            #[cfg(feature = "lab")]
            Unit::Steps,
        ];
        for unit in units {
            for has_total in [false, true] {
                ProgressStyle::with_template(template(unit, has_total)).unwrap();
            }
        }
    }
}
