//! The watchdog, which checks the polls of all threads.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::cpu::ThreadUsage;
use crate::latency;
use crate::report::{Aftermath, Class, Event, Stall};
use crate::site::Site;
use crate::slot::{self, Polling, Slot, between, lock, nanos};
use crate::stacks::Stacks;

/// The counts of a probe.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) by_site: BTreeMap<usize, SiteTotal>,
    pub(crate) pauses: u64,
}

#[derive(Debug, Default)]
pub(crate) struct SiteTotal {
    pub(crate) stalls: u64,
    pub(crate) lasted: Duration,
}

/// The last report of a site, and the stalls since that were only counted.
struct LastReport {
    at: u64,
    folded: u64,
}

/// A poll that was in progress at the last check.
struct WatchedPoll {
    started: u64,
    first: u64,
    usage: Option<ThreadUsage>,
    /// The part of the poll in which the process was stopped.
    paused: Duration,
    stall: Option<ActiveStall>,
}

/// A watched poll that has exceeded the threshold.
struct ActiveStall {
    site: usize,
    stall: Stall,
    reported: bool,
}

type Callback = Box<dyn FnMut(&Event) + Send>;

/// What a watchdog reports, and how often.
#[derive(Debug, Clone)]
pub(crate) struct WatchdogOptions {
    pub(crate) threshold: Duration,
    pub(crate) fold: Duration,
    pub(crate) stacks: bool,
    /// The site to whose outermost polls the watchdog is limited.
    pub(crate) root: Option<usize>,
}

impl WatchdogOptions {
    /// Returns the interval between two checks.
    pub(crate) fn interval(&self) -> Duration {
        (self.threshold / 4).max(Duration::from_millis(1))
    }
}

pub(crate) struct Watchdog {
    options: WatchdogOptions,
    stacks: Option<Stacks>,
    totals: Arc<Mutex<Totals>>,
    callback: Callback,
    last_check: u64,
    watched: HashMap<usize, WatchedPoll>,
    last_reports: HashMap<usize, LastReport>,
    /// Polls with a stall that are over, and when they ended. They are reported at the next check, when the
    /// delayed futures have been polled.
    ended: Vec<(WatchedPoll, u64)>,
}

impl Watchdog {
    pub(crate) fn new(
        options: WatchdogOptions,
        totals: Arc<Mutex<Totals>>,
        callback: Callback,
    ) -> Self {
        Self {
            options,
            stacks: None,
            totals,
            callback,
            last_check: nanos(),
            watched: HashMap::new(),
            last_reports: HashMap::new(),
            ended: Vec::new(),
        }
    }

    /// Prepares to read stacks, if the options enable them. Stalls are reported without a stack if the
    /// system refuses.
    pub(crate) fn prepare_stacks(&mut self) {
        if self.options.stacks {
            self.stacks = Stacks::new();
        }
    }

    pub(crate) fn check(&mut self) {
        let now = nanos();
        let paused = self.check_own_lateness(now);
        self.report_recoveries();
        let mut before = std::mem::take(&mut self.watched);
        for slot in slot::all() {
            let key = Arc::as_ptr(&slot).addr();
            let polling = slot
                .polling()
                .filter(|polling| self.options.root.is_none_or(|root| polling.root == root));
            let Some(polling) = polling else { continue };
            let mut poll = match before.remove(&key) {
                Some(mut poll) if poll.started == polling.started => {
                    poll.paused += paused;
                    poll
                }
                other => {
                    self.poll_ended(other, now);
                    WatchedPoll {
                        started: polling.started,
                        first: now,
                        usage: slot.thread.usage(),
                        // The poll may have begun before the pause or after it. All of its time is
                        // taken to be part of the pause.
                        paused: paused.min(between(polling.started, now)),
                        stall: None,
                    }
                }
            };
            self.check_poll(&slot, polling, &mut poll, now);
            self.watched.insert(key, poll);
        }
        for poll in before.into_values() {
            self.poll_ended(Some(poll), now);
        }
        // The time that the callback took does not count as lateness.
        self.last_check = nanos();
    }

    /// Checks once more and reports all stalls that are over.
    pub(crate) fn finish(&mut self) {
        self.check();
        self.report_recoveries();
    }

    /// Returns by how much this thread itself is late, and reports it from the threshold on.
    fn check_own_lateness(&mut self, now: u64) -> Duration {
        let late = between(self.last_check, now).saturating_sub(self.options.interval());
        if late >= self.options.threshold {
            lock(&self.totals).pauses += 1;
            (self.callback)(&Event::MachinePaused(late));
        }
        // No poll is charged with a small lateness either.
        late
    }

    fn check_poll(&mut self, slot: &Arc<Slot>, polling: Polling, poll: &mut WatchedPoll, now: u64) {
        let site = polling.site;
        let lasted = between(poll.started, now).saturating_sub(poll.paused);
        let watched = between(poll.first, now).saturating_sub(poll.paused);
        if let Some(active) = &mut poll.stall {
            active.stall.lasted = lasted;
            return;
        }
        // The class needs the thread's times at two checks.
        if lasted < self.options.threshold || watched < self.options.interval() / 2 {
            return;
        }
        let Some(place) = Site::numbered(site) else {
            return;
        };
        let class = match (poll.usage, slot.thread.usage()) {
            (Some(then), Some(now)) if now.computed_since(&then, watched) => Class::Computes,
            (Some(_), Some(_)) => Class::Waits,
            _ => Class::Unknown,
        };
        lock(&self.totals).by_site.entry(site).or_default().stalls += 1;
        let last = self.last_reports.get_mut(&site);
        let (reported, folded) = match last {
            Some(last) if between(last.at, now) < self.options.fold => {
                last.folded += 1;
                (false, 0)
            }
            last => {
                let folded = last.map_or(0, |last| last.folded);
                self.last_reports
                    .insert(site, LastReport { at: now, folded: 0 });
                (true, folded)
            }
        };
        let ready = latency::ready();
        let stack = match &mut self.stacks {
            Some(stacks) if reported => stacks.of(slot, polling, class),
            _ => None,
        };
        let stall = Stall {
            label: place.label,
            location: place.location,
            lasted,
            class,
            thread: slot.name.clone(),
            thread_id: slot.thread.number(),
            ready,
            folded,
            stack,
            aftermath: None,
        };
        if reported {
            (self.callback)(&Event::Stalled(stall.clone()));
        }
        poll.stall = Some(ActiveStall {
            site,
            stall,
            reported,
        });
    }

    fn poll_ended(&mut self, poll: Option<WatchedPoll>, now: u64) {
        let stalled = poll.filter(|poll| poll.stall.is_some());
        self.ended.extend(stalled.map(|poll| (poll, now)));
    }

    fn report_recoveries(&mut self) {
        for (poll, ended) in std::mem::take(&mut self.ended) {
            let Some(active) = poll.stall else { continue };
            let mut stall = active.stall;
            let site = active.site;
            lock(&self.totals).by_site.entry(site).or_default().lasted += stall.lasted;
            let (late, longest_wait) = latency::late_polls(poll.started, ended);
            stall.aftermath = Some(Aftermath { late, longest_wait });
            if active.reported {
                (self.callback)(&Event::Recovered(stall));
            }
        }
    }
}
