//! The runtime: tasks, timers and blocking work.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use futures_util::FutureExt;
use futures_util::future::join_all;
use inflight_core::{Runtime, Task, TaskError, unblock};
use macro_rules_attribute::apply;

use crate::case::case;
use crate::check::{Failure, Result, check, check_equal};
use crate::context::{Context, EVENT_TIMEOUT, run_blocking, wait_for};
use crate::test_server::Rendezvous;

fn runtime_of(context: &Context) -> Result<Arc<dyn Runtime>> {
    Ok(context.session()?.runtime().clone())
}

/// A task runs and returns its output.
#[apply(case!)]
#[marks(in_memory)]
async fn task_returns_its_output(context: Context) -> Result {
    let runtime = runtime_of(&context)?;
    let tasks = (0..100_u64).map(|n| Task::spawn(&runtime, async move { n * n }));
    for (n, output) in join_all(tasks).await.into_iter().enumerate() {
        check_equal("an output", output?, (n * n) as u64)?;
    }
    Ok(())
}

/// Waits until the only sender of a channel is dropped.
async fn wait_for_drop(label: &str, receiver: Receiver<()>) -> Result {
    wait_for(label, receiver.recv()).await.map(drop)
}

/// Spawns a task that never ends by itself and holds the sender of a channel. Returns the task and
/// the receiver.
async fn spawn_endless(runtime: &dyn Runtime) -> Result<(Task<()>, Receiver<()>), Failure> {
    let (held, other_end) = async_channel::bounded(1);
    let (start, started) = async_channel::bounded(1);
    let task = Task::spawn(runtime, async move {
        let _held: Sender<()> = held;
        let _ = start.send(()).await;
        std::future::pending::<()>().await;
    });
    wait_for("the start of the task", started.recv()).await??;
    Ok((task, other_end))
}

/// Dropping the handle of a task drops its future.
#[apply(case!)]
#[marks(in_memory)]
async fn dropped_task_is_cancelled(context: Context) -> Result {
    let runtime = runtime_of(&context)?;
    let (task, held) = spawn_endless(&runtime).await?;
    drop(task);
    wait_for_drop("the drop of the task's future", held).await
}

/// A cancelled task returns the error Cancelled.
#[apply(case!)]
#[marks(in_memory)]
async fn cancelled_task_returns_cancelled(context: Context) -> Result {
    let runtime = runtime_of(&context)?;
    let (task, held) = spawn_endless(&runtime).await?;
    task.cancel();
    wait_for_drop("the drop of the task's future", held).await?;
    let output = wait_for("the task's output", task).await?;
    let cancelled = matches!(output, Err(TaskError::Cancelled));
    check(cancelled, format!("it returned {output:?}"))
}

/// A detached task runs to its end.
#[apply(case!)]
#[marks(in_memory)]
async fn detached_task_runs_to_its_end(context: Context) -> Result {
    let runtime = runtime_of(&context)?;
    let (go, gate) = async_channel::bounded::<()>(1);
    let (done, finished) = async_channel::bounded(1);
    let task = Task::spawn(&runtime, async move {
        let _ = gate.recv().await;
        let _ = done.send(()).await;
    });
    task.detach();
    drop(go);
    Ok(wait_for("the end of the task", finished.recv()).await??)
}

/// The panic of a task is returned as its result, and the runtime keeps running.
#[apply(case!)]
#[marks(in_memory)]
async fn panic_of_a_task_is_returned(context: Context) -> Result {
    let runtime = runtime_of(&context)?;
    for _ in 0..20 {
        let task: Task<()> = Task::spawn(&runtime, async {
            // Panics like `panic!`, but prints no message to standard error.
            resume_unwind(Box::new("a task's panic"))
        });
        check_panic(wait_for("the panic", task).await?, "a task's panic")?;
    }
    check_equal(
        "a task afterwards",
        Task::spawn(&runtime, async { 1 }).await?,
        1,
    )
}

#[track_caller]
fn check_panic<T: std::fmt::Debug>(output: Result<T, TaskError>, message: &str) -> Result {
    match output {
        Err(TaskError::Panicked(panic)) => check_equal("the panic", panic.message(), message),
        other => Err(Failure::new(format!("wanted a panic, got {other:?}"))),
    }
}

/// A task progresses while the thread that spawned it is blocked.
#[apply(case!)]
async fn tasks_progress_while_their_spawner_blocks(context: Context) -> Result {
    let runtime = runtime_of(&context)?;
    let (done, finished) = std::sync::mpsc::channel();
    Task::spawn(&runtime, async move {
        let _ = done.send(());
    })
    .detach();
    // This blocks the current thread on purpose.
    let finished = finished.recv_timeout(EVENT_TIMEOUT / 2);
    check(finished.is_ok(), "the task made no progress")
}

