//! Tests of the heartbeat, which ticks on a runtime. If the threads of the runtime are blocked, the ticks are
//! late. Most of the runtimes here have one worker thread.

use std::future::ready;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use inflight_core::{
    BlockOn, BoxFuture, ConnectOptions, Error, Runtime, Socket, Task, no_sockets, runtime_ended,
};
use inflight_probe::{Class, Event, FutureExt, Heartbeat, Lateness, LoopDelay, Probe};
use inflight_threads::Threads;
use serde_json::json;

const PERIOD: Duration = Duration::from_millis(5);
const STALL: Duration = Duration::from_millis(60);
/// Longer than a busy machine delays a tick.
const THRESHOLD: Duration = Duration::from_millis(250);

/// Waits until the lateness of the heartbeat's ticks satisfies the condition.
fn wait_for_lateness(heartbeat: &Heartbeat, condition: impl Fn(&Lateness) -> bool) -> Lateness {
    loop {
        let late = heartbeat.lateness();
        if condition(&late) {
            return late;
        }
        thread::sleep(PERIOD);
    }
}

fn socket_ticks(late: &Lateness) -> &hdrhistogram::Histogram<u64> {
    late.socket.as_ref().unwrap()
}

/// Checks that a blocked worker delays the ticks of the timer and of the socket. The runtime has one worker.
fn check_lateness(runtime: impl Runtime + BlockOn + Clone) {
    let heartbeat = runtime.block_on(Heartbeat::with_socket(Arc::new(runtime.clone()), PERIOD));
    let heartbeat = heartbeat.unwrap();
    wait_for_lateness(&heartbeat, |late| {
        late.runtime.len() >= 5 && socket_ticks(late).len() >= 5 && late.control.len() >= 5
    });
    // Blocks the only worker of the runtime.
    let (release, released) = channel::<()>();
    let _stuck = Task::spawn(&runtime, async move { released.recv().unwrap() });
    while heartbeat.overdue() < STALL {
        thread::sleep(PERIOD);
    }
    let sent = heartbeat.lateness().control.len();
    release.send(()).unwrap();
    // The timer's ticks and the socket's ticks come from two tasks. The ticks of one task may be due up to
    // one period later than those of the other task.
    let stalled = u64::try_from((STALL - PERIOD * 2).as_nanos()).unwrap();
    let late = wait_for_lateness(&heartbeat, |late| {
        late.runtime.max() >= stalled && socket_ticks(late).max() >= stalled
    });
    assert!(late.prometheus().contains("{on=\"socket\",le=\"+Inf\"}"));
    // Every tick that was sent to the socket during the stall arrives and is counted separately.
    let late = wait_for_lateness(&heartbeat, |late| socket_ticks(late).len() >= sent);
    let missed = socket_ticks(&late).count_between(stalled / 2, u64::MAX);
    assert!(
        missed >= 4,
        "only {missed} ticks were late by half of the stall"
    );
    // The heartbeat continues.
    while heartbeat.overdue() > Duration::ZERO {
        thread::sleep(PERIOD);
    }
}

/// Returns a probe that watches the heartbeat, and the probe's events. With the feature `stacks`, the probe
/// reads stacks.
fn probe(heartbeat: &Heartbeat) -> (Probe, Receiver<Event>) {
    let builder = Probe::builder().threshold(THRESHOLD).fold(Duration::ZERO);
    #[cfg(feature = "stacks")]
    let builder = builder.stacks(true);
    // ANCHOR: heartbeat
    let (sender, events) = channel();
    let probe = builder
        .heartbeat(heartbeat)
        .start(move |event| {
            let _ = sender.send(event.clone());
        })
        .unwrap();
    // ANCHOR_END: heartbeat
    (probe, events)
}

/// Waits for the next report that the heartbeat is late. Skips other events, such as stalls in other tests.
fn wait_for_delay(events: &Receiver<Event>) -> LoopDelay {
    loop {
        if let Event::LoopDelayed(delay) = events.recv().unwrap() {
            return delay;
        }
    }
}

/// Waits for the next report that the heartbeat is no longer late.
fn wait_for_resume(events: &Receiver<Event>) -> LoopDelay {
    loop {
        if let Event::LoopResumed(delay) = events.recv().unwrap() {
            return delay;
        }
    }
}

