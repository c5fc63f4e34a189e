//! What a runtime owes: tasks, timers, and work that blocks.

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
use crate::context::{Context, PATIENCE, apart, within};
use crate::staged::Rendezvous;

suite! { "runtime":
    task_gives_its_output [in_memory] =>
        "A task runs and gives its output.";
    dropped_task_is_cancelled [in_memory] =>
        "Dropping a task's handle drops what it runs.";
    cancelled_task_says_so [in_memory] =>
        "A task that was cancelled answers Cancelled.";
    detached_task_runs_on [in_memory] =>
        "A detached task runs to its end.";
    panic_of_a_task_is_a_value [in_memory] =>
        "A task's panic is its output, and the runtime goes on.";
    tasks_run_while_their_maker_blocks =>
        "A task progresses while the thread that started it is blocked.";
    sleep_is_never_early =>
        "A sleep completes once its time has passed, and not before.";
    sleep_counts_from_its_call =>
        "The time of a sleep counts from the call, not from the first poll.";
    sleep_works_under_any_executor =>
        "A sleep may be polled outside its runtime.";
    dropped_sleep_is_forgotten [in_memory] =>
        "A sleep of an hour that is dropped holds nothing up.";
    blocking_work_gives_its_result =>
        "Work that blocks runs beside the tasks, and its result comes back.";
    panic_of_blocking_work_is_a_value [in_memory] =>
        "A panic of work that blocks is its result, and the pool goes on.";
    blocking_work_stalls_no_task =>
        "While work blocks, tasks and timers go on.";
    blocking_work_beyond_the_ceiling_waits =>
        "More work than the pool holds waits for its turn, and none is lost.";
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

/// Waits for the drop of a channel's only sender.
async fn dropped(what: &str, sender: Receiver<()>) -> Result<(), Failure> {
    within(what, PATIENCE / 2, sender.recv()).await.map(drop)
}

/// A task that has begun and never ends by itself, and the other end of what it holds.
async fn endless(runtime: &dyn Runtime) -> Result<(Task<()>, Receiver<()>), Failure> {
    let (held, other_end) = async_channel::bounded(1);
    let (begin, begun) = async_channel::bounded(1);
    let task = Task::spawn(runtime, async move {
        let _held: Sender<()> = held;
        let _ = begin.send(()).await;
        std::future::pending::<()>().await;
    });
    let begun = within("the task's beginning", PATIENCE / 2, begun.recv()).await?;
    begun.map_err(|_| Failure::new("the task was lost"))?;
    Ok((task, other_end))
}

async fn dropped_task_is_cancelled(context: Context) -> Result<(), Failure> {
    let runtime = runtime(&context)?;
    let (task, held) = endless(&runtime).await?;
    drop(task);
    dropped("the end of what the task ran", held).await
}

async fn cancelled_task_says_so(context: Context) -> Result<(), Failure> {
    let runtime = runtime(&context)?;
    let (task, held) = endless(&runtime).await?;
    task.cancel();
    dropped("the end of what the task ran", held).await?;
    let output = within("the task's output", PATIENCE / 2, task).await?;
    let cancelled = matches!(output, Err(TaskError::Cancelled));
    check(cancelled, format!("it gave {output:?}"))
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
    let finished = within("the end of the task", PATIENCE / 2, finished.recv()).await?;
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
            within("the panic", PATIENCE / 2, task).await?,
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
    // On purpose this thread: it is what must not matter.
    let finished = finished.recv_timeout(PATIENCE / 2);
    check(finished.is_ok(), "the task stood still")
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
    let slept = within("the end of 100 ms", PATIENCE / 2, join_all(sleeps)).await?;
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
    let slept = apart(move || futures_lite::future::block_on(sleep));
    within("the end of 50 ms", PATIENCE / 2, slept).await??;
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
        PATIENCE / 2,
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
            within("the panic", PATIENCE / 2, work).await?,
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
    within("a task that sleeps", PATIENCE / 2, task).await??;
    drop(go);
    check(work.await?, "the work was woken by something else")
}

async fn blocking_work_beyond_the_ceiling_waits(context: Context) -> Result<(), Failure> {
    const JOBS: usize = 700;
    // Fewer than any pool holds, as others may be using it.
    const AT_ONCE: usize = 48;
    let runtime = runtime(&context)?;
    let meeting = Arc::new(Rendezvous::default());
    let done = Arc::new(AtomicUsize::new(0));
    let calls = (0..JOBS).map(|n| {
        let (meeting, done) = (meeting.clone(), done.clone());
        unblock(&*runtime, move || {
            let met = meeting.meet(AT_ONCE);
            done.fetch_add(1, Ordering::SeqCst);
            met.map(|()| n)
        })
    });
    let results = join_all(calls.collect::<Vec<_>>()).await;
    for (n, result) in results.into_iter().enumerate() {
        equal("a result", result??, n)?;
    }
    equal("calls that ran", done.load(Ordering::SeqCst), JOBS)?;
    if let Some(ceiling) = runtime.blocking_ceiling() {
        let peak = meeting.peak();
        check(
            peak <= ceiling,
            format!("{peak} at once, over a ceiling of {ceiling}"),
        )?;
    }
    Ok(())
}
