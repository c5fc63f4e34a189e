//! The promises of `Task`, `unblock` and `Cancel`.

mod support;

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};

use futures_lite::future::{pending, yield_now};
use inflight_core::{Cancel, CancelGuard, Panic, Task, TaskError, unblock};
use support::{Counter, DropListener, PATIENCE, Signal, TestRuntime, poll, run, without_deadlock};

#[test]
fn tasks_and_panics_may_move_between_threads() {
    fn send_sync<T: Send + Sync + 'static>() {}
    fn send<T: Send + 'static>(_: &T) {}
    send_sync::<Task<u8>>();
    send_sync::<TaskError>();
    send_sync::<Panic>();
    send_sync::<Cancel>();
    send_sync::<CancelGuard>();
    send(&unblock(&TestRuntime::new(0), || 1));
}

// ---------------------------------------------------------------------------------------
// Task.

#[test]
fn a_task_gives_its_output() {
    let runtime = TestRuntime::new(1);
    let task = Task::spawn(&runtime, async {
        yield_now().await;
        "done"
    });
    assert_eq!(run(task).unwrap(), "done");
    runtime.end();
}

#[test]
fn a_task_runs_although_nobody_awaits_it() {
    let runtime = TestRuntime::new(1);
    let listener = DropListener::new();
    let notifiers = listener.notifiers();
    let _task = Task::spawn(&runtime, async move { notifiers.ring(1) });
    listener.hear(1);
    runtime.end();
}

#[test]
fn a_dropped_task_stops_at_its_next_yield() {
    let runtime = TestRuntime::new(1);
    let listener = DropListener::new();
    let (busy, inside) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let ran_on = Arc::new(AtomicBool::new(false));
    let task = {
        let (notifier, ran_on) = (listener.notifier(1), ran_on.clone());
        Task::spawn(&runtime, async move {
            let _bell = notifier;
            busy.send(()).unwrap();
            wait.recv_timeout(PATIENCE).unwrap();
            yield_now().await;
            ran_on.store(true, Ordering::SeqCst);
        })
    };
    inside.recv_timeout(PATIENCE).unwrap();
    drop(task);
    assert!(listener.heard().is_empty());
    go_on.send(()).unwrap();
    listener.hear(1);
    runtime.end();
    assert!(!ran_on.load(Ordering::SeqCst));
}

#[test]
fn a_task_that_waits_is_dropped_when_it_is_cancelled() {
    let runtime = TestRuntime::new(1);
    let listener = DropListener::new();
    let (notifier, started) = (listener.notifier(2), listener.notifiers());
    let task = Task::spawn(&runtime, async move {
        let _bell = notifier;
        started.ring(1);
        pending::<()>().await;
    });
    assert_eq!(listener.hear(1), [1]);
    task.cancel();
    task.cancel();
    assert_eq!(listener.hear(1), [2]);
    assert!(matches!(run(task), Err(TaskError::Cancelled)));
    runtime.end();
}

#[test]
fn a_task_that_is_cancelled_before_it_began_never_begins() {
    let runtime = TestRuntime::new(0);
    let began = Arc::new(AtomicBool::new(false));
    let task = {
        let began = began.clone();
        Task::spawn(&runtime, async move { began.store(true, Ordering::SeqCst) })
    };
    drop(task);
    runtime.tick();
    assert!(!began.load(Ordering::SeqCst));
}

#[test]
fn cancelling_a_finished_task_leaves_its_output() {
    let runtime = TestRuntime::new(0);
    let task = Task::spawn(&runtime, async { 5 });
    runtime.tick();
    task.cancel();
    assert_eq!(run(task).unwrap(), 5);
}

#[test]
fn a_detached_task_runs_on() {
    let runtime = TestRuntime::new(1);
    let listener = DropListener::new();
    let signal = Signal::new();
    let (notifiers, passed) = (listener.notifiers(), signal.passed());
    let task = Task::spawn(&runtime, async move {
        passed.await;
        yield_now().await;
        notifiers.ring(1);
    });
    task.detach();
    signal.open();
    listener.hear(1);
    runtime.end();
}

#[test]
fn a_panic_is_a_value_with_message_and_payload() {
    let runtime = TestRuntime::new(1);
    let panicked = |task| match run::<Task<()>>(task) {
        Err(TaskError::Panicked(panic)) => panic,
        other => panic!("{other:?} is no panic"),
    };

    let literal = panicked(Task::spawn(&runtime, async { panic!("expected: literal") }));
    assert_eq!(literal.message(), "expected: literal");

    let word = "formatted";
    let task = Task::spawn(&runtime, async move { panic!("expected: {word}") });
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

    // The runtime's thread has survived all of them.
    assert_eq!(run(Task::spawn(&runtime, async { 1 })).unwrap(), 1);
    runtime.end();
}

#[test]
fn awaiting_a_task_may_be_given_up_and_taken_up_again() {
    let runtime = TestRuntime::new(1);
    let signal = Signal::new();
    let passed = signal.passed();
    let mut task = Task::spawn(&runtime, async move {
        passed.await;
        3
    });
    for _ in 0..3 {
        let given_up = async { (&mut task).await };
        assert!(poll(&mut Box::pin(given_up)).is_pending());
    }
    signal.open();
    assert_eq!(run(&mut task).unwrap(), 3);
    drop(task);
    runtime.end();
}

