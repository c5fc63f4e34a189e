//! Tests that a recorder writes correct traces of polls and stalls on each runtime, and that its memory is
//! bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::future::poll_fn;
use std::hint::spin_loop;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use futures_lite::future::{block_on, yield_now};
use inflight_core::{BlockOn, ErrorKind, Runtime, Task};
use inflight_probe::{Event, FutureExt, Heartbeat, Probe, ProbeBuilder, Recorder, Stall};
use serde_json::Value;

const THRESHOLD: Duration = Duration::from_millis(50);

/// A complete event of a trace. Times are in nanoseconds.
#[derive(Debug, Clone)]
struct Slice {
    track: u64,
    start: u64,
    end: u64,
    name: String,
    category: String,
    args: Value,
}

impl Slice {
    fn has_inside(&self, other: &Self) -> bool {
        self.track == other.track && self.start <= other.start && other.end <= self.end
    }

    fn is_unfinished(&self) -> bool {
        self.args["unfinished"] == true
    }
}

/// A parsed trace.
struct Trace {
    /// The names of the tracks.
    tracks: BTreeMap<u64, String>,
    slices: Vec<Slice>,
}

impl Trace {
    fn of(recorder: &Recorder) -> Self {
        let mut json = Vec::new();
        recorder.write_to(&mut json).unwrap();
        Self::parse(&json)
    }

    fn read(path: &Path) -> Self {
        Self::parse(&fs::read(path).unwrap())
    }

    /// Parses a trace and checks it: each track has one name, the events of a track are sorted by their start,
    /// and each two of them are nested or separate.
    fn parse(json: &[u8]) -> Self {
        let trace: Value = serde_json::from_slice(json).unwrap();
        let (mut tracks, mut slices) = (BTreeMap::new(), Vec::new());
        let mut process_names = 0;
        for event in trace["traceEvents"].as_array().unwrap() {
            assert_eq!(event["pid"], std::process::id(), "{event}");
            let track = event["tid"].as_u64().unwrap();
            match (event["ph"].as_str(), event["name"].as_str().unwrap()) {
                (Some("M"), "process_name") => process_names += 1,
                (Some("M"), "thread_name") => {
                    let name = event["args"]["name"].as_str().unwrap().to_owned();
                    assert_eq!(tracks.insert(track, name), None, "{event}");
                }
                (Some("X"), name) => slices.push(Slice {
                    track,
                    start: nanos(&event["ts"]),
                    end: nanos(&event["ts"]) + nanos(&event["dur"]),
                    name: name.to_owned(),
                    category: event["cat"].as_str().unwrap().to_owned(),
                    args: event["args"].clone(),
                }),
                _ => panic!("{event}"),
            }
        }
        assert_eq!(process_names, 1);
        for track in tracks.keys() {
            let slices: Vec<_> = slices
                .iter()
                .filter(|slice| slice.track == *track)
                .collect();
            check_nesting(&slices);
        }
        assert!(slices.iter().all(|slice| tracks.contains_key(&slice.track)));
        Self { tracks, slices }
    }

    fn named(&self, name: &str) -> Vec<Slice> {
        let slices = self.slices.iter();
        slices.filter(|slice| slice.name == name).cloned().collect()
    }

    /// Returns the only event with this name.
    #[track_caller]
    fn only(&self, name: &str) -> Slice {
        let slices = self.named(name);
        assert_eq!(slices.len(), 1, "{slices:?}");
        slices[0].clone()
    }
}

/// Converts a time of a trace, which is in microseconds.
fn nanos(micros: &Value) -> u64 {
    (micros.as_f64().unwrap() * 1e3).round() as u64
}

