//! Tests of the virtual runtime.

use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::FutureExt;
use futures_lite::future::{block_on, yield_now};
use inflight_core::{BlockOn, Runtime, Task, TaskError, gather, unblock};
use inflight_virtual::Virtual;

const HOUR: Duration = Duration::from_secs(3600);

/// Returns the message with which `call` panics.
fn panic_message(call: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(call)).unwrap_err();
    match panic.downcast::<String>() {
        Ok(message) => *message,
        Err(panic) => panic.downcast_ref::<&str>().unwrap().to_string(),
    }
}

#[test]
fn a_sleep_of_an_hour_takes_no_real_time() {
    let runtime = Virtual::new();
    let (real, zero) = (Instant::now(), runtime.now());
    runtime.block_on(runtime.sleep(HOUR));
    assert!(real.elapsed() < HOUR / 60);
    assert_eq!(runtime.elapsed(), HOUR);
    assert_eq!(runtime.now() - zero, HOUR);
}

#[test]
fn timers_fire_when_they_are_due_and_in_order() {
    let runtime = Virtual::new();
    let naps = [3_u64, 1, 2, 1].map(|seconds| {
        let runtime = runtime.clone();
        async move {
            runtime.sleep(Duration::from_secs(seconds)).await;
            Ok::<_, ()>(runtime.elapsed().as_secs())
        }
    });
    let mut order = Vec::new();
    runtime.block_on(async {
        let mut done = std::pin::pin!(gather(naps).completed());
        while let Some((index, at)) = futures_lite::StreamExt::next(&mut done).await {
            order.push((index, at.unwrap()));
        }
    });
    assert_eq!(order, [(1, 1), (3, 1), (2, 2), (0, 3)]);
}

#[test]
fn time_does_not_pass_while_a_task_can_run() {
    let runtime = Virtual::new();
    let busy = async {
        for _ in 0..1000 {
            yield_now().await;
        }
        runtime.elapsed()
    };
    let nap = async {
        runtime.sleep(Duration::from_nanos(1)).await;
        runtime.elapsed()
    };
    let first = runtime.block_on(busy.or(nap));
    assert_eq!(first, Duration::ZERO);
}

#[test]
fn tasks_run_in_the_order_in_which_they_were_woken() {
    let runtime = Virtual::new();
    let (log, lines) = mpsc::channel();
    let tasks: Vec<_> = (0..3)
        .map(|task| {
            let log = log.clone();
            Task::spawn(&runtime, async move {
                for round in 0..2 {
                    log.send((round, task)).unwrap();
                    yield_now().await;
                }
            })
        })
        .collect();
    runtime.block_on(async {
        for task in tasks {
            task.await.unwrap();
        }
    });
    drop(log);
    let lines: Vec<_> = lines.iter().collect();
    assert_eq!(lines, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]);
}

#[test]
fn a_deadlock_is_reported_and_the_runtime_can_be_used_again() {
    let runtime = Virtual::new().patience(Duration::from_millis(1));
    Task::spawn(&runtime, pending::<()>()).detach();
    let message = panic_message(|| runtime.block_on(pending()));
    assert!(
        message.starts_with("deadlock: the future and 1 tasks wait"),
        "{message}"
    );
    assert_eq!(runtime.block_on(async { 1 }), 1);
}

#[test]
fn an_endless_sleep_is_a_deadlock() {
    let runtime = Virtual::new().patience(Duration::from_millis(1));
    let message = panic_message(|| runtime.block_on(runtime.sleep(Duration::MAX)));
    assert!(message.starts_with("deadlock"), "{message}");
    assert_eq!(runtime.elapsed(), Duration::ZERO);
    runtime.advance(Duration::MAX);
    assert!(runtime.now() > Instant::now());
}

