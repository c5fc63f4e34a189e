//! The source locations at which futures are probed, and the counts of each.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;
use std::panic::Location;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use inflight_core::prometheus::OTHER;

use crate::slot::lock;

/// How many sites each thread's cache holds.
const CACHE_SIZE: usize = 16;

/// How many labels the process keeps that are owned strings. This limits the memory of a program that by
/// mistake uses URLs as labels.
const MAX_OWNED_LABELS: usize = 256;

thread_local! {
    static SITE_CACHE: [Cell<Option<&'static Site>>; CACHE_SIZE] = const { [const { Cell::new(None) }; CACHE_SIZE] };
}

static SITES: Mutex<Option<Sites>> = Mutex::new(None);

type Key = (&'static str, &'static Location<'static>);

#[derive(Default)]
struct Sites {
    by_key: HashMap<Key, &'static Site>,
    by_number: Vec<&'static Site>,
    /// How many owned labels were leaked.
    owned: usize,
}

impl Sites {
    fn intern(
        &mut self,
        label: Cow<'static, str>,
        location: &'static Location<'static>,
    ) -> &'static Site {
        if let Some(site) = self.by_key.get(&(&*label, location)) {
            return site;
        }
        let label = match label {
            Cow::Borrowed(label) => label,
            Cow::Owned(_) if self.owned == MAX_OWNED_LABELS => {
                return self.intern(Cow::Borrowed(OTHER), location);
            }
            Cow::Owned(label) => {
                self.owned += 1;
                label.leak()
            }
        };
        // The number of sites is bounded by the program's source and by `MAX_OWNED_LABELS`, so they may
        // be leaked.
        let site: &'static Site = Box::leak(Box::new(Site {
            number: self.by_number.len(),
            label,
            location,
            counts: Mutex::new(Counts {
                polls: histogram(),
                waits: histogram(),
            }),
            untimed: AtomicU64::new(0),
        }));
        self.by_number.push(site);
        self.by_key.insert((label, location), site);
        site
    }
}

/// A label and the source location of its use.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) number: usize,
    pub(crate) label: &'static str,
    pub(crate) location: &'static Location<'static>,
    counts: Mutex<Counts>,
    untimed: AtomicU64,
}

/// Histograms of times in nanoseconds, to two significant digits.
#[derive(Debug)]
struct Counts {
    polls: Histogram<u64>,
    waits: Histogram<u64>,
}

/// The polls of the futures that share a label and a location.
///
/// For an example, see [`poll_stats`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PollStats {
    /// The label of the futures.
    pub label: &'static str,
    /// The location of the call that labeled the futures.
    pub location: &'static Location<'static>,
    /// How long each timed poll took, in nanoseconds.
    pub polls: Histogram<u64>,
    /// How many polls of ended futures were not timed. If a thread starts thousands of futures per
    /// second, it times only some of them: see [`FutureExt::probed`](crate::FutureExt::probed).
    pub untimed: u64,
    /// How long after its wake each timed poll started, in nanoseconds. First polls have no wake
    /// and are not included.
    pub waits: Histogram<u64>,
}

impl Site {
    pub(crate) fn of(
        label: impl Into<Cow<'static, str>>,
        location: &'static Location<'static>,
    ) -> &'static Self {
        match label.into() {
            Cow::Borrowed(label) => Self::of_static(label, location),
            label => Self::intern(label, location),
        }
    }

    fn of_static(label: &'static str, location: &'static Location<'static>) -> &'static Self {
        // A program probes many futures at few locations. The cache compares addresses, because
        // hashing the text takes longer than a short poll.
        let index = (ptr::from_ref(location).addr() / size_of::<Location<'_>>()) % CACHE_SIZE;
        SITE_CACHE.with(|cache| match cache[index].get() {
            Some(site) if ptr::eq(site.label, label) && ptr::eq(site.location, location) => site,
            _ => {
                let site = Self::intern(Cow::Borrowed(label), location);
                cache[index].set(Some(site));
                site
            }
        })
    }

    fn intern(label: Cow<'static, str>, location: &'static Location<'static>) -> &'static Self {
        let mut sites = lock(&SITES);
        sites.get_or_insert_default().intern(label, location)
    }

    /// Returns all sites, in the order of their numbers.
    pub(crate) fn all() -> Vec<&'static Self> {
        let sites = lock(&SITES);
        sites
            .as_ref()
            .map_or_else(Vec::new, |sites| sites.by_number.clone())
    }

    pub(crate) fn numbered(number: usize) -> Option<&'static Self> {
        lock(&SITES).as_ref()?.by_number.get(number).copied()
    }

    /// Records a future's samples.
    pub(crate) fn record(&self, samples: &[Sample]) {
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

/// The duration of one poll, and of the wait before it if there was one, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    pub(crate) poll: u64,
    pub(crate) wait: Option<u64>,
}

/// Returns the counts of every location at which this process has probed futures, in the order of
/// first use.
///
/// A future records its polls in batches, and records the rest when it is dropped. The counts may
/// therefore lack the last few polls of each future that still exists.
///
/// ```
/// use inflight_probe::{FutureExt, poll_stats};
///
/// futures_lite::future::block_on(async { 6 * 7 }.probed("answer"));
/// let stats = poll_stats().into_iter().find(|stats| stats.label == "answer").unwrap();
/// assert_eq!(stats.polls.len(), 1);
/// ```
pub fn poll_stats() -> Vec<PollStats> {
    Site::all().iter().map(|site| site.stats()).collect()
}

/// Returns a histogram of nanoseconds that grows as needed.
pub(crate) fn histogram() -> Histogram<u64> {
    match Histogram::new(2) {
        Ok(histogram) => histogram,
        Err(_) => unreachable!("a histogram supports two significant digits"),
    }
}

/// Records a time. `saturating_record` alone does not grow the histogram: it would clamp a time
/// that is longer than all before it.
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
    fn times_of_any_length_are_recorded() {
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
