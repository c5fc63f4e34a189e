//! Runs the program and reads its output.

use std::ffi::OsStr;
use std::io::Read;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a test waits for an event before it fails.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// The exit code and the output of the program.
#[derive(Debug)]
pub(crate) struct ProgramOutput {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Returns a command for the program with these arguments and all three streams piped.
pub(crate) fn program<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inflight"));
    command
        .args(args)
        // The test servers are on this machine, so no proxy of the environment may be used.
        .env("NO_PROXY", "*")
        // Nor the configuration of the user.
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs the program to its end, with no standard input.
pub(crate) fn run<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> ProgramOutput {
    finish(program(args).stdin(Stdio::null()).spawn().unwrap())
}

/// Waits for the program to end. Kills it and panics after [`TIMEOUT`].
pub(crate) fn finish(child: Child) -> ProgramOutput {
    let pid = child.id();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(TIMEOUT) {
        Ok(output) => ProgramOutput::from(output.unwrap()),
        Err(_) => {
            kill(pid);
            panic!("the program did not end within {TIMEOUT:?}")
        }
    }
}

/// Reads the next line of standard output. Reads no bytes after the end of the line.
pub(crate) fn next_line(child: &mut Child) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut byte)
            .unwrap();
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

/// Calls `poll` until it returns a value. Panics after [`TIMEOUT`].
pub(crate) fn wait_for<T>(mut poll: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(
            start.elapsed() < TIMEOUT,
            "`poll` returned no value within {TIMEOUT:?}"
        );
        thread::yield_now();
    }
}

#[cfg(unix)]
fn kill(pid: u32) {
    use rustix::process::{Pid, Signal, kill_process};
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.map(|pid| kill_process(pid, Signal::KILL));
}

#[cfg(not(unix))]
fn kill(_: u32) {}

impl From<Output> for ProgramOutput {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl ProgramOutput {
    /// Parses the JSON Lines on standard output and sorts them by index. Panics if a line is
    /// incomplete, or if an index is missing or repeated.
    pub(crate) fn records(&self) -> Vec<Value> {
        let mut records = records(&self.stdout);
        records.sort_by_key(|record| record["index"].as_u64());
        for (n, record) in records.iter().enumerate() {
            assert_eq!(record["index"], n, "{self:?}");
        }
        records
    }
}

/// Parses JSON Lines. Panics if a line is incomplete.
pub(crate) fn records(text: &str) -> Vec<Value> {
    assert!(
        text.is_empty() || text.ends_with('\n'),
        "incomplete line: {text}"
    );
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// Returns the kind of each record's error, or `ok` for a record without an error.
pub(crate) fn kinds(records: &[Value]) -> Vec<&str> {
    records
        .iter()
        .map(|record| match &record["error"] {
            Value::Null => "ok",
            error => error["kind"].as_str().unwrap(),
        })
        .collect()
}

/// Returns the short names of the backends that are compiled in.
pub(crate) fn backends() -> Vec<&'static str> {
    [
        ("tokio", cfg!(feature = "tokio")),
        ("smol", cfg!(feature = "smol")),
        ("async-std", cfg!(feature = "async-std")),
        ("ureq", cfg!(feature = "ureq")),
    ]
    .into_iter()
    .filter_map(|(name, compiled)| compiled.then_some(name))
    .collect()
}
