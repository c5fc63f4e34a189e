//! The trace in Chrome's JSON format, which Perfetto opens.
//!
//! Perfetto shows the events of a track correctly only if each two of them are nested or separate. The polls of a
//! thread are nested, because the thread polls one future inside another. But some times are not exact, and
//! must be adjusted before they are written.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};
use std::sync::Arc;

use serde_json::{Value, json};

use super::ring::RecordedPoll;
use super::stalls::{RecordedStall, StallTrack};
use crate::site::Site;
use crate::slot::{Polling, Slot};

/// The longest tick of the coarse clock, in nanoseconds. A start that is not exact is late by at most this.
const MAX_TICK: u64 = 10_000_000;

/// The first id of tracks that are no threads. Ids of threads are smaller.
const FIRST_TRACK_ID: u32 = 1 << 30;

/// What a trace shows.
pub(super) struct Trace {
    pub(super) threads: Vec<ThreadTrack>,
    pub(super) stalls: Vec<RecordedStall>,
    pub(super) sites: Vec<&'static Site>,
    pub(super) omitted_threads: usize,
    pub(super) now: u64,
}

/// The polls of a thread.
pub(super) struct ThreadTrack {
    slot: Arc<Slot>,
    /// The polls that have ended, in the order of their ends.
    polls: Vec<RecordedPoll>,
    /// The poll that the thread is in.
    polling: Option<Polling>,
}

impl ThreadTrack {
    pub(super) fn new(slot: Arc<Slot>, polls: Vec<RecordedPoll>) -> Self {
        Self {
            polling: slot.polling(),
            slot,
            polls,
        }
    }

    pub(super) fn is_of(&self, slot: &Arc<Slot>) -> bool {
        Arc::ptr_eq(&self.slot, slot)
    }
}

/// An event of a track.
#[derive(Debug, Clone, PartialEq)]
struct Slice {
    start: u64,
    end: u64,
    category: &'static str,
    name: String,
    args: Value,
}

impl Slice {
    /// Outer slices come first.
    fn order(&self) -> (u64, Reverse<u64>) {
        (self.start, Reverse(self.end))
    }

    /// Moves an inexact start before the inner slices that began less than a tick earlier. `others` must be
    /// sorted.
    fn enclose_inner(&mut self, others: &[Self]) {
        let earlier = others.partition_point(|other| other.start < self.start);
        let inner = others[..earlier]
            .iter()
            .rev()
            .take_while(|other| other.start + MAX_TICK >= self.start)
            .filter(|other| other.end > self.start && other.end < self.end);
        if let Some(first) = inner.last() {
            self.start = first.start;
        }
    }

    /// Moves an inexact end before the slices that are longer than this one. `others` must be sorted.
    fn end_before_later(&mut self, others: &[Self]) {
        let earlier = others.partition_point(|other| other.start <= self.start);
        let overlapping = others[earlier..]
            .iter()
            .take_while(|other| other.start < self.end)
            .find(|other| other.end > self.end);
        if let Some(other) = overlapping {
            self.end = other.start;
        }
    }
}

