//! Dropping the last clone ends hickory's thread. The test has its own process, because it lists all
//! threads.
#![cfg(feature = "hickory")]
#![cfg(target_os = "linux")]

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use inflight::{BlockOn, Cell};
use inflight_net::hickory::Hickory;

/// The longest time that the thread may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The first 15 bytes of the thread's name, which is the limit of Linux.
fn runs() -> bool {
    fs::read_dir("/proc/self/task").unwrap().any(|task| {
        let name = fs::read_to_string(task.unwrap().path().join("comm"));
        name.is_ok_and(|name| "inflight-hickory".starts_with(name.trim_end()))
    })
}

fn wait_until(wanted: bool) {
    let start = Instant::now();
    while runs() != wanted {
        assert!(start.elapsed() < PATIENCE, "runs: {}", !wanted);
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn the_last_clone_ends_the_thread() {
    let backend = "tokio".parse::<Cell>().unwrap().start(None).unwrap();
    let hickory = Hickory::with_servers([([127, 0, 0, 1], 53).into()]).unwrap();
    let clone = hickory.clone();
    drop(hickory);
    wait_until(true);
    // Inside an async task, where dropping a tokio runtime would panic.
    backend.block_on(async move { drop(clone) });
    wait_until(false);
}
