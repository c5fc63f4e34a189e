//! Tests that the probe reports stalls on each runtime while they last, and does not report other work.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use inflight_core::{BlockOn, Runtime, Task, unblock};
use inflight_probe::{Class, Event, FutureExt, Heartbeat, Probe, Stall, poll_stats};

const THRESHOLD: Duration = Duration::from_millis(100);

#[cfg(not(feature = "stacks"))]
fn probe() -> (Probe, Receiver<Event>) {
    // ANCHOR: probe
    let (sender, events) = channel();
    let probe = Probe::builder()
        .threshold(THRESHOLD)
        .start(move |event| {
            let _ = sender.send(event.clone());
        })
        .unwrap();
    // ANCHOR_END: probe
    (probe, events)
}

/// With the feature `stacks`, the reports also name the line that is stuck.
#[cfg(feature = "stacks")]
fn probe() -> (Probe, Receiver<Event>) {
    let (sender, events) = channel();
    // ANCHOR: stacks
    let probe = Probe::builder()
        .threshold(THRESHOLD)
        .stacks(true)
        .start(move |event| {
            let _ = sender.send(event.clone());
        })
        .unwrap();
    // ANCHOR_END: stacks
    (probe, events)
}

/// Waits for the report of a stall with this label. Other tests in this process use other labels.
fn wait_for_stall(events: &Receiver<Event>, label: &str) -> Stall {
    loop {
        if let Event::Stalled(stall) = events.recv().unwrap()
            && stall.label == label
        {
            return stall;
        }
    }
}

/// Waits for the report that a stall with this label is over.
fn wait_for_recovery(events: &Receiver<Event>, label: &str) -> Stall {
    loop {
        if let Event::Recovered(stall) = events.recv().unwrap()
            && stall.label == label
        {
            return stall;
        }
    }
}

/// Checks the report of a stall. `probed_line` calls `probed`, and `stuck_line` blocks.
#[track_caller]
fn check(stall: &Stall, class: Class, probed_line: u32, stuck_line: u32) {
    assert_eq!(stall.location.file(), file!());
    assert_eq!(stall.location.line(), probed_line);
    assert!(stall.lasted >= THRESHOLD, "{stall}");
    assert!(stall.aftermath.is_none(), "{stall}");
    if cfg!(target_os = "linux") {
        assert_eq!(stall.class, class, "{stall}");
    }
    let stacks = cfg!(all(
        feature = "stacks",
        target_os = "linux",
        target_arch = "x86_64"
    ));
    assert!(stacks || stall.stack.is_none(), "{stall}");
    if stacks {
        let stack = stall
            .stack
            .as_ref()
            .expect("the probe should read the stack");
        let culprit = stall
            .culprit()
            .unwrap_or_else(|| panic!("{stall}\n{stack}"));
        let file = culprit.file.as_ref().unwrap();
        assert!(file.ends_with(file!()), "{stall}\n{stack}");
        assert_eq!(culprit.line, Some(stuck_line), "{stall}\n{stack}");
        assert_eq!(stall.to_json()["at"]["line"], stuck_line, "{stall}");
    }
}

fn check_sleep(runtime: &(impl Runtime + BlockOn), label: &'static str) {
    let (_probe, events) = probe();
    let release = Arc::new(AtomicBool::new(false));
    let released = release.clone();
    let stuck = line!() + 3;
    let blocking = async move {
        while !released.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(10));
        }
    };
    let task = Task::spawn(runtime, blocking.probed(label));
    let probed = line!() - 1;
    let stall = wait_for_stall(&events, label);
    release.store(true, Ordering::Relaxed);
    check(&stall, Class::Waits, probed, stuck);
    runtime.block_on(task).unwrap();
    let stall = wait_for_recovery(&events, label);
    assert!(stall.aftermath.is_some(), "{stall}");
}

fn check_busy_loop(runtime: &(impl Runtime + BlockOn), label: &'static str) {
    let (_probe, events) = probe();
    let release = Arc::new(AtomicBool::new(false));
    let released = release.clone();
    let stuck = line!() + 2;
    let blocking = async move {
        let _ = (0_u64..).find(|_| released.load(Ordering::Relaxed));
    };
    let task = Task::spawn(runtime, blocking.probed(label));
    let probed = line!() - 1;
    let stall = wait_for_stall(&events, label);
    release.store(true, Ordering::Relaxed);
    check(&stall, Class::Computes, probed, stuck);
    runtime.block_on(task).unwrap();
}