impl Trace {
    pub(super) fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let mut writer = TraceWriter::new(out, std::process::id())?;
        writer.write_name("process_name", 0, &process_name())?;
        for thread in &self.threads {
            let name = thread.slot.name.as_deref().unwrap_or("thread");
            let slices = self.thread_slices(thread);
            writer.write_track(thread.slot.thread.number(), name, slices)?;
        }
        for (name, slices) in self.other_tracks() {
            writer.write_track(None, &name, slices)?;
        }
        writer.finish(self.omitted_threads)
    }

    /// Returns the events of a thread in the order of their starts, each two of them nested or separate.
    fn thread_slices(&self, thread: &ThreadTrack) -> Vec<Slice> {
        // Outer polls end after the inner ones. The sorting below keeps this order for polls with equal times.
        let polls = thread.polls.iter().rev();
        let (exact, approximate): (Vec<_>, Vec<_>) = polls.partition(|poll| poll.is_exact);
        let mut slices: Vec<_> = exact.into_iter().map(|poll| self.poll(poll)).collect();
        slices.sort_by_key(Slice::order);
        let running = thread.polling.map(|polling| self.running_poll(polling));
        let approximate = approximate.into_iter().map(|poll| self.poll(poll));
        let mut inexact: Vec<_> = running.into_iter().chain(approximate).collect();
        for slice in &mut inexact {
            slice.enclose_inner(&slices);
        }
        inexact.append(&mut slices);
        slices = inexact;
        slices.sort_by_key(Slice::order);
        for stall in &self.stalls {
            let Some(mut slice) = self.stall_of(thread, stall) else {
                continue;
            };
            slice.enclose_inner(&slices);
            slice.end_before_later(&slices);
            let index = slices.partition_point(|other| other.order() <= slice.order());
            slices.insert(index, slice);
        }
        slices
    }

    fn poll(&self, poll: &RecordedPoll) -> Slice {
        let (label, location) = self.describe(poll.site);
        let mut args = json!({ "location": location });
        if let Some(wait) = poll.wait {
            args["waited_us"] = micros(wait).into();
        }
        if !poll.is_exact {
            args["approximate"] = true.into();
        }
        Slice {
            start: poll.started,
            end: poll.started.saturating_add(poll.lasted),
            category: "poll",
            name: label.to_owned(),
            args,
        }
    }

    fn running_poll(&self, polling: Polling) -> Slice {
        let (label, location) = self.describe(polling.root);
        let mut args = json!({ "location": location, "unfinished": true });
        if polling.site != polling.root {
            args["inside"] = self.describe(polling.site).0.into();
        }
        Slice {
            start: polling.started,
            end: self.now.max(polling.started),
            category: "poll",
            name: label.to_owned(),
            args,
        }
    }

    fn describe(&self, site: usize) -> (&'static str, String) {
        match self.sites.get(site) {
            Some(site) => (site.label, site.location.to_string()),
            // The probe knows every site before its first poll.
            None => ("?", String::new()),
        }
    }

    fn stall_of(&self, thread: &ThreadTrack, stall: &RecordedStall) -> Option<Slice> {
        let StallTrack::Thread { slot, poll } = &stall.track else {
            return None;
        };
        if !thread.is_of(slot) {
            return None;
        }
        let is_running = |polling: Polling| polling.started == *poll;
        let running_until = thread.polling.filter(|polling| is_running(*polling));
        // The poll may have ended since the last check of the watchdog.
        let end = running_until
            .map(|_| self.now)
            .or_else(|| slot.end.after(*poll));
        Some(stall_slice(stall, end))
    }

    /// Returns the tracks that are no threads, with their names.
    fn other_tracks(&self) -> Vec<(String, Vec<Slice>)> {
        let (mut heartbeats, mut pauses) = (BTreeMap::<_, Vec<_>>::new(), Vec::new());
        for stall in &self.stalls {
            match &stall.track {
                StallTrack::Thread { .. } => {}
                StallTrack::Heartbeat(ticks) => heartbeats
                    .entry(*ticks)
                    .or_default()
                    .push(stall_slice(stall, None)),
                StallTrack::Machine => pauses.push(stall_slice(stall, None)),
            }
        }
        let mut tracks: Vec<_> = (1..)
            .zip(heartbeats.into_values())
            .map(|(number, slices)| (format!("heartbeat {number}"), slices))
            .collect();
        if !pauses.is_empty() {
            tracks.push(("machine".to_owned(), pauses));
        }
        for (_, slices) in &mut tracks {
            separate(slices);
        }
        tracks
    }
}

/// Sorts slices that have no inner slices, and moves ends so that no two slices overlap.
fn separate(slices: &mut [Slice]) {
    slices.sort_by_key(Slice::order);
    for later in 1..slices.len() {
        let start = slices[later].start;
        let slice = &mut slices[later - 1];
        slice.end = slice.end.min(start);
    }
}