/// Checks the first thread of the report. Returns the line of the delay's culprit, which is the innermost
/// frame of the program's own code. Returns `None` if the probe does not read stacks.
fn culprit_line(delay: &LoopDelay) -> Option<u32> {
    let thread = &delay.threads[0];
    if cfg!(target_os = "linux") {
        assert_eq!(thread.class, Class::Waits, "{delay}");
        assert!(thread.id.is_some(), "{delay}");
    }
    let stacks = cfg!(all(
        feature = "stacks",
        target_os = "linux",
        target_arch = "x86_64"
    ));
    if !stacks {
        assert!(thread.stack.is_none(), "{delay}");
        return None;
    }
    let stack = thread
        .stack
        .as_ref()
        .expect("the probe should read the stack");
    let culprit = delay
        .culprit()
        .unwrap_or_else(|| panic!("{delay}\n{stack}"));
    let file = culprit.file.as_ref().unwrap();
    assert!(file.ends_with(file!()), "{delay}\n{stack}");
    culprit.line
}

/// Checks that the probe reports a blocking task without a label. The runtime has one worker.
fn check_loop_delay(runtime: impl Runtime + BlockOn + Clone, label: &'static str) {
    let heartbeat = Heartbeat::start(Arc::new(runtime.clone()), PERIOD).unwrap();
    wait_for_lateness(&heartbeat, |late| !late.runtime.is_empty());
    let (probe, events) = probe(&heartbeat);
    let (release, released) = channel::<()>();
    let line = line!() + 1;
    let task = Task::spawn(&runtime, async move { released.recv().unwrap() });
    let delay = wait_for_delay(&events);
    assert!(delay.lasted >= THRESHOLD, "{delay}");
    assert!(!delay.is_over, "{delay}");
    assert!(delay.to_string().contains("has been late for"), "{delay}");
    let json = Event::LoopDelayed(delay.clone()).to_json();
    assert_eq!(json["event"], "loop_delayed");
    assert_eq!(json["threads"][0]["thread_id"], json!(delay.threads[0].id));
    assert_eq!(delay.threads.len(), 1, "{delay}");
    assert!(
        culprit_line(&delay).is_none_or(|stuck| stuck == line),
        "{delay}"
    );
    release.send(()).unwrap();
    let end = wait_for_resume(&events);
    assert!(end.is_over && end.lasted >= delay.lasted, "{delay}, {end}");
    runtime.block_on(task).unwrap();

    // A blocking task with a label is reported as a stall, and not also as a delay of the loop.
    let (release, released) = channel::<()>();
    let labelled = async move { released.recv().unwrap() };
    let task = Task::spawn(&runtime, labelled.probed(label));
    let mut is_reported = false;
    loop {
        match events.recv().unwrap() {
            Event::Stalled(stall) if stall.label == label => {
                // By then, the probe would have reported a delay of the loop.
                while heartbeat.overdue() < THRESHOLD * 2 {
                    thread::sleep(PERIOD);
                }
                is_reported = true;
                release.send(()).unwrap();
            }
            Event::Recovered(stall) if stall.label == label => break,
            // The thread of the labelled task waits. On a busy machine, the loop may be late for another reason.
            Event::LoopDelayed(delay) if delay.threads[0].class == Class::Waits => {
                panic!("{delay}")
            }
            _ => {}
        }
    }
    assert!(is_reported, "the stall was not reported");
    runtime.block_on(task).unwrap();

    // A heartbeat that has been dropped is not late.
    drop(heartbeat);
    drop(probe);
    for event in events {
        assert!(!matches!(event, Event::LoopDelayed(_)), "{event}");
    }
}

#[test]
fn on_tokio_a_blocking_task_without_a_label_is_reported() {
    let tokio = inflight_tokio::Tokio::new(Some(NonZeroUsize::MIN)).unwrap();
    check_loop_delay(tokio, "tokio");
}

#[test]
fn on_smol_a_blocking_task_without_a_label_is_reported() {
    let smol = inflight_smol::Smol::new(NonZeroUsize::MIN).unwrap();
    check_loop_delay(smol, "smol");
}