#[test]
fn another_thread_can_wake_the_future() {
    let runtime = Virtual::new().patience(HOUR);
    let (waker_sender, waker_receiver) = mpsc::channel::<std::task::Waker>();
    let other = thread::spawn(move || waker_receiver.recv().unwrap().wake());
    let mut polls = 0;
    runtime.block_on(poll_fn(|cx| {
        polls += 1;
        match polls {
            1 => {
                waker_sender.send(cx.waker().clone()).unwrap();
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }));
    other.join().unwrap();
    assert_eq!(polls, 2);
}

#[test]
fn block_on_inside_a_task_panics() {
    let runtime = Virtual::new();
    let inner = runtime.clone();
    let message = panic_message(|| runtime.block_on(async { inner.block_on(async {}) }));
    assert!(message.contains("await the future instead"), "{message}");
}

#[test]
fn threads_run_block_on_one_after_another() {
    let runtime = Virtual::new();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let runtime = runtime.clone();
            thread::spawn(move || runtime.block_on(runtime.sleep(HOUR)))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(runtime.elapsed() >= HOUR);
}

#[test]
fn unfinished_tasks_continue_in_the_next_block_on() {
    let runtime = Virtual::new();
    let (done, received) = mpsc::channel();
    let inner = runtime.clone();
    runtime.spawn(Box::pin(async move {
        inner.sleep(HOUR).await;
        done.send(()).unwrap();
    }));
    runtime.block_on(async {});
    assert!(received.try_recv().is_err());
    runtime.block_on(runtime.sleep(HOUR));
    assert!(received.try_recv().is_ok());
}

#[test]
fn a_panic_ends_only_its_task() {
    let runtime = Virtual::new();
    runtime.spawn(Box::pin(async { panic!("on purpose") }));
    let task = Task::spawn(&runtime, async { panic!("this too") });
    let output: Result<(), TaskError> = runtime.block_on(task);
    assert!(matches!(output, Err(TaskError::Panicked(_))));
    let work = runtime.block_on(unblock(&runtime, || panic!("and this")));
    let _: TaskError = Result::<(), _>::unwrap_err(work);
    assert_eq!(runtime.block_on(unblock(&runtime, || 42)).unwrap(), 42);
}

#[test]
fn a_dropped_task_is_removed() {
    let runtime = Virtual::new();
    let (held, alive) = mpsc::channel::<()>();
    let task = Task::spawn(&runtime, async move {
        let _held = held;
        pending::<()>().await;
    });
    runtime.block_on(yield_now());
    drop(task);
    runtime.block_on(async {
        yield_now().await;
        yield_now().await;
    });
    assert_eq!(alive.try_recv(), Err(mpsc::TryRecvError::Disconnected));
}

#[test]
fn a_dropped_sleep_does_not_advance_time() {
    let runtime = Virtual::new();
    let short = async {
        runtime.sleep(Duration::from_secs(1)).await;
    };
    runtime.block_on(short.or(runtime.sleep(HOUR)));
    runtime.block_on(runtime.sleep(Duration::from_secs(1)));
    assert_eq!(runtime.elapsed(), Duration::from_secs(2));
}

#[test]
fn time_can_be_advanced_by_hand() {
    let runtime = Virtual::new();
    let mut sleep = runtime.sleep(HOUR);
    let mut poll = || block_on(futures_lite::future::poll_once(&mut sleep));
    assert!(poll().is_none());
    runtime.advance(HOUR / 2);
    assert!(poll().is_none());
    runtime.advance(HOUR / 2);
    assert!(poll().is_some());
}

#[test]
fn tasks_that_sleep_end_with_the_runtime() {
    let runtime = Virtual::new();
    let (held, alive) = mpsc::channel::<()>();
    let sleep = runtime.sleep(HOUR);
    runtime.spawn(Box::pin(async move {
        let _held = held;
        sleep.await;
    }));
    runtime.block_on(yield_now());
    drop(runtime);
    assert_eq!(alive.try_recv(), Err(mpsc::TryRecvError::Disconnected));
}
