//! Tests that the report of a stall names the line that is stuck, for several kinds of calls and loops.
#![cfg(all(feature = "stacks", target_os = "linux", target_arch = "x86_64"))]

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Condvar, Mutex, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use inflight_probe::{Event, FutureExt, NoStall, Probe, Stall};

const THRESHOLD: Duration = Duration::from_millis(50);

fn probe() -> (Probe, Receiver<Event>) {
    let (sender, events) = channel();
    let probe = Probe::builder()
        .threshold(THRESHOLD)
        .stacks(true)
        .start(move |event| {
            let _ = sender.send(event.clone());
        })
        .unwrap();
    (probe, events)
}

/// Polls the future on a new thread until the probe reports its stall. Then calls `release`, which ends the
/// stall, and returns the report.
fn stall(
    future: impl Future<Output = ()> + Send,
    label: &'static str,
    release: impl FnOnce(),
) -> Stall {
    let (_probe, events) = probe();
    thread::scope(|scope| {
        let stack = thread::Builder::new().stack_size(16 << 20);
        let stuck = stack.spawn_scoped(scope, || block_on(future.probed(label)));
        stuck.unwrap();
        let stall = loop {
            if let Event::Stalled(stall) = events.recv().unwrap()
                && stall.label == label
            {
                break stall;
            }
        };
        release();
        stall
    })
}

/// Checks that the culprit of the stall, the innermost frame of the program's own code, is at this line.
#[track_caller]
fn assert_culprit(stall: &Stall, line: u32) {
    let stack = stall
        .stack
        .as_ref()
        .unwrap_or_else(|| panic!("{stall}: no stack"));
    let Some(culprit) = stall.culprit() else {
        panic!("{stall}\n{stack}");
    };
    assert!(
        culprit.file.as_ref().unwrap().ends_with(file!()),
        "{stall}\n{stack}"
    );
    assert_eq!(culprit.line, Some(line), "{stall}\n{stack}");
}

#[test]
fn a_wait_for_a_lock_is_named() {
    let mutex = Mutex::new(());
    let held = mutex.lock().unwrap();
    let future = async { drop(mutex.lock()) };
    let line = line!() - 1;
    assert_culprit(&stall(future, "mutex", || drop(held)), line);

    let lock = RwLock::new(());
    let held = lock.read().unwrap();
    let future = async { drop(lock.write()) };
    let line = line!() - 1;
    assert_culprit(&stall(future, "lock", || drop(held)), line);
}

#[test]
fn a_wait_on_a_condition_variable_is_named() {
    let (mutex, condition) = (Mutex::new(false), Condvar::new());
    let line = line!() + 2;
    let future = async {
        let ready = condition.wait_while(mutex.lock().unwrap(), |ready| !*ready);
        drop(ready);
    };
    let release = || {
        *mutex.lock().unwrap() = true;
        condition.notify_one();
    };
    assert_culprit(&stall(future, "condition", release), line);
}

#[test]
fn a_receive_on_an_empty_channel_is_named() {
    let (sender, receiver) = channel::<()>();
    let future = async move { receiver.recv().unwrap() };
    let line = line!() - 1;
    assert_culprit(&stall(future, "channel", || sender.send(()).unwrap()), line);
}

#[test]
fn a_join_of_a_running_thread_is_named() {
    let (sender, receiver) = channel::<()>();
    let thread = thread::spawn(move || receiver.recv().unwrap());
    let future = async move { thread.join().unwrap() };
    let line = line!() - 1;
    assert_culprit(&stall(future, "join", || sender.send(()).unwrap()), line);
}

#[test]
fn a_read_and_an_accept_on_a_socket_are_named() {
    let (mut near, mut far) = UnixStream::pair().unwrap();
    // Linux does not restart a read with a timeout after a signal.
    near.set_read_timeout(Some(Duration::from_secs(300)))
        .unwrap();
    let line = line!() + 2;
    let future = async move {
        let read = near.read(&mut [0]);
        assert_eq!(read.unwrap(), 1);
    };
    assert_culprit(
        &stall(future, "socket", || far.write_all(b"x").unwrap()),
        line,
    );

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let future = async move { drop(listener.accept().unwrap()) };
    let line = line!() - 1;
    let release = || drop(std::net::TcpStream::connect(address).unwrap());
    assert_culprit(&stall(future, "accept", release), line);
}

#[test]
fn a_wait_for_a_process_is_named() {
    let mut child = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take();
    let future = async move { drop(child.wait_with_output().unwrap()) };
    let line = line!() - 1;
    assert_culprit(&stall(future, "process", || drop(stdin)), line);
}