#[test]
fn on_async_std_a_blocking_task_without_a_label_is_reported() {
    let async_std = inflight_async_std::AsyncStd::with_workers(NonZeroUsize::MIN).unwrap();
    check_loop_delay(async_std, "async-std");
}

#[test]
fn with_several_workers_the_report_lists_the_blocked_threads_first() {
    let tokio = inflight_tokio::Tokio::new(2.try_into().ok()).unwrap();
    let heartbeat = Heartbeat::start(Arc::new(tokio.clone()), PERIOD).unwrap();
    wait_for_lateness(&heartbeat, |late| !late.runtime.is_empty());
    let (_probe, events) = probe(&heartbeat);
    let (release, released) = channel::<()>();
    let (release_second, second_released) = channel::<()>();
    let line = line!() + 1;
    let task = Task::spawn(&tokio, async move { released.recv().unwrap() });
    let second_task = Task::spawn(&tokio, async move { second_released.recv().unwrap() });
    let delay = wait_for_delay(&events);
    let stuck = culprit_line(&delay);
    assert!(
        stuck.is_none_or(|stuck| stuck == line || stuck == line + 1),
        "{delay}"
    );
    release.send(()).unwrap();
    release_second.send(()).unwrap();
    tokio.block_on(task).unwrap();
    tokio.block_on(second_task).unwrap();
    wait_for_resume(&events);
}

#[test]
fn on_tokio_a_stall_delays_the_timer_and_the_socket() {
    let tokio = inflight_tokio::Tokio::new(Some(NonZeroUsize::MIN)).unwrap();
    check_lateness(tokio);
}

#[test]
fn on_smol_a_stall_delays_the_timer_and_the_socket() {
    let smol = inflight_smol::Smol::new(NonZeroUsize::MIN).unwrap();
    check_lateness(smol);
}

#[test]
fn on_async_std_a_stall_delays_the_timer_and_the_socket() {
    let async_std = inflight_async_std::AsyncStd::with_workers(NonZeroUsize::MIN).unwrap();
    check_lateness(async_std);
}

#[test]
fn with_socket_fails_on_a_runtime_without_sockets() {
    let threads = Threads::new();
    let refused = threads.block_on(Heartbeat::with_socket(Arc::new(threads.clone()), PERIOD));
    let error = refused.unwrap_err();
    assert_eq!(error.kind(), inflight_core::ErrorKind::Io);
    assert!(error.to_string().contains("heartbeat's socket"), "{error}");
}

#[test]
fn the_ticks_stop_when_the_runtime_has_ended() {
    let (on, stopped) = Ended::new();
    let _heartbeat = Heartbeat::start(Arc::new(on), PERIOD).unwrap();
    // The task that ticks holds the last reference to the runtime.
    assert!(stopped.recv().is_err());
}

/// A runtime that still runs tasks, but has ended otherwise.
struct Ended {
    threads: Threads,
    _alive: Sender<()>,
}

impl Ended {
    /// Also returns a receiver, which fails when the runtime is dropped.
    fn new() -> (Self, Receiver<()>) {
        let (alive, dropped) = channel();
        let ended = Self {
            threads: Threads::new(),
            _alive: alive,
        };
        (ended, dropped)
    }
}

impl Runtime for Ended {
    fn name(&self) -> &'static str {
        self.threads.name()
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.threads.spawn(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        self.threads.spawn_blocking(work);
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(ready(()))
    }

    fn connect(
        &self,
        _: SocketAddr,
        _: ConnectOptions,
    ) -> BoxFuture<'static, io::Result<Box<dyn Socket>>> {
        Box::pin(ready(Err(no_sockets(self.name()))))
    }

    fn blocking_ceiling(&self) -> Option<usize> {
        self.threads.blocking_ceiling()
    }

    fn check_running(&self) -> Result<(), Error> {
        Err(runtime_ended(self.name()))
    }
}

/// Tests of the hooks of tokio's runtime builder. Each worker has a name of its own.
#[cfg(feature = "tokio-hooks")]
mod tokio_workers {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use inflight_probe::TokioWorkers;
    use inflight_tokio::Tokio;

    use super::*;

