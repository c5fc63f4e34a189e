//! Tests of listeners, which a probe calls with its events: a listener may block, panic or drop the probe.

use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use inflight_probe::{Event, FutureExt, Probe};

const THRESHOLD: Duration = Duration::from_millis(20);

/// Waits until the probe has counted a stall with this label.
fn until_counted(probe: &Probe, label: &str) {
    let counter = format!("inflight_probe_stalls_total{{label=\"{label}\"");
    while !probe.prometheus().contains(&counter) {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Returns the value of the probe's first metric whose line starts with `metric`.
fn total(probe: &Probe, metric: &str) -> f64 {
    let text = probe.prometheus();
    let mut lines = text.lines().filter(|line| line.starts_with(metric));
    let value = lines.next().unwrap().rsplit(' ').next().unwrap();
    value.parse().unwrap()
}

#[test]
fn the_duration_of_a_stall_is_exact_while_the_listener_blocks() {
    let (sender, events) = channel();
    let (resume, resumed) = channel::<()>();
    let probe = Probe::builder()
        .threshold(THRESHOLD)
        .start(move |event: &Event| {
            // Other tests run in this process.
            if let Event::Stalled(stall) | Event::Recovered(stall) = event
                && !["first", "second"].contains(&stall.label)
            {
                return;
            }
            sender.send(event.clone()).unwrap();
            if let Event::Stalled(stall) = event
                && stall.label == "first"
            {
                // Blocks until the test drops `resume`.
                let _ = resumed.recv();
            }
        })
        .unwrap();
    let (release_first, first_released) = channel::<()>();
    let first = thread::spawn(move || {
        let began = Instant::now();
        let poll = async {
            let began = Instant::now();
            first_released.recv().unwrap();
            began.elapsed()
        };
        let inside = block_on(poll.probed("first"));
        (inside, began.elapsed())
    });
    let mut paused = Duration::ZERO;
    let mut next = || loop {
        match events.recv().unwrap() {
            Event::MachinePaused(late) => paused += late,
            event => break event,
        }
    };
    let Event::Stalled(stall) = next() else {
        panic!("the first event should be a stall");
    };
    assert_eq!(stall.label, "first");
    // The watchdog detects other stalls while the listener blocks.
    let (release_second, second_released) = channel::<()>();
    let second = thread::spawn(move || {
        block_on(async { second_released.recv().unwrap() }.probed("second"));
    });
    until_counted(&probe, "second");
    release_first.send(()).unwrap();
    let (inside, outside) = first.join().unwrap();
    release_second.send(()).unwrap();
    second.join().unwrap();
    // The counter does not wait for the listener either.
    let seconds = "inflight_probe_stalled_seconds_total{label=\"first\"";
    while total(&probe, seconds) == 0.0 {
        thread::sleep(Duration::from_millis(1));
    }
    let counted = total(&probe, seconds);
    drop(resume);
    let recovered = loop {
        if let Event::Recovered(stall) = next()
            && stall.label == "first"
        {
            break stall;
        }
    };
    assert!(stall.lasted < recovered.lasted, "{stall}, {recovered}");
    assert!(
        recovered.lasted <= outside,
        "{recovered}, but the call took {outside:?}"
    );
    assert!(
        recovered.lasted + paused >= inside,
        "{recovered}, but the poll took {inside:?}"
    );
    assert_eq!(counted, recovered.lasted.as_secs_f64());
}

#[test]
fn a_listener_that_panics_ends_the_probe() {
    let (dropped, is_dropped) = channel::<()>();
    let probe = Probe::builder()
        .threshold(THRESHOLD)
        .start(move |_| {
            let _dropped = &dropped;
            panic!("expected by the test");
        })
        .unwrap();
    let (release, released) = channel::<()>();
    let stuck = thread::spawn(move || {
        block_on(async { released.recv().unwrap() }.probed("panic"));
    });
    // The probe's thread drops the listener, and with it `dropped`.
    assert!(is_dropped.recv().is_err());
    release.send(()).unwrap();
    stuck.join().unwrap();
    drop(probe);
}

#[test]
fn a_listener_may_drop_the_probe() {
    let (give, given) = channel::<Probe>();
    let (done, is_done) = channel();
    let (release, released) = channel::<()>();
    let probe = Probe::builder()
        .threshold(THRESHOLD)
        .start(move |event| {
            if let Event::Stalled(_) = event
                && let Ok(probe) = given.recv()
            {
                drop(probe);
                done.send(()).unwrap();
            }
        })
        .unwrap();
    give.send(probe).unwrap();
    drop(give);
    let stuck = thread::spawn(move || {
        block_on(async { released.recv().unwrap() }.probed("owned"));
    });
    is_done.recv().unwrap();
    release.send(()).unwrap();
    stuck.join().unwrap();
}