fn check_nesting(slices: &[&Slice]) {
    let mut outer: Vec<&Slice> = Vec::new();
    let mut last_start = 0;
    for slice in slices {
        assert!(slice.start >= last_start, "{slice:?}");
        last_start = slice.start;
        while outer
            .pop_if(|outer| outer.end <= slice.start && outer.end < slice.end)
            .is_some()
        {}
        if let Some(outer) = outer.last() {
            assert!(slice.end <= outer.end, "{slice:?} overlaps {outer:?}");
        }
        outer.push(slice);
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("recorder {name}"));
    let _ = fs::remove_dir_all(&folder);
    folder
}

/// Starts a probe, which reads stacks if the feature is enabled.
fn start(builder: ProbeBuilder) -> (Probe, Receiver<Event>) {
    let (sender, events) = channel();
    #[cfg(feature = "stacks")]
    let builder = builder.stacks(true);
    let probe = builder.threshold(THRESHOLD).start(move |event| {
        let _ = sender.send(event.clone());
    });
    (probe.unwrap(), events)
}

/// Waits for an event about a stall with this label, and returns the event after it.
fn wait_for(
    events: &Receiver<Event>,
    label: &str,
    find: impl Fn(&Event) -> Option<&Stall>,
) -> Event {
    // Other tests in this process use other labels.
    while find(&events.recv().unwrap()).is_none_or(|stall| stall.label != label) {}
    events.recv().unwrap()
}

fn stalled(event: &Event) -> Option<&Stall> {
    match event {
        Event::Stalled(stall) => Some(stall),
        _ => None,
    }
}

fn recovered(event: &Event) -> Option<&Stall> {
    match event {
        Event::Recovered(stall) => Some(stall),
        _ => None,
    }
}

fn written(event: &Event) -> PathBuf {
    match event {
        Event::TraceWritten(path) => path.clone(),
        event => panic!("{event}"),
    }
}

/// The labels of a test.
struct Labels {
    outer: &'static str,
    inner: &'static str,
    stuck: &'static str,
}

/// Checks the events of a future that is polled twice, and of a future inside.
fn check_polls(runtime: &(impl Runtime + BlockOn), labels: &Labels) {
    let recorder = Recorder::start(100);
    let names = Arc::new(Mutex::new(Vec::new()));
    let seen = names.clone();
    let record_name = move || {
        let name = thread::current().name().map(str::to_owned);
        seen.lock().unwrap().push(name);
    };
    let inner = async move {
        record_name();
        yield_now().await;
        record_name();
    };
    let inner = inner.probed(labels.inner);
    let outer = inner.probed(labels.outer);
    let line = line!() - 1;
    runtime.block_on(Task::spawn(runtime, outer)).unwrap();
    let trace = Trace::of(&recorder);
    let (outer, inner) = (trace.named(labels.outer), trace.named(labels.inner));
    assert_eq!((outer.len(), inner.len()), (2, 2));
    let names = names.lock().unwrap();
    for ((outer, inner), name) in outer.iter().zip(&inner).zip(&*names) {
        assert!(outer.has_inside(inner), "{outer:?}, {inner:?}");
        assert_eq!(outer.category, "poll");
        assert!(!outer.is_unfinished(), "{outer:?}");
        let location = outer.args["location"].as_str().unwrap();
        assert!(
            location.starts_with(&format!("{}:{line}:", file!())),
            "{location}"
        );
        let expected = name.as_deref().unwrap_or("thread");
        assert_eq!(trace.tracks[&outer.track], expected);
    }
    // A first poll has no wake.
    let waited = |slice: &Slice| slice.args["waited_us"].as_f64();
    assert_eq!(waited(&outer[0]), None);
    assert!(waited(&outer[1]) >= Some(0.0), "{outer:?}");
    assert!(outer[0].end <= outer[1].start, "{outer:?}");
}

