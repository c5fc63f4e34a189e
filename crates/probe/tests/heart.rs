//! A heart that beats on a runtime of one worker: what holds up the worker makes it late, by the
//! timer and through a socket.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use inflight_core::{BlockOn, Runtime, Task};
use inflight_probe::{Heartbeat, Lateness};

const BEAT: Duration = Duration::from_millis(5);
const STALL: Duration = Duration::from_millis(60);

fn until(heart: &Heartbeat, holds: impl Fn(&Lateness) -> bool) -> Lateness {
    loop {
        let late = heart.lateness();
        if holds(&late) {
            return late;
        }
        thread::sleep(BEAT);
    }
}

fn through_a_socket(late: &Lateness) -> &hdrhistogram::Histogram<u64> {
    late.socket.as_ref().unwrap()
}

fn is_late(runtime: impl Runtime + BlockOn + Clone) {
    let heart = runtime.block_on(Heartbeat::with_socket(Arc::new(runtime.clone()), BEAT));
    let heart = heart.unwrap();
    until(&heart, |late| {
        late.runtime.len() >= 5 && through_a_socket(late).len() >= 5 && late.control.len() >= 5
    });
    // The one worker is kept from everybody else.
    let (release, released) = channel::<()>();
    let _stuck = Task::spawn(&runtime, async move { released.recv().unwrap() });
    while heart.overdue() < STALL {
        thread::sleep(BEAT);
    }
    let sent = heart.lateness().control.len();
    release.send(()).unwrap();
    // Those of a beat may be due by one beat later than those of the other.
    let seen = u64::try_from((STALL - BEAT * 2).as_nanos()).unwrap();
    let late = until(&heart, |late| {
        late.runtime.max() >= seen && through_a_socket(late).max() >= seen
    });
    assert!(late.prometheus().contains("{on=\"socket\",le=\"+Inf\"}"));
    // Every tick that was sent during the stall comes, each with its own lateness.
    let late = until(&heart, |late| through_a_socket(late).len() >= sent);
    let missed = through_a_socket(&late).count_between(seen / 2, u64::MAX);
    assert!(missed >= 4, "{missed} ticks were late by half of the stall");
    // And it beats on.
    while heart.overdue() > Duration::ZERO {
        thread::sleep(BEAT);
    }
}

#[test]
fn on_tokio_a_stall_is_seen_by_the_timer_and_the_socket() {
    let tokio = inflight_tokio::Tokio::new(Some(NonZeroUsize::MIN)).unwrap();
    is_late(tokio);
}

#[test]
fn on_smol_a_stall_is_seen_by_the_timer_and_the_socket() {
    let smol = inflight_smol::Smol::new(NonZeroUsize::MIN).unwrap();
    is_late(smol);
}

#[test]
fn on_async_std_a_stall_is_seen_by_the_timer_and_the_socket() {
    let async_std = inflight_async_std::AsyncStd::with_workers(NonZeroUsize::MIN).unwrap();
    is_late(async_std);
}

#[test]
fn runtime_without_sockets_is_an_error() {
    let threads = inflight_threads::Threads::new();
    let refused = threads.block_on(Heartbeat::with_socket(Arc::new(threads.clone()), BEAT));
    let error = refused.unwrap_err();
    assert_eq!(error.kind(), inflight_core::ErrorKind::Io);
    assert!(error.to_string().contains("heartbeat's socket"), "{error}");
}
