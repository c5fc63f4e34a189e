//! Tests of the heartbeat, which ticks on a runtime. If the threads of the runtime are blocked, the ticks are
//! late. Most of the runtimes here have one worker thread.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use inflight_core::{BlockOn, Runtime, Task};
use inflight_probe::{Class, Event, FutureExt, Heartbeat, Lateness, LoopDelay, Probe};
use serde_json::json;

const PERIOD: Duration = Duration::from_millis(5);
const STALL: Duration = Duration::from_millis(60);
/// Longer than a busy machine delays a tick.
const THRESHOLD: Duration = Duration::from_millis(250);

/// Waits until the lateness of the heartbeat's ticks satisfies the condition.
fn wait_for_lateness(heartbeat: &Heartbeat, condition: impl Fn(&Lateness) -> bool) -> Lateness {
    loop {
        let late = heartbeat.lateness();
        if condition(&late) {
            return late;
        }
        thread::sleep(PERIOD);
    }
}

fn socket_ticks(late: &Lateness) -> &hdrhistogram::Histogram<u64> {
    late.socket.as_ref().unwrap()
}

/// Checks that a blocked worker delays the ticks of the timer and of the socket. The runtime has one worker.
fn check_lateness(runtime: impl Runtime + BlockOn + Clone) {
    let heartbeat = runtime.block_on(Heartbeat::with_socket(Arc::new(runtime.clone()), PERIOD));
    let heartbeat = heartbeat.unwrap();
    wait_for_lateness(&heartbeat, |late| {
        late.runtime.len() >= 5 && socket_ticks(late).len() >= 5 && late.control.len() >= 5
    });
    // Blocks the only worker of the runtime.
    let (release, released) = channel::<()>();
    let _stuck = Task::spawn(&runtime, async move { released.recv().unwrap() });
    while heartbeat.overdue() < STALL {
        thread::sleep(PERIOD);
    }
    let sent = heartbeat.lateness().control.len();
    release.send(()).unwrap();
    // The timer's ticks and the socket's ticks come from two tasks. The ticks of one task may be due up to
    // one period later than those of the other task.
    let stalled = u64::try_from((STALL - PERIOD * 2).as_nanos()).unwrap();
    let late = wait_for_lateness(&heartbeat, |late| {
        late.runtime.max() >= stalled && socket_ticks(late).max() >= stalled
    });
    assert!(late.prometheus().contains("{on=\"socket\",le=\"+Inf\"}"));
    // Every tick that was sent to the socket during the stall arrives and is counted separately.
    let late = wait_for_lateness(&heartbeat, |late| socket_ticks(late).len() >= sent);
    let missed = socket_ticks(&late).count_between(stalled / 2, u64::MAX);
    assert!(
        missed >= 4,
        "only {missed} ticks were late by half of the stall"
    );
    // The heartbeat continues.
    while heartbeat.overdue() > Duration::ZERO {
        thread::sleep(PERIOD);
    }
}

/// Returns a probe that watches the heartbeat, and the probe's events. With the feature `stacks`, the probe
/// reads stacks.
fn probe(heartbeat: &Heartbeat) -> (Probe, Receiver<Event>) {
    let builder = Probe::builder().threshold(THRESHOLD).fold(Duration::ZERO);
    #[cfg(feature = "stacks")]
    let builder = builder.stacks(true);
    // ANCHOR: heartbeat
    let (sender, events) = channel();
    let probe = builder
        .heartbeat(heartbeat)
        .start(move |event| {
            let _ = sender.send(event.clone());
        })
        .unwrap();
    // ANCHOR_END: heartbeat
    (probe, events)
}

/// Waits for the next report that the heartbeat is late. Skips other events, such as stalls in other tests.
fn wait_for_delay(events: &Receiver<Event>) -> LoopDelay {
    loop {
        if let Event::LoopDelayed(delay) = events.recv().unwrap() {
            return delay;
        }
    }
}

/// Waits for the next report that the heartbeat is no longer late.
fn wait_for_resume(events: &Receiver<Event>) -> LoopDelay {
    loop {
        if let Event::LoopResumed(delay) = events.recv().unwrap() {
            return delay;
        }
    }
}

/// Checks the first thread of the report. Returns the line of the delay's culprit, which is the innermost
/// frame of the program's own code. Returns `None` if the probe does not read stacks.
fn culprit_line(delay: &LoopDelay) -> Option<u32> {
    let thread = &delay.threads[0];
    if cfg!(target_os = "linux") {
        assert_eq!(thread.class, Class::Waits, "{delay}");
        assert!(thread.id.is_some(), "{delay}");
    }
    let stacks = cfg!(all(
        feature = "stacks",
        target_os = "linux",
        target_arch = "x86_64"
    ));
    if !stacks {
        assert!(thread.stack.is_none(), "{delay}");
        return None;
    }
    let stack = thread
        .stack
        .as_ref()
        .expect("the probe should read the stack");
    let culprit = delay
        .culprit()
        .unwrap_or_else(|| panic!("{delay}\n{stack}"));
    let file = culprit.file.as_ref().unwrap();
    assert!(file.ends_with(file!()), "{delay}\n{stack}");
    culprit.line
}

