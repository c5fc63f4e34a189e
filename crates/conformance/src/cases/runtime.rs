//! The runtime: tasks, timers and blocking work.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use futures_util::FutureExt;
use futures_util::future::join_all;
use inflight_core::{Runtime, Task, TaskError, unblock};

use crate::case::suite;
use crate::check::{Failure, check, equal};
use crate::context::{Context, EVENT_TIMEOUT, run_blocking, within};
use crate::test_server::Rendezvous;

suite! { "runtime":
    task_gives_its_output [in_memory] =>
        "A task runs and returns its output.";
    dropped_task_is_cancelled [in_memory] =>
        "Dropping the handle of a task drops its future.";
    cancelled_task_says_so [in_memory] =>
        "A cancelled task returns Cancelled.";
    detached_task_runs_on [in_memory] =>
        "A detached task runs to its end.";
    panic_of_a_task_is_a_value [in_memory] =>
        "The panic of a task is returned as its result, and the runtime keeps running.";
    tasks_run_while_their_maker_blocks =>
        "A task progresses while the thread that spawned it is blocked.";
    sleep_is_never_early =>
        "A sleep does not complete before its time has passed.";
    sleep_counts_from_its_call =>
        "The time of a sleep starts at the call, not at the first poll.";
    sleep_works_under_any_executor =>
        "A sleep can be polled outside its runtime.";
    dropped_sleep_is_forgotten [in_memory] =>
        "A dropped sleep of an hour does not block anything.";
    blocking_work_gives_its_result =>
        "Blocking work runs on another thread, and its result is returned.";
    panic_of_blocking_work_is_a_value [in_memory] =>
        "The panic of blocking work is returned as its result, and the pool keeps running.";
    blocking_work_stalls_no_task =>
        "While work blocks, tasks and timers progress.";
    blocking_work_beyond_the_ceiling_waits =>
        "Blocking work above the pool's limit waits, and all of it runs.";
}

fn runtime(context: &Context) -> Result<Arc<dyn Runtime>, Failure> {
    Ok(context.session()?.runtime().clone())
}

async fn task_gives_its_output(context: Context) -> Result<(), Failure> {
    let runtime = runtime(&context)?;
    let tasks = (0..100_u64).map(|n| Task::spawn(&runtime, async move { n * n }));
    for (n, output) in join_all(tasks).await.into_iter().enumerate() {
        equal("an output", output?, (n * n) as u64)?;
    }
    Ok(())
}

/// Waits until the only sender of a channel is dropped.
async fn dropped(what: &str, sender: Receiver<()>) -> Result<(), Failure> {
    within(what, EVENT_TIMEOUT / 2, sender.recv())
        .await
        .map(drop)
}

/// Returns a running task that never ends by itself, and the receiver of a channel whose sender it holds.
async fn endless(runtime: &dyn Runtime) -> Result<(Task<()>, Receiver<()>), Failure> {
    let (held, other_end) = async_channel::bounded(1);
    let (start, started) = async_channel::bounded(1);
    let task = Task::spawn(runtime, async move {
        let _held: Sender<()> = held;
        let _ = start.send(()).await;
        std::future::pending::<()>().await;
    });
    let started = within("the start of the task", EVENT_TIMEOUT / 2, started.recv()).await?;
    started.map_err(|_| Failure::new("the task was lost"))?;
    Ok((task, other_end))
}

async fn dropped_task_is_cancelled(context: Context) -> Result<(), Failure> {
    let runtime = runtime(&context)?;
    let (task, held) = endless(&runtime).await?;
    drop(task);
    dropped("the drop of the task's future", held).await
}

async fn cancelled_task_says_so(context: Context) -> Result<(), Failure> {
    let runtime = runtime(&context)?;
    let (task, held) = endless(&runtime).await?;
    task.cancel();
    dropped("the drop of the task's future", held).await?;
    let output = within("the task's output", EVENT_TIMEOUT / 2, task).await?;
    let cancelled = matches!(output, Err(TaskError::Cancelled));
    check(cancelled, format!("it returned {output:?}"))
}

async fn detached_task_runs_on(context: Context) -> Result<(), Failure> {
    let runtime = runtime(&context)?;
    let (go, gate) = async_channel::bounded::<()>(1);
    let (done, finished) = async_channel::bounded(1);
    let task = Task::spawn(&runtime, async move {
        let _ = gate.recv().await;
        let _ = done.send(()).await;
    });
    task.detach();
    drop(go);
    let finished = within("the end of the task", EVENT_TIMEOUT / 2, finished.recv()).await?;
    finished.map_err(|_| Failure::new("the detached task was dropped"))
}

async fn panic_of_a_task_is_a_value(context: Context) -> Result<(), Failure> {
    let runtime = runtime(&context)?;
    for _ in 0..20 {
        let task: Task<()> = Task::spawn(&runtime, async {
            // As `panic!` does, but without a message on standard error.
            resume_unwind(Box::new("a task's panic"))
        });
        panicked(
            within("the panic", EVENT_TIMEOUT / 2, task).await?,
            "a task's panic",
        )?;
    }
    equal(
        "a task afterwards",
        Task::spawn(&runtime, async { 1 }).await?,
        1,
    )
}