/// Checks the trace that is written when a stall is reported, and the trace after its end.
fn check_stall(runtime: &(impl Runtime + BlockOn), labels: &Labels) {
    let recorder = Recorder::start(100).write_on_stall(folder(labels.stuck), 100);
    let (_probe, events) = start(Probe::builder().recorder(&recorder));
    let (release, released) = channel::<()>();
    let stuck = line!() + 1;
    let blocking = async move { released.recv().unwrap() };
    let before = async {}.probed(labels.outer);
    let task = async move {
        before.await;
        blocking.await;
    };
    let task = Task::spawn(runtime, task.probed(labels.stuck));
    let path = written(&wait_for(&events, labels.stuck, stalled));
    let stall_name = format!("stall: {}", labels.stuck);
    let trace = Trace::read(&path);
    let (poll, stall) = (trace.only(labels.stuck), trace.only(&stall_name));
    assert!(
        poll.is_unfinished() && poll.has_inside(&stall),
        "{poll:?}, {stall:?}"
    );
    assert!(stall.is_unfinished(), "{stall:?}");
    assert_eq!(stall.category, "stall");
    assert!(stall.has_inside(&trace.only(labels.outer)), "{stall:?}");
    if cfg!(target_os = "linux") {
        assert_eq!(stall.args["class"], "waits");
    }
    if cfg!(all(
        feature = "stacks",
        target_os = "linux",
        target_arch = "x86_64"
    )) {
        assert_eq!(stall.args["at"]["line"], stuck, "{stall:?}");
    }
    release.send(()).unwrap();
    runtime.block_on(task).unwrap();
    assert_eq!(written(&wait_for(&events, labels.stuck, recovered)), path);
    let trace = Trace::read(&path);
    let (poll, stall) = (trace.only(labels.stuck), trace.only(&stall_name));
    assert!(
        !poll.is_unfinished() && poll.has_inside(&stall),
        "{poll:?}, {stall:?}"
    );
    assert!(!stall.is_unfinished(), "{stall:?}");
    assert!(
        stall.end - stall.start >= THRESHOLD.as_nanos() as u64,
        "{stall:?}"
    );
    assert_eq!(stall.args["event"], "stalled");
}

macro_rules! on {
    ($name:ident, $runtime:expr) => {
        mod $name {
            use super::Labels;

            #[test]
            fn polls_are_on_the_tracks_of_their_threads() {
                let labels = Labels {
                    outer: concat!(stringify!($name), " outer"),
                    inner: concat!(stringify!($name), " inner"),
                    stuck: "",
                };
                super::check_polls(&$runtime, &labels);
            }

            #[test]
            fn a_stall_writes_a_trace_and_its_end_writes_it_again() {
                let labels = Labels {
                    outer: concat!(stringify!($name), " before"),
                    inner: "",
                    stuck: concat!(stringify!($name), " stuck"),
                };
                super::check_stall(&$runtime, &labels);
            }
        }
    };
}

on!(
    tokio,
    inflight_tokio::Tokio::new(2.try_into().ok()).unwrap()
);
on!(
    smol,
    inflight_smol::Smol::new(2.try_into().unwrap()).unwrap()
);
on!(async_std, inflight_async_std::AsyncStd::global());
on!(threads, inflight_threads::Threads::new());

#[test]
fn a_full_recorder_keeps_the_newest_polls() {
    let recorder = Recorder::start(10);
    for _ in 0..50 {
        block_on(async {}.probed("old"));
    }
    for _ in 0..10 {
        block_on(async {}.probed("new"));
    }
    let trace = Trace::of(&recorder);
    assert_eq!(trace.named("old").len(), 0);
    assert_eq!(trace.named("new").len(), 10);
    block_on(async {}.probed("newest"));
    let trace = Trace::of(&recorder);
    assert_eq!(trace.named("new").len(), 9);
    assert_eq!(trace.named("newest").len(), 1);
}

/// A recorder that starts later, or with another capacity, does not change the other one.
#[test]
fn several_recorders_record_at_once() {
    let first = Recorder::start(3);
    block_on(async {}.probed("several"));
    let second = Recorder::start(2);
    let clone = second.clone();
    drop(second);
    for _ in 0..4 {
        block_on(async {}.probed("several"));
    }
    assert_eq!(Trace::of(&first).named("several").len(), 3);
    assert_eq!(Trace::of(&clone).named("several").len(), 2);
    drop(first);
    block_on(async {}.probed("single"));
    assert_eq!(Trace::of(&clone).named("several").len(), 1);
    assert_eq!(Trace::of(&clone).named("single").len(), 1);
}

