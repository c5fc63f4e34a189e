//! A heartbeat on a runtime with one worker: a stall of the worker makes its ticks late, both those of
//! the timer and those of the socket.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use inflight_core::{BlockOn, Runtime, Task};
use inflight_probe::{Heartbeat, Lateness};

const PERIOD: Duration = Duration::from_millis(5);
const STALL: Duration = Duration::from_millis(60);

fn until(heartbeat: &Heartbeat, holds: impl Fn(&Lateness) -> bool) -> Lateness {
    loop {
        let late = heartbeat.lateness();
        if holds(&late) {
            return late;
        }
        thread::sleep(PERIOD);
    }
}

fn socket_ticks(late: &Lateness) -> &hdrhistogram::Histogram<u64> {
    late.socket.as_ref().unwrap()
}

fn check_lateness(runtime: impl Runtime + BlockOn + Clone) {
    let heartbeat = runtime.block_on(Heartbeat::with_socket(Arc::new(runtime.clone()), PERIOD));
    let heartbeat = heartbeat.unwrap();
    until(&heartbeat, |late| {
        late.runtime.len() >= 5 && socket_ticks(late).len() >= 5 && late.control.len() >= 5
    });
    // Blocks the only worker.
    let (release, released) = channel::<()>();
    let _stuck = Task::spawn(&runtime, async move { released.recv().unwrap() });
    while heartbeat.overdue() < STALL {
        thread::sleep(PERIOD);
    }
    let sent = heartbeat.lateness().control.len();
    release.send(()).unwrap();
    // The ticks of one task may be due up to one period later than those of the other.
    let stalled = u64::try_from((STALL - PERIOD * 2).as_nanos()).unwrap();
    let late = until(&heartbeat, |late| {
        late.runtime.max() >= stalled && socket_ticks(late).max() >= stalled
    });
    assert!(late.prometheus().contains("{on=\"socket\",le=\"+Inf\"}"));
    // Every tick that was sent during the stall arrives, each with its own lateness.
    let late = until(&heartbeat, |late| socket_ticks(late).len() >= sent);
    let missed = socket_ticks(&late).count_between(stalled / 2, u64::MAX);
    assert!(missed >= 4, "{missed} ticks were late by half of the stall");
    // The heartbeat continues.
    while heartbeat.overdue() > Duration::ZERO {
        thread::sleep(PERIOD);
    }
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
