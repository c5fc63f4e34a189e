//! The places that futures are probed at, each with its counts.

use std::cell::Cell;
use std::collections::HashMap;
use std::panic::Location;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::slot::lock;

/// So many places a thread finds at once.
const RECENT: usize = 16;

thread_local! {
    static MET: [Cell<Option<&'static Site>>; RECENT] = const { [const { Cell::new(None) }; RECENT] };
}

static SITES: Mutex<Option<Sites>> = Mutex::new(None);

type Key = (&'static str, &'static Location<'static>);

#[derive(Default)]
struct Sites {
    by_place: HashMap<Key, &'static Site>,
    by_number: Vec<&'static Site>,
}

/// A label at a place in the source.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) number: usize,
    pub(crate) label: &'static str,
    pub(crate) location: &'static Location<'static>,
    counts: Mutex<Counts>,
    untimed: AtomicU64,
}

/// Times in nanoseconds, to two significant digits.
#[derive(Debug)]
struct Counts {
    polls: Histogram<u64>,
    waits: Histogram<u64>,
}

/// How the futures of one place were polled.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PollStats {
    /// The label they were given.
    pub label: &'static str,
    /// Where they were given it.
    pub location: &'static Location<'static>,
    /// How long each poll that was timed took, in nanoseconds.
    pub polls: Histogram<u64>,
    /// How many other polls there were, of futures that have ended. Where a thread begins more than
    /// some thousands of futures in a second, those beyond are watched and counted, and one in
    /// 32 of them is timed.
    pub untimed: u64,
    /// How long each poll came after the wake that asked for it, in nanoseconds. First polls
    /// were asked for by no wake and are not in it.
    pub waits: Histogram<u64>,
}

impl Site {
    pub(crate) fn of(label: &'static str, location: &'static Location<'static>) -> &'static Self {
        // A program probes many futures at few places. By their addresses, as a hash of their
        // text takes longer than a short poll.
        let recent = (ptr::from_ref(location).addr() / size_of::<Location<'_>>()) % RECENT;
        MET.with(|met| match met[recent].get() {
            Some(site) if ptr::eq(site.label, label) && ptr::eq(site.location, location) => site,
            _ => {
                let site = Self::met(label, location);
                met[recent].set(Some(site));
                site
            }
        })
    }

    fn met(label: &'static str, location: &'static Location<'static>) -> &'static Self {
        let mut sites = lock(&SITES);
        let sites = sites.get_or_insert_default();
        if let Some(site) = sites.by_place.get(&(label, location)) {
            return site;
        }
        // Places stay for as long as the process: they are in its source.
        let site: &'static Self = Box::leak(Box::new(Self {
            number: sites.by_number.len(),
            label,
            location,
            counts: Mutex::new(Counts {
                polls: histogram(),
                waits: histogram(),
            }),
            untimed: AtomicU64::new(0),
        }));
        sites.by_number.push(site);
        sites.by_place.insert((label, location), site);
        site
    }

    pub(crate) fn numbered(number: usize) -> Option<&'static Self> {
        lock(&SITES).as_ref()?.by_number.get(number).copied()
    }

    /// Takes down what a future has gathered.
    pub(crate) fn record(&self, samples: impl IntoIterator<Item = Sample>) {
        let mut counts = lock(&self.counts);
        for sample in samples {
            record(&mut counts.polls, sample.poll);
            if let Some(wait) = sample.wait {
                record(&mut counts.waits, wait);
            }
        }
    }

    pub(crate) fn count_untimed(&self, polls: u64) {
        self.untimed.fetch_add(polls, Ordering::Relaxed);
    }

    fn stats(&self) -> PollStats {
        let counts = lock(&self.counts);
        PollStats {
            label: self.label,
            location: self.location,
            polls: counts.polls.clone(),
            untimed: self.untimed.load(Ordering::Relaxed),
            waits: counts.waits.clone(),
        }
    }
}

/// One poll, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) poll: u64,
    pub(crate) wait: Option<u64>,
}

/// The counts of every place that futures have been probed at in this process, in the order in
/// which the places were first met.
///
/// A future hands its last few polls in when it is dropped, so that few polls take this lock.
pub fn poll_stats() -> Vec<PollStats> {
    let sites = match &*lock(&SITES) {
        Some(sites) => sites.by_number.clone(),
        None => Vec::new(),
    };
    sites.iter().map(|site| site.stats()).collect()
}

/// A histogram of nanoseconds that grows as it must.
pub(crate) fn histogram() -> Histogram<u64> {
    match Histogram::new(2) {
        Ok(histogram) => histogram,
        Err(_) => unreachable!("two digits are within what a histogram takes"),
    }
}

/// Takes down a time. `saturating_record` alone does not let the histogram grow: it would take
/// every time that is longer than those before it for as long as they were.
pub(crate) fn record(histogram: &mut Histogram<u64>, nanos: u64) {
    if histogram.record(nanos).is_err() {
        histogram.saturating_record(nanos);
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_any_length_are_kept() {
        let mut times = histogram();
        for time in [100, 1_000_000, 60_000_000_000, u64::MAX] {
            record(&mut times, time);
        }
        assert_eq!(times.len(), 4);
        assert!(times.value_at_quantile(0.5) >= 1_000_000);
        assert!(times.value_at_quantile(0.75) >= 60_000_000_000);
        assert_eq!(times.max(), u64::MAX);
    }
}