#[track_caller]
fn panicked<T: std::fmt::Debug>(
    output: Result<T, TaskError>,
    message: &str,
) -> Result<(), Failure> {
    match output {
        Err(TaskError::Panicked(panic)) => equal("the panic", panic.message(), message),
        other => Err(Failure::new(format!("wanted a panic, got {other:?}"))),
    }
}

async fn tasks_run_while_their_maker_blocks(context: Context) -> Result<(), Failure> {
    let runtime = runtime(&context)?;
    let (done, finished) = std::sync::mpsc::channel();
    Task::spawn(&runtime, async move {
        let _ = done.send(());
    })
    .detach();
    // This blocks the current thread on purpose.
    let finished = finished.recv_timeout(EVENT_TIMEOUT / 2);
    check(finished.is_ok(), "the task made no progress")
}

async fn sleep_is_never_early(context: Context) -> Result<(), Failure> {
    let runtime = runtime(&context)?;
    let sleeps = [0, 1, 2, 5, 10, 50, 100].map(Duration::from_millis);
    let sleeps = sleeps.map(|wanted| {
        let start = Instant::now();
        let sleep = runtime.sleep(wanted);
        async move {
            sleep.await;
            (wanted, start.elapsed())
        }
    });
    let slept = within("the end of 100 ms", EVENT_TIMEOUT / 2, join_all(sleeps)).await?;
    for (wanted, took) in slept {
        check(took >= wanted, format!("{wanted:?} passed in {took:?}"))?;
    }
    Ok(())
}

async fn sleep_counts_from_its_call(context: Context) -> Result<(), Failure> {
    const TIME: Duration = Duration::from_millis(1000);
    let runtime = runtime(&context)?;
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

async fn sleep_works_under_any_executor(context: Context) -> Result<(), Failure> {
    let runtime = runtime(&context)?;
    let time = Duration::from_millis(50);
    let start = Instant::now();
    let sleep = runtime.sleep(time);
    let slept = run_blocking(move || futures_lite::future::block_on(sleep));
    within("the end of 50 ms", EVENT_TIMEOUT / 2, slept).await??;
    check(start.elapsed() >= time, "the sleep was early")
}

async fn dropped_sleep_is_forgotten(context: Context) -> Result<(), Failure> {
    let runtime = runtime(&context)?;
    for _ in 0..1000 {
        let mut sleep = runtime.sleep(Duration::from_secs(3600));
        check(
            (&mut sleep).now_or_never().is_none(),
            "an hour passed at once",
        )?;
    }
    within(
        "a short sleep",
        EVENT_TIMEOUT / 2,
        runtime.sleep(Duration::from_millis(1)),
    )
    .await
}

async fn blocking_work_gives_its_result(context: Context) -> Result<(), Failure> {
    let runtime = runtime(&context)?;
    let caller = std::thread::current().id();
    let here = unblock(&*runtime, move || std::thread::current().id() == caller).await?;
    check(!here, "it ran on the caller's thread")?;
    equal("the result", unblock(&*runtime, || 6 * 7).await?, 42)
}

async fn panic_of_blocking_work_is_a_value(context: Context) -> Result<(), Failure> {
    let runtime = runtime(&context)?;
    for _ in 0..20 {
        let work = unblock(&*runtime, || -> () {
            // As `panic!` does, but without a message on standard error.
            resume_unwind(Box::new("a call's panic"))
        });
        panicked(
            within("the panic", EVENT_TIMEOUT / 2, work).await?,
            "a call's panic",
        )?;
    }
    equal("a call afterwards", unblock(&*runtime, || 1).await?, 1)
}

async fn blocking_work_stalls_no_task(context: Context) -> Result<(), Failure> {
    let runtime = runtime(&context)?;
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let work = unblock(&*runtime, move || gate.recv().is_err());
    let task = Task::spawn(&runtime, {
        let runtime = runtime.clone();
        async move { runtime.sleep(Duration::from_millis(10)).await }
    });
    within("a task that sleeps", EVENT_TIMEOUT / 2, task).await??;
    drop(go);
    check(work.await?, "the work did not wait for the signal")
}

async fn blocking_work_beyond_the_ceiling_waits(context: Context) -> Result<(), Failure> {
    const JOBS: usize = 700;
    // Fewer than the limit of any pool, as other cases may use the pool too.
    const AT_ONCE: usize = 48;
    let runtime = runtime(&context)?;
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
        equal("a result", result??, n)?;
    }
    equal("calls that ran", done.load(Ordering::SeqCst), JOBS)?;
    if let Some(ceiling) = runtime.blocking_ceiling() {
        let peak = rendezvous.peak();
        check(
            peak <= ceiling,
            format!("{peak} at once, over a ceiling of {ceiling}"),
        )?;
    }
    Ok(())
}
