//! Tests of `Task`, `unblock` and `Cancel`.

mod support;

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};

use futures_lite::future::{pending, yield_now};
use inflight_core::{Cancel, CancelGuard, Panic, Task, TaskError, unblock};
use support::{
    Counter, EVENT_TIMEOUT, EventListener, Signal, TestRuntime, poll, rounds, run, without_deadlock,
};

#[test]
fn tasks_and_panics_are_send_and_sync() {
    fn is_send_sync<T: Send + Sync + 'static>() {}
    fn value_is_send<T: Send + 'static>(_: &T) {}
    is_send_sync::<Task<u8>>();
    is_send_sync::<TaskError>();
    is_send_sync::<Panic>();
    is_send_sync::<Cancel>();
    is_send_sync::<CancelGuard>();
    value_is_send(&unblock(&TestRuntime::new(0), || 1));
}

// ---------------------------------------------------------------------------------------
// Task.

#[test]
fn a_task_returns_its_output() {
    let runtime = TestRuntime::new(1);
    let task = Task::spawn(&runtime, async {
        yield_now().await;
        "done"
    });
    assert_eq!(run(task).unwrap(), "done");
    runtime.shut_down();
}

#[test]
fn a_task_runs_even_if_it_is_not_awaited() {
    let runtime = TestRuntime::new(1);
    let listener = EventListener::new();
    let events = listener.sender();
    let _task = Task::spawn(&runtime, async move { events.send(1) });
    listener.wait_for(1);
    runtime.shut_down();
}

#[test]
fn a_dropped_task_stops_at_its_next_yield() {
    let runtime = TestRuntime::new(1);
    let listener = EventListener::new();
    let (busy, is_busy) = mpsc::channel();
    let (resume, resumed) = mpsc::channel::<()>();
    let continued = Arc::new(AtomicBool::new(false));
    let task = {
        let (notifier, continued) = (listener.notifier(1), continued.clone());
        Task::spawn(&runtime, async move {
            let _notifier = notifier;
            busy.send(()).unwrap();
            resumed.recv_timeout(EVENT_TIMEOUT).unwrap();
            yield_now().await;
            continued.store(true, Ordering::SeqCst);
        })
    };
    is_busy.recv_timeout(EVENT_TIMEOUT).unwrap();
    drop(task);
    assert!(listener.received().is_empty());
    resume.send(()).unwrap();
    listener.wait_for(1);
    runtime.shut_down();
    assert!(!continued.load(Ordering::SeqCst));
}

#[test]
fn cancelling_a_waiting_task_drops_its_future() {
    let runtime = TestRuntime::new(1);
    let listener = EventListener::new();
    let (notifier, started) = (listener.notifier(2), listener.sender());
    let task = Task::spawn(&runtime, async move {
        let _notifier = notifier;
        started.send(1);
        pending::<()>().await;
    });
    assert_eq!(listener.wait_for(1), [1]);
    task.cancel();
    task.cancel();
    assert_eq!(listener.wait_for(1), [2]);
    assert!(matches!(run(task), Err(TaskError::Cancelled)));
    runtime.shut_down();
}

#[test]
fn a_task_that_is_cancelled_before_its_start_never_runs() {
    let runtime = TestRuntime::new(0);
    let started = Arc::new(AtomicBool::new(false));
    let task = {
        let started = started.clone();
        Task::spawn(
            &runtime,
            async move { started.store(true, Ordering::SeqCst) },
        )
    };
    drop(task);
    runtime.tick();
    assert!(!started.load(Ordering::SeqCst));
}

#[test]
fn cancelling_a_finished_task_keeps_its_output() {
    let runtime = TestRuntime::new(0);
    let task = Task::spawn(&runtime, async { 5 });
    runtime.tick();
    task.cancel();
    assert_eq!(run(task).unwrap(), 5);
}

#[test]
fn a_detached_task_continues() {
    let runtime = TestRuntime::new(1);
    let listener = EventListener::new();
    let signal = Signal::new();
    let (events, opened) = (listener.sender(), signal.wait());
    let task = Task::spawn(&runtime, async move {
        opened.await;
        yield_now().await;
        events.send(1);
    });
    task.detach();
    signal.open();
    listener.wait_for(1);
    runtime.shut_down();
}

