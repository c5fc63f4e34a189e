//! Processes that a benchmark starts and ends.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The origin in a process of its own, so that its work is not counted as the client's.
pub struct OriginProcess {
    child: Child,
    base: String,
}

impl OriginProcess {
    /// Starts the binary and waits until it listens.
    ///
    /// # Errors
    ///
    /// When it does not start, or says something else than where it listens.
    pub fn start(binary: &str) -> io::Result<Self> {
        let mut child = Command::new(binary).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let base = line
            .trim()
            .strip_prefix("listening on ")
            .ok_or_else(|| io::Error::other(format!("the origin said {line:?}")))?
            .to_owned();
        Ok(Self { child, base })
    }

    /// The URL of a path, which starts with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

impl Drop for OriginProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a worker measured over the iterations it was asked for, all of them together.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Measured {
    /// Wall-clock time in nanoseconds.
    pub wall_ns: u64,
    /// CPU time of the worker's process in nanoseconds.
    pub cpu_ns: u64,
    /// The sum of each iteration's largest gap of the heartbeat, in nanoseconds.
    pub gap_ns: u64,
    /// By how many bytes the worker's peak memory grew.
    pub memory: u64,
    /// Requests answered, each of them verified.
    pub answered: u64,
}

impl Measured {
    /// Wall-clock time.
    pub fn wall(&self) -> Duration {
        Duration::from_nanos(self.wall_ns)
    }

    /// CPU time.
    pub fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu_ns)
    }

    /// The sum of the largest gaps.
    pub fn gap(&self) -> Duration {
        Duration::from_nanos(self.gap_ns)
    }
}

/// A worker: reads a number of iterations a line, answers each line with what it measured.
pub struct Worker {
    child: Child,
    asked: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts the binary with the arguments that say what it measures.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub fn start(binary: &str, arguments: &[&str]) -> io::Result<Self> {
        let mut child = Command::new(binary)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (asked, stdout) = pipes.ok_or_else(|| io::Error::other("the worker has no pipes"))?;
        Ok(Self {
            child,
            asked,
            answers: BufReader::new(stdout),
        })
    }

    /// Runs this many iterations.
    ///
    /// # Errors
    ///
    /// When the worker ended: a wrong answer of the server's ends it, with its reason on
    /// standard error.
    pub fn run(&mut self, iterations: u64) -> io::Result<Measured> {
        writeln!(self.asked, "{iterations}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
