//! Tests that a closed session leaves no open files and no threads. The test runs on Linux, where `/proc`
//! lists both.
#![cfg(target_os = "linux")]
#![cfg(any(
    feature = "rt-tokio",
    feature = "rt-smol",
    feature = "rt-async-std",
    feature = "rt-threads"
))]

use std::time::{Duration, Instant};

use inflight::{BlockOn, Cell, Session, gather};
use inflight_origin::Origin;

const IN_FLIGHT: usize = 20;

/// Returns the number of open files and the number of threads.
fn files_and_threads() -> (usize, usize) {
    let count = |directory: &str| std::fs::read_dir(directory).unwrap().count();
    (count("/proc/self/fd"), count("/proc/self/task"))
}

/// Returns the names of all threads, to identify a thread that still runs.
fn thread_names() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        let name = std::fs::read_to_string(task.ok()?.path().join("comm")).ok()?;
        Some(name.trim().to_owned())
    };
    let mut names: Vec<String> = tasks.filter_map(name).collect();
    names.sort();
    names
}

async fn use_and_close(session: Session, origin: &Origin) {
    let pages = (0..IN_FLIGHT).map(|n| session.get(origin.url(&format!("/page/{n}"))).text());
    let pages = gather(pages).all().await.unwrap();
    assert_eq!(pages.len(), IN_FLIGHT);
    session.close(Duration::from_secs(10)).await;
}

// One test checks all cells, because tests that run at the same time would count each other's files and
// threads.
#[test]
fn a_closed_session_leaves_no_files_and_no_threads() {
    let origin = Origin::start().unwrap();
    for cell in Cell::compiled() {
        let backend = cell.start(None).unwrap();
        let run_session = || backend.block_on(use_and_close(backend.session().unwrap(), &origin));
        // The first session starts the threads and the other resources that the runtime keeps.
        run_session();
        let deadline = Instant::now() + Duration::from_secs(60);
        let baseline = loop {
            // Waits until the numbers are stable for a second. Idle threads of a pool end late, and
            // the server notices a closed socket late.
            let before = files_and_threads();
            std::thread::sleep(Duration::from_secs(1));
            if files_and_threads() == before && origin.stats().connections_open == 0 {
                break before;
            }
            assert!(
                Instant::now() < deadline,
                "{cell}: the number of files and threads does not settle"
            );
        };
        // The blocking pool may keep a thread for each call that was in flight.
        let pool_threads = match (cell.runtime(), cell.client()) {
            ("threads", _) => 0,
            (_, "ureq") => IN_FLIGHT,
            _ => 0,
        };
        for _ in 0..2 * IN_FLIGHT {
            run_session();
        }
        loop {
            let now = files_and_threads();
            if now.0 <= baseline.0 && now.1 <= baseline.1 + pool_threads {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "{cell}: (files, threads) are {now:?} after the close, expected {baseline:?}: {:?}",
                thread_names()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