#[test]
fn a_panic_is_returned_with_its_message_and_payload() {
    let runtime = TestRuntime::new(1);
    let panicked = |task| match run::<Task<()>>(task) {
        Err(TaskError::Panicked(panic)) => panic,
        other => panic!("{other:?} is not a panic"),
    };

    let literal = panicked(Task::spawn(&runtime, async { panic!("expected: literal") }));
    assert_eq!(literal.message(), "expected: literal");

    let name = "formatted";
    let task = Task::spawn(&runtime, async move { panic!("expected: {name}") });
    let formatted = panicked(task);
    assert_eq!(formatted.message(), "expected: formatted");
    assert!(format!("{formatted:?}").contains("expected: formatted"));

    let task = Task::spawn(&runtime, async { resume_unwind(Box::new(17u64)) });
    let payload = panicked(task).into_payload();
    assert_eq!(*payload.downcast::<u64>().unwrap(), 17);

    let task = Task::spawn(&runtime, async { resume_unwind(Box::new("again")) });
    let panic = panicked(task);
    let thread = std::thread::spawn(move || panic.resume());
    assert_eq!(
        *thread.join().unwrap_err().downcast::<&str>().unwrap(),
        "again"
    );

    // The panics have not ended the runtime's only thread.
    assert_eq!(run(Task::spawn(&runtime, async { 1 })).unwrap(), 1);
    runtime.shut_down();
}

#[test]
fn a_task_can_be_awaited_after_an_earlier_await_was_dropped() {
    let runtime = TestRuntime::new(1);
    let signal = Signal::new();
    let opened = signal.wait();
    let mut task = Task::spawn(&runtime, async move {
        opened.await;
        3
    });
    for _ in 0..3 {
        let dropped = async { (&mut task).await };
        assert!(poll(&mut Box::pin(dropped)).is_pending());
    }
    signal.open();
    assert_eq!(run(&mut task).unwrap(), 3);
    drop(task);
    runtime.shut_down();
}

#[test]
fn shutting_down_the_runtime_cancels_its_tasks() {
    let runtime = TestRuntime::new(1);
    let listener = EventListener::new();
    let notifier = listener.notifier(1);
    let task = Task::spawn(&runtime, async move {
        let _notifier = notifier;
        pending::<()>().await;
    });
    runtime.shut_down();
    listener.wait_for(1);
    assert!(matches!(run(task), Err(TaskError::Cancelled)));
    let after_shutdown = Task::spawn(&runtime, async {});
    assert!(matches!(run(after_shutdown), Err(TaskError::Cancelled)));
}

#[test]
fn the_future_of_a_task_is_dropped_before_its_output_is_returned() {
    let runtime = TestRuntime::new(2);
    for _ in 0..rounds(500) {
        let listener = EventListener::new();
        let notifier = listener.notifier(1);
        let task = Task::spawn(&runtime, async move {
            let _notifier = notifier;
            yield_now().await;
        });
        run(task).unwrap();
        assert_eq!(listener.received(), [1]);
    }
    runtime.shut_down();
}

// ---------------------------------------------------------------------------------------
// unblock.

#[test]
fn unblock_returns_the_value() {
    let runtime = TestRuntime::new(0);
    assert_eq!(run(unblock(&runtime, || 42)).unwrap(), 42);
}

#[test]
fn unblock_returns_the_panic() {
    let runtime = TestRuntime::new(0);
    let result = run(unblock(&runtime, || -> () {
        resume_unwind(Box::new("the work panics"))
    }));
    let Err(TaskError::Panicked(panic)) = result else {
        panic!("{result:?} is not a panic");
    };
    assert_eq!(panic.message(), "the work panics");
    let payload = panic.into_payload();
    assert_eq!(*payload.downcast::<&str>().unwrap(), "the work panics");
}

#[test]
fn unblock_is_cancelled_if_the_runtime_shuts_down_before_the_work_starts() {
    let runtime = TestRuntime::new(0);
    runtime.hold_blocking();
    let mut waiting = Box::pin(unblock(&runtime, || 1));
    assert!(poll(&mut waiting).is_pending());
    runtime.shut_down();
    assert!(matches!(run(waiting), Err(TaskError::Cancelled)));
    let after_shutdown = unblock(&runtime, || 1);
    assert!(matches!(run(after_shutdown), Err(TaskError::Cancelled)));
}

#[test]
fn work_that_has_started_completes_even_if_its_future_is_dropped() {
    let runtime = TestRuntime::new(0);
    let listener = EventListener::new();
    let events = listener.sender();
    let (sender, started) = mpsc::channel();
    let (resume, resumed) = mpsc::channel::<()>();
    let work = unblock(&runtime, move || {
        sender.send(()).unwrap();
        resumed.recv_timeout(EVENT_TIMEOUT).unwrap();
        events.send(1);
    });
    started.recv_timeout(EVENT_TIMEOUT).unwrap();
    drop(work);
    resume.send(()).unwrap();
    listener.wait_for(1);
}

