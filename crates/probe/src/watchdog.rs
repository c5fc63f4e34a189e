//! The watchdog, which checks the polls of all threads and the ticks of heartbeats.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use crate::cpu::{ThreadId, ThreadUsage};
use crate::heartbeat::TickStats;
use crate::latency;
use crate::recorder::{RecordedStall, Recorder, StallTrack};
use crate::report::{Aftermath, Class, Event, LoopDelay, LoopThread, Stall, StallNumber};
use crate::site::{self, Site};
use crate::slot::{self, Polling, Slot, WatchedThread, between, lock, nanos};
use crate::stack::{Frame, Stack};
use crate::stacks::Stacks;

/// The counts of a probe.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) by_site: BTreeMap<usize, SiteTotal>,
    pub(crate) pauses: u64,
    pub(crate) lost: u64,
}

#[derive(Debug, Default)]
pub(crate) struct SiteTotal {
    pub(crate) stalls: u64,
    pub(crate) lasted: Duration,
}

/// The key by which stalls are folded into one report: where they were detected, and the culprit's
/// file and line.
type FoldKey = (StallSource, Option<(PathBuf, u32)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum StallSource {
    Site(usize),
    /// The address of the heartbeat's [`TickStats`], which identifies the heartbeat.
    Heartbeat(usize),
}

/// When a stall with some key was reported last, and how many have only been counted since.
struct LastReport {
    at: u64,
    folded: u64,
}

/// By how much the watchdog was late at a check.
#[derive(Debug, Clone, Copy, Default)]
struct CheckDelay {
    /// The time that a pause of the machine took.
    paused: Duration,
    /// The rest of the delay. Polls may have continued during this time.
    late: Duration,
}

/// The duration of a poll or of a tick's lateness, which the watchdog updates at each check.
struct Span {
    started: u64,
    first_check: u64,
    paused: Duration,
    late: Duration,
}

impl Span {
    fn new(started: u64, now: u64, delay: CheckDelay) -> Self {
        // The span may have begun before the delay or during it. As much of the delay as possible counts
        // as part of the span.
        let elapsed = between(started, now);
        Self {
            started,
            first_check: now,
            paused: delay.paused.min(elapsed),
            late: delay.late.min(elapsed),
        }
    }

    fn extend(&mut self, delay: CheckDelay) {
        self.paused += delay.paused;
        self.late += delay.late;
    }

    /// Returns how long the span has lasted, without pauses of the machine.
    fn lasted(&self, until: u64) -> Duration {
        between(self.started, until).saturating_sub(self.paused)
    }

    /// Returns the time since the first check, without the time during which the watchdog was late.
    fn watched(&self, now: u64) -> Duration {
        between(self.first_check, now).saturating_sub(self.paused + self.late)
    }

    /// Returns whether the span has reached half of the threshold, and may soon exceed it. The watchdog
    /// then marks the poll or tick, so that its thread stores the exact end.
    fn may_exceed(&self, options: &WatchdogOptions, now: u64) -> bool {
        between(self.started, now) >= options.threshold / 2
    }

    /// Returns whether the span exceeds the threshold even without the watchdog's own lateness. Returns
    /// false at the first check of a span, because the class of a thread is computed from two checks.
    fn exceeds(&self, options: &WatchdogOptions, now: u64) -> bool {
        self.lasted(now).saturating_sub(self.late) >= options.threshold
            && self.watched(now) >= options.interval() / 2
    }
}

/// A poll that was in progress at the last check.
struct WatchedPoll {
    slot: Arc<Slot>,
    /// When the poll began, which identifies it.
    started: u64,
    span: Span,
    usage: Option<ThreadUsage>,
    stall: Option<ActiveStall>,
}

/// A watched poll that has exceeded the threshold.
struct ActiveStall {
    site: usize,
    stall: Stall,
    reported: bool,
}

/// A heartbeat whose ticks are checked.
struct WatchedHeartbeat {
    ticks: Weak<TickStats>,
    overdue: Option<OverdueTick>,
}

/// A tick that was due at the last check.
struct OverdueTick {
    span: Span,
    threads: Vec<(WatchedThread, Option<ThreadUsage>)>,
    delay: Option<ActiveDelay>,
}

/// A tick that is late by more than the threshold.
struct ActiveDelay {
    delay: LoopDelay,
    reported: bool,
}

/// What a watchdog reports, and how often.
#[derive(Debug, Clone)]
pub(crate) struct WatchdogOptions {
    pub(crate) threshold: Duration,
    pub(crate) fold: Duration,
    pub(crate) stacks: bool,
    pub(crate) heartbeats: Vec<Weak<TickStats>>,
    /// If set, the watchdog checks only polls whose outermost probed future belongs to this site.
    pub(crate) root: Option<usize>,
    /// Records the stalls.
    pub(crate) recorder: Option<Recorder>,
}

impl WatchdogOptions {
    /// Returns the interval between two checks.
    pub(crate) fn interval(&self) -> Duration {
        (self.threshold / 4).max(Duration::from_millis(1))
    }
}

pub(crate) struct Watchdog {
    stacks: Option<Stacks>,
    totals: Arc<Mutex<Totals>>,
    events: EventQueue,
    /// The watchdog's own thread, and how long it had been in the queue for a processor at the last
    /// check.
    thread: Option<(ThreadId, Duration)>,
    last_check: u64,
    watched: HashMap<usize, WatchedPoll>,
    heartbeats: Vec<WatchedHeartbeat>,
    last_reports: HashMap<FoldKey, LastReport>,
    /// Stalled polls that are over, and when they ended. They are reported at the next check, because the
    /// delayed futures have been polled by then.
    ended: Vec<(WatchedPoll, u64)>,
    options: WatchdogOptions,
}

/// The queue of events for the listener. If it is full, the watchdog drops events and does not wait.
struct EventQueue {
    sender: SyncSender<Event>,
    totals: Arc<Mutex<Totals>>,
    /// How many events have been lost since the queue last accepted an event.
    lost: u64,
    is_closed: bool,
}

impl EventQueue {
    /// Sends an event, and before it the number of lost events. Returns whether the queue has accepted the
    /// event.
    fn send(&mut self, event: Event) -> bool {
        if self.lost > 0 && self.try_send(Event::EventsLost(self.lost)) {
            self.lost = 0;
        }
        let sent = self.lost == 0 && self.try_send(event);
        if !sent {
            self.lost += 1;
            lock(&self.totals).lost += 1;
        }
        sent
    }

    fn try_send(&mut self, event: Event) -> bool {
        let sent = self.sender.try_send(event);
        self.is_closed |= matches!(sent, Err(TrySendError::Disconnected(_)));
        sent.is_ok()
    }

    /// Reports the lost events, and waits for room in the queue if necessary.
    fn finish(&mut self) {
        if self.lost > 0 {
            // Fails only if the listener has panicked.
            let _ = self.sender.send(Event::EventsLost(self.lost));
        }
    }
}

impl Watchdog {
    /// Creates a watchdog, and prepares to read stacks if the options enable them. If the system does
    /// not allow this, stalls are reported without a stack.
    pub(crate) fn new(
        options: WatchdogOptions,
        totals: Arc<Mutex<Totals>>,
        events: SyncSender<Event>,
    ) -> Self {
        let heartbeats = options.heartbeats.iter().map(|ticks| WatchedHeartbeat {
            ticks: ticks.clone(),
            overdue: None,
        });
        Self {
            stacks: options.stacks.then(Stacks::new).flatten(),
            events: EventQueue {
                sender: events,
                totals: totals.clone(),
                lost: 0,
                is_closed: false,
            },
            totals,
            thread: None,
            last_check: nanos(),
            watched: HashMap::new(),
            heartbeats: heartbeats.collect(),
            last_reports: HashMap::new(),
            ended: Vec::new(),
            options,
        }
    }

    /// Returns whether nothing receives the events, because the listener has panicked.
    pub(crate) fn has_no_listener(&self) -> bool {
        self.events.is_closed
    }

    pub(crate) fn check(&mut self) {
        let now = nanos();
        let delay = self.check_own_lateness(now);
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
                    poll.span.extend(delay);
                    poll
                }
                other => {
                    self.poll_ended(other, now);
                    WatchedPoll {
                        started: polling.started,
                        span: Span::new(polling.started, now, delay),
                        usage: slot.thread.usage(),
                        stall: None,
                        slot,
                    }
                }
            };
            if poll.span.may_exceed(&self.options, now) {
                poll.slot.end.watch(poll.started);
            }
            self.check_poll(polling, &mut poll, now);
            self.watched.insert(key, poll);
        }
        for poll in before.into_values() {
            self.poll_ended(Some(poll), now);
        }
        self.check_heartbeats(now, delay);
        // The time that the check took, for example to read stacks, does not count as lateness.
        self.last_check = nanos();
    }

    /// Checks once more and reports all stalls that are over.
    pub(crate) fn finish(&mut self) {
        self.check();
        self.report_recoveries();
        self.events.finish();
    }

    /// Returns by how much this thread itself is late. Reports a pause of the machine if the lateness
    /// exceeds the threshold and the thread was not in the queue for a processor meanwhile.
    fn check_own_lateness(&mut self, now: u64) -> CheckDelay {
        let late = between(self.last_check, now).saturating_sub(self.options.interval());
        let thread = self
            .thread
            .map_or_else(ThreadId::current, |(thread, _)| thread);
        let before = self.thread.map_or(Duration::ZERO, |(_, queued)| queued);
        let queued = thread.queued().unwrap_or(before);
        self.thread = Some((thread, queued));
        let paused = late.saturating_sub(queued.saturating_sub(before));
        if paused < self.options.threshold {
            let paused = Duration::ZERO;
            return CheckDelay { paused, late };
        }
        lock(&self.totals).pauses += 1;
        let event = Event::MachinePaused(paused);
        if let Some(recorder) = &self.options.recorder {
            recorder.record_stall(RecordedStall {
                track: StallTrack::Machine,
                name: "machine paused".to_owned(),
                started: now.saturating_sub(site::nanos(paused)),
                detected: now,
                ended: Some(now),
                args: event.to_json(),
            });
        }
        self.events.send(event);
        let late = late - paused;
        CheckDelay { paused, late }
    }

    fn check_poll(&mut self, polling: Polling, poll: &mut WatchedPoll, now: u64) {
        if poll.stall.is_some() || !poll.span.exceeds(&self.options, now) {
            return;
        }
        let site = polling.site;
        let Some(place) = Site::numbered(site) else {
            return;
        };
        let slot = &poll.slot;
        let class = class(slot, poll.usage, poll.span.watched(now));
        let ready = latency::ready();
        let stacks = self.stacks.as_mut();
        let stack = stacks.and_then(|stacks| stacks.of_poll(slot, polling, class));
        if stack.as_ref().is_some_and(Stack::is_in_block_in_place) {
            // After `block_in_place`, the thread may be a worker again, and the poll may stall then.
            poll.span = Span::new(now, now, CheckDelay::default());
            poll.usage = slot.thread.usage();
            return;
        }
        lock(&self.totals).by_site.entry(site).or_default().stalls += 1;
        let culprit = stack.as_ref().and_then(Stack::culprit);
        let folded = self.fold(StallSource::Site(site), culprit, now);
        let mut stall = Stall {
            label: place.label,
            location: place.location,
            lasted: poll.span.lasted(now),
            class,
            thread: slot.name.clone(),
            thread_id: slot.thread.number(),
            ready,
            folded: folded.unwrap_or(0),
            stack,
            aftermath: None,
            number: None,
        };
        if let Some(recorder) = &self.options.recorder {
            stall.number = Some(recorder.record_stall(RecordedStall {
                track: StallTrack::Thread {
                    slot: slot.clone(),
                    poll: poll.started,
                },
                name: format!("stall: {}", stall.label),
                started: poll.span.started,
                detected: now,
                ended: None,
                args: stall.to_json(),
            }));
        }
        let reported = folded.is_some() && self.events.send(Event::Stalled(stall.clone()));
        poll.stall = Some(ActiveStall {
            site,
            stall,
            reported,
        });
    }

    /// Decides whether to report a stall. If so, returns how many stalls with the same source and culprit
    /// have only been counted since their last report. Otherwise counts this stall and returns `None`.
    fn fold(&mut self, source: StallSource, culprit: Option<&Frame>, now: u64) -> Option<u64> {
        let line = culprit.and_then(|frame| Some((frame.file.clone()?, frame.line?)));
        let key = (source, line);
        let last = self.last_reports.get_mut(&key);
        if let Some(last) = last
            && between(last.at, now) < self.options.fold
        {
            last.folded += 1;
            return None;
        }
        let report = LastReport { at: now, folded: 0 };
        let last = self.last_reports.insert(key, report);
        Some(last.map_or(0, |last| last.folded))
    }

    fn poll_ended(&mut self, poll: Option<WatchedPoll>, now: u64) {
        let stalled = poll.filter(|poll| poll.stall.is_some());
        self.ended.extend(stalled.map(|poll| {
            let ended = poll.slot.end.after(poll.started).unwrap_or(now);
            (poll, ended)
        }));
    }

    fn report_recoveries(&mut self) {
        for (poll, ended) in std::mem::take(&mut self.ended) {
            let Some(active) = poll.stall else { continue };
            let mut stall = active.stall;
            let site = active.site;
            stall.lasted = poll.span.lasted(ended);
            lock(&self.totals).by_site.entry(site).or_default().lasted += stall.lasted;
            let (late, longest_wait) = latency::late_polls(poll.span.started, ended);
            stall.aftermath = Some(Aftermath { late, longest_wait });
            self.end_recorded(stall.number, ended, || stall.to_json());
            if active.reported {
                self.events.send(Event::Recovered(stall));
            }
        }
    }

    /// Records the end of a stall or delay.
    fn end_recorded(
        &self,
        number: Option<StallNumber>,
        ended: u64,
        args: impl FnOnce() -> serde_json::Value,
    ) {
        if let (Some(recorder), Some(number)) = (&self.options.recorder, number) {
            recorder.end_stall(number, ended, args());
        }
    }

    fn check_heartbeats(&mut self, now: u64, delay: CheckDelay) {
        let mut heartbeats = std::mem::take(&mut self.heartbeats);
        heartbeats.retain_mut(|heartbeat| {
            let ticks = heartbeat.ticks.upgrade();
            if let Some(ticks) = &ticks {
                self.check_heartbeat(heartbeat, ticks, now, delay);
            }
            ticks.is_some()
        });
        self.heartbeats = heartbeats;
    }

    fn check_heartbeat(
        &mut self,
        heartbeat: &mut WatchedHeartbeat,
        ticks: &Arc<TickStats>,
        now: u64,
        delay: CheckDelay,
    ) {
        let due = ticks.due();
        let before = heartbeat.overdue.take();
        let mut overdue = match before {
            Some(mut overdue) if overdue.span.started == due => {
                overdue.span.extend(delay);
                overdue
            }
            before => {
                self.tick_arrived(before, ticks, now);
                if due > now {
                    return;
                }
                let threads = ticks.threads().into_iter();
                OverdueTick {
                    span: Span::new(due, now, delay),
                    threads: threads
                        .map(|thread| {
                            let usage = thread.slot.thread.usage();
                            (thread, usage)
                        })
                        .collect(),
                    delay: None,
                }
            }
        };
        if overdue.span.may_exceed(&self.options, now) {
            ticks.end.watch(due);
        }
        if overdue.delay.is_none() && overdue.span.exceeds(&self.options, now) {
            overdue.delay = self.delay(&overdue, ticks, now);
        }
        heartbeat.overdue = Some(overdue);
    }

    /// Reports a late tick. Returns `None` if there are threads that are not parked, and each of them is in
    /// a stalled poll with a label, is in `block_in_place`, or has ended.
    fn delay(
        &mut self,
        overdue: &OverdueTick,
        ticks: &Arc<TickStats>,
        now: u64,
    ) -> Option<ActiveDelay> {
        let mut threads = Vec::new();
        let mut all_parked = true;
        for (thread, usage) in &overdue.threads {
            let slot = &thread.slot;
            if slot.is_parked() {
                continue;
            }
            all_parked = false;
            // A stall with a label is reported as such.
            let has_label = slot
                .polling()
                .is_some_and(|polling| between(polling.started, now) >= self.options.threshold);
            if has_label || !slot.is_running() {
                continue;
            }
            let class = class(slot, *usage, overdue.span.watched(now));
            let stacks = self.stacks.as_mut();
            let stack = stacks.and_then(|stacks| stacks.of_thread(slot, thread.address, class));
            if stack.as_ref().is_some_and(Stack::is_in_block_in_place) {
                continue;
            }
            threads.push(LoopThread {
                name: slot.name.clone(),
                id: slot.thread.number(),
                class,
                // If the tick has arrived meanwhile, the stack shows something else.
                stack: stack.filter(|_| ticks.due() == overdue.span.started),
            });
        }
        if threads.is_empty() && !all_parked {
            return None;
        }
        threads.sort_by_key(|thread| thread.culprit().is_none());
        let mut delay = LoopDelay {
            lasted: overdue.span.lasted(now),
            threads,
            folded: 0,
            is_over: false,
            number: None,
        };
        let address = Arc::as_ptr(ticks).addr();
        let folded = self.fold(StallSource::Heartbeat(address), delay.culprit(), now);
        delay.folded = folded.unwrap_or(0);
        if let Some(recorder) = &self.options.recorder {
            delay.number = Some(recorder.record_stall(RecordedStall {
                track: StallTrack::Heartbeat(address),
                name: "stall: event loop".to_owned(),
                started: overdue.span.started,
                detected: now,
                ended: None,
                args: delay.to_json(),
            }));
        }
        let reported = folded.is_some() && self.events.send(Event::LoopDelayed(delay.clone()));
        Some(ActiveDelay { delay, reported })
    }

    fn tick_arrived(&mut self, overdue: Option<OverdueTick>, ticks: &TickStats, now: u64) {
        let Some(overdue) = overdue else { return };
        let Some(active) = overdue.delay else { return };
        let mut delay = active.delay;
        let ended = ticks.end.after(overdue.span.started).unwrap_or(now);
        delay.lasted = overdue.span.lasted(ended);
        delay.is_over = true;
        self.end_recorded(delay.number, ended, || delay.to_json());
        if active.reported {
            self.events.send(Event::LoopResumed(delay));
        }
    }
}

