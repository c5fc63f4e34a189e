//! Blocking code that does not stall an event loop is not reported.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use inflight_core::{BlockOn, Task};
use inflight_probe::{Event, FutureExt, Probe, ProbeBuilder, unwatched};
use inflight_tokio::Tokio;

const THRESHOLD: Duration = Duration::from_millis(100);

/// Returns a probe that reports each stall with these labels. Other tests run in this process.
fn probe(builder: ProbeBuilder, labels: &'static [&'static str]) -> (Probe, Receiver<Event>) {
    let (sender, events) = channel();
    let builder = builder.threshold(THRESHOLD).fold(Duration::ZERO);
    let probe = builder.start(move |event| {
        if let Event::Stalled(stall) | Event::Recovered(stall) = event
            && labels.contains(&stall.label)
        {
            let _ = sender.send(event.clone());
        }
    });
    (probe.unwrap(), events)
}

/// Waits for the next event, which must be a stall with this label, after the ends of earlier ones.
fn stalled(events: &Receiver<Event>, label: &str) {
    loop {
        if let Event::Stalled(stall) = events.recv().unwrap() {
            assert_eq!(stall.label, label, "{stall}");
            return;
        }
    }
}

/// Waits until the probe has reported a stall that begins now, and its end. Any other stall that has
/// begun is reported before.
fn outlast(events: &Receiver<Event>, label: &'static str) {
    let (release, released) = channel::<()>();
    let later = thread::spawn(move || {
        futures_lite::future::block_on(async { released.recv().unwrap() }.probed(label));
    });
    stalled(events, label);
    release.send(()).unwrap();
    later.join().unwrap();
    loop {
        match events.recv().unwrap() {
            Event::Recovered(stall) if stall.label == label => return,
            Event::Stalled(stall) => panic!("{stall}"),
            _ => {}
        }
    }
}

/// Blocks a poll by `block`, which is not to be reported, and then without it. The labels are those
/// of the poll and of a later one.
fn check(
    builder: ProbeBuilder,
    block: impl FnOnce(&Receiver<()>) + Send + 'static,
    labels: &'static [&'static str; 2],
) {
    let (_probe, events) = probe(builder, labels);
    let [label, later] = *labels;
    let tokio = Tokio::new(2.try_into().ok()).unwrap();
    let (begin, begun) = channel();
    let (release, released) = channel::<()>();
    let blocking = async move {
        begin.send(()).unwrap();
        block(&released);
        released.recv().unwrap();
    };
    let task = Task::spawn(&tokio, blocking.probed(label));
    begun.recv().unwrap();
    outlast(&events, later);
    release.send(()).unwrap();
    // The rest of the same poll is watched.
    stalled(&events, label);
    release.send(()).unwrap();
    tokio.block_on(task).unwrap();
}

#[test]
fn unwatched_code_is_not_reported() {
    let block = |released: &Receiver<()>| {
        unwatched(|| tokio::task::block_in_place(|| released.recv().unwrap()));
    };
    check(Probe::builder(), block, &["unwatched", "after unwatched"]);
}

#[test]
#[cfg(all(feature = "stacks", target_os = "linux", target_arch = "x86_64"))]
fn block_in_place_is_found_on_the_stack() {
    let block = |released: &Receiver<()>| {
        tokio::task::block_in_place(|| released.recv().unwrap());
    };
    let builder = Probe::builder().stacks(true);
    check(builder, block, &["in place", "after in place"]);
}

/// A probed future that unwatched code polls is watched, and the poll around the code continues.
#[test]
fn polls_inside_unwatched_code_are_watched() {
    let (_probe, events) = probe(
        Probe::builder(),
        &["inner", "middle", "outer", "after inner"],
    );
    let (release, released) = channel::<()>();
    let polls = thread::spawn(move || {
        let inner = || {
            let inner = async { released.recv().unwrap() }.probed("inner");
            futures_lite::future::block_on(inner);
            released.recv().unwrap();
        };
        let outer = async {
            async { unwatched(inner) }.probed("middle").await;
            released.recv().unwrap();
        };
        futures_lite::future::block_on(outer.probed("outer"));
    });
    stalled(&events, "inner");
    release.send(()).unwrap();
    outlast(&events, "after inner");
    release.send(()).unwrap();
    stalled(&events, "outer");
    release.send(()).unwrap();
    polls.join().unwrap();
}
