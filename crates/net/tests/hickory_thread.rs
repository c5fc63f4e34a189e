//! Test that dropping the last clone ends hickory's thread. The test has its own process, because it
//! lists all threads of the process.
#![cfg(feature = "hickory")]
#![cfg(target_os = "linux")]

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use inflight::{BlockOn, Cell};
use inflight_net::hickory::Hickory;

/// The longest time that the thread may take to start or to end.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Returns `true` if hickory's thread is running. Linux limits the name of a thread to 15 bytes.
fn is_running() -> bool {
    fs::read_dir("/proc/self/task").unwrap().any(|task| {
        let name = fs::read_to_string(task.unwrap().path().join("comm"));
        name.is_ok_and(|name| "inflight-hickory".starts_with(name.trim_end()))
    })
}

fn wait_until(expected: bool) {
    let start = Instant::now();
    while is_running() != expected {
        assert!(
            start.elapsed() < TIMEOUT,
            "hickory's thread: is_running() did not become {expected} within {TIMEOUT:?}"
        );
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn dropping_the_last_clone_ends_the_thread() {
    let backend = "tokio".parse::<Cell>().unwrap().start(None).unwrap();
    let hickory = Hickory::with_servers([([127, 0, 0, 1], 53).into()]).unwrap();
    let clone = hickory.clone();
    drop(hickory);
    wait_until(true);
    // Drops the clone inside an async task, where dropping a tokio runtime would panic.
    backend.block_on(async move { drop(clone) });
    wait_until(false);
}
