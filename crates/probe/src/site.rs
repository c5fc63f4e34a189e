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
            counts.polls.saturating_record(nanos(sample.poll));
            if let Some(wait) = sample.wait {
                counts.waits.saturating_record(nanos(wait));
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

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
