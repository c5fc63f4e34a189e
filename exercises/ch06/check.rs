//! Checks that a heartbeat continues while the pages are stored.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use inflight::backend::{BoxFuture, ConnectOptions, Runtime, Socket};
use inflight::clients::{Mock, Reply, When};
use inflight::runtimes::Virtual;
use inflight::{BlockOn, Error, Session, Task};
use inflight_exercises::{Verdict, require, run, seconds};

pub mod solution;
#[allow(missing_docs, reason = "a reader may delete the comment")]
pub mod start;

const START_REASON: &str = "the heartbeat did not tick for 1.0 s: \
    `store` blocked the thread of the event loop, and no other task could run";
const PAGES: usize = 10;
const FETCH: Duration = Duration::from_millis(50);
const STORE: Duration = Duration::from_millis(100);
const TICK: Duration = Duration::from_millis(1);

fn main() -> ExitCode {
    run(
        START_REASON,
        || check(start::store_all),
        || check(solution::store_all),
    )
}

/// A slow disk with a blocking function.
#[derive(Clone)]
pub struct Archive {
    runtime: Virtual,
    pages: Arc<Mutex<Vec<String>>>,
}

impl Archive {
    /// Stores a page. Blocks the calling thread for 0.1 s.
    pub fn store(&self, page: &str) {
        if !IS_POOL_THREAD.get() {
            // Virtual time passes, and no task of the event loop runs.
            self.runtime.advance(STORE);
        }
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.push(page.to_owned());
    }

    fn count(&self) -> usize {
        self.pages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}

thread_local! {
    static IS_POOL_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// An event loop on one thread with a blocking pool, in virtual time. Work on the pool takes as long as
/// [`Archive::store`], and the event loop continues meanwhile.
struct EventLoop(Virtual);

impl Runtime for EventLoop {
    fn name(&self) -> &'static str {
        "virtual, with a blocking pool"
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.spawn(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        let finished = self.0.sleep(STORE);
        self.0.spawn(Box::pin(async move {
            finished.await;
            IS_POOL_THREAD.set(true);
            work();
            IS_POOL_THREAD.set(false);
        }));
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(duration)
    }

    fn now(&self) -> Instant {
        self.0.now()
    }

    fn connect(
        &self,
        address: SocketAddr,
        options: ConnectOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn Socket>>> {
        self.0.connect(address, options)
    }

    fn blocking_ceiling(&self) -> Option<usize> {
        None
    }
}

/// Ticks every millisecond, and stores the longest time between two ticks.
async fn run_heartbeat(runtime: Virtual, longest: Arc<Mutex<Duration>>) {
    loop {
        let before = runtime.elapsed();
        runtime.sleep(TICK).await;
        let mut longest = longest.lock().unwrap_or_else(PoisonError::into_inner);
        *longest = (*longest).max(runtime.elapsed() - before);
    }
}

fn check(store_all: impl AsyncFn(&Session, &Archive, &[String]) -> Result<(), Error>) -> Verdict {
    let runtime = Virtual::new();
    let mock = Mock::new(EventLoop(runtime.clone()));
    mock.on(When::any().repeated(), Reply::text("a page").after(FETCH));
    let session = mock.session().build()?;
    let archive = Archive {
        runtime: runtime.clone(),
        pages: Arc::default(),
    };
    let urls: Vec<_> = (0..PAGES)
        .map(|page| format!("http://pages.test/{page}"))
        .collect();
    let longest = Arc::new(Mutex::new(Duration::ZERO));
    let heartbeat = Task::spawn(&runtime, run_heartbeat(runtime.clone(), longest.clone()));
    let stored = runtime.block_on(async {
        store_all(&session, &archive, &urls).await?;
        let stored = archive.count();
        // The heartbeat ticks once more, after everything that blocked.
        runtime.sleep(TICK).await;
        Ok::<_, Error>(stored)
    })?;
    drop(heartbeat);

    let longest = *longest.lock().unwrap_or_else(PoisonError::into_inner);
    require(
        longest < STORE,
        format_args!(
            "the heartbeat did not tick for {}: `store` blocked the thread of the event loop, and no other task \
             could run",
            seconds(longest)
        ),
    )?;
    require(
        stored == PAGES,
        format_args!("when the function returned, the archive contained {stored} of {PAGES} pages"),
    )?;
    Ok(format!(
        "{PAGES} pages were stored, and the heartbeat ticked every millisecond meanwhile"
    ))
}
