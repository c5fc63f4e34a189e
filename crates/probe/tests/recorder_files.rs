//! Tests of the files that a probe with a recorder writes. A probe writes a file for every stall in its process, so
//! these tests run one after another.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use futures_lite::future::block_on;
use inflight_core::ErrorKind;
use inflight_probe::{Event, FutureExt, Probe, Recorder};

fn run_alone() -> MutexGuard<'static, ()> {
    static RUNNING: Mutex<()> = Mutex::new(());
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the path of a folder that does not exist.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    folder
}

fn start(folder: &Path, max_files: usize) -> (Probe, Receiver<Event>) {
    let (sender, events) = channel();
    // ANCHOR: recorder
    // The last 1,000 polls of each thread, and a bounded number of files.
    let recorder = Recorder::start(1000).write_on_stall(folder, max_files);
    let builder = Probe::builder().recorder(&recorder);
    // ANCHOR_END: recorder
    let builder = builder
        .threshold(Duration::from_millis(20))
        .fold(Duration::ZERO);
    let probe = builder.start(move |event| {
        let _ = sender.send(event.clone());
    });
    (probe.unwrap(), events)
}

/// Returns the next two events of a stall: its report or its end, and the event about the trace.
fn next(events: &Receiver<Event>) -> (Event, Event) {
    let mut events = events
        .iter()
        .filter(|event| !matches!(event, Event::MachinePaused(_)));
    (events.next().unwrap(), events.next().unwrap())
}

/// Stalls once. Returns the event about the trace at the report, and the one at the end.
fn stall(events: &Receiver<Event>, label: &'static str) -> [Event; 2] {
    let (release, released) = channel::<()>();
    let stuck = thread::spawn(move || {
        block_on(async { released.recv().unwrap() }.probed(label));
    });
    let (reported, first) = next(events);
    assert!(matches!(reported, Event::Stalled(_)), "{reported}");
    release.send(()).unwrap();
    stuck.join().unwrap();
    let (ended, second) = next(events);
    assert!(matches!(ended, Event::Recovered(_)), "{ended}");
    [first, second]
}

/// Stalls once, and returns the name of the file, which must contain the stall.
fn file_of_stall(events: &Receiver<Event>, label: &'static str) -> String {
    let [first, second] = stall(events, label);
    let (Event::TraceWritten(path), Event::TraceWritten(same)) = (&first, &second) else {
        panic!("{first}, {second}");
    };
    assert_eq!(path, same);
    let trace = fs::read_to_string(path).unwrap();
    assert!(trace.contains(&format!("\"stall: {label}\"")), "{trace}");
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn the_newest_traces_are_kept_also_after_a_restart() {
    let _alone = run_alone();
    let folder = folder("newest traces");
    let (probe, events) = start(&folder, 2);
    assert_eq!(file_of_stall(&events, "first"), "stall-1.json");
    assert_eq!(file_of_stall(&events, "second"), "stall-2.json");
    assert_eq!(file_of_stall(&events, "third"), "stall-1.json");
    drop(probe);
    let (probe, events) = start(&folder, 2);
    assert_eq!(file_of_stall(&events, "fourth"), "stall-2.json");
    drop(probe);
    let files = fs::read_dir(&folder).unwrap();
    let mut names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["stall-1.json", "stall-2.json"]);
}

/// Two stalls at once, but only one file.
#[test]
fn the_end_of_a_stall_does_not_replace_the_trace_of_a_later_stall() {
    let _alone = run_alone();
    let folder = folder("one trace");
    let (_probe, events) = start(&folder, 1);
    let (release, released) = channel::<()>();
    let earlier = thread::spawn(move || {
        block_on(async { released.recv().unwrap() }.probed("earlier"));
    });
    assert!(matches!(next(&events).1, Event::TraceWritten(_)));
    let later = file_of_stall(&events, "later");
    release.send(()).unwrap();
    earlier.join().unwrap();
    // The next two events are the end of the earlier stall, which writes no trace, and the next stall.
    let (release, released) = channel::<()>();
    let last = thread::spawn(move || {
        block_on(async { released.recv().unwrap() }.probed("last"));
    });
    let (ended, reported) = next(&events);
    assert!(
        matches!(&ended, Event::Recovered(stall) if stall.label == "earlier"),
        "{ended}"
    );
    assert!(
        matches!(&reported, Event::Stalled(stall) if stall.label == "last"),
        "{reported}"
    );
    release.send(()).unwrap();
    last.join().unwrap();
    assert_eq!(later, "stall-1.json");
}

#[test]
fn a_trace_that_cannot_be_written_is_an_event() {
    let _alone = run_alone();
    let folder = folder("removed folder");
    let (_probe, events) = start(&folder, 1);
    fs::remove_dir(&folder).unwrap();
    for event in stall(&events, "removed") {
        let Event::TraceFailed(error) = &event else {
            panic!("{event}")
        };
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.to_string().contains("stall-1.json"), "{error}");
        assert_eq!(event.to_json()["event"], "trace_failed");
    }
}
