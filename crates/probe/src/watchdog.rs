//! The thread that looks at the others.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::cpu::Past;
use crate::late;
use crate::report::{Aftermath, Class, Event, Stall};
use crate::site::Site;
use crate::slot::{self, Polling, Slot, between, lock, nanos};
use crate::stacks::Stacks;

/// What a probe has seen.
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

/// A place that was told.
struct Told {
    at: u64,
    folded: u64,
}

/// A poll that the watchdog has met.
struct Seen {
    started: u64,
    first: u64,
    past: Option<Past>,
    /// The part of it in which the process was stopped.
    paused: Duration,
    stall: Option<Exceeded>,
}

struct Exceeded {
    site: usize,
    stall: Stall,
    told: bool,
}

/// A stall that is over, until the next look: by then those whom it held up have been polled.
struct Over {
    started: u64,
    ended: u64,
    exceeded: Exceeded,
}

type Tell = Box<dyn FnMut(&Event) + Send>;

pub(crate) struct Watchdog {
    threshold: Duration,
    fold: Duration,
    pace: Duration,
    root: Option<usize>,
    stacks: Option<Stacks>,
    totals: Arc<Mutex<Totals>>,
    tell: Tell,
    last_look: u64,
    seen: HashMap<usize, Seen>,
    told: HashMap<usize, Told>,
    over: Vec<Over>,
}

impl Watchdog {
    pub(crate) fn new(
        threshold: Duration,
        fold: Duration,
        pace: Duration,
        root: Option<usize>,
        totals: Arc<Mutex<Totals>>,
        tell: Tell,
    ) -> Self {
        Self {
            threshold,
            fold,
            pace,
            root,
            stacks: None,
            totals,
            tell,
            last_look: nanos(),
            seen: HashMap::new(),
            told: HashMap::new(),
            over: Vec::new(),
        }
    }

    /// From now on, with the stacks of stuck threads, where they can be had.
    pub(crate) fn take_stacks(&mut self) {
        self.stacks = Stacks::new();
    }

    pub(crate) fn look(&mut self) {
        let now = nanos();
        let paused = self.check_itself(now);
        for over in std::mem::take(&mut self.over) {
            self.recovered(over);
        }
        let mut before = std::mem::take(&mut self.seen);
        for slot in slot::all() {
            let key = Arc::as_ptr(&slot).addr();
            let polling = slot
                .polling()
                .filter(|polling| self.root.is_none_or(|root| polling.root == root));
            let Some(polling) = polling else { continue };
            let mut seen = match before.remove(&key) {
                Some(mut seen) if seen.started == polling.started => {
                    seen.paused += paused;
                    seen
                }
                other => {
                    self.is_over(other, now);
                    Seen {
                        started: polling.started,
                        first: now,
                        past: slot.thread.past(),
                        // It may have begun before the pause, or after: it gets the doubt, for as
                        // long as it has lasted.
                        paused: paused.min(between(polling.started, now)),
                        stall: None,
                    }
                }
            };
            self.judge(&slot, polling, &mut seen, now);
            self.seen.insert(key, seen);
        }
        for seen in before.into_values() {
            self.is_over(Some(seen), now);
        }
        // What it takes to tell is not lateness.
        self.last_look = nanos();
    }

    /// Tells what is over, as nobody will look again.
    pub(crate) fn end(&mut self) {
        self.look();
        for over in std::mem::take(&mut self.over) {
            self.recovered(over);
        }
    }

    /// By how much this thread itself was late, if that is more than scheduling explains.
    fn check_itself(&mut self, now: u64) -> Duration {
        let late = between(self.last_look, now).saturating_sub(self.pace);
        if late >= self.threshold {
            lock(&self.totals).pauses += 1;
            (self.tell)(&Event::MachinePaused(late));
        }
        // A small lateness is not worth telling, and no poll is blamed for it all the same.
        late
    }

    fn judge(&mut self, slot: &Arc<Slot>, polling: Polling, seen: &mut Seen, now: u64) {
        let site = polling.site;
        let lasted = between(seen.started, now).saturating_sub(seen.paused);
        let watched = between(seen.first, now).saturating_sub(seen.paused);
        if let Some(exceeded) = &mut seen.stall {
            exceeded.stall.lasted = lasted;
            return;
        }
        // Two looks are needed to tell what the thread does between them.
        if lasted < self.threshold || watched < self.pace / 2 {
            return;
        }
        let Some(place) = Site::numbered(site) else {
            return;
        };
        let class = match (seen.past, slot.thread.past()) {
            (Some(then), Some(now)) if now.computed_since(&then, watched) => Class::Computes,
            (Some(_), Some(_)) => Class::Waits,
            _ => Class::Unknown,
        };
        lock(&self.totals).by_site.entry(site).or_default().stalls += 1;
        let recent = self.told.get_mut(&site);
        let (told, folded) = match recent {
            Some(recent) if between(recent.at, now) < self.fold => {
                recent.folded += 1;
                (false, 0)
            }
            recent => {
                let folded = recent.map_or(0, |recent| recent.folded);
                self.told.insert(site, Told { at: now, folded: 0 });
                (true, folded)
            }
        };
        let ready = late::ready();
        // The rest is worth telling without it.
        let stack = match &mut self.stacks {
            Some(stacks) if told => stacks.of(slot, polling, class),
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
        if told {
            (self.tell)(&Event::Stalled(stall.clone()));
        }
        seen.stall = Some(Exceeded { site, stall, told });
    }

    fn is_over(&mut self, seen: Option<Seen>, now: u64) {
        if let Some(seen) = seen
            && let Some(exceeded) = seen.stall
        {
            self.over.push(Over {
                started: seen.started,
                ended: now,
                exceeded,
            });
        }
    }

    fn recovered(&mut self, over: Over) {
        let Exceeded {
            site,
            mut stall,
            told,
        } = over.exceeded;
        lock(&self.totals).by_site.entry(site).or_default().lasted += stall.lasted;
        let (late, longest_wait) = late::during(over.started, over.ended);
        stall.aftermath = Some(Aftermath { late, longest_wait });
        if told {
            (self.tell)(&Event::Recovered(stall));
        }
    }
}