/// Returns whether a thread has computed or waited since `then`, which was `length` ago.
fn class(slot: &Slot, then: Option<ThreadUsage>, length: Duration) -> Class {
    match (then, slot.thread.usage()) {
        (Some(then), Some(now)) if now.computed_since(&then, length) => Class::Computes,
        (Some(_), Some(_)) => Class::Waits,
        _ => Class::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};

    use super::*;

    fn watchdog(queue: usize) -> (Watchdog, Receiver<Event>) {
        let (sender, events) = sync_channel(queue);
        let options = WatchdogOptions {
            threshold: Duration::from_millis(100),
            fold: Duration::from_nanos(100),
            stacks: false,
            heartbeats: Vec::new(),
            root: None,
            recorder: None,
        };
        let watchdog = Watchdog::new(options, Arc::default(), sender);
        (watchdog, events)
    }

    #[test]
    fn stalls_are_folded_by_source_and_line() {
        let (mut watchdog, _events) = watchdog(1);
        let frame = |line| Frame {
            function: None,
            file: Some("src/main.rs".into()),
            line: Some(line),
        };
        let mut fold =
            |site, line, now| watchdog.fold(StallSource::Site(site), Some(&frame(line)), now);
        assert_eq!(fold(0, 1, 1000), Some(0));
        assert_eq!(fold(0, 2, 1001), Some(0));
        assert_eq!(fold(1, 1, 1002), Some(0));
        assert_eq!(fold(0, 1, 1003), None);
        assert_eq!(fold(0, 1, 1099), None);
        assert_eq!(fold(0, 1, 1100), Some(2));
        assert_eq!(fold(0, 2, 1101), Some(0));
        assert_eq!(fold(0, 1, 1101), None);
    }

    #[test]
    fn events_that_a_full_queue_loses_are_counted() {
        let (mut watchdog, events) = watchdog(2);
        let queue = &mut watchdog.events;
        let mut send = |ms| queue.send(Event::MachinePaused(Duration::from_millis(ms)));
        assert_eq!([1, 2, 3, 4].map(&mut send), [true, true, false, false]);
        let paused = |event: &Event| match event {
            Event::MachinePaused(late) => late.as_millis(),
            event => panic!("{event}"),
        };
        assert_eq!(paused(&events.recv().unwrap()), 1);
        // The event with the number of lost events fills the queue again.
        assert!(!send(5));
        assert_eq!(paused(&events.recv().unwrap()), 2);
        assert!(matches!(events.recv().unwrap(), Event::EventsLost(2)));
        assert!(send(6));
        assert!(matches!(events.recv().unwrap(), Event::EventsLost(1)));
        assert_eq!(paused(&events.recv().unwrap()), 6);
        assert_eq!(lock(&watchdog.totals).lost, 3);
        assert!(!watchdog.has_no_listener());
        drop(events);
        assert!(!watchdog.events.send(Event::EventsLost(1)));
        assert!(watchdog.has_no_listener());
    }
}
