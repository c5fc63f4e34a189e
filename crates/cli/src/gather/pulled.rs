//! The URLs that a run takes from its input, without the URLs that an earlier run has finished.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, ready};

use super::duplicates::{Duplicates, Taken};
use crate::exit::CliError;
use crate::input::{Input, InputUrl};
use crate::journal::{Decision, EarlierRecords, EarlierSource};
use crate::progress::Progress;

/// A URL and its index in the input.
pub(super) type Indexed = (usize, InputUrl);

/// Takes URLs from the input, and counts them.
pub(super) struct PulledUrls {
    input: RefCell<Input>,
    earlier: EarlierRecords,
    progress: Progress,
    pub(super) duplicates: Option<Duplicates>,
    /// The number of URLs so far, which is the index of the next URL.
    next: Cell<usize>,
    /// The number of URLs that an earlier run has finished.
    pub(super) skipped: Cell<usize>,
    /// The number of those that have failed.
    pub(super) skipped_failures: Cell<usize>,
    /// The URL that differs from the earlier run.
    mismatch: RefCell<Option<CliError>>,
}

impl PulledUrls {
    pub(super) fn new(
        input: Input,
        earlier: EarlierRecords,
        progress: Progress,
        duplicates: Option<Duplicates>,
    ) -> Self {
        Self {
            input: RefCell::new(input),
            earlier,
            progress,
            duplicates,
            next: Cell::new(0),
            skipped: Cell::new(0),
            skipped_failures: Cell::new(0),
            mismatch: RefCell::new(None),
        }
    }

    /// Polls for the next URL that must be fetched. Ends if an earlier run had another URL at this index.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Indexed>> {
        while !self.has_mismatch() {
            if self.duplicates.as_ref().is_some_and(Duplicates::is_full) {
                // The caller polls again after it has reported the answers.
                return Poll::Pending;
            }
            let Some(url) = ready!(self.input.borrow_mut().poll_next(cx)) else {
                break;
            };
            let index = self.next.get();
            self.next.set(index + 1);
            match self.earlier.decide(index, &url.text) {
                Decision::Fetch => match &self.duplicates {
                    None => return Poll::Ready(Some((index, url))),
                    Some(duplicates) => match duplicates.take(index, url) {
                        Taken::Fetch(url) => return Poll::Ready(Some((index, url))),
                        Taken::Answered => {}
                        Taken::Skip => self.skip(false),
                    },
                },
                Decision::Skip { has_failed } => {
                    // A manifest does not list duplicates, so they are skipped too. A journal lists each index.
                    if let Some(duplicates) = &self.duplicates
                        && self.earlier.source == EarlierSource::Manifest
                    {
                        duplicates.skip(&url);
                    }
                    self.skip(has_failed);
                }
                Decision::Mismatch => {
                    let error = mismatch_error(index, &url, &self.earlier);
                    *self.mismatch.borrow_mut() = Some(error);
                }
            }
        }
        Poll::Ready(None)
    }

    fn skip(&self, has_failed: bool) {
        self.skipped.set(self.skipped.get() + 1);
        let failures = self.skipped_failures.get() + usize::from(has_failed);
        self.skipped_failures.set(failures);
        self.progress.skip();
    }

    /// Returns whether duplicates have a result.
    pub(super) fn has_answers(&self) -> bool {
        self.duplicates
            .as_ref()
            .is_some_and(Duplicates::has_answers)
    }

    /// Stops reading. See [`Input::stop`].
    pub(super) fn stop(&self) {
        self.input.borrow_mut().stop();
    }

    pub(super) fn is_truncated(&self) -> bool {
        self.input.borrow().is_truncated()
    }

    /// Returns why the input could not be read to its end.
    pub(super) fn input_failure(&self) -> Option<String> {
        self.input.borrow().failure()
    }

    pub(super) fn has_mismatch(&self) -> bool {
        self.mismatch.borrow().is_some()
    }

    pub(super) fn take_mismatch(&self) -> Option<CliError> {
        self.mismatch.take()
    }

    /// Checks that the whole input has all URLs of the earlier run.
    pub(super) fn check_length(&self) -> Result<(), CliError> {
        check_length(self.next.get(), &self.earlier)
    }
}

/// Checks that an input is the input of the earlier run, if the input can be read before the run.
pub(super) fn check_input(input: &Input, earlier: &EarlierRecords) -> Result<(), CliError> {
    if earlier.is_empty() {
        return Ok(());
    }
    let count = input.visit(|index, url| match earlier.decide(index, &url.text) {
        Decision::Mismatch => Err(mismatch_error(index, url, earlier)),
        Decision::Fetch | Decision::Skip { .. } => Ok(()),
    })?;
    count.map_or(Ok(()), |count| check_length(count, earlier))
}

fn check_length(count: usize, earlier: &EarlierRecords) -> Result<(), CliError> {
    match earlier.index_after(count) {
        Some(index) => Err(CliError::usage(format_args!(
            "an earlier run has finished the index {index}, but the input ends before it"
        ))),
        None => Ok(()),
    }
}

fn mismatch_error(index: usize, url: &InputUrl, earlier: &EarlierRecords) -> CliError {
    let location = match &url.location {
        Some(location) => location.to_string(),
        None => format!("URL {index}"),
    };
    let (source, other) = match earlier.source {
        EarlierSource::Journal => ("journal", "journal"),
        EarlierSource::Manifest => ("manifest", "directory"),
    };
    CliError::usage(format_args!(
        "{location} is not the URL that the {source} has at this index: use the input of the earlier run, or \
         another {other}"
    ))
}
