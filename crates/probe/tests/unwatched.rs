//! Tests that blocking code in `unwatched` or `block_in_place` is not reported, because it does not stall an
//! event loop.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use inflight_core::{BlockOn, Task};
use inflight_probe::{Event, FutureExt, Probe, ProbeBuilder, unwatched};
use inflight_tokio::Tokio;

const THRESHOLD: Duration = Duration::from_millis(100);

/// Returns a probe, and a receiver of its reports about stalls with these labels. Other tests in this process
/// use other labels.
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

/// Waits for the next report of a stall, which must have this label. Skips the ends of earlier stalls.
fn wait_for_stall(events: &Receiver<Event>, label: &str) {
    loop {
        if let Event::Stalled(stall) = events.recv().unwrap() {
            assert_eq!(stall.label, label, "{stall}");
            return;
        }
    }
}

/// Causes a stall with this label, and waits until the probe has reported the stall and its end. The probe
/// reports stalls in order, so it would report an earlier stall before the end of this one. Panics if the
/// probe reports any other stall.
fn check_no_earlier_stall(events: &Receiver<Event>, label: &'static str) {
    let (release, released) = channel::<()>();
    let later = thread::spawn(move || {
        futures_lite::future::block_on(async { released.recv().unwrap() }.probed(label));
    });
    wait_for_stall(events, label);
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

/// Checks a poll that first calls `block` and then blocks directly. The probe must report only the second
/// stall. `labels` are the label of this poll and the label for [`check_no_earlier_stall`].
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
    check_no_earlier_stall(&events, later);
    release.send(()).unwrap();
    // The probe watches the rest of the same poll.
    wait_for_stall(&events, label);
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
fn block_in_place_is_not_reported_if_the_probe_reads_stacks() {
    let block = |released: &Receiver<()>| {
        tokio::task::block_in_place(|| released.recv().unwrap());
    };
    let builder = Probe::builder().stacks(true);
    check(builder, block, &["in place", "after in place"]);
}

/// The probe watches a probed future that unwatched code polls. After the unwatched code, the probe watches
/// the outer poll again.
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
    wait_for_stall(&events, "inner");
    release.send(()).unwrap();
    check_no_earlier_stall(&events, "after inner");
    release.send(()).unwrap();
    wait_for_stall(&events, "outer");
    release.send(()).unwrap();
    polls.join().unwrap();
}