    /// Starts a runtime with two workers.
    fn start() -> (tokio::runtime::Runtime, TokioWorkers) {
        let count = AtomicUsize::new(0);
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder
            .worker_threads(2)
            .thread_name_fn(move || format!("worker-{}", count.fetch_add(1, Ordering::Relaxed)));
        // ANCHOR: workers
        let workers = TokioWorkers::install(&mut builder);
        // ANCHOR_END: workers
        (builder.enable_all().build().unwrap(), workers)
    }

    fn own_name() -> String {
        thread::current().name().unwrap().to_owned()
    }

    fn names(delay: &LoopDelay) -> Vec<String> {
        let names = delay.threads.iter().map(|thread| thread.name.clone());
        let mut names: Vec<_> = names.map(Option::unwrap).collect();
        names.sort();
        names
    }

    /// Blocks a worker until the returned sender is dropped. Also returns the worker's name.
    fn block_worker(runtime: &tokio::runtime::Runtime) -> (String, Sender<()>) {
        let (release, released) = channel();
        let (sender, name) = channel();
        runtime.spawn(async move {
            sender.send(own_name()).unwrap();
            let _ = released.recv();
        });
        (name.recv().unwrap(), release)
    }

    #[test]
    fn a_blocked_worker_that_has_never_run_a_tick_is_listed() {
        let (runtime, workers) = start();
        let metrics = runtime.metrics();
        while (0..2).any(|worker| metrics.worker_park_count(worker) == 0) {
            thread::sleep(PERIOD);
        }
        let (first, _release_first) = block_worker(&runtime);
        let on = Arc::new(Tokio::from(runtime.handle().clone()));
        // ANCHOR: workers_heartbeat
        let heartbeat = Heartbeat::start(on, PERIOD).unwrap().workers(&workers);
        // ANCHOR_END: workers_heartbeat
        // The first worker is blocked, so only the other one runs ticks.
        wait_for_lateness(&heartbeat, |late| !late.runtime.is_empty());
        let (_probe, events) = probe(&heartbeat);
        let (second, _release_second) = block_worker(&runtime);
        let mut blocked = [first, second];
        blocked.sort();
        let delay = wait_for_delay(&events);
        assert_eq!(names(&delay), blocked, "{delay}");
    }

    /// A runtime whose `sleep` first blocks the thread.
    struct BlockingSleep {
        tokio: Tokio,
        thread_name: Sender<String>,
        released: Mutex<Receiver<()>>,
    }

    impl Runtime for BlockingSleep {
        fn name(&self) -> &'static str {
            self.tokio.name()
        }

        fn spawn(&self, task: BoxFuture<'static, ()>) {
            self.tokio.spawn(task);
        }

        fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
            self.tokio.spawn_blocking(work);
        }

        fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
            let _ = self.thread_name.send(own_name());
            let _ = self.released.lock().unwrap().recv();
            self.tokio.sleep(duration)
        }

        fn connect(
            &self,
            to: SocketAddr,
            options: ConnectOptions,
        ) -> BoxFuture<'static, io::Result<Box<dyn Socket>>> {
            self.tokio.connect(to, options)
        }

        fn blocking_ceiling(&self) -> Option<usize> {
            self.tokio.blocking_ceiling()
        }

        fn check_running(&self) -> Result<(), Error> {
            self.tokio.check_running()
        }
    }

    #[test]
    fn a_parked_worker_is_not_listed() {
        let (runtime, workers) = start();
        let (_release, released) = channel();
        let (thread_name, name) = channel();
        let on = Arc::new(BlockingSleep {
            tokio: Tokio::from(runtime.handle().clone()),
            thread_name,
            released: Mutex::new(released),
        });
        let heartbeat = Heartbeat::start(on, PERIOD).unwrap().workers(&workers);
        let blocked = name.recv().unwrap();
        // The count is odd while a worker is parked. One worker is blocked, so the other one parks.
        let metrics = runtime.metrics();
        while (0..2).all(|worker| metrics.worker_park_unpark_count(worker) % 2 == 0) {
            thread::sleep(PERIOD);
        }
        let (_probe, events) = probe(&heartbeat);
        let delay = wait_for_delay(&events);
        assert_eq!(names(&delay), [blocked], "{delay}");
    }
}
