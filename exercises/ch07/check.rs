//! The rest of the event loop, and a check of its timers.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::panic_any;
use std::pin::Pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use inflight_exercises::{Reason, Verdict, require, run, seconds};

pub mod solution;
#[allow(missing_docs, reason = "a reader may delete the comment")]
pub mod start;

const START_REASON: &str = "the loop slept until the first deadline, and then no task was woken: `Sleep::poll` must give \
    the timers the waker of its task, which is in `cx`, and `Timers::wait` must call it";
/// Not in order, and two are equal.
const DEADLINES_MS: [u64; 4] = [300, 100, 200, 100];
/// How often the code may ask for the time or poll before it counts as an endless loop.
const MAX_CALLS: usize = 10_000;

fn main() -> ExitCode {
    run(
        START_REASON,
        || {
            check(start::Timers::wait, |clock, timers, deadline| {
                Box::pin(start::Sleep::new(clock, timers, deadline))
            })
        },
        || {
            check(solution::Timers::wait, |clock, timers, deadline| {
                Box::pin(solution::Sleep::new(clock, timers, deadline))
            })
        },
    )
}

/// A virtual clock. Clones are handles of the same clock.
#[derive(Clone, Default)]
pub struct Clock(Rc<ClockState>);

#[derive(Default)]
struct ClockState {
    now: Cell<Duration>,
    is_polling: Cell<bool>,
    calls: Cell<usize>,
}

impl Clock {
    /// Returns the time since the start.
    pub fn now(&self) -> Duration {
        let calls = self.0.calls.get() + 1;
        self.0.calls.set(calls);
        if calls > MAX_CALLS {
            fail(
                "the code asks for the time again and again, but the time passes only in `sleep_until`",
            );
        }
        self.0.now.get()
    }

    /// Blocks the thread until this time. Returns at once if the time has passed.
    pub fn sleep_until(&self, time: Duration) {
        if self.0.is_polling.get() {
            fail(
                "`Sleep::poll` called `sleep_until`, which blocks the thread, so no other task can run: only \
                 `Timers::wait` may sleep",
            );
        }
        self.0.now.set(time.max(self.0.now.get()));
    }
}

fn fail(reason: &str) -> ! {
    panic_any(Reason::new(reason))
}

type Queue = Arc<Mutex<VecDeque<usize>>>;
type TaskFuture = Pin<Box<dyn Future<Output = ()>>>;

/// Puts the number of its task into the queue.
struct TaskWaker {
    number: usize,
    ready: Queue,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.push_back(self.number);
    }
}

/// A task that sleeps once.
struct SleepingTask {
    future: TaskFuture,
    deadline: Duration,
    waker: Waker,
    polls: usize,
    end: Option<Duration>,
}

impl SleepingTask {
    fn poll(&mut self, clock: &Clock) {
        self.polls += 1;
        clock.0.is_polling.set(true);
        let polled = self
            .future
            .as_mut()
            .poll(&mut Context::from_waker(&self.waker));
        clock.0.is_polling.set(false);
        if polled.is_ready() {
            self.end = Some(clock.0.now.get());
        }
    }
}

fn check<T: Default>(
    wait: fn(&T, &Clock) -> bool,
    sleep: fn(Clock, Rc<T>, Duration) -> TaskFuture,
) -> Verdict {
    let (clock, timers, ready) = (Clock::default(), Rc::new(T::default()), Queue::default());
    let mut tasks: Vec<_> = (0..)
        .zip(DEADLINES_MS.map(Duration::from_millis))
        .map(|(number, deadline)| SleepingTask {
            future: sleep(clock.clone(), timers.clone(), deadline),
            deadline,
            waker: Waker::from(Arc::new(TaskWaker {
                number,
                ready: ready.clone(),
            })),
            polls: 0,
            end: None,
        })
        .collect();
    for task in &tasks {
        task.waker.wake_by_ref();
    }
    run_tasks(&mut tasks, &ready, &clock, || wait(&timers, &clock))?;
    for task in &tasks {
        check_task(task)?;
    }
    Ok(format!(
        "each of {} sleeps ended at its deadline, after two polls of its task",
        tasks.len()
    ))
}

/// The event loop.
fn run_tasks(
    tasks: &mut [SleepingTask],
    ready: &Queue,
    clock: &Clock,
    wait: impl Fn() -> bool,
) -> Result<(), Reason> {
    let next = || {
        let mut ready = ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.pop_front()
    };
    let mut waits_at_same_time = 0;
    while tasks.iter().any(|task| task.end.is_none()) {
        let mut polls = 0;
        while let Some(number) = next() {
            polls += 1;
            require(
                polls < MAX_CALLS,
                "the loop polls the tasks again and again while no time passes: `Sleep::poll` wakes its own task, \
                 and it should leave this to the timers",
            )?;
            let task = &mut tasks[number];
            if task.end.is_none() {
                task.poll(clock);
            }
        }
        let waiting = tasks.iter().filter(|task| task.end.is_none()).count();
        if waiting == 0 {
            break;
        }
        let before = clock.0.now.get();
        let is_waiting_for_timer = wait();
        waits_at_same_time = match clock.0.now.get() == before {
            true => waits_at_same_time + 1,
            false => 0,
        };
        require(
            waits_at_same_time <= tasks.len(),
            "the loop wakes the tasks again and again, and no time passes: `Timers::wait` must sleep until the earliest \
             deadline, which `Sleep::poll` adds",
        )?;
        require(
            is_waiting_for_timer,
            format_args!(
                "{waiting} of {} tasks sleep, and there is no timer that will wake them",
                tasks.len()
            ),
        )?;
        let is_any_ready = !ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty();
        require(
            is_any_ready,
            "the loop slept until the first deadline, and then no task was woken: `Sleep::poll` must give the timers \
             the waker of its task, which is in `cx`, and `Timers::wait` must call it",
        )?;
    }
    Ok(())
}

fn check_task(task: &SleepingTask) -> Result<(), Reason> {
    let (expected, end) = (task.deadline, task.end.unwrap_or_default());
    let cause = match end < expected {
        true => "`Sleep::poll` must return `Pending` before the deadline",
        false => "`Timers::wait` must wait for the earliest deadline of all tasks",
    };
    require(
        end == expected,
        format_args!(
            "a sleep of {} ended after {}: {cause}",
            seconds(expected),
            seconds(end)
        ),
    )?;
    let polls = task.polls;
    require(
        polls <= 2,
        format_args!(
            "the loop polled the task that sleeps for {} {polls} times, and two polls are enough: wake a task only \
             at its deadline",
            seconds(expected)
        ),
    )
}
