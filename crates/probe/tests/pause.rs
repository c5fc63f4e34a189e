//! Tests that a pause of the whole process is reported as a pause, and not as a stall.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use inflight_probe::{Event, FutureExt, Probe};
use rustix::process::{Pid, Signal, kill_process};

const CHILD: &str = "INFLIGHT_PROBE_TEST_CHILD";
const THRESHOLD: Duration = Duration::from_millis(500);

/// Polls short futures until the probe has reported a pause, and then 50 more. Panics if the probe reports
/// anything else.
#[allow(clippy::print_stdout)]
fn poll_until_paused() {
    let (sender, events) = channel();
    let builder = Probe::builder().threshold(THRESHOLD);
    #[cfg(feature = "stacks")]
    let builder = builder.stacks(true);
    let _probe = builder
        .start(move |event| {
            let _ = sender.send(event.clone());
        })
        .unwrap();
    println!("polling");
    let mut after_pause = None;
    while after_pause != Some(0) {
        let started = Instant::now();
        let short = async { while started.elapsed() < Duration::from_millis(20) {} };
        futures_lite::future::block_on(short.probed("short"));
        after_pause = after_pause.map(|left: u32| left - 1);
        match events.try_recv() {
            Ok(Event::MachinePaused(_)) => after_pause = after_pause.or(Some(50)),
            Ok(event) => panic!("{event}"),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => panic!("the watchdog ended"),
        }
    }
}

#[test]
fn a_pause_is_not_reported_as_a_stall() {
    if std::env::var_os(CHILD).is_some() {
        return poll_until_paused();
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_pause_is_not_reported_as_a_stall",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut lines = output.lines();
    assert!(lines.any(|line| line.unwrap().contains("polling")));
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::STOP).unwrap();
    thread::sleep(THRESHOLD * 3);
    kill_process(pid, Signal::CONT).unwrap();
    // Reads the rest of the child's output, so that the child can still print.
    let output: Vec<_> = lines.map_while(Result::ok).collect();
    assert!(child.wait().unwrap().success(), "{output:?}");
}