/// Checks that the probe reports a blocking task without a label. The runtime has one worker.
fn check_loop_delay(runtime: impl Runtime + BlockOn + Clone, label: &'static str) {
    let heartbeat = Heartbeat::start(Arc::new(runtime.clone()), PERIOD).unwrap();
    wait_for_lateness(&heartbeat, |late| !late.runtime.is_empty());
    let (probe, events) = probe(&heartbeat);
    let (release, released) = channel::<()>();
    let line = line!() + 1;
    let task = Task::spawn(&runtime, async move { released.recv().unwrap() });
    let delay = wait_for_delay(&events);
    assert!(delay.lasted >= THRESHOLD, "{delay}");
    assert!(!delay.is_over, "{delay}");
    assert!(delay.to_string().contains("has been late for"), "{delay}");
    let json = Event::LoopDelayed(delay.clone()).to_json();
    assert_eq!(json["event"], "loop_delayed");
    assert_eq!(json["threads"][0]["thread_id"], json!(delay.threads[0].id));
    assert_eq!(delay.threads.len(), 1, "{delay}");
    assert!(
        culprit_line(&delay).is_none_or(|stuck| stuck == line),
        "{delay}"
    );
    release.send(()).unwrap();
    let end = wait_for_resume(&events);
    assert!(end.is_over && end.lasted >= delay.lasted, "{delay}, {end}");
    runtime.block_on(task).unwrap();

    // A blocking task with a label is reported as a stall, and not also as a delay of the loop.
    let (release, released) = channel::<()>();
    let labelled = async move { released.recv().unwrap() };
    let task = Task::spawn(&runtime, labelled.probed(label));
    let mut is_reported = false;
    loop {
        match events.recv().unwrap() {
            Event::Stalled(stall) if stall.label == label => {
                // By then, the probe would have reported a delay of the loop.
                while heartbeat.overdue() < THRESHOLD * 2 {
                    thread::sleep(PERIOD);
                }
                is_reported = true;
                release.send(()).unwrap();
            }
            Event::Recovered(stall) if stall.label == label => break,
            Event::LoopDelayed(delay) => panic!("{delay}"),
            _ => {}
        }
    }
    assert!(is_reported, "the stall was not reported");
    runtime.block_on(task).unwrap();

    // A heartbeat that has been dropped is not late.
    drop(heartbeat);
    drop(probe);
    for event in events {
        assert!(!matches!(event, Event::LoopDelayed(_)), "{event}");
    }
}

#[test]
fn on_tokio_a_blocking_task_without_a_label_is_reported() {
    let tokio = inflight_tokio::Tokio::new(Some(NonZeroUsize::MIN)).unwrap();
    check_loop_delay(tokio, "tokio");
}

#[test]
fn on_smol_a_blocking_task_without_a_label_is_reported() {
    let smol = inflight_smol::Smol::new(NonZeroUsize::MIN).unwrap();
    check_loop_delay(smol, "smol");
}

#[test]
fn on_async_std_a_blocking_task_without_a_label_is_reported() {
    let async_std = inflight_async_std::AsyncStd::with_workers(NonZeroUsize::MIN).unwrap();
    check_loop_delay(async_std, "async-std");
}

#[test]
fn with_several_workers_the_report_lists_the_blocked_threads_first() {
    let tokio = inflight_tokio::Tokio::new(2.try_into().ok()).unwrap();
    let heartbeat = Heartbeat::start(Arc::new(tokio.clone()), PERIOD).unwrap();
    wait_for_lateness(&heartbeat, |late| !late.runtime.is_empty());
    let (_probe, events) = probe(&heartbeat);
    let (release, released) = channel::<()>();
    let (release_second, second_released) = channel::<()>();
    let line = line!() + 1;
    let task = Task::spawn(&tokio, async move { released.recv().unwrap() });
    let second_task = Task::spawn(&tokio, async move { second_released.recv().unwrap() });
    let delay = wait_for_delay(&events);
    let stuck = culprit_line(&delay);
    assert!(
        stuck.is_none_or(|stuck| stuck == line || stuck == line + 1),
        "{delay}"
    );
    release.send(()).unwrap();
    release_second.send(()).unwrap();
    tokio.block_on(task).unwrap();
    tokio.block_on(second_task).unwrap();
    wait_for_resume(&events);
}

#[test]
fn on_tokio_a_stall_delays_the_timer_and_the_socket() {
    let tokio = inflight_tokio::Tokio::new(Some(NonZeroUsize::MIN)).unwrap();
    check_lateness(tokio);
}

#[test]
fn on_smol_a_stall_delays_the_timer_and_the_socket() {
    let smol = inflight_smol::Smol::new(NonZeroUsize::MIN).unwrap();
    check_lateness(smol);
}

#[test]
fn on_async_std_a_stall_delays_the_timer_and_the_socket() {
    let async_std = inflight_async_std::AsyncStd::with_workers(NonZeroUsize::MIN).unwrap();
    check_lateness(async_std);
}

#[test]
fn with_socket_fails_on_a_runtime_without_sockets() {
    let threads = inflight_threads::Threads::new();
    let refused = threads.block_on(Heartbeat::with_socket(Arc::new(threads.clone()), PERIOD));
    let error = refused.unwrap_err();
    assert_eq!(error.kind(), inflight_core::ErrorKind::Io);
    assert!(error.to_string().contains("heartbeat's socket"), "{error}");
}