#[test]
fn a_loop_that_reads_the_clock_is_named() {
    let released = AtomicBool::new(false);
    let release = || released.store(true, Ordering::Relaxed);
    let line = line!() + 3;
    let stalls = std::iter::repeat_with(|| {
        let future = async {
            while Instant::now().elapsed() < Duration::MAX && !released.load(Ordering::Relaxed) {}
        };
        let stall = stall(future, "clock", release);
        released.store(false, Ordering::Relaxed);
        stall
    });
    // The compiler gives a few instructions of the loop no line. A stack that begins at one of them has only the file.
    let has_line = |stall: &Stall| {
        stall
            .culprit()
            .is_some_and(|culprit| culprit.line.is_some())
    };
    let stall = stalls.take(10).find(has_line).expect("a stack with a line");
    assert_culprit(&stall, line);
}

#[test]
fn a_loop_in_the_standard_library_is_named() {
    let released = AtomicBool::new(false);
    let release = || released.store(true, Ordering::Relaxed);
    let mut numbers: Vec<_> = (0..4096_u32).collect();
    let line = line!() + 3;
    let future = async {
        while !released.load(Ordering::Relaxed) {
            black_box(&mut numbers).sort_unstable_by_key(|number| number.wrapping_mul(0x9e37_79b9));
        }
    };
    assert_culprit(&stall(future, "sort", release), line);
}

/// Calls `at_the_bottom` after `depth` recursive calls. Each call has a stack frame of more than 4 KiB.
#[inline(never)]
fn descend(depth: usize, mut at_the_bottom: impl FnMut()) {
    let frame = black_box([depth; 512]);
    match depth {
        0 => at_the_bottom(),
        _ => descend(frame[7] - 1, &mut at_the_bottom as &mut dyn FnMut()),
    }
    black_box(frame);
}

/// The stack is larger than the part of it that the probe copies.
#[test]
fn a_deep_recursion_is_named() {
    let released = AtomicBool::new(false);
    let release = || released.store(true, Ordering::Relaxed);
    let spin = || {
        let _ = (0_u64..).find(|_| released.load(Ordering::Relaxed));
    };
    let line = line!() - 2;
    let future = async { descend(200, spin) };
    assert_culprit(&stall(future, "deep", release), line);

    let (sender, receiver) = channel::<()>();
    let wait = move || receiver.recv().unwrap();
    let line = line!() - 1;
    let future = async move { descend(200, wait) };
    let stall = stall(future, "deep wait", move || sender.send(()).unwrap());
    assert_culprit(&stall, line);
    assert!(stall.stack.unwrap().frames().len() > 50);
}

/// Causes three stalls with the same label. The first and the third stall block in the same line.
#[test]
fn each_culprit_of_a_label_is_reported() {
    let (sender, events) = channel();
    let probe = Probe::builder()
        .threshold(THRESHOLD)
        .fold(Duration::MAX)
        .stacks(true)
        .start(move |event| {
            if let Event::Stalled(stall) = event
                && stall.label == "culprits"
            {
                sender.send(stall.clone()).unwrap();
            }
        })
        .unwrap();
    let (release, released) = channel::<()>();
    let line = line!() + 5;
    let polls = thread::spawn(move || {
        for is_first_line in [true, false, true] {
            let blocking = async {
                match is_first_line {
                    true => released.recv().unwrap(),
                    false => released.iter().next().unwrap(),
                }
            };
            block_on(blocking.probed("culprits"));
        }
    });
    for line in [line, line + 1] {
        let stall = events.recv().unwrap();
        assert_culprit(&stall, line);
        assert_eq!(stall.folded, 0, "{stall}");
        release.send(()).unwrap();
    }
    // The third stall has the culprit of the first, so it is counted but not reported.
    let counted = |line: &str| {
        line.starts_with("inflight_probe_stalls_total{label=\"culprits\"") && line.ends_with(" 3")
    };
    while !probe.prometheus().lines().any(counted) {
        thread::sleep(Duration::from_millis(1));
    }
    release.send(()).unwrap();
    polls.join().unwrap();
    drop(probe);
    assert_eq!(events.iter().count(), 0);
}

#[test]
fn the_findings_of_no_stall_name_the_line() {
    let line = line!() + 1;
    let sleep = async { thread::sleep(THRESHOLD * 4) };
    let rule = NoStall::within(THRESHOLD).stacks(true);
    let ((), findings) = block_on(rule.check(sleep)).unwrap();
    assert_culprit(&findings.stalls[0], line);
    let place = format!("stacks.rs:{line}");
    assert!(findings.to_string().contains(&place), "{findings}");
}