#[test]
fn traces_are_complete_while_threads_record() {
    const LABELS: [&str; 4] = ["writer 0", "writer 1", "writer 2", "writer 3"];
    const CAPACITY: usize = 50;
    let recorder = Recorder::start(CAPACITY);
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        for label in LABELS {
            let is_done = &is_done;
            scope.spawn(move || {
                while !is_done.load(Ordering::Relaxed) {
                    // The outer future is polled twice. Few new futures, so each is timed.
                    let inner = async { yield_now().await }.probed(label);
                    block_on(inner.probed(label));
                    thread::yield_now();
                }
            });
        }
        let mut full = BTreeSet::new();
        while full.len() < LABELS.len() {
            let trace = Trace::of(&recorder);
            for label in LABELS {
                let slices = trace.named(label);
                let tracks: BTreeSet<_> = slices.iter().map(|slice| slice.track).collect();
                assert!(tracks.len() <= 1, "{slices:?}");
                // The thread may also be in a poll.
                assert!(slices.len() <= CAPACITY + 1, "{}", slices.len());
                if slices.len() + 5 >= CAPACITY {
                    full.insert(label);
                }
            }
        }
        is_done.store(true, Ordering::Relaxed);
    });
}

/// If a thread starts many futures, it does not time all of them.
#[test]
fn long_polls_of_untimed_futures_are_recorded() {
    let recorder = Recorder::start(5000);
    let long = Duration::from_millis(30);
    // A quarter of a second may end between the short futures and the long one. Then it is timed.
    let found = (0..50).find_map(|_| {
        for _ in 0..2001 {
            block_on(async {}.probed("short"));
        }
        let poll = async {
            let started = Instant::now();
            block_on(async {}.probed("inside"));
            while started.elapsed() < long {
                spin_loop();
            }
        };
        block_on(poll.probed("long"));
        let slices = Trace::of(&recorder).named("long");
        slices
            .into_iter()
            .find(|slice| slice.args["approximate"] == true)
    });
    let poll = found.expect("a long poll should be recorded although it was not timed");
    // The start is late by at most a tick of 10 ms.
    assert!(poll.end - poll.start >= 20_000_000, "{poll:?}");
}

#[test]
fn a_trace_on_demand_shows_polls_that_have_not_ended() {
    let recorder = Recorder::start(10);
    let (begin, begun) = channel();
    let (release, released) = channel::<()>();
    let polls = thread::Builder::new()
        .name("on demand".to_owned())
        .spawn(move || {
            let inner = async {
                begin.send(()).unwrap();
                released.recv().unwrap();
            };
            let inner = inner.probed("inner on demand");
            block_on(inner.probed("outer on demand"));
        });
    begun.recv().unwrap();
    let path = folder("on demand");
    // ANCHOR: write
    recorder.write(&path).unwrap();
    // ANCHOR_END: write
    let trace = Trace::read(&path);
    let poll = trace.only("outer on demand");
    assert!(poll.is_unfinished(), "{poll:?}");
    assert_eq!(poll.args["inside"], "inner on demand");
    assert_eq!(trace.tracks[&poll.track], "on demand");
    assert!(trace.named("inner on demand").is_empty());
    release.send(()).unwrap();
    polls.unwrap().join().unwrap();
    recorder.write(&path).unwrap();
    let trace = Trace::read(&path);
    let (outer, inner) = (trace.only("outer on demand"), trace.only("inner on demand"));
    assert!(!outer.is_unfinished() && outer.has_inside(&inner));
    fs::remove_file(path).unwrap();
}

