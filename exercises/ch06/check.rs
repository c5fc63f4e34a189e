//! Checks that a heartbeat continues while the pages are stored.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use inflight::backend::{BoxFuture, ConnectOptions, Runtime, Socket};
use inflight::clients::{Mock, Reply, When};
use inflight::runtimes::Virtual;
use inflight::{BlockOn, Error, ErrorKind, Session, Task};
use inflight_exercises::{Reason, Verdict, catch_panic, require, run, seconds};

pub mod solution;
#[allow(missing_docs, reason = "a reader may delete the comment")]
pub mod start;

const START_REASON: &str = "the heartbeat did not tick for 1.0 s: \
    `store` blocked the thread of the event loop, and no other task could run";
const PAGES: usize = 10;
const FETCH: Duration = Duration::from_millis(50);
const STORE: Duration = Duration::from_millis(100);
const TICK: Duration = Duration::from_millis(1);
/// A page that the archive cannot store.
const UNSTORABLE: &str = "a page that does not fit on the disk";

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
    event_loop: ThreadId,
    /// Whether a thread that belongs neither to the event loop nor to the pool has stored a page.
    was_on_own_thread: Arc<AtomicBool>,
}

impl Archive {
    fn new(runtime: &Virtual) -> Self {
        Self {
            runtime: runtime.clone(),
            pages: Arc::default(),
            event_loop: thread::current().id(),
            was_on_own_thread: Arc::default(),
        }
    }

    /// Stores a page. Blocks the calling thread for 0.1 s. Panics if the page is [`UNSTORABLE`].
    pub fn store(&self, page: &str) {
        assert_ne!(page, UNSTORABLE, "the disk is full");
        if !IS_POOL_THREAD.get() {
            // Virtual time passes, and no task of the event loop runs.
            self.runtime.advance(STORE);
        }
        if thread::current().id() != self.event_loop {
            self.was_on_own_thread.store(true, Ordering::Relaxed);
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
struct EventLoop {
    runtime: Virtual,
    /// The number of tasks that the learner's code has spawned.
    spawned: Arc<AtomicUsize>,
}

impl Runtime for EventLoop {
    fn name(&self) -> &'static str {
        "virtual, with a blocking pool"
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.spawned.fetch_add(1, Ordering::Relaxed);
        self.runtime.spawn(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        let finished = self.runtime.sleep(STORE);
        self.runtime.spawn(Box::pin(async move {
            finished.await;
            IS_POOL_THREAD.set(true);
            work();
            IS_POOL_THREAD.set(false);
        }));
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.runtime.sleep(duration)
    }

    fn now(&self) -> Instant {
        self.runtime.now()
    }

    fn connect(
        &self,
        address: SocketAddr,
        options: ConnectOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn Socket>>> {
        self.runtime.connect(address, options)
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

/// A learner's function in an event loop, and the server of its pages.
struct Run {
    runtime: Virtual,
    mock: Mock,
    archive: Archive,
    spawned: Arc<AtomicUsize>,
}

/// What a run of the learner's function did.
struct Outcome {
    result: Result<(), Error>,
    /// The number of pages in the archive when the function returned.
    stored: usize,
    took: Duration,
    /// The longest time between two ticks of the heartbeat.
    longest_gap: Duration,
}

impl Run {
    fn new() -> Self {
        let runtime = Virtual::new();
        let spawned = Arc::default();
        let event_loop = EventLoop {
            runtime: runtime.clone(),
            spawned: Arc::clone(&spawned),
        };
        Self {
            mock: Mock::new(event_loop),
            archive: Archive::new(&runtime),
            runtime,
            spawned,
        }
    }

    fn execute(
        &self,
        store_all: impl AsyncFn(&Session, &Archive, &[String]) -> Result<(), Error>,
    ) -> Result<Outcome, Error> {
        let (runtime, session) = (&self.runtime, self.mock.session().build()?);
        let urls: Vec<_> = (0..PAGES)
            .map(|page| format!("http://pages.test/{page}"))
            .collect();
        let longest = Arc::new(Mutex::new(Duration::ZERO));
        let heartbeat = Task::spawn(runtime, run_heartbeat(runtime.clone(), longest.clone()));
        let (result, stored, took) = runtime.block_on(async {
            let result = store_all(&session, &self.archive, &urls).await;
            let returned = (result, self.archive.count(), runtime.elapsed());
            // The heartbeat ticks once more, after everything that blocked.
            runtime.sleep(TICK).await;
            returned
        });
        drop(heartbeat);
        let longest_gap = *longest.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Outcome {
            result,
            stored,
            took,
            longest_gap,
        })
    }

    /// Describes what blocked the event loop.
    fn blocker(&self) -> &'static str {
        if self.archive.was_on_own_thread.load(Ordering::Relaxed) {
            "`store` ran on another thread, and `join` blocked the thread of the event loop until `store` had returned; \
             only a task that waits at an `.await` lets other tasks run"
        } else if self.spawned.load(Ordering::Relaxed) > 0 {
            "`store` blocked the thread of the event loop, and no other task could run; a task that you spawn runs on \
             the same thread, so it needs `unblock` too"
        } else {
            "`store` blocked the thread of the event loop, and no other task could run"
        }
    }
}

fn check(store_all: impl AsyncFn(&Session, &Archive, &[String]) -> Result<(), Error>) -> Verdict {
    let run = Run::new();
    let page = || Reply::text("a page").after(FETCH);
    run.mock.on(When::any().repeated(), page());
    let outcome = run.execute(&store_all)?;
    outcome.result?;
    require(
        outcome.longest_gap < STORE,
        format_args!(
            "the heartbeat did not tick for {}: {}",
            seconds(outcome.longest_gap),
            run.blocker()
        ),
    )?;
    require(
        outcome.stored == PAGES,
        format_args!(
            "when the function returned, the archive contained {} of {PAGES} pages: wait for each `store`, so await the \
             result of `unblock`",
            outcome.stored
        ),
    )?;
    require(
        outcome.took <= FETCH + STORE,
        format_args!(
            "the heartbeat ticked, but the function took {:.2} s of virtual time. One page takes {:.2} s, and all \
             pages should take as long as one: fetch and store each page in its own job of the `gather`",
            outcome.took.as_secs_f64(),
            (FETCH + STORE).as_secs_f64()
        ),
    )?;
    check_error(
        &store_all,
        Reply::error(ErrorKind::Connect),
        "a page cannot be fetched",
    )?;
    check_error(&store_all, Reply::text(UNSTORABLE), "`store` panics")?;
    Ok(format!(
        "{PAGES} pages were stored, and the heartbeat ticked every millisecond meanwhile"
    ))
}

/// Checks that the function returns an error if the first request has this reply.
fn check_error(
    store_all: impl AsyncFn(&Session, &Archive, &[String]) -> Result<(), Error>,
    reply: Reply,
    event: &str,
) -> Result<(), Reason> {
    let run = Run::new();
    run.mock.on(When::any(), reply);
    run.mock.on(When::any().repeated(), Reply::text("a page"));
    let expectation = format!("if {event}, the function should return the error, which `?` does");
    let outcome = catch_panic(|| run.execute(store_all))
        .map_err(|panic| Reason::new(format!("{expectation}; {panic}")))??;
    require(
        outcome.result.is_err(),
        format_args!("{expectation}; it returned `Ok`"),
    )
}