fn check_blocking_call(runtime: &(impl Runtime + BlockOn), label: &'static str) {
    let (_probe, events) = probe();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (release, released) = channel::<()>();
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        released.recv().unwrap();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
        socket.write_all(answer).unwrap();
    });
    // The agent has a time limit, because a read with a time limit would fail if a signal interrupted it.
    let stuck = line!() + 6;
    let blocking = async move {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(300)))
            .build()
            .new_agent();
        let mut response = agent.get(&url).call()?;
        response.body_mut().read_to_string()
    };
    let task = Task::spawn(runtime, blocking.probed(label));
    let probed = line!() - 1;
    let stall = wait_for_stall(&events, label);
    release.send(()).unwrap();
    check(&stall, Class::Waits, probed, stuck);
    assert_eq!(runtime.block_on(task).unwrap().unwrap(), "ok");
    server.join().unwrap();
}

/// Checks that blocking code on a thread pool, a sleep and many short polls are not reported. The last future
/// has the label `end` and blocks. The report of its stall shows that the probe was running.
fn check_no_stall(runtime: &(impl Runtime + BlockOn), label: &'static str, end: &'static str) {
    let (_probe, events) = probe();
    let offloaded = unblock(runtime, || thread::sleep(THRESHOLD * 4));
    runtime
        .block_on(Task::spawn(runtime, offloaded.probed(label)))
        .unwrap()
        .unwrap();
    let idle = runtime.sleep(THRESHOLD * 2);
    runtime
        .block_on(Task::spawn(runtime, idle.probed(label)))
        .unwrap();
    let mut left = 100_000;
    let short = poll_fn(move |cx| {
        left -= 1;
        if left == 0 {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    });
    runtime
        .block_on(Task::spawn(runtime, short.probed(label)))
        .unwrap();
    let polls: u64 = poll_stats()
        .iter()
        .filter(|stats| stats.label == label)
        .map(|stats| stats.polls.len())
        .sum();
    assert!(polls >= 100_000, "only {polls} polls were counted");

    let (release, released) = channel::<()>();
    let blocking = async move { released.recv().unwrap() };
    let task = Task::spawn(runtime, blocking.probed(end));
    loop {
        if let Event::Stalled(stall) = events.recv().unwrap() {
            assert_ne!(stall.label, label, "{stall}");
            if stall.label == end {
                break;
            }
        }
    }
    release.send(()).unwrap();
    runtime.block_on(task).unwrap();
}

/// Checks that the heartbeat ticks while the runtime is idle.
fn check_heartbeat(runtime: impl Runtime + BlockOn + Clone) {
    let heartbeat = Heartbeat::start(Arc::new(runtime.clone()), Duration::from_millis(5)).unwrap();
    runtime.block_on(async {
        loop {
            let late = heartbeat.lateness();
            if late.runtime.len() >= 5 && late.control.len() >= 5 {
                break;
            }
            runtime.sleep(Duration::from_millis(5)).await;
        }
    });
}

macro_rules! on {
    ($name:ident, $runtime:expr) => {
        mod $name {
            #[test]
            fn a_sleep_is_reported_as_waiting() {
                super::check_sleep(&$runtime, concat!(stringify!($name), " sleep"));
            }

            #[test]
            fn a_busy_loop_is_reported_as_computing() {
                super::check_busy_loop(&$runtime, concat!(stringify!($name), " loop"));
            }

            #[test]
            fn a_blocking_call_is_reported_and_continues() {
                super::check_blocking_call(&$runtime, concat!(stringify!($name), " call"));
            }

            #[test]
            fn the_heartbeat_ticks() {
                super::check_heartbeat($runtime);
            }

            #[test]
            fn futures_that_do_not_stall_are_not_reported() {
                let quiet = concat!(stringify!($name), " quiet");
                super::check_no_stall(&$runtime, quiet, concat!(stringify!($name), " end"));
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