/// A sleep does not complete before its time has passed.
#[apply(case!)]
async fn sleep_is_never_early(context: Context) -> Result {
    let runtime = runtime_of(&context)?;
    let sleeps = [0, 1, 2, 5, 10, 50, 100].map(Duration::from_millis);
    let sleeps = sleeps.map(|duration| {
        let start = Instant::now();
        let sleep = runtime.sleep(duration);
        async move {
            sleep.await;
            (duration, start.elapsed())
        }
    });
    let slept = wait_for("the end of 100 ms", join_all(sleeps)).await?;
    for (duration, took) in slept {
        check(
            took >= duration,
            format!("a sleep of {duration:?} ended after {took:?}"),
        )?;
    }
    Ok(())
}

/// The time of a sleep starts at the call, not at the first poll.
#[apply(case!)]
async fn sleep_starts_at_its_call(context: Context) -> Result {
    const TIME: Duration = Duration::from_millis(1000);
    let runtime = runtime_of(&context)?;
    let start = Instant::now();
    let sleep = runtime.sleep(TIME);
    async_io::Timer::after(TIME).await;
    sleep.await;
    let took = start.elapsed();
    check(
        took < TIME + TIME / 2,
        format!("a sleep of {TIME:?} that was polled late took {took:?}"),
    )
}

/// A sleep can be polled outside its runtime.
#[apply(case!)]
async fn sleep_works_under_any_executor(context: Context) -> Result {
    let runtime = runtime_of(&context)?;
    let time = Duration::from_millis(50);
    let start = Instant::now();
    let sleep = runtime.sleep(time);
    let slept = run_blocking(move || futures_lite::future::block_on(sleep));
    wait_for("the end of 50 ms", slept).await??;
    check(start.elapsed() >= time, "the sleep was early")
}

/// After a thousand sleeps of an hour were dropped, a short sleep still completes.
#[apply(case!)]
#[marks(in_memory)]
async fn dropped_sleeps_do_not_delay_later_ones(context: Context) -> Result {
    let runtime = runtime_of(&context)?;
    for _ in 0..1000 {
        let mut sleep = runtime.sleep(Duration::from_secs(3600));
        check(
            (&mut sleep).now_or_never().is_none(),
            "an hour passed at once",
        )?;
    }
    wait_for("a short sleep", runtime.sleep(Duration::from_millis(1))).await
}

/// Blocking work runs on another thread, and its result is returned.
#[apply(case!)]
async fn blocking_work_returns_its_result(context: Context) -> Result {
    let runtime = runtime_of(&context)?;
    let caller = std::thread::current().id();
    let here = unblock(&*runtime, move || std::thread::current().id() == caller).await?;
    check(!here, "it ran on the caller's thread")?;
    check_equal("the result", unblock(&*runtime, || 6 * 7).await?, 42)
}

/// The panic of blocking work is returned as its result, and the pool keeps running.
#[apply(case!)]
#[marks(in_memory)]
async fn panic_of_blocking_work_is_returned(context: Context) -> Result {
    let runtime = runtime_of(&context)?;
    for _ in 0..20 {
        let work = unblock(&*runtime, || -> () {
            // Panics like `panic!`, but prints no message to standard error.
            resume_unwind(Box::new("a call's panic"))
        });
        check_panic(wait_for("the panic", work).await?, "a call's panic")?;
    }
    check_equal("a call afterwards", unblock(&*runtime, || 1).await?, 1)
}

/// While blocking work runs, tasks and timers progress.
#[apply(case!)]
async fn blocking_work_does_not_stall_tasks(context: Context) -> Result {
    let runtime = runtime_of(&context)?;
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let work = unblock(&*runtime, move || gate.recv().is_err());
    let task = Task::spawn(&runtime, {
        let runtime = runtime.clone();
        async move { runtime.sleep(Duration::from_millis(10)).await }
    });
    wait_for("a task that sleeps", task).await??;
    drop(go);
    check(work.await?, "the work did not wait for the signal")
}

/// Blocking work that exceeds the limit of the pool waits for a thread, and all of it runs.
#[apply(case!)]
async fn blocking_work_over_the_limit_waits(context: Context) -> Result {
    const JOBS: usize = 700;
    // Fewer than the threads of any pool, because other cases may use the pool too.
    const AT_ONCE: usize = 48;
    let runtime = runtime_of(&context)?;
    let rendezvous = Arc::new(Rendezvous::default());
    let done = Arc::new(AtomicUsize::new(0));
    let calls = (0..JOBS).map(|n| {
        let (rendezvous, done) = (rendezvous.clone(), done.clone());
        unblock(&*runtime, move || {
            let arrival = rendezvous.wait_for_arrivals(AT_ONCE);
            done.fetch_add(1, Ordering::SeqCst);
            arrival.map(|()| n)
        })
    });
    let results = join_all(calls.collect::<Vec<_>>()).await;
    for (n, result) in results.into_iter().enumerate() {
        check_equal("a result", result??, n)?;
    }
    check_equal("calls that ran", done.load(Ordering::SeqCst), JOBS)?;
    if let Some(ceiling) = runtime.blocking_ceiling() {
        let peak = rendezvous.peak();
        check(
            peak <= ceiling,
            format!("{peak} calls ran at once, over a limit of {ceiling}"),
        )?;
    }
    Ok(())
}