#[test]
fn work_that_is_dropped_before_its_start_never_runs() {
    let runtime = TestRuntime::new(0);
    runtime.hold_blocking();
    let started = Arc::new(AtomicBool::new(false));
    let work = {
        let started = started.clone();
        unblock(&runtime, move || started.store(true, Ordering::SeqCst))
    };
    drop(work);
    runtime.release_blocking();
    runtime.blocking_started().wait_for(1);
    runtime.blocking_running().wait_for(0);
    assert!(!started.load(Ordering::SeqCst));
}

// ---------------------------------------------------------------------------------------
// Cancel.

#[test]
fn a_hook_runs_at_once_if_the_cancel_is_already_cancelled() {
    let cancel = Cancel::new();
    assert!(!cancel.is_cancelled());
    cancel.clone().cancel();
    assert!(cancel.is_cancelled());
    let ran = Arc::new(AtomicBool::new(false));
    let flag = ran.clone();
    let _guard = cancel.on_cancel(move || flag.store(true, Ordering::SeqCst));
    assert!(ran.load(Ordering::SeqCst));
}

#[test]
fn dropping_a_guard_removes_only_its_hook() {
    let cancel = Cancel::new();
    let listener = EventListener::new();
    let hook = |number| {
        let events = listener.sender();
        move || events.send(number)
    };
    let _first = cancel.on_cancel(hook(1));
    let second = cancel.on_cancel(hook(2));
    let _third = cancel.on_cancel(hook(3));
    drop(second);
    cancel.cancel();
    assert_eq!(listener.received(), [1, 3]);
    cancel.cancel();
    assert!(listener.received().is_empty());
}

#[test]
fn a_hook_that_is_added_during_cancel_runs_exactly_once() {
    for _ in 0..rounds(2000) {
        let cancel = Cancel::new();
        let ran = Arc::new(AtomicUsize::new(0));
        let start = Barrier::new(3);
        let guard = std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    start.wait();
                    cancel.cancel();
                });
            }
            start.wait();
            let ran = ran.clone();
            cancel.on_cancel(move || {
                ran.fetch_add(1, Ordering::SeqCst);
            })
        });
        assert_eq!(ran.load(Ordering::SeqCst), 1);
        drop(guard);
        assert_eq!(ran.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_hook_whose_guard_is_dropped_during_cancel_runs_at_most_once() {
    for _ in 0..rounds(2000) {
        let cancel = Cancel::new();
        let ran = Arc::new(AtomicUsize::new(0));
        let start = Barrier::new(2);
        std::thread::scope(|scope| {
            let counted = ran.clone();
            let guard = cancel.on_cancel(move || {
                counted.fetch_add(1, Ordering::SeqCst);
            });
            scope.spawn(|| {
                start.wait();
                cancel.cancel();
            });
            start.wait();
            drop(guard);
        });
        let ran_so_far = ran.load(Ordering::SeqCst);
        assert!(ran_so_far <= 1);
        cancel.cancel();
        assert_eq!(ran.load(Ordering::SeqCst), ran_so_far);
    }
}

#[test]
fn a_hook_is_removed_even_while_another_one_runs() {
    let cancel = Cancel::new();
    let (sender, started) = mpsc::channel();
    let (resume, resumed) = mpsc::channel::<()>();
    let _first = cancel.on_cancel(move || {
        sender.send(()).unwrap();
        resumed.recv_timeout(EVENT_TIMEOUT).unwrap();
    });
    let ran = Counter::new();
    let counted = ran.clone();
    let second = cancel.on_cancel(move || {
        counted.add(1);
    });
    std::thread::scope(|scope| {
        scope.spawn(|| cancel.cancel());
        started.recv_timeout(EVENT_TIMEOUT).unwrap();
        drop(second);
        resume.send(()).unwrap();
    });
    assert_eq!(ran.get(), 0, "the hook ran after it was removed");
}

#[test]
fn dropping_a_hook_may_use_the_cancel_that_contains_it() {
    let cancelled = without_deadlock(|| {
        let cancel = Cancel::new();
        let inner = cancel.on_cancel(|| {});
        let outer = cancel.on_cancel(move || drop(inner));
        drop(outer);
        cancel.cancel();
        cancel.is_cancelled()
    });
    assert!(cancelled);
}

#[test]
fn a_hook_may_use_the_cancel_that_runs_it() {
    let seen = without_deadlock(|| {
        let cancel = Cancel::new();
        let (sender, seen) = mpsc::channel();
        let in_hook = cancel.clone();
        let _guard = cancel.on_cancel(move || {
            in_hook.cancel();
            sender.send(in_hook.is_cancelled()).unwrap();
        });
        cancel.cancel();
        seen.recv().unwrap()
    });
    assert!(seen);
}