/// Returns the slice of a stall. If the end of the stall is not recorded, the stall ends at `end`, or when it was
/// detected.
fn stall_slice(stall: &RecordedStall, end: Option<u64>) -> Slice {
    let mut args = stall.args.clone();
    if stall.ended.is_none() {
        args["unfinished"] = true.into();
    }
    let end = stall.ended.or(end).unwrap_or(stall.detected);
    Slice {
        start: stall.started,
        end: end.max(stall.started),
        category: "stall",
        name: stall.name.clone(),
        args,
    }
}

/// Writes the events of a trace.
struct TraceWriter<'a, W> {
    out: &'a mut W,
    process: u32,
    /// The ids of the tracks so far. The system may give the id of a thread that has ended to another thread.
    ids: HashSet<u32>,
    is_first: bool,
}

impl<'a, W: Write> TraceWriter<'a, W> {
    fn new(out: &'a mut W, process: u32) -> io::Result<Self> {
        out.write_all(b"{\"traceEvents\":[")?;
        Ok(Self {
            out,
            process,
            ids: HashSet::new(),
            is_first: true,
        })
    }

    /// Writes a track with this id. If there is no id, or another track has the same id, chooses an id.
    fn write_track(&mut self, id: Option<u32>, name: &str, slices: Vec<Slice>) -> io::Result<()> {
        let id = match id {
            Some(id) if self.ids.insert(id) => id,
            _ => self.new_id(),
        };
        self.write_name("thread_name", id, name)?;
        for slice in slices {
            self.write_event(&json!({
                "name": slice.name,
                "cat": slice.category,
                "ph": "X",
                "ts": micros(slice.start),
                "dur": micros(slice.end - slice.start),
                "pid": self.process,
                "tid": id,
                "args": slice.args,
            }))?;
        }
        Ok(())
    }

    fn new_id(&mut self) -> u32 {
        let mut id = FIRST_TRACK_ID;
        while !self.ids.insert(id) {
            id += 1;
        }
        id
    }

    /// Writes the name of the process or of a track.
    fn write_name(&mut self, kind: &str, id: u32, name: &str) -> io::Result<()> {
        self.write_event(&json!({
            "name": kind,
            "ph": "M",
            "pid": self.process,
            "tid": id,
            "args": { "name": name },
        }))
    }

    fn write_event(&mut self, event: &Value) -> io::Result<()> {
        let separator = if self.is_first { "\n" } else { ",\n" };
        self.is_first = false;
        self.out.write_all(separator.as_bytes())?;
        serde_json::to_writer(&mut *self.out, event).map_err(io::Error::from)
    }

    fn finish(self, omitted_threads: usize) -> io::Result<()> {
        let other = json!({ "omitted_threads": omitted_threads });
        writeln!(
            self.out,
            "\n],\"displayTimeUnit\":\"ms\",\"otherData\":{other}}}"
        )
    }
}

/// Returns a time in microseconds, the unit of the format. Its fraction has the nanoseconds.
fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1e3
}