#[test]
fn errors_name_the_file() {
    let recorder = Recorder::start(1);
    let path = folder("missing").join("trace.json");
    let error = recorder.write(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );

    // A file instead of the folder.
    let file = folder("file");
    fs::write(&file, "").unwrap();
    let recorder = recorder.write_on_stall(file.join("traces"), 1);
    let error = Probe::builder()
        .recorder(&recorder)
        .start(|_| {})
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(
        error.to_string().contains(file.to_str().unwrap()),
        "{error}"
    );
    fs::remove_file(file).unwrap();
}

#[test]
fn the_delay_of_a_heartbeat_has_its_own_track() {
    let smol = inflight_smol::Smol::new(NonZeroUsize::MIN).unwrap();
    let heartbeat = Heartbeat::start(Arc::new(smol.clone()), Duration::from_millis(5)).unwrap();
    let recorder = Recorder::start(10).write_on_stall(folder("heartbeat"), 100);
    let (_probe, events) = start(Probe::builder().recorder(&recorder).heartbeat(&heartbeat));
    while heartbeat.lateness().runtime.is_empty() {
        smol.block_on(smol.sleep(Duration::from_millis(5)));
    }
    let (release, released) = channel::<()>();
    let blocker = Task::spawn(&smol, async move { released.recv().unwrap() });
    while !matches!(events.recv().unwrap(), Event::LoopDelayed(_)) {}
    let path = written(&events.recv().unwrap());
    let slices = Trace::read(&path).named("stall: event loop");
    assert!(slices.last().unwrap().is_unfinished(), "{slices:?}");
    release.send(()).unwrap();
    smol.block_on(blocker).unwrap();
    while !matches!(events.recv().unwrap(), Event::LoopResumed(_)) {}
    let trace = Trace::read(&written(&events.recv().unwrap()));
    let delay = trace.named("stall: event loop").pop().unwrap();
    assert!(!delay.is_unfinished(), "{delay:?}");
    assert_eq!(trace.tracks[&delay.track], "heartbeat 1");
    assert!(
        delay.end - delay.start >= THRESHOLD.as_nanos() as u64,
        "{delay:?}"
    );
}

/// The future panics in its stalled poll, so the poll is not recorded and the thread has no ring.
#[test]
fn the_stall_of_a_thread_without_recorded_polls_is_shown() {
    let recorder = Recorder::start(10);
    let (probe, events) = start(Probe::builder().recorder(&recorder));
    let (release, released) = channel::<()>();
    let panics = thread::spawn(move || {
        let poll = async {
            released.recv().unwrap();
            panic!("expected by the test");
        };
        block_on(poll.probed("panics"));
    });
    while stalled(&events.recv().unwrap()).is_none_or(|stall| stall.label != "panics") {}
    release.send(()).unwrap();
    assert!(panics.join().is_err());
    drop(probe);
    let trace = Trace::of(&recorder);
    assert!(trace.named("panics").is_empty());
    assert!(!trace.only("stall: panics").is_unfinished());
}

/// A task that moves between the workers of a runtime appears on several tracks.
#[test]
fn a_future_that_moves_between_threads_is_on_both_tracks() {
    let recorder = Recorder::start(100);
    let threads: Mutex<Vec<ThreadId>> = Mutex::default();
    let mut polls = 0;
    let moving = poll_fn(|_| {
        threads.lock().unwrap().push(thread::current().id());
        polls += 1;
        if polls < 2 {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    });
    let mut moving = Box::pin(moving.probed("moving"));
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            assert!(block_on(futures_lite::future::poll_once(&mut moving)).is_none());
        });
        first.join().unwrap();
    });
    block_on(moving);
    let slices = Trace::of(&recorder).named("moving");
    assert_eq!(slices.len(), 2);
    assert_ne!(slices[0].track, slices[1].track, "{slices:?}");
    let threads = threads.lock().unwrap();
    assert_ne!(threads[0], threads[1]);
}
