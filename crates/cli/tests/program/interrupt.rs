//! Tests of the signals SIGINT (Ctrl-C), SIGTERM and SIGHUP.
#![cfg(unix)]

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;

use inflight_origin::Origin;
use rustix::process::{Pid, Signal, kill_process};

use crate::output::file_names;
use crate::program::{TIMEOUT, backends, finish, kinds, next_line, program, records, wait_for};

fn interrupt(child: &Child) {
    send(child, Signal::INT);
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn the_first_interrupt_cancels_requests_and_every_url_has_a_result() {
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("urls.txt");
    // More lines than the program reads ahead.
    fs::write(&file, vec![origin.url("/hang"); 500].join("\n")).unwrap();
    for backend in backends() {
        origin.reset_stats();
        let mut child = program([
            "gather",
            "--backend",
            backend,
            "--limit",
            "3",
            "--input",
            file.to_str().unwrap(),
            &origin.url("/page/1"),
            &origin.url("/hang-body"),
        ])
        .spawn()
        .unwrap();
        let first = next_line(&mut child);
        origin
            .wait_for(TIMEOUT, |stats| stats.in_flight == 3)
            .unwrap();
        interrupt(&child);
        let mut ran = finish(child);
        ran.stdout.insert_str(0, &first);
        assert_eq!(ran.code, Some(130), "{backend}");
        assert_eq!(
            kinds(&records(&ran.stdout))[0],
            "ok",
            "{backend}: the finished result is kept"
        );
        let records = ran.records();
        assert_eq!(kinds(&records)[1..], vec!["cancelled"; 501], "{backend}");
        // No request was started after the signal, and all connections are closed.
        let stats = origin
            .wait_for(TIMEOUT, |stats| stats.connections_open == 0)
            .unwrap();
        assert_eq!(stats.requests, 4, "{backend}");
    }
}

/// The rest of the pipe is not read after the signal.
#[test]
fn a_pipe_that_never_ends_does_not_delay_the_exit() {
    let origin = Origin::start().unwrap();
    let mut child = program(["gather", "--input", "-", "--limit", "2"])
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let line = origin.url("/hang") + "\n";
    let feeder = thread::spawn(move || while stdin.write_all(line.as_bytes()).is_ok() {});
    origin
        .wait_for(TIMEOUT, |stats| stats.in_flight == 2)
        .unwrap();
    interrupt(&child);
    let ran = finish(child);
    feeder.join().unwrap();
    assert_eq!(ran.code, Some(130));
    let records = ran.records();
    assert!(records.len() >= 2);
    assert!(kinds(&records).iter().all(|kind| *kind == "cancelled"));
}

/// Standard output is full and is not read, so the program blocks and cannot shut down gracefully.
#[test]
fn the_second_interrupt_exits_immediately_and_leaves_no_partial_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("urls.txt");
    fs::write(&file, vec!["nonsense"; 5000].join("\n")).unwrap();
    let mut child = program(["gather", "--input", file.to_str().unwrap()])
        .spawn()
        .unwrap();
    let first = next_line(&mut child);
    // The system merges pending signals of the same kind, so two signals may not be enough.
    wait_for(|| {
        interrupt(&child);
        child.try_wait().unwrap()
    });
    let mut ran = finish(child);
    ran.stdout.insert_str(0, &first);
    assert_eq!(ran.code, Some(130));
    assert!(records(&ran.stdout).len() < 5000);
}

#[test]
fn no_signal_leaves_a_partial_file() {
    let origin = Origin::start().unwrap();
    let directory = tempfile::tempdir().unwrap();
    // The first chunk is larger than the write buffer of `gather`, so bytes reach the file before the
    // second chunk, which follows after an hour. `get` has no write buffer.
    let url = origin.url("/slow-body?chunks=2&size=600000&pause_ms=3600000");
    let path = directory.path().to_str().unwrap();
    let page = directory.path().join("page");
    let commands: [&[&str]; 2] = [
        &["gather", "--output", path, &url],
        &["get", "-o", page.to_str().unwrap(), &url],
    ];
    let signals = [Signal::INT, Signal::TERM, Signal::HUP];
    for (args, signal) in commands
        .iter()
        .flat_map(|args| signals.map(|signal| (*args, signal)))
    {
        let child = program(args).spawn().unwrap();
        // Waits until the temporary file has its first bytes.
        let size =
            |name: &String| fs::metadata(directory.path().join(name)).map_or(0, |file| file.len());
        wait_for(|| {
            file_names(directory.path())
                .iter()
                .find(|name| size(name) > 0)
                .cloned()
        });
        assert!(
            file_names(directory.path())
                .iter()
                .all(|name| name.ends_with(".part"))
        );
        send(&child, signal);
        let ran = finish(child);
        assert_eq!(ran.code, Some(130), "{ran:?}");
        assert_eq!(file_names(directory.path()), Vec::<String>::new());
    }
}

#[test]
fn an_interrupt_cancels_a_get() {
    let origin = Origin::start().unwrap();
    for backend in backends() {
        let mut child = program(["get", "--backend", backend, &origin.url("/hang-body")])
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        // The bytes that have arrived can be read before the body ends.
        let mut start = [0; 16];
        stdout.read_exact(&mut start).unwrap();
        interrupt(&child);
        let ran = finish(child);
        assert_eq!(
            (ran.code, &*ran.stderr),
            (Some(130), "error: cancelled: interrupted\n"),
            "{backend}"
        );
    }
}

/// A terminal that closes may send SIGHUP twice.
#[test]
fn a_second_hangup_does_not_exit_immediately() {
    let origin = Origin::start().unwrap();
    let child = program(["gather", &origin.url("/hang")]).spawn().unwrap();
    origin
        .wait_for(TIMEOUT, |stats| stats.in_flight == 1)
        .unwrap();
    send(&child, Signal::HUP);
    send(&child, Signal::HUP);
    let ran = finish(child);
    assert_eq!(ran.code, Some(130));
    assert_eq!(kinds(&ran.records()), ["cancelled"]);
}

/// As with `nohup`.
#[test]
#[cfg(target_os = "linux")]
fn a_hangup_is_ignored_if_it_was_ignored_at_the_start() {
    let origin = Origin::start().unwrap();
    let inflight = program(["gather", "--input", "-"]);
    let mut child = Command::new("sh")
        .args(["-c", "trap '' HUP; exec \"$@\"", "sh"])
        .arg(inflight.get_program())
        .args(inflight.get_args())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for requests in 1..=2 {
        writeln!(stdin, "{}", origin.url("/hang")).unwrap();
        origin
            .wait_for(TIMEOUT, |stats| stats.in_flight == requests)
            .unwrap();
        // After a signal that is not ignored, no more requests would be started.
        send(&child, Signal::HUP);
    }
    interrupt(&child);
    assert_eq!(finish(child).code, Some(130));
}
