//! A session that is closed leaves nothing behind: counted on Linux, where the system tells.
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

/// How many files are open, and how many threads there are.
fn held() -> (usize, usize) {
    let count = |folder: &str| std::fs::read_dir(folder).unwrap().count();
    (count("/proc/self/fd"), count("/proc/self/task"))
}

/// What the threads are called, to find the one that is left.
fn names() -> Vec<String> {
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

// One test, as what is counted is the process's.
#[test]
fn nothing_is_left_of_a_closed_session() {
    let origin = Origin::start().unwrap();
    for cell in Cell::compiled() {
        let backend = cell.start(None).unwrap();
        let once = || backend.block_on(use_and_close(backend.session().unwrap(), &origin));
        // A runtime's threads, its poll and what else it makes for good.
        once();
        let deadline = Instant::now() + Duration::from_secs(60);
        let level = loop {
            // Idle threads of a runtime's pool end after a while, and the server sees its sockets
            // go a moment late: until the level holds for a second.
            let before = held();
            std::thread::sleep(Duration::from_secs(1));
            if held() == before && origin.stats().connections_open == 0 {
                break before;
            }
            assert!(Instant::now() < deadline, "{cell}: the level does not hold");
        };
        // A pool for blocking calls grows as it likes, up to what was in flight at once.
        let pool = match (cell.runtime(), cell.client()) {
            ("threads", _) => 0,
            (_, "ureq") => IN_FLIGHT,
            _ => 0,
        };
        for _ in 0..2 * IN_FLIGHT {
            once();
        }
        loop {
            let now = held();
            if now.0 <= level.0 && now.1 <= level.1 + pool {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "{cell}: {level:?} files and threads became {now:?}: {:?}",
                names()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