#[test]
fn the_end_of_the_runtime_cancels_its_tasks() {
    let runtime = TestRuntime::new(1);
    let listener = DropListener::new();
    let notifier = listener.notifier(1);
    let task = Task::spawn(&runtime, async move {
        let _bell = notifier;
        pending::<()>().await;
    });
    runtime.end();
    listener.hear(1);
    assert!(matches!(run(task), Err(TaskError::Cancelled)));
    let late = Task::spawn(&runtime, async {});
    assert!(matches!(run(late), Err(TaskError::Cancelled)));
}

#[test]
fn a_job_is_gone_when_its_output_is_there() {
    let runtime = TestRuntime::new(2);
    for _ in 0..500 {
        let listener = DropListener::new();
        let notifier = listener.notifier(1);
        let task = Task::spawn(&runtime, async move {
            let _bell = notifier;
            yield_now().await;
        });
        run(task).unwrap();
        assert_eq!(listener.heard(), [1]);
    }
    runtime.end();
}

// ---------------------------------------------------------------------------------------
// unblock.

#[test]
fn unblock_gives_the_value() {
    let runtime = TestRuntime::new(0);
    assert_eq!(run(unblock(&runtime, || 42)).unwrap(), 42);
}

#[test]
fn unblock_gives_the_panic() {
    let runtime = TestRuntime::new(0);
    let result = run(unblock(&runtime, || -> () {
        resume_unwind(Box::new("the work fell over"))
    }));
    let Err(TaskError::Panicked(panic)) = result else {
        panic!("{result:?} is no panic");
    };
    assert_eq!(panic.message(), "the work fell over");
    let payload = panic.into_payload();
    assert_eq!(*payload.downcast::<&str>().unwrap(), "the work fell over");
}

#[test]
fn unblock_is_cancelled_when_the_runtime_ended_before_the_work_began() {
    let runtime = TestRuntime::new(0);
    runtime.hold_blocking();
    let mut waiting = Box::pin(unblock(&runtime, || 1));
    assert!(poll(&mut waiting).is_pending());
    runtime.end();
    assert!(matches!(run(waiting), Err(TaskError::Cancelled)));
    let late = unblock(&runtime, || 1);
    assert!(matches!(run(late), Err(TaskError::Cancelled)));
}

#[test]
fn work_that_has_begun_runs_to_its_end_although_nobody_waits() {
    let runtime = TestRuntime::new(0);
    let listener = DropListener::new();
    let notifiers = listener.notifiers();
    let (began, begun) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let work = unblock(&runtime, move || {
        began.send(()).unwrap();
        wait.recv_timeout(PATIENCE).unwrap();
        notifiers.ring(1);
    });
    begun.recv_timeout(PATIENCE).unwrap();
    drop(work);
    go_on.send(()).unwrap();
    listener.hear(1);
}

#[test]
fn work_that_nobody_waits_for_does_not_begin() {
    let runtime = TestRuntime::new(0);
    runtime.hold_blocking();
    let began = Arc::new(AtomicBool::new(false));
    let work = {
        let began = began.clone();
        unblock(&runtime, move || began.store(true, Ordering::SeqCst))
    };
    drop(work);
    runtime.release_blocking();
    runtime.blocking_started().wait_for(1);
    runtime.blocking_running().wait_for(0);
    assert!(!began.load(Ordering::SeqCst));
}

// ---------------------------------------------------------------------------------------
// Cancel.

#[test]
fn a_hook_runs_at_once_on_what_is_cancelled_already() {
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
fn a_dropped_guard_takes_its_hook_back_and_no_other() {
    let cancel = Cancel::new();
    let listener = DropListener::new();
    let hook = |number| {
        let notifiers = listener.notifiers();
        move || notifiers.ring(number)
    };
    let _first = cancel.on_cancel(hook(1));
    let second = cancel.on_cancel(hook(2));
    let _third = cancel.on_cancel(hook(3));
    drop(second);
    cancel.cancel();
    assert_eq!(listener.heard(), [1, 3]);
    cancel.cancel();
    assert!(listener.heard().is_empty());
}

#[test]
fn a_kept_hook_runs_exactly_once_whoever_is_first() {
    for _ in 0..2000 {
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
fn a_hook_whose_guard_is_dropped_meanwhile_runs_at_most_once() {
    for _ in 0..2000 {
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
fn a_hook_is_taken_back_even_while_another_one_runs() {
    let cancel = Cancel::new();
    let (first_began, begun) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let _first = cancel.on_cancel(move || {
        first_began.send(()).unwrap();
        wait.recv_timeout(PATIENCE).unwrap();
    });
    let ran = Counter::new();
    let counted = ran.clone();
    let second = cancel.on_cancel(move || {
        counted.add(1);
    });
    std::thread::scope(|scope| {
        scope.spawn(|| cancel.cancel());
        begun.recv_timeout(PATIENCE).unwrap();
        drop(second);
        go_on.send(()).unwrap();
    });
    assert_eq!(ran.get(), 0, "the hook ran after it was taken back");
}

#[test]
fn what_a_hook_holds_may_use_the_cancel_when_it_is_dropped() {
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
        let inside = cancel.clone();
        let _guard = cancel.on_cancel(move || {
            inside.cancel();
            sender.send(inside.is_cancelled()).unwrap();
        });
        cancel.cancel();
        seen.recv().unwrap()
    });
    assert!(seen);
}
