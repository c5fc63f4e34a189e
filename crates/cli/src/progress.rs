//! The bar on standard error.

use std::fmt;
use std::time::Duration;

use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::args::When;

/// How often it is drawn at most.
const PER_SECOND: u8 = 10;

/// How often it is drawn at least: time is seen to pass while nothing else happens.
const TICK: Duration = Duration::from_millis(100);

/// What counts towards the end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Urls,
    Bytes,
    /// Parts of a whole that mean nothing by themselves.
    #[cfg(feature = "lab")]
    Share,
}

/// A bar, a spinner while the end is not known, or nothing. Clones are the same bar.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
    unit: Unit,
}

impl Progress {
    pub(crate) fn start(when: When, unit: Unit) -> Self {
        let target = match when {
            When::Never => ProgressDrawTarget::hidden(),
            // Hides itself where there is no terminal.
            When::Auto => ProgressDrawTarget::stderr_with_hz(PER_SECOND),
            When::Always => {
                ProgressDrawTarget::term_like_with_hz(Box::new(Term::stderr()), PER_SECOND)
            }
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let progress = Self { bar, unit };
        if progress.is_shown() {
            progress.restyle();
            progress.bar.enable_steady_tick(TICK);
        }
        progress
    }

    pub(crate) fn is_shown(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// How far it is to the end.
    pub(crate) fn set_total(&self, total: u64) {
        self.bar.set_length(total);
        self.restyle();
    }

    pub(crate) fn advance(&self, by: u64) {
        self.bar.inc(by);
    }

    /// How far it is from the beginning.
    #[cfg(feature = "lab")]
    pub(crate) fn set_position(&self, at: u64) {
        self.bar.set_position(at);
    }

    pub(crate) fn say(&self, message: impl FnOnce() -> String) {
        if self.is_shown() {
            self.bar.set_message(message());
        }
    }

    /// Does what writes to the same terminal, with the bar out of its way.
    pub(crate) fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        self.bar.suspend(work)
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn restyle(&self) {
        let template = match (self.unit, self.bar.length()) {
            (Unit::Urls, None) => "{spinner} {elapsed} {pos} done, {rate}{msg}",
            (Unit::Urls, Some(_)) => {
                "{spinner} {elapsed} [{wide_bar}] {pos}/{len}, {rate}, {eta} left{msg}"
            }
            #[cfg(feature = "lab")]
            (Unit::Share, _) => "{spinner} {elapsed} [{bar:30}] {percent} %, {msg}",
            (Unit::Bytes, None) => "{spinner} {elapsed} {bytes}, {bytes_per_sec}",
            (Unit::Bytes, Some(_)) => {
                "{spinner} {elapsed} [{wide_bar}] {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left"
            }
        };
        // The templates are ours, and the program's tests draw them.
        if let Ok(style) = ProgressStyle::with_template(template) {
            let rate = |state: &ProgressState, f: &mut dyn fmt::Write| {
                // A bar that cannot be written is not worth a word.
                let _ = write!(f, "{:.0}/s", state.per_sec());
            };
            self.bar
                .set_style(style.with_key("rate", rate).progress_chars("=> "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_one() {
        for unit in [Unit::Urls, Unit::Bytes] {
            let progress = Progress::start(When::Never, unit);
            progress.restyle();
            progress.set_total(3);
            progress.advance(1);
            progress.clear();
        }
    }
}
