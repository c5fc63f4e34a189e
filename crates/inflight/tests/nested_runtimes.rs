//! Tests of `block_on` inside a runtime, and of sessions that another runtime polls.
#![cfg(any(
    feature = "tokio",
    feature = "smol",
    feature = "async-std",
    feature = "ureq"
))]

use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, UnwindSafe, catch_unwind};
use std::sync::Arc;

use inflight::{Backend, BlockOn, Cell, Session, Task};
use inflight_origin::Origin;

/// Starts each compiled backend, with one worker if the runtime can have several executors.
fn backends() -> Vec<Backend> {
    let start = |cell: Cell| {
        let workers = NonZeroUsize::new(1).filter(|_| matches!(cell.runtime(), "tokio" | "smol"));
        cell.start(workers).unwrap()
    };
    Cell::compiled().map(start).collect()
}

/// Starts one backend for each compiled runtime.
fn runtimes() -> Vec<Backend> {
    let mut backends = backends();
    backends.dedup_by_key(|backend| backend.cell().runtime());
    backends
}

/// Fetches a page. `pair` describes the two runtimes.
async fn assert_fetches(session: Session, origin: Arc<Origin>, pair: String) {
    let page = session.get(origin.url("/page/7")).text().await;
    let page = page.unwrap_or_else(|error| panic!("{pair}: {error:?}"));
    assert!(page.contains('7'), "{pair}: {page}");
}

/// Calls `function` inside a task of the backend.
fn in_task<T: Send + 'static>(
    backend: &Backend,
    function: impl FnOnce() -> T + Send + 'static,
) -> T {
    let task = Task::spawn(backend.runtime(), async { function() });
    futures_lite::future::block_on(task).unwrap()
}

/// Returns the message of tokio's panic in `function`.
#[track_caller]
fn panic_message(function: impl FnOnce() + UnwindSafe) -> &'static str {
    *catch_unwind(function).unwrap_err().downcast().unwrap()
}

#[test]
fn every_runtime_can_poll_a_session_of_every_backend() {
    let origin = Arc::new(Origin::start().unwrap());
    for own in backends() {
        let session = own.session().unwrap();
        for other in runtimes() {
            let pair = format!("a session of {own:?}, polled on {other:?}");
            let fetch = || assert_fetches(session.clone(), origin.clone(), pair.clone());
            other.block_on(fetch());
            let task = Task::spawn(other.runtime(), fetch());
            other.block_on(task).unwrap();
        }
    }
}

#[test]
fn block_on_works_inside_a_task_of_every_runtime_except_tokio_in_tokio() {
    let origin = Arc::new(Origin::start().unwrap());
    for outer in runtimes() {
        // Includes the case that the runtime of the task is the runtime of `block_on`.
        for inner in backends().into_iter().chain([outer.clone()]) {
            let pair = format!("block_on of {inner:?} in a task of {outer:?}");
            let fetch = assert_fetches(inner.session().unwrap(), origin.clone(), pair);
            if [&inner, &outer].map(|backend| backend.cell().runtime()) == ["tokio"; 2] {
                let message = in_task(&outer, move || {
                    panic_message(AssertUnwindSafe(|| inner.block_on(fetch)))
                });
                assert!(message.contains("use `.await`"), "{message}");
            } else {
                in_task(&outer, move || inner.block_on(fetch));
            }
        }
    }
}

#[test]
fn the_default_block_on_works_on_a_blocking_thread_of_every_runtime() {
    let origin = Arc::new(Origin::start().unwrap());
    for backend in runtimes() {
        let pair = format!("block_on on a blocking thread of {backend:?}");
        let fetch = assert_fetches(inflight::session().unwrap(), origin.clone(), pair);
        let work = inflight::unblock(backend.runtime(), || inflight::block_on(fetch));
        backend.block_on(work).unwrap();
    }
}

#[cfg(feature = "tokio")]
mod tokio_in_tokio {
    use std::cell::RefCell;
    use std::panic;

    use super::*;

    thread_local! {
        static LOCATION: RefCell<Option<String>> = const { RefCell::new(None) };
    }

    #[tokio::test]
    async fn block_on_inside_a_current_thread_runtime_panics_at_the_line_of_the_caller() {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let location = info.location().map(|location| location.file().to_owned());
            LOCATION.set(location);
            hook(info);
        }));
        let started = Cell::compiled().next().unwrap().start(None).unwrap();
        let calls: [fn(&Backend); 3] = [
            |_| inflight::block_on(async {}),
            |_| inflight::tokio::block_on(async {}),
            |backend| backend.block_on(async {}),
        ];
        for call in calls {
            let backend = panic::AssertUnwindSafe(&started);
            let message = panic_message(|| call(&backend));
            assert!(message.contains("use `.await`"), "{message}");
            assert_eq!(LOCATION.take().as_deref(), Some(file!()));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn block_on_works_in_spawn_blocking_and_block_in_place() {
        let origin = Arc::new(Origin::start().unwrap());
        let session = inflight::session().unwrap();
        let pair = || "block_on on a blocking thread".to_owned();
        let fetch = || assert_fetches(session.clone(), origin.clone(), pair());
        tokio::task::block_in_place(|| inflight::block_on(fetch()));
        let fetch = fetch();
        let work = tokio::task::spawn_blocking(|| inflight::block_on(fetch));
        work.await.unwrap();
    }
}

#[cfg(all(feature = "rt-virtual", feature = "client-mock"))]
mod virtual_runtime {
    use std::time::Duration;

    use inflight::clients::{Mock, Reply, When};
    use inflight::runtimes::Virtual;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn virtual_block_on_works_inside_a_task_of_every_runtime() {
        for outer in runtimes() {
            let runtime = Virtual::new();
            let mock = Mock::new(runtime.clone());
            mock.on(When::get("/page"), Reply::text("page").after(HOUR));
            let session = mock.session().timeout(2 * HOUR).build().unwrap();
            let text = session.get("http://site.test/page").text();
            let text = in_task(&outer, move || runtime.block_on(text));
            assert_eq!(text.unwrap(), "page", "{outer:?}");
        }
    }

    #[test]
    fn block_on_and_sessions_of_every_backend_work_inside_a_virtual_runtime() {
        let origin = Arc::new(Origin::start().unwrap());
        let patient = Virtual::new().patience(HOUR);
        for inner in backends() {
            let pair = || format!("{inner:?} in a virtual runtime");
            let fetch = || assert_fetches(inner.session().unwrap(), origin.clone(), pair());
            patient.block_on(async { inner.block_on(fetch()) });
            patient.block_on(fetch());
        }
    }
}