fn process_name() -> String {
    let program = std::env::current_exe().ok();
    let name = program.as_ref().and_then(|path| path.file_name());
    name.map_or_else(
        || "process".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot;

    fn slice(start: u64, end: u64) -> Slice {
        Slice {
            start,
            end,
            category: "poll",
            name: String::new(),
            args: Value::Null,
        }
    }

    fn poll(started: u64, ended: u64, is_exact: bool) -> RecordedPoll {
        RecordedPoll {
            site: usize::MAX,
            started,
            lasted: ended - started,
            wait: None,
            is_exact,
        }
    }

    fn stall(slot: &Arc<Slot>, started: u64, ended: u64) -> RecordedStall {
        RecordedStall {
            track: StallTrack::Thread {
                slot: slot.clone(),
                poll: started,
            },
            name: "stall".to_owned(),
            started,
            detected: ended,
            ended: Some(ended),
            args: json!({}),
        }
    }

    /// Returns the times of the slices of a thread with these polls and stalls.
    fn times(polls: Vec<RecordedPoll>, stalls: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let slot = slot::current().unwrap();
        let trace = Trace {
            threads: vec![ThreadTrack {
                slot: slot.clone(),
                polls,
                polling: None,
            }],
            stalls: stalls
                .iter()
                .map(|(started, ended)| stall(&slot, *started, *ended))
                .collect(),
            sites: Vec::new(),
            omitted_threads: 0,
            now: 1000,
        };
        let slices = trace.thread_slices(&trace.threads[0]);
        slices
            .iter()
            .map(|slice| (slice.start, slice.end))
            .collect()
    }

    #[test]
    fn polls_are_sorted_by_start_and_outer_polls_come_first() {
        let polls = [(5, 6), (4, 7), (8, 9), (4, 9), (10, 11)];
        let polls = polls.map(|(start, end)| poll(start, end, true)).to_vec();
        assert_eq!(
            times(polls, &[]),
            [(4, 9), (4, 7), (5, 6), (8, 9), (10, 11)]
        );
    }

    /// An outer poll whose start is late by up to a tick.
    #[test]
    fn an_approximate_poll_encloses_the_inner_polls_that_began_before_it() {
        let polls = vec![
            poll(2, 3, true),
            poll(6, 7, true),
            poll(5, 20, true),
            poll(10, 30, false),
        ];
        assert_eq!(times(polls, &[]), [(2, 3), (5, 30), (5, 20), (6, 7)]);
    }

    #[test]
    fn an_approximate_poll_inside_an_exact_one_stays_inside() {
        let polls = vec![poll(10, 30, false), poll(5, 40, true)];
        assert_eq!(times(polls, &[]), [(5, 40), (10, 30)]);
    }

    #[test]
    fn a_stall_is_inside_its_poll_and_around_inner_polls() {
        let polls = vec![poll(12, 14, true), poll(10, 50, true), poll(60, 70, true)];
        assert_eq!(
            times(polls, &[(10, 49)]),
            [(10, 50), (10, 49), (12, 14), (60, 70)]
        );
    }

    /// Without the exact end of a stall, the watchdog uses the time of its check.
    #[test]
    fn a_stall_ends_before_a_later_poll_that_it_would_overlap() {
        let polls = vec![poll(10, 50, true), poll(60, 80, true)];
        assert_eq!(times(polls, &[(10, 70)]), [(10, 60), (10, 50), (60, 80)]);
    }

    #[test]
    fn only_starts_within_a_tick_are_moved() {
        let mut late = slice(2 * MAX_TICK, 3 * MAX_TICK);
        late.enclose_inner(&[slice(1, 2 * MAX_TICK + 1)]);
        assert_eq!(late.start, 2 * MAX_TICK);
    }

    #[test]
    fn slices_without_inner_slices_do_not_overlap() {
        let mut slices = [slice(20, 30), slice(10, 25), slice(40, 50)];
        separate(&mut slices);
        let times = slices.map(|slice| (slice.start, slice.end));
        assert_eq!(times, [(10, 20), (20, 30), (40, 50)]);
    }

    #[test]
    fn two_tracks_never_have_the_same_id() {
        let mut out = Vec::new();
        let mut writer = TraceWriter::new(&mut out, 1).unwrap();
        for name in ["a", "b"] {
            writer.write_track(Some(7), name, Vec::new()).unwrap();
        }
        writer.write_track(None, "c", Vec::new()).unwrap();
        writer.finish(3).unwrap();
        let trace: Value = serde_json::from_slice(&out).unwrap();
        let ids: Vec<_> = trace["traceEvents"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["tid"].as_u64().unwrap())
            .collect();
        let first = u64::from(FIRST_TRACK_ID);
        assert_eq!(ids, [7, first, first + 1]);
        assert_eq!(trace["otherData"]["omitted_threads"], 3);
    }
}
