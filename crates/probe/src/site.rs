//! The places that futures are probed at, each with its counts.

use std::collections::HashMap;
use std::panic::Location;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::slot::lock;

static SITES: Mutex<Option<Sites>> = Mutex::new(None);

type Key = (&'static str, &'static Location<'static>);

#[derive(Default)]
struct Sites {
    by_place: HashMap<Key, Arc<Site>>,
    by_number: Vec<Arc<Site>>,
}

/// A label at a place in the source.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) number: usize,
    pub(crate) label: &'static str,
    pub(crate) location: &'static Location<'static>,
    counts: Mutex<Counts>,
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
    /// How long each poll took, in nanoseconds.
    pub polls: Histogram<u64>,
    /// How long each poll came after the wake that asked for it, in nanoseconds. First polls
    /// were asked for by no wake and are not in it.
    pub waits: Histogram<u64>,
}

impl Site {
    pub(crate) fn of(label: &'static str, location: &'static Location<'static>) -> Arc<Self> {
        let mut sites = lock(&SITES);
        let sites = sites.get_or_insert_default();
        if let Some(site) = sites.by_place.get(&(label, location)) {
            return site.clone();
        }
        let site = Arc::new(Self {
            number: sites.by_number.len(),
            label,
            location,
            counts: Mutex::new(Counts {
                polls: histogram(),
                waits: histogram(),
            }),
        });
        sites.by_number.push(site.clone());
        sites.by_place.insert((label, location), site.clone());
        site
    }

    pub(crate) fn numbered(number: usize) -> Option<Arc<Self>> {
        lock(&SITES).as_ref()?.by_number.get(number).cloned()
    }

    /// Takes down what a future has gathered.
    pub(crate) fn record(&self, samples: &[Sample]) {
        let mut counts = lock(&self.counts);
        for sample in samples {
            record(&mut counts.polls, nanos(sample.poll));
            if let Some(wait) = sample.wait {
                record(&mut counts.waits, nanos(wait));
            }
        }
    }

    fn stats(&self) -> PollStats {
        let counts = lock(&self.counts);
        PollStats {
            label: self.label,
            location: self.location,
            polls: counts.polls.clone(),
            waits: counts.waits.clone(),
        }
    }
}

/// One poll.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) poll: Duration,
    pub(crate) wait: Option<Duration>,
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
