//! Models of [`Task`]: its output and cancelling.

use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;
use loom::future::block_on;

use super::{ModelRuntime, explore, join, spawn};
use crate::backend::fetch::BoxFuture;
use crate::backend::task::{Task, TaskError};
use crate::sync::AtomicUsize;

/// Spawns a task, and returns it together with the future that a runtime would poll.
fn task<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> (Task<T>, BoxFuture<'static, ()>) {
    let runtime = ModelRuntime::new();
    let task = Task::spawn(&*runtime, future);
    let future = runtime.take_task();
    (task, future)
}

/// A value that counts how often it is dropped.
struct CountedDrop(Arc<AtomicUsize>);

impl Drop for CountedDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn drop_counter() -> (Arc<AtomicUsize>, CountedDrop) {
    let drops = Arc::new(AtomicUsize::new(0));
    (drops.clone(), CountedDrop(drops))
}

/// Polls a future once, with a waker that does nothing.
fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    future.poll_unpin(&mut Context::from_waker(Waker::noop()))
}

fn is_cancelled<T>(result: &Result<T, TaskError>) -> bool {
    matches!(result, Err(TaskError::Cancelled))
}

#[test]
fn the_output_is_delivered_once() {
    explore("a task's output is delivered once", || {
        let (mut task, future) = task(async { 7 });
        let runtime = spawn(future);
        assert!(matches!(block_on(&mut task), Ok(7)));
        assert!(is_cancelled(&block_on(&mut task)));
        join(runtime);
    });
}

#[test]
fn the_last_waker_of_the_owner_is_woken() {
    explore("a task wakes the last waker of its owner", || {
        let (mut task, future) = task(async { 7 });
        let runtime = spawn(future);
        let output = match poll_once(&mut task) {
            Poll::Ready(output) => output,
            Poll::Pending => block_on(task),
        };
        assert!(matches!(output, Ok(7)));
        join(runtime);
    });
}

#[test]
fn cancelling_ends_a_task_that_waits() {
    explore(
        "a cancelled task ends, and has dropped its future when the owner is woken",
        || {
            let (drops, value) = drop_counter();
            let (mut task, future) = task(async move {
                pending::<()>().await;
                drop(value);
            });
            let runtime = spawn(future);
            task.cancel();
            assert!(is_cancelled(&block_on(&mut task)));
            assert_eq!(drops.load(Ordering::SeqCst), 1);
            join(runtime);
        },
    );
}

#[test]
fn cancelling_races_with_completion() {
    explore(
        "a task that is cancelled while it completes has one result",
        || {
            let (drops, value) = drop_counter();
            let mut yields = 1;
            let (mut task, future) = task(async move {
                poll_fn(|cx| match yields {
                    0 => Poll::Ready(()),
                    _ => {
                        yields -= 1;
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    }
                })
                .await;
                value
            });
            let runtime = spawn(future);
            task.cancel();
            let result = block_on(&mut task);
            let dropped = drops.load(Ordering::SeqCst);
            assert_eq!(dropped, usize::from(is_cancelled(&result)));
            assert!(is_cancelled(&block_on(&mut task)));
            drop(result);
            assert_eq!(drops.load(Ordering::SeqCst), 1);
            join(runtime);
        },
    );
}

#[test]
fn cancelling_from_another_thread_wakes_the_owner() {
    explore(
        "a task that one thread cancels wakes the owner on another",
        || {
            let (mut task, future) = task(pending::<()>());
            let runtime = spawn(future);
            assert!(poll_once(&mut task).is_pending());
            let owner = spawn(async move {
                task.cancel();
                task.await
            });
            assert!(is_cancelled(&join(owner)));
            join(runtime);
        },
    );
}

#[test]
fn dropping_ends_the_task() {
    explore("a task whose handle is dropped ends", || {
        let (drops, value) = drop_counter();
        let (task, future) = task(async move {
            pending::<()>().await;
            drop(value);
        });
        let runtime = spawn(future);
        drop(task);
        join(runtime);
        assert_eq!(drops.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_task_that_the_runtime_drops_is_cancelled() {
    explore("a task that its runtime drops wakes its owner", || {
        let (task, future) = task(pending::<()>());
        let runtime = loom::thread::spawn(move || drop(future));
        assert!(is_cancelled(&block_on(task)));
        join(runtime);
    });
}
