//! Runs the program and reads what it writes.

use std::ffi::OsStr;
use std::io::Read;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than anything here takes: the end of a test that would hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What the program did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program with these arguments, its three streams piped.
pub(crate) fn program<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inflight"));
    command
        .args(args)
        // Whatever proxies this machine has, the servers of the tests are on it.
        .env("NO_PROXY", "*")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs the program to its end, with nothing on its standard input.
pub(crate) fn run<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Ran {
    finish(program(args).stdin(Stdio::null()).spawn().unwrap())
}

/// Waits for the program's end, which has to come.
pub(crate) fn finish(child: Child) -> Ran {
    let pid = child.id();
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    match ended.recv_timeout(PATIENCE) {
        Ok(output) => Ran::from(output.unwrap()),
        Err(_) => {
            kill(pid);
            panic!("the program has not ended after {PATIENCE:?}")
        }
    }
}

/// The next line of standard output, as soon as it is there and no byte beyond.
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

/// Does something again and again until it answers, and no longer than is sensible.
pub(crate) fn until<T>(mut what: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = what() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "nothing after {PATIENCE:?}");
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

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// The JSON Lines on standard output by index. Every line is whole, and no index comes
    /// twice or is left out.
    pub(crate) fn records(&self) -> Vec<Value> {
        let mut records = records(&self.stdout);
        records.sort_by_key(|record| record["index"].as_u64());
        for (n, record) in records.iter().enumerate() {
            assert_eq!(record["index"], n, "{self:?}");
        }
        records
    }
}

/// JSON Lines in the order they came in. Every line is whole.
pub(crate) fn records(text: &str) -> Vec<Value> {
    assert!(
        text.is_empty() || text.ends_with('\n'),
        "half a line: {text}"
    );
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// The kind of each record's error, `ok` where there is none.
pub(crate) fn kinds(records: &[Value]) -> Vec<&str> {
    records
        .iter()
        .map(|record| match &record["error"] {
            Value::Null => "ok",
            error => error["kind"].as_str().unwrap(),
        })
        .collect()
}

/// The backends with short names that are compiled in.
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
